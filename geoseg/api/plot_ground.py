"""Where plots lie on the pixels of layers of loss, and which blocks hold any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from geoseg.api.changes.maps import Mask
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.grids import finest
from geoseg.io.loss_layers import LossLayer
from geoseg.io.plot_files import Plot
from geoseg.io.plot_shapes import swapped
from geoseg.ops.alerts.rules import to_date
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.plot_risk import MAX_GAP
from geoseg.steps.plots import CountPlots, ForestThen, Ground

_BLOCK: Final = 512
_ROOM: Final = 32  # pixels around all plots
_STEP_DEGREES: Final = 0.01  # edges of outlines bend when they are projected


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Plots on one grid.

    Attributes:
        plots: All of them.
        layers: Of loss.
        mask: Forest at the cut-off.
        grid: Pixels of the finest layer, as far as plots reach.
        shapes: ``(part,)`` polygons in pixels.
        owner: ``(part,)`` which plot each belongs to.
        reached: Plots that some layer reaches.
        windows: Blocks that hold plots.
    """

    plots: Sequence[Plot]
    layers: Sequence[LossLayer]
    mask: Mask | None
    grid: GeoBox
    shapes: NDArray[np.object_]
    owner: NDArray[np.int64]
    reached: frozenset[int]
    windows: tuple[Window, ...]
    metric: Metric

    def ground(self, cut_off: int | None) -> Ground:
        """The layers, opened."""
        forest = None
        if self.mask is not None:
            forest = ForestThen(self.mask.raster.on(self.grid), self.mask.codes)
        day = None if cut_off is None else to_date(cut_off)
        telling = [layer.covers(day, MAX_GAP) for layer in self.layers]
        return Ground([layer.on(self.grid) for layer in self.layers], telling, cut_off, forest)

    def counting(self, cut_off: int | None) -> CountPlots:
        """What counts a block."""
        tree = shapely.STRtree(self.shapes)
        return CountPlots(self.ground(cut_off), self.metric, tree, self.shapes, self.owner)

    def close(self, work: CountPlots) -> None:
        """Close what :meth:`counting` opened."""
        close_ground(work.ground)


def close_ground(ground: Ground) -> None:
    """Close the files of the layers."""
    for reader in ground.losses:
        reader.close()
    if ground.forest is not None:
        ground.forest.map.close()


def place_plots(
    path: Path,
    plots: Sequence[Plot],
    layers: Sequence[LossLayer],
    mask: Mask | None,
    *,
    swap: bool,
) -> Placed:
    """Lay plots on the pixels of the finest layer.

    Raises:
        InputError: No plot lies on any layer; says so if they would with x and y swapped.
    """
    shapes = np.array([plot.shape for plot in plots], object)
    reached = _reached(shapes, layers)
    if not reached:
        other = "" if swap or not _reached(_swapped(shapes), layers) else (
            ": longitude and latitude seem to be swapped, for the other way round they do; try --swap"
        )  # fmt: skip
        raise InputError(f"{path}: none of {len(plots)} plots lies on a layer of loss{other}")
    base = finest(layer.grid for layer in layers)
    parts, owner = _in_pixels(shapes, base)
    keep = np.isin(owner, sorted(reached))
    parts, owner = parts[keep], owner[keep]
    box = shapely.total_bounds(parts)
    # Room for the maps, which show what is around.
    sides = np.diff(shapely.bounds(parts).reshape(-1, 2, 2), axis=1)
    room = _ROOM + int(sides.max() / 2)
    x0, y0 = (int(np.floor(v)) - room for v in box[:2])
    x1, y1 = (int(np.ceil(v)) + room for v in box[2:])
    moved = shapely.transform(parts, lambda xy: xy - np.array([x0, y0]))
    corner = base.affine @ Affine.translation(x0, y0)
    grid = GeoBox((y1 - y0, x1 - x0), corner, base.crs)
    windows = _windows(moved, grid)
    return Placed(
        plots, layers, mask, grid, moved, owner, frozenset(reached), windows, measure_grid(grid)
    )


