"""Where the pixels of a map's tile lie in a raster: its rows and columns, exact to an eighth of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

Floats = NDArray[np.float64]

_CELL: Final = 16  # pixels between places that are transformed; those between are interpolated
_CLOSE: Final = 0.125  # of a pixel; what gdalwarp allows itself
_COARSER: Final = 1.42  # an overview may have pixels so many times those of the tile


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the middles of a tile's pixels lie in a raster.

    Attributes:
        rows, cols: ``(y, x)``, in pixels from the corner of the raster; not finite where the
            raster's CRS has no such place.
        step: How many pixels of the raster one of the tile is wide.
    """

    rows: Floats
    cols: Floats
    step: float


def places_of(
    bounds: tuple[float, float, float, float], side: int, wkt: str, affine: Affine
) -> Places:
    """Find the pixels of a tile in a raster.

    Args:
        bounds: West, south, east and north of the tile in metres of Web Mercator.
        side: Of the tile in pixels, a multiple of 16.
        wkt: CRS of the raster.
        affine: Its transform.
    """
    edges = np.arange(0, side + 1, _CELL, dtype=np.float64)
    nodes = _found(bounds, side, edges, edges, wkt, affine)
    step = _step(nodes)
    if np.isfinite(nodes).all():
        weights = _weights(side)
        rows, cols = (weights @ plane @ weights.T for plane in nodes)
        some = np.arange(_CELL // 2, side, 4 * _CELL)
        seen: Floats = some + 0.5
        exact = _found(bounds, side, seen, seen, wkt, affine)
        at = np.ix_(some, some)
        error = max(np.abs(rows[at] - exact[0]).max(), np.abs(cols[at] - exact[1]).max())
        if error <= _CLOSE * max(1.0, step):
            return Places(rows, cols, step)
    middles: Floats = np.arange(side) + 0.5
    rows, cols = _found(bounds, side, middles, middles, wkt, affine)
    return Places(rows, cols, step)


def level_for(step: float, factors: Sequence[float]) -> int:
    """Which of some overviews suits a tile: the coarsest that is not much coarser than the tile.

    Args:
        step: See :class:`Places`.
        factors: How many pixels of the raster one of each overview is wide, increasing; the
            first is the raster itself.
    """
    fit = [index for index, factor in enumerate(factors) if factor <= step * _COARSER]
    return fit[-1] if fit else 0


def _found(
    bounds: tuple[float, float, float, float], side: int, down: Floats, right: Floats, wkt: str,
    affine: Affine,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Rows and columns in the raster of places in the tile, given in its pixels."""
    west, south, east, north = bounds
    xs, ys = np.meshgrid(west + (east - west) * right / side, north - (north - south) * down / side)
    x, y = _from_mercator(wkt).transform(xs, ys)
    back = ~affine
    with np.errstate(invalid="ignore"):
        return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


def _step(nodes: tuple[Floats, Floats]) -> float:
    rows, cols = (np.where(np.isfinite(plane), plane, np.nan) for plane in nodes)
    with np.errstate(invalid="ignore"):
        down = np.hypot(np.diff(rows, axis=0), np.diff(cols, axis=0))
        right = np.hypot(np.diff(rows, axis=1), np.diff(cols, axis=1))
    known = np.concatenate([down.ravel(), right.ravel()])
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
