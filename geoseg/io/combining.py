"""Scenes of several dates, tiles or zones made one: a grid for all of them, and bands in one scale.

Reads no pixel; :mod:`geoseg.io.composite` does, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from math import ceil, floor, hypot

import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.area import AreaRef
from geoseg.io.grids import finest, metres_per_unit, turned, turns_between
from geoseg.io.refs import MaskRef
from geoseg.io.target_grid import GridWish, put_on, target_grid, where_data_can_be
from geoseg.scene import Band, Combined, Rule, Scene, Units

_LONGEST = 10_000_000
"""Pixels along a side beyond which scenes are not of one place."""

_HAIR = 1e-2
"""Parts of a pixel by which a grid may reach over a pixel edge without needing another pixel."""


@dataclass(frozen=True, slots=True)
class Combination:
    """How scenes become one; see :class:`geoseg.scene.Combined`."""

    rule: Rule
    predicted: bool = False
    least: int = 1


@dataclass(frozen=True, slots=True)
class Placing:
    """What decides where they lie; see :func:`geoseg.io.target_grid.place_scene`."""

    wish: GridWish | None = None
    area: AreaRef | None = None
    mask: MaskRef | None = None


def combine_scenes(
    scenes: Sequence[Scene],
    how: Combination,
    *,
    name: str,
    acquired: datetime | None,
    placing: Placing | None = None,
) -> Scene:
    """One scene of several (oldest first), on a grid around all of them.

    Without a grid that is wished for, pixels are those of the finest scene (the first of equals):
    its CRS and resolution, whole pixels from its corner, north up. Bands keep their numbers where
    all scenes have the same scale and offset; else they are physical values in float32.

    Raises:
        SceneError: There is none, they differ in units or bands, one has no CRS, or no grid fits
            all of them.
    """
    if not scenes:
        raise SceneError(f"{name}: there are no scenes to combine")
    placing = placing or Placing()
    grid, scenes = _common_grid(scenes, placing, name)
    placed = tuple(put_on(scene, grid, mask=placing.mask) for scene in scenes)
    combined = Combined(how.rule, placed, predicted=how.predicted, least=how.least)
    bands = _common_bands(scenes, grid, name)
    units = _common_units(scenes)
    return with_windows(Scene(name, bands, grid, (), acquired, units, None, combined))


def with_windows(scene: Scene) -> Scene:
    """``scene`` that knows where its scenes lie on its grid, as after it was cut to an area."""
    if scene.combined is None:
        return scene
    whole = full_window(scene.grid)
    windows = []
    for one in scene.combined.scenes:
        shape = where_data_can_be(replace(one, grid=scene.grid))
        windows.append(whole if shape is None else _window_around(shape, scene.grid) & whole)
    return replace(scene, combined=replace(scene.combined, windows=tuple(windows)))


@lru_cache(maxsize=256)
def deepest(windows: tuple[Window, ...], side: int) -> int:
    """How many of ``windows`` a square of ``side`` pixels touches at most, wherever it lies."""
    boxes = np.array([(w.y0, w.x0, w.y1, w.x1) for w in windows if w], np.int64).reshape(-1, 4)
    kinds, counts = np.unique(boxes, axis=0, return_counts=True)
    most = 0
    # A square that touches the most can be moved until it ends where one of them just begins.
    for y in np.unique(kinds[:, 0]) + 1:
        rows = (kinds[:, 0] < y) & (kinds[:, 2] > y - side)
        for x in np.unique(kinds[rows, 1]) + 1:
            both = rows & (kinds[:, 1] < x) & (kinds[:, 3] > x - side)
            most = max(most, int(counts[both].sum()))
    return most


def _common_grid(
    scenes: Sequence[Scene], placing: Placing, name: str
) -> tuple[GeoBox, Sequence[Scene]]:
    """North up, around all scenes; pixel edges are those of the wish, or of the finest scene.

    The scenes come with it, as some may have been turned around the globe to fit.
    """
    for scene in scenes:
        if scene.grid.crs is None:
            raise SceneError(f"scene {scene.id}: has no CRS, so that it cannot be combined")
    wish = placing.wish
    sharpest = finest(scene.grid for scene in scenes)
    if wish is None:
        wish = _as_wish(sharpest)
    lead = next(scene for scene in scenes if scene.grid is sharpest)
    first = target_grid(lead, wish, area=placing.area)
    if wish.like is None:
        # One zone, and one resolution, for all of them.
        wish = replace(_as_wish(first), anchor=wish.anchor)
    grids = [first if scene is lead else target_grid(scene, wish) for scene in scenes]
    turns = _turns(first, grids)
    moved = [_turned(scene, by, first.crs) for scene, by in zip(scenes, turns, strict=True)]
    return _around(first, [turned(g, by) for g, by in zip(grids, turns, strict=True)], name), moved


def _turns(first: GeoBox, grids: Sequence[GeoBox]) -> list[int]:
    """By how many turns of 360 degrees each grid comes next to the first, where that is nearer.

    Scenes on both sides of the antimeridian are neighbours.
    """
    none = [0] * len(grids)
    if first.crs is None or not first.crs.geographic:
        return none
    turns = [turns_between(grid, first) for grid in grids]
    near = [turned(grid, by) for grid, by in zip(grids, turns, strict=True)]
    return turns if _width(near) < _width(grids) else none


def _width(grids: Sequence[GeoBox]) -> float:
    boxes = [grid.boundingbox for grid in grids]
    return float(max(box.right for box in boxes) - min(box.left for box in boxes))


def _turned(scene: Scene, turns: int, crs: CRS | None) -> Scene:
    """``scene`` as if its files counted longitudes on; what has another CRS is found anyway."""
    if not turns or scene.grid.crs != crs:
        return scene
    bands = {k: replace(b, grid=turned(b.grid, turns)) for k, b in scene.bands.items()}
    masks = tuple(replace(m, grid=turned(m.grid, turns)) for m in scene.masks)
    return replace(scene, grid=turned(scene.grid, turns), bands=bands, masks=masks)


def _as_wish(grid: GeoBox) -> GridWish:
    crs, a = grid.crs, grid.affine
    assert crs is not None, "checked before"  # noqa: S101 (for the type checker)
    unit = 1.0 if crs.geographic else metres_per_unit(crs)
    sides = hypot(a.b, a.e) * unit, hypot(a.a, a.d) * unit
    # The shortest way to write the same: people read it in plans.
    code = f"EPSG:{crs.epsg}"
    text = code if crs.epsg is not None and CRS(code) == crs else crs.to_wkt()
    return GridWish(crs=text, resolution=sides, degrees=crs.geographic, anchor=(a.c, a.f))


def _around(first: GeoBox, grids: Sequence[GeoBox], name: str) -> GeoBox:
    """The grid with the pixels of ``first`` around ``grids``."""
    whole = full_window(first)
    for grid in grids:
        x, y = ~first.affine @ (grid.affine.c, grid.affine.f)
        rows, cols = (int(n) for n in grid.shape)
        # A turn around the globe need not be whole pixels.
        top, left, below, right = y + _HAIR, x + _HAIR, y + rows - _HAIR, x + cols - _HAIR
        whole |= Window(floor(top), floor(left), ceil(below), ceil(right))
    if max(whole.shape) > _LONGEST:
        raise SceneError(
            f"{name}: {whole.shape[0]} x {whole.shape[1]} pixels around all scenes; say with area "
            f"and input which of them belong together, or set a coarser grid.resolution"
        )
    moved = first.affine @ Affine.translation(whole.x0, whole.y0)
    return GeoBox(whole.shape, moved, first.crs)


def _common_bands(scenes: Sequence[Scene], grid: GeoBox, name: str) -> dict[str, Band]:
    first = scenes[0]
    for scene in scenes[1:]:
        scene.select(tuple(first.bands))
    bands = {}
    for key, band in first.bands.items():
        alike = [scene.bands[key] for scene in scenes]
        dtype = str(np.result_type(*(np.dtype(one.dtype) for one in alike)))
        scale, offset = band.scale, band.offset
        if len({(one.scale, one.offset) for one in alike}) > 1:
            dtype, scale, offset = "float32", 1.0, 0.0
        bands[key] = Band(f"{name}/{key}", 1, grid, dtype, scale, offset)
    return bands


def _common_units(scenes: Sequence[Scene]) -> Units | None:
    first = scenes[0]
    for scene in scenes[1:]:
        if scene.units != first.units:
            raise SceneError(
                f"scene {scene.id}: its numbers are {scene.units or 'of unknown units'}, those of "
                f"{first.id} {first.units or 'of unknown units'}; set input.units, input.scale and "
                f"input.offset so that all are the same"
            )
    return first.units


def _window_around(shape: bytes, grid: GeoBox) -> Window:
    """The pixels that the bounds of a shape (WKB) touch."""
    corners = shapely.get_coordinates(shapely.envelope(shapely.from_wkb(shape)))
    if not len(corners):
        return Window(0, 0, 0, 0)
    back = ~grid.affine
    cols, rows = back @ (corners[:, 0], corners[:, 1])
    return Window(floor(rows.min()), floor(cols.min()), ceil(rows.max()), ceil(cols.max()))
