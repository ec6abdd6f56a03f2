"""Whether a model fits a scene: bands, units, pixel size and classes, before any pixel is read."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from geoseg.errors import ModelError
from geoseg.grid import GeoBox
from geoseg.legend import Legend
from geoseg.models.base import ModelCard
from geoseg.models.fields import closest
from geoseg.scene import Scene

# Pixel sizes just outside of the trained range are no news: 10 % is less than one resampling does.
_GSD_SLACK = 1.1


def check_scene(card: ModelCard, scene: Scene) -> list[str]:
    """Refuse a scene that the model cannot read; warn of one that it was not made for.

    Returns:
        Warnings, for people.

    Raises:
        ModelError: A band is missing or the numbers are in other units.
    """
    _check_bands(card, scene)
    _check_units(card, scene)
    return [*_doubt_pixel_size(card, scene), *_doubt_dtype(card, scene)]


def check_classes(legend: Legend, wanted: Iterable[str], *, what: str) -> None:
    """Refuse class names that the model does not give; ``what`` says who asks for them."""
    known = {name.casefold(): name for name in legend.names}
    for name in wanted:
        if name.casefold() not in known:
            raise ModelError(
                f"{what}: the model has no class {name!r}{closest(name, legend.names) or ';'} "
                f"its classes are {', '.join(legend.names)}"
            )


def ground_sample_distance(grid: GeoBox) -> float | None:
    """Side of the middle pixel on the ground, in metres; None where its place is not known.

    Measured on the ellipsoid, so that degrees, feet and web mercator come out right. The
    geometric mean of both sides.
    """
    if grid.crs is None:
        return None
    rows, cols = grid.shape
    crs = CRS.from_user_input(grid.crs.to_wkt())
    corners = [(cols / 2, rows / 2), (cols / 2 + 1, rows / 2), (cols / 2, rows / 2 + 1)]
    xs, ys = zip(*(grid.affine @ corner for corner in corners), strict=True)
    try:
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(xs, ys)
    except ProjError:
        return None
    _, _, across = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])
    _, _, down = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[2], lat[2])
    side = float((across * down) ** 0.5)
    return side if math.isfinite(side) else None


def _check_bands(card: ModelCard, scene: Scene) -> None:
    missing = [band for band in card.bands if band not in scene.bands]
    if missing:
        raise ModelError(
            f"scene {scene.id}: no band {', '.join(missing)}, which model {card.name} needs; "
            f"the scene has {', '.join(scene.bands) or 'none'}: name its bands in `input.bands`"
        )


def _check_units(card: ModelCard, scene: Scene) -> None:
    if card.units == scene.units:
        return
    bands = scene.select(card.bands)
    if card.units == "dn":
        scaled = [b for b in bands if (b.scale, b.offset) != (1.0, 0.0)]
        if scene.units is None and not scaled:
            return  # unscaled numbers of unknown meaning are numbers as stored
        raise ModelError(
            f"scene {scene.id}: its numbers are scaled to {scene.units or 'unknown units'}, and "
            f"model {card.name} needs them as stored: set `input.units: dn`, `input.scale: 1` and "
            f"`input.offset: 0`, or take a model for reflectance"
        )
    if scene.units is None:
        raise ModelError(
            f"scene {scene.id}: what its numbers mean is not known, and model {card.name} needs "
            f"reflectance (0..1): set `input.units: reflectance` with `input.scale` and "
            f"`input.offset` (e.g. 0.0001 and 0 for reflectance x 10000)"
        )
    raise ModelError(
        f"scene {scene.id}: its numbers are dn as stored, and model {card.name} needs reflectance "
        f"(0..1): set `input.units`, `input.scale` and `input.offset`, or take a model for dn"
    )


def _doubt_pixel_size(card: ModelCard, scene: Scene) -> list[str]:
    found = ground_sample_distance(scene.grid)
    if card.gsd is None or found is None:
        return []
    low, high = card.gsd
    if low / _GSD_SLACK <= found <= high * _GSD_SLACK:
        return []
    warning = (
        f"scene {scene.id}: pixels of {found:.3g} m; model {card.name} was trained on "
        f"{low:g} to {high:g} m: check the map by eye, or resample the scene"
    )
    return [warning]


def _doubt_dtype(card: ModelCard, scene: Scene) -> list[str]:
    trained = card.about.get("dtype")
    others = {band.dtype for band in scene.select(card.bands)} - {trained}
    if card.units != "dn" or trained is None or not others:
        return []
    warning = (
        f"scene {scene.id}: numbers are {', '.join(sorted(others))}; model {card.name} was "
        f"trained on {trained} and knows no other range"
    )
    return [warning]
