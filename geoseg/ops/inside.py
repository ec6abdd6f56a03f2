"""Which pixel centres lie inside a polygon, alike for any window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window


def edges_of(rings: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """The edges ``(x0, y0, x1, y1)`` of closed rings ``(point, xy)`` in pixels, with y0 < y1.

    Every edge runs downwards, so that polygons that share one agree about it to the last bit.
    """
    pairs = [np.hstack([ring[:-1, :2], ring[1:, :2]]) for ring in rings if len(ring) > 1]
    if not pairs:
        return np.empty((0, 4))
    edges: NDArray[np.float64] = np.vstack(pairs).astype(np.float64)
    edges = edges[edges[:, 1] != edges[:, 3]]
    up = edges[:, 1] > edges[:, 3]
    edges[up] = edges[up][:, [2, 3, 0, 1]]
    return edges


def inside(edges: NDArray[np.float64], window: Window) -> NDArray[np.bool_]:
    """Pixels ``(y, x)`` of ``window`` whose centre is inside (even-odd rule).

    A centre on an edge belongs to the polygon on its right or below, so neighbours that share an
    edge neither overlap nor leave a gap. Crossings are computed in the coordinates of the whole
    grid: the answer for a pixel does not depend on the window.
    """
    height, width = window.shape
    first = np.maximum(np.ceil(edges[:, 1] - 0.5), window.y0).astype(np.int64)
    last = np.minimum(np.ceil(edges[:, 3] - 0.5), window.y1).astype(np.int64)
    near = (last > first) & (np.minimum(edges[:, 0], edges[:, 2]) < window.x1)
    edges, first, count = edges[near], first[near], (last - first)[near]
    x0, y0, x1, y1 = np.repeat(edges, count, axis=0).T
    start = np.repeat(np.cumsum(count) - count, count)
    rows = np.repeat(first, count) + np.arange(len(start)) - start
    crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    columns = np.clip(np.ceil(crossing - 0.5) - window.x0, 0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(toggles, (rows - window.y0, columns), 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(np.bool_)
