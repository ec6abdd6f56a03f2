"""Networks that are one scene's own, like those in int8: brought to workers by way of a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geoseg.io.atomic import write_bytes
from geoseg.io.bucket import Place
from geoseg.models.committee import Committee
from geoseg.models.converted import cache_folder
from geoseg.models.quantizing import intact
from geoseg.models.registry import ModelPackage


def send_networks(committee: Committee, state: Path, place: Place) -> None:
    """Bring networks that lie in the state of an output to where workers find them, too.

    Raises:
        ProductError: They cannot be written there.
    """
    for member in committee.members:
        if member.weights is not None and member.folder == state:
            write_bytes(place / member.weights.name, member.weights.read_bytes())


def networks_here(committee: Committee, place: Place) -> Committee:
    """The models, those of one scene alone from this machine's cache; others stay as they are.

    Raises:
        ProductError: The place cannot be read.
        FileNotFoundError: They are neither here nor there.
    """
    return replace(committee, members=tuple(_here(one, place) for one in committee.members))


def _here(member: ModelPackage, place: Place) -> ModelPackage:
    weights, sha = member.weights, member.card.sha256
    if weights is None or sha is None or not weights.name.startswith(f"{sha[:16]}."):
        return member  # not named by its content: no network of a scene
    if intact(weights, sha):
        return member
    kept = cache_folder() / "quantized" / weights.name
    if not intact(kept, sha):
        write_bytes(kept, (place / weights.name).read_bytes())
    return replace(member, folder=kept.parent)
