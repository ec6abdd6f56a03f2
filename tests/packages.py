"""A small model package with random weights, so that tests do not depend on shipped ones."""

import hashlib
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from geoseg.legend import LEGENDS
from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.card import dump_card
from geoseg.models.reach import structural_reach

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


def write_package(folder: Path, name: str = "tiny", **changes: object) -> Path:
    """Write a land-cover model with random weights below ``folder``; returns its package."""
    card = ModelCard(
        name=name,
        version="1.0.0",
        bands=BANDS,
        units="reflectance",
        mean=(0.06, 0.08, 0.08, 0.25, 0.18, 0.12),
        std=(0.03, 0.03, 0.04, 0.10, 0.08, 0.06),
        legend=LEGENDS["landcover"],
        stride=8,
        size=256,
        margin=48,
        architecture={"name": "geoseg-unet"},
        activation_bytes=1000,
        weights="weights.safetensors",
    )
    card = replace(card, **changes)
    network = build(card, seed=5)
    reach = structural_reach(network, bands=len(card.bands), stride=card.stride)
    package = folder / name
    package.mkdir(parents=True)
    weights = package / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    dump_card(replace(card, reach=reach, sha256=sha256), package / "card.json")
    return package
