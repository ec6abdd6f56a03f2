"""What share of each pixel a polygon covers: exact, not by the pixel's centre."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry, helper

_STEEP = 1e-9  # pixels along a row below which a piece of an edge is as good as upright


def directed_edges(rings: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """The edges ``(x0, y0, x1, y1)`` of closed rings ``(point, xy)``, in pixels, as they run.

    Holes must run against their exterior, and all exteriors alike
    (:func:`shapely.orient_polygons` sees to it).
    """
    pairs = [np.hstack([ring[:-1, :2], ring[1:, :2]]) for ring in rings if len(ring) > 1]
    return np.vstack(pairs).astype(np.float64) if pairs else np.empty((0, 4))


def coverage(edges: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Share 0..1 of each pixel of ``window`` ``(y, x)`` that lies in the polygon.

    Each edge adds the signed area between it and the right end of its rows; a running sum along the
    row makes shares of it. So one pass over the edges is exact to rounding, however small the
    polygon and however large the window is. Source: R. Levien, "Inside the fastest font renderer
    in the world" (signed area accumulation).

    Args:
        edges: Of valid polygons, as :func:`directed_edges` gives them.
        window: Of the grid that the edges are counted in.
    """
    height, width = window.shape
    sums = np.zeros((height, width + 1))
    _accumulate(edges, float(window.y0), float(window.x0), sums)
    # Exteriors run either way round: what counts is how much is enclosed.
    shares: NDArray[np.float64] = np.abs(np.cumsum(sums, axis=1)[:, :width])
    # Rounding leaves hairs outside of the polygon, in which nothing must ever be found.
    shares[shares < 1e-9] = 0.0
    return np.minimum(shares, 1.0)


@entry
def _accumulate(edges: Any, y0: float, x0: float, sums: Any) -> None:
    height, width = sums.shape[0], sums.shape[1] - 1
    for k in range(len(edges)):
        ax, ay = edges[k, 0] - x0, edges[k, 1] - y0
        bx, by = edges[k, 2] - x0, edges[k, 3] - y0
        sign = 1.0
        if ay > by:
            ax, ay, bx, by = bx, by, ax, ay
            sign = -1.0
        if ay == by or by <= 0 or ay >= height or min(ax, bx) >= width:
            continue
        slope = (bx - ax) / (by - ay)
        first, last = max(0, int(np.floor(ay))), min(height, int(np.ceil(by)))
        for row in range(first, last):
            top, bottom = max(ay, float(row)), min(by, row + 1.0)
            one, two = ax + (top - ay) * slope, ax + (bottom - ay) * slope
            _along(sums[row], min(one, two), max(one, two), sign * (bottom - top), width)


@helper
def _along(line: Any, left: float, right: float, rise: float, width: int) -> None:
    """A piece of an edge within one row: what it adds to the pixels that it crosses."""
    if right <= 0:
        line[0] += rise
        return
    if left >= width:
        return
    if right - left < _STEEP:
        middle = max((left + right) / 2, 0.0)
        cell = min(int(middle), width - 1)
        inner = rise * (middle - cell)
        line[cell] += rise - inner
        line[cell + 1] += inner
        return
    per = rise / (right - left)
    if left < 0:
        line[0] += per * -left
        left = 0.0
    right = min(right, float(width))
    cell = int(left)
    while cell < right:
        a, b = max(left, float(cell)), min(right, cell + 1.0)
        piece = per * (b - a)
        inner = piece * ((a + b) / 2 - cell)
        line[cell] += piece - inner
        line[cell + 1] += inner
        cell += 1
