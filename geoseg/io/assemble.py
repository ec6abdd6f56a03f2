"""Bands and masks, found wherever they were, to a scene on one grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from geoseg.errors import SceneError
from geoseg.grid import GeoBox
from geoseg.io.grids import finest, same_grid
from geoseg.io.names import stand_in
from geoseg.io.refs import BAND_METHODS, MaskRef
from geoseg.scene import Band, Mask, Scene, Units


@dataclass(frozen=True, slots=True)
class Place:
    """A band of a file, with the file's grid, and how many bands that has where it is known."""

    uri: str
    index: int
    grid: GeoBox
    dtype: str
    count: int | None = None


def choose(wanted: Sequence[str], there: Iterable[str], scene: str) -> dict[str, str]:
    """Which band of ``there`` to read for each that is ``wanted``.

    Raises:
        SceneError: One of them is missing; the message lists what there is.
    """
    names = list(there)
    found = {name: stand_in(name, names, scene) for name in wanted}
    missing = [name for name, other in found.items() if other is None]
    if missing:
        raise SceneError(
            f"scene {scene}: no band {', '.join(missing)}; it has "
            f"{', '.join(names) or 'no band with a name: say which is which with input.bands'}"
        )
    return {name: other for name, other in found.items() if other is not None}


def assemble(
    name: str,
    bands: Mapping[str, Band],
    *,
    own_masks: Iterable[Mask | None],
    mask: MaskRef | None,
    find_mask: Callable[[], Place],
    acquired: datetime | None,
    units: Units | None,
) -> Scene:
    """A scene on the grid of its finest band.

    ``own_masks`` are alpha bands and internal masks of its files; ``find_mask`` is asked for the
    place of ``mask``.

    Raises:
        SceneError: The mask is not there, or its numbers have no bits.
    """
    grid = finest(band.grid for band in bands.values())
    on_grid = {key: replace(band, grid=_snapped(band.grid, grid)) for key, band in bands.items()}
    masks: list[Mask] = []
    if mask is None or mask.method != "none":
        masks = [replace(m, grid=_snapped(m.grid, grid)) for m in own_masks if m is not None]
    if mask is not None and mask.method != "none":
        masks += _explicit(name, mask, find_mask(), grid)
    return Scene(
        name,
        on_grid,
        grid,
        tuple(dict.fromkeys(masks)),
        acquired,
        units or _obvious_units(bands.values()),
    )


def _snapped(grid: GeoBox, scene: GeoBox) -> GeoBox:
    return scene if same_grid(grid, scene) else grid


def _explicit(scene: str, mask: MaskRef, place: Place, grid: GeoBox) -> tuple[Mask, ...]:
    if mask.kind == "bits" and not np.issubdtype(np.dtype(place.dtype), np.integer):
        raise SceneError(
            f"scene {scene}: mask {mask.method} needs whole numbers; band {place.index} of "
            f"{place.uri} holds {place.dtype}"
        )
    bands = BAND_METHODS.get(mask.method)
    if bands is not None and place.count is not None and place.count < bands:
        raise SceneError(
            f"scene {scene}: mask {mask.method} has {bands} bands, {place.uri} has {place.count}; "
            f"for another mask use method values or bits"
        )
    return mask.masks(place.uri, place.index, _snapped(place.grid, grid), grid)


def _obvious_units(bands: Iterable[Band]) -> Units | None:
    """8-bit pictures are digital numbers; what larger numbers mean, somebody has to say."""
    plain = all(b.dtype == "uint8" and (b.scale, b.offset) == (1.0, 0.0) for b in bands)
    return "dn" if plain else None
