"""Lengths and areas of rings whose edges run anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.metric import Metric


@helper
def _between(field: Any, y: float, x: float) -> Any:
    """The value of a mesh between its nodes."""
    i, j = min(int(y), field.shape[0] - 2), min(int(x), field.shape[1] - 2)
    y, x = y - i, x - j
    upper = field[i, j] * (1 - x) + field[i, j + 1] * x
    lower = field[i + 1, j] * (1 - x) + field[i + 1, j + 1] * x
    return upper * (1 - y) + lower * y


@entry
def _measure_rings(rings: Any, vertices: Any, mesh: Any, lengths: Any, areas: Any) -> None:
    """Metres around rings, and pixels within; holes have a negative area.

    Both are summed from the pivot on, which depends on no block. Each edge is measured at its
    middle.
    """
    down, right, skew, spacing = mesh
    for k in range(len(rings)):
        ring = rings[k]
        count = ring.stop - ring.begin
        top, left = vertices[ring.pivot, 0], vertices[ring.pivot, 1]
        length = area = 0.0
        a = ring.pivot
        for _ in range(count):
            b = a + 1 if a + 1 < ring.stop else ring.begin
            dy, dx = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1]
            y = 0.5 * (vertices[a, 0] + vertices[b, 0]) / spacing[0]
            x = 0.5 * (vertices[a, 1] + vertices[b, 1]) / spacing[1]
            one, other = dy * _between(down, y, x), dx * _between(right, y, x)
            cross = 2 * dy * dx * _between(skew, y, x)
            length += np.sqrt(max(one * one + cross + other * other, 0.0))
            area += (vertices[a, 0] - top) * dx - (vertices[a, 1] - left) * dy
            a = b
        lengths[k], areas[k] = length, 0.5 * area


def measure_shaped(
    rings: NDArray[np.void], vertices: NDArray[np.float64], metric: Metric, features: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Metres around features, and their area in counts of ``metric.unit``, both ``(n,)``.

    A feature is taken to be as dense as its pixels are on average.

    Args:
        rings: Of :data:`geoseg.ops.rings.RING`.
        vertices: What they refer to.
        metric: How large pixels are.
        features: ``(n,)`` of :data:`geoseg.ops.regions.REGION`.
    """
    lengths, areas = np.empty(len(rings)), np.empty(len(rings))
    down, right = (np.ascontiguousarray(metric.steps[..., k]) for k in (0, 1))
    mesh = down, right, np.ascontiguousarray(metric.skew), metric.spacing
    _measure_rings(rings, vertices, mesh, lengths, areas)
    perimeter = np.bincount(rings["feature"], lengths, len(features)).astype(np.float64)
    pixels = np.bincount(rings["feature"], areas, len(features))
    written = np.rint(pixels / features["pixels"] * features["area"]).astype(np.int64)
    return perimeter, written