def _reached(shapes: NDArray[Any], layers: Sequence[LossLayer]) -> set[int]:
    """Which plots touch a layer."""
    found: set[int] = set()
    for layer in layers:
        parts, owner = _in_pixels(shapes, layer.grid)
        height, width = layer.grid.shape
        x0, y0, x1, y1 = shapely.bounds(parts).T if len(parts) else np.empty((4, 0))
        hit = (x1 > 0) & (y1 > 0) & (x0 < width) & (y0 < height)
        found.update(owner[hit].tolist())
    return found


def _swapped(shapes: NDArray[Any]) -> NDArray[Any]:
    """Plots as they would lie with latitude and longitude swapped; those that cannot are left out."""
    other = swapped(shapes)
    bounds = shapely.bounds(other)
    fits = (np.abs(bounds[:, [1, 3]]) <= 90).all(axis=1)
    kept = np.full(len(other), None, object)
    kept[fits] = other[fits]
    return kept


def _in_pixels(shapes: NDArray[Any], grid: GeoBox) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Oriented polygons in pixels of a grid, and which plot each is of.

    Longitudes of a raster may be counted from anywhere: there, each plot lies at each turn of the
    globe that the raster reaches.
    """
    assert grid.crs is not None  # noqa: S101 - rasters without one have been refused
    there = np.flatnonzero(~shapely.is_missing(shapes))
    dense = shapely.segmentize(shapely.orient_polygons(shapes[there]), _STEP_DEGREES)
    # One by one, as a plot on both sides of the antimeridian lies in two places.
    pieces, of = shapely.get_parts(dense, return_index=True)
    owner = there[of]
    change = Transformer.from_crs("OGC:CRS84", grid.crs.proj, always_xy=True)
    placed = shapely.transform(pieces, lambda xy: _pixels(xy, change, ~grid.affine))
    good = np.isfinite(shapely.bounds(placed)).all(axis=1)
    placed, owner = placed[good], owner[good]
    if not grid.crs.geographic:
        return placed, owner
    round_ = abs(360.0 / grid.affine.a)
    x0, _, x1, _ = shapely.bounds(placed).T if len(placed) else np.empty((4, 0))
    width = float(grid.shape[1])
    nearest = np.rint((width / 2 - (x0 + x1) / 2) / round_)
    parts, owners = [], []
    for turn in (-1, 0, 1):
        at = (nearest + turn) * round_
        here = np.full(len(at), turn == 0) | ((x1 + at > 0) & (x0 + at < width))
        parts += [_along(p, d) for p, d in zip(placed[here], at[here], strict=True)]
        owners += owner[here].tolist()
    made = np.empty(len(parts), object)
    made[:] = parts
    return made, np.array(owners, np.int64)


def _along(shape: BaseGeometry, columns: float) -> BaseGeometry:
    return shapely.transform(shape, lambda xy: xy + np.array([columns, 0.0])) if columns else shape


def _pixels(xy: NDArray[Any], change: Transformer, back: Affine) -> NDArray[Any]:
    x, y = change.transform(xy[:, 0], xy[:, 1])
    return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])


def _windows(parts: NDArray[Any], grid: GeoBox) -> tuple[Window, ...]:
    """Blocks that the boxes around the plots touch, in their order."""
    height, width = grid.shape
    tiles: set[tuple[int, int]] = set()
    for x0, y0, x1, y1 in shapely.bounds(parts):
        rows = range(int(y0) // _BLOCK, int(y1) // _BLOCK + 1)
        columns = range(int(x0) // _BLOCK, int(x1) // _BLOCK + 1)
        tiles.update((row, column) for row in rows for column in columns)
    return tuple(
        Window(
            row * _BLOCK,
            column * _BLOCK,
            min(height, (row + 1) * _BLOCK),
            min(width, (column + 1) * _BLOCK),
        )
        for row, column in sorted(tiles)
    )
