"""Where the pixels of a map's tile lie in a raster: its rows and columns, exact to an eighth of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

Floats = NDArray[np.floating[Any]]

_CELL: Final = 16  # pixels between places that are transformed; those between are interpolated
_CLOSE: Final = 0.125  # of a pixel; what gdalwarp allows itself
_COARSER: Final = 1.42  # an overview may have pixels so many times those of the tile


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a raster lies: CRS, transform, and shape ``(y, x)``."""

    wkt: str
    affine: Affine
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the middles of a tile's pixels lie in a raster.

    Attributes:
        rows, cols: ``(y, x)``, in pixels from the corner of the raster; not a number where that is
            far beside the raster.
        step: How many pixels of the raster one of the tile is wide.
    """

    rows: Floats
    cols: Floats
    step: float


def places_of(bounds: tuple[float, float, float, float], side: int, ground: Ground) -> Places:
    """Find the pixels of a tile in a raster.

    Places between those that are transformed are interpolated; where that is not close enough, as
    on tiles that show half of the world, each pixel that may lie on the raster is transformed.

    Args:
        bounds: West, south, east and north of the tile in metres of Web Mercator.
        side: Of the tile in pixels, a multiple of 16.
        ground: Of the raster.
    """
    edges: Floats = np.arange(0, side + 1, _CELL, dtype=np.float64)
    nodes = _crossing(bounds, side, edges, ground)
    cells = _cells(nodes, _crossing(bounds, side, edges[:-1] + _CELL / 2, ground))
    near = cells.near(ground.shape)
    step = _step(nodes, near)
    bad = near & ~(cells.error <= _CLOSE * max(1.0, step))
    weights = _weights(side)
    rows, cols = (weights @ np.nan_to_num(p, posinf=0, neginf=0) @ weights.T for p in nodes)
    if not near.all():
        beside = _spread(~near)
        rows[beside] = cols[beside] = np.nan
    if bad.any():
        at = np.nonzero(_spread(bad))
        rows[at], cols[at] = _found(bounds, side, at[0] + 0.5, at[1] + 0.5, ground)
    return Places(rows, cols, step)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Squares of a tile: least and greatest row and column of each, and how far off the middle is.

    All of them ``(y, x)``; the error is infinite where a place is not known.
    """

    least: tuple[Floats, Floats]
    most: tuple[Floats, Floats]
    error: Floats

    def near(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Which of them may lie on a raster."""
        room = np.where(np.isfinite(self.error), 2 * self.error, 0) + 1
        found = np.ones(self.error.shape, np.bool_)
        for least, most, count in zip(self.least, self.most, shape, strict=True):
            found &= (least - room <= count) & (most + room >= 0)
        known = np.isfinite(self.least[0])
        return np.where(np.isfinite(self.error), found, known)


def _cells(nodes: tuple[Floats, Floats], middles: tuple[Floats, Floats]) -> _Cells:
    corners = [
        [
            plane[y, x]
            for y in (slice(None, -1), slice(1, None))
            for x in (slice(None, -1), slice(1, None))
        ]
        for plane in nodes
    ]
    with np.errstate(invalid="ignore"):
        off = [
            np.abs(np.mean(of, axis=0) - middle)
            for of, middle in zip(corners, middles, strict=True)
        ]
        known = [np.array([*of, middle]) for of, middle in zip(corners, middles, strict=True)]
    kept = [np.where(np.isfinite(one), one, np.nan) for one in known]
    sides = [
        tuple(pick(np.where(np.isnan(one), fill, one), axis=0) for one in kept)
        for pick, fill in ((np.min, np.inf), (np.max, -np.inf))
    ]
    error = np.maximum(*(np.where(np.isfinite(one), one, np.inf) for one in off))
    return _Cells(sides[0], sides[1], error)


def _spread(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of cells."""
    return cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)


def level_for(step: float, factors: Sequence[float]) -> int:
    """Which of some overviews suits a tile: the coarsest that is not much coarser than the tile.

    Args:
        step: See :class:`Places`.
        factors: How many pixels of the raster one of each overview is wide, increasing; the
            first is the raster itself.
    """
    fit = [index for index, factor in enumerate(factors) if factor <= step * _COARSER]
    return fit[-1] if fit else 0


def _crossing(
    bounds: tuple[float, float, float, float], side: int, along: Floats, ground: Ground
) -> tuple[Floats, Floats]:
    """Rows and columns in the raster of the crossings of lines at ``along``, both ways."""
    down, right = np.meshgrid(along, along, indexing="ij")
    return _found(bounds, side, down, right, ground)


def _found(
    bounds: tuple[float, float, float, float], side: int, down: Floats, right: Floats,
    ground: Ground,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Rows and columns in the raster of places in the tile, given in its pixels."""
    west, south, east, north = bounds
    x, y = _from_mercator(ground.wkt).transform(
        west + (east - west) * right / side, north - (north - south) * down / side
    )
    back = ~ground.affine
    with np.errstate(invalid="ignore"):
        return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


def _step(nodes: tuple[Floats, Floats], near: NDArray[np.bool_]) -> float:
    """Where the raster is, if it is anywhere; else of the whole tile."""
    rows, cols = nodes
    with np.errstate(invalid="ignore"):
        down = np.hypot(np.diff(rows, axis=0)[:, :-1], np.diff(cols, axis=0)[:, :-1])
        right = np.hypot(np.diff(rows, axis=1)[:-1], np.diff(cols, axis=1)[:-1])
    some = near if near.any() else np.ones_like(near)
    known = np.concatenate([down[some], right[some]])
    known = known[np.isfinite(known)]
    return float(np.median(known)) / _CELL if known.size else 1.0


@lru_cache(maxsize=4)
def _weights(side: int) -> Floats:
    """What each node counts for each pixel of a line, ``(pixel, node)``."""
    nodes = side // _CELL + 1
    at = (np.arange(side) + 0.5) / _CELL
    before = at.astype(np.int64)
    weights = np.zeros((side, nodes))
    weights[np.arange(side), before] = 1 - (at - before)
    weights[np.arange(side), before + 1] = at - before
    return weights


@lru_cache(maxsize=64)
def _from_mercator(wkt: str) -> Transformer:
    return Transformer.from_crs(3857, wkt, always_xy=True)
