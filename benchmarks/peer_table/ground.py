"""What all rows start from: the scene, the network as plain torch, and the untiled answer."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.sample import OFFSET, SCALE, SampleSpec, write_sample
from geoseg.models import networks
from geoseg.models.registry import find
from geoseg.models.scaling import linear
from geoseg.models.torch_engine import load_network
from geoseg.ops.stitch import seam_steps

MODEL = "landcover-s2"
HERE = Path(__file__).resolve().parent.parent / "peer_adapters"

Classes = NDArray[np.uint8]


@dataclass(frozen=True)
class Chips:
    """Side of a chip and its margin in pixels, and how many go through the network at once."""

    size: int
    margin: int
    batch: int = 1


def lay(folder: Path, size: int, seed: int = 7) -> Path:
    """Write scene and network into a folder, unless they are there; the scene's path.

    Without clouds and swath's edge, as most peers know no masks: every pixel is valid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = SampleSpec((size, size), seed, clouds=False, swath_edge=False)
    scene = write_sample(spec, folder / f"scene-{size}")
    network = load_network(find(MODEL)).eval()
    torch.save(network.state_dict(), folder / "weights.pt")
    return scene


def job(scene: Path, folder: Path, out: Path, chips: Chips, cores: int) -> dict[str, Any]:
    """The fields of ``peer_adapters/job.py``."""
    card = find(MODEL).card
    count = len(card.bands)
    gain, bias = linear(card, np.full(count, SCALE), np.full(count, OFFSET))
    return {
        "scene": str(scene),
        "out": str(out),
        "source": networks.__file__,
        "weights": str(folder / "weights.pt"),
        "traced": str(folder / "traced.pt"),
        "gain": gain.tolist(),
        "bias": bias.tolist(),
        "codes": card.legend.values,
        "chip": chips.size,
        "margin": chips.margin,
        "batch": chips.batch,
        "cores": cores,
    }


def read(path: Path) -> Classes:
    """A map of classes ``(y, x)``."""
    with rasterio.open(path) as file:
        found: Classes = file.read(1)
    return found


def seam_index(classes: Classes, stride: int, offset: tuple[int, int]) -> float:
    """As a run reports it, with borders at ``offset + k * stride`` along each axis."""
    height, width = classes.shape
    y, x = (stride - at % stride for at in offset)
    window = Window(y, x, y + height, x + width)
    borders, pairs, elsewhere, others = seam_steps(
        classes, np.ones(classes.shape, np.bool_), window, stride
    )
    return (borders / pairs) / (elsewhere / others) if pairs and elsewhere else float("nan")


def untiled(fields: dict[str, Any], folder: Path) -> list[str]:
    """The command that writes the untiled answer of a job."""
    file = folder / "untiled.json"
    file.write_text(json.dumps(fields))
    return [sys.executable, str(HERE / "without_tiles.py"), str(file)]
