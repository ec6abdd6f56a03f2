"""What geometries span, read from their WKB without making objects of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.kernels import entry, helper

SIDES = ("xmin", "ymin", "xmax", "ymax")
"""The columns of a box, in their order."""

_POINT, _LINE, _POLYGON, _MULTIPOINT, _COLLECTION = 1, 2, 3, 4, 7


@helper
def _integer(wkb: Any, at: int) -> int:
    value = 0
    for byte in range(4):
        value |= int(wkb[at + byte]) << (8 * byte)
    return value


@helper
def _add_points(wkb: Any, at: int, count: int, box: Any, scratch: Any) -> int:
    """Widen ``box`` by points; returns where they end."""
    point, raw = scratch
    xmin, ymin, xmax, ymax = box[0], box[1], box[2], box[3]
    for _ in range(count):
        for byte in range(16):
            raw[byte] = wkb[at + byte]
        x, y = point[0], point[1]
        # POINT EMPTY has NaN, which spans nothing.
        if not (np.isnan(x) or np.isnan(y)):
            xmin, xmax = min(xmin, x), max(xmax, x)
            ymin, ymax = min(ymin, y), max(ymax, y)
        at += 16
    box[0], box[1], box[2], box[3] = xmin, ymin, xmax, ymax
    return at


@entry
def _find_boxes(wkb: Any, offsets: Any, boxes: Any, scratch: Any) -> int:
    """Fill ``boxes``; returns the first geometry that is of another kind, or -1."""
    for k in range(len(offsets) - 1):
        at, left = offsets[k], int(offsets[k] < offsets[k + 1])
        while left:
            kind = _integer(wkb, at + 1)
            if wkb[at] != 1 or not _POINT <= kind <= _COLLECTION:
                return k
            at, left = at + 5, left - 1
            if kind == _POINT:
                at = _add_points(wkb, at, 1, boxes[k], scratch)
                continue
            count = _integer(wkb, at)
            at += 4
            if kind >= _MULTIPOINT:
                left += count
            elif kind == _LINE:
                at = _add_points(wkb, at, count, boxes[k], scratch)
            else:
                for _ in range(count):
                    at = _add_points(wkb, at + 4, _integer(wkb, at), boxes[k], scratch)
    return -1


def wkb_boxes(wkb: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """West, south, east and north of each geometry ``(n, 4)``; NaN where it is empty.

    Args:
        wkb: Bytes of the geometries, one after the other: little endian, two dimensions.
        offsets: Where each begins and the last one ends ``(n + 1,)``; null geometries have no
            bytes.

    Raises:
        InputError: A geometry is of another kind.
    """
    boxes = np.tile(np.array([np.inf, np.inf, -np.inf, -np.inf]), (len(offsets) - 1, 1))
    point = np.empty(2)
    wkb = wkb.view()
    wkb.flags.writeable = False  # one kernel for what is Arrow's and for what is not
    stranger = _find_boxes(wkb, offsets, boxes, (point, point.view(np.uint8)))
    if stranger >= 0:
        raise InputError(f"geometry {stranger} is not little-endian WKB of two dimensions")
    boxes[boxes[:, 0] > boxes[:, 2]] = np.nan
    return boxes
