"""How much ground each class covers, counted from pixels on the ellipsoid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.metric import Metric

_ROWS = 256  # areas of pixels are held for so many rows at once


def class_areas(classes: NDArray[np.uint8], window: Window, metric: Metric) -> dict[int, float]:
    """Square metres of each code in ``classes`` ``(y, x)``, which lies at ``window``."""
    total = np.zeros(256)
    for top in range(0, window.shape[0], _ROWS):
        rows = classes[top : top + _ROWS]
        strip = Window(window.y0 + top, window.x0, window.y0 + top + len(rows), window.x1)
        pixels = pixel_areas(strip, metric)
        total += np.bincount(rows.ravel(), weights=pixels.ravel(), minlength=256)
    return {int(code): float(total[code]) for code in np.flatnonzero(total)}


def pixel_areas(window: Window, metric: Metric) -> NDArray[np.float64]:
    """Square metres of each pixel of a window, ``(y, x)``."""
    at = (np.arange(window.x0, window.x1) + 0.5) / metric.spacing[1]
    node = np.minimum(at.astype(np.int64), metric.density.shape[1] - 2)
    part = at - node
    dense = metric.row_density(window.y0, window.y1) * metric.unit
    areas: NDArray[np.float64] = dense[:, node] * (1 - part) + dense[:, node + 1] * part
    return areas
