"""How far pixels are from the nearest one that is not valid: exact, and the same block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry
from geoseg.ops.validity import FARTHEST


def distance_to_invalid(valid: NDArray[np.bool_], farthest: int = FARTHEST) -> NDArray[np.uint8]:
    """Euclidean distance between centres to the nearest pixel that is not valid, in whole pixels.

    Rounded down and at most ``farthest``: a pixel of ``d`` has none nearer than ``d``. Pixels that
    are not valid are 0, valid ones at least 1. What lies beyond the array does not count.

    In two passes, along columns and along rows (Felzenszwalb & Huttenlocher 2012,
    doi:10.4086/toc.2012.v008a019), on squares of whole numbers: nothing is rounded on the way.

    Args:
        valid: ``(y, x)``.
        farthest: 1..254.
    """
    if not 1 <= farthest <= 254:
        raise ValueError(f"farthest is {farthest}, expected 1 to 254")
    out = np.empty(valid.shape, np.uint8)
    _fill(np.ascontiguousarray(valid), farthest, out)
    return out


@entry
def _fill(valid: Any, farthest: int, out: Any) -> None:
    height, width = valid.shape
    columns = np.empty((height, width), np.uint8)
    _along_columns(valid, farthest, columns)
    limit = farthest * farthest
    for y in range(height):
        if columns[y].min() == farthest:
            out[y, :] = farthest
            continue
        for x in range(width):
            best: Any = min(np.int64(columns[y, x]) ** 2, limit)
            # Farther along the row than the best so far, nothing can be nearer.
            step = 1
            while step * step < best:
                if x >= step:
                    best = min(best, step * step + np.int64(columns[y, x - step]) ** 2)
                if x + step < width:
                    best = min(best, step * step + np.int64(columns[y, x + step]) ** 2)
                step += 1
            out[y, x] = np.uint8(np.floor(np.sqrt(best)))


@entry
def _along_columns(valid: Any, farthest: int, columns: Any) -> None:
    """Distance to the nearest invalid pixel of the same column, at most ``farthest``."""
    height, width = valid.shape
    for y in range(height):
        for x in range(width):
            above = columns[y - 1, x] if y else farthest
            columns[y, x] = min(above + 1, farthest) if valid[y, x] else 0
    for y in range(height - 2, -1, -1):
        for x in range(width):
            columns[y, x] = min(np.int64(columns[y, x]), columns[y + 1, x] + 1)
