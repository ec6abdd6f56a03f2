"""Nodes of SQLite's R*Tree, packed along a Hilbert curve instead of grown box by box.

Sources: https://www.sqlite.org/rtree.html and the head of rtree.c; Kamel & Faloutsos 1993
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper

Boxes = NDArray[np.float32]
"""``(n, 4)``: least and greatest x, least and greatest y, in the order of the tree."""

NODE_BYTES = 1228
"""Of a node of two dimensions on pages of 4096 bytes: 51 cells."""

FANOUT = 48
"""Cells of a node: all but three, which leaves room for a few more."""

_CELL = np.dtype([("id", ">i8"), ("box", ">f4", (4,))])
_BITS = 16


@helper
def _hilbert(x: int, y: int) -> int:
    """How far along the curve a cell of a square of ``2**_BITS`` lies (Warren 2012, 16-8)."""
    along, side = 0, 1 << (_BITS - 1)
    while side:
        right, upper = int((x & side) != 0), int((y & side) != 0)
        along += side * side * ((3 * right) ^ upper)
        x, y = x & (side - 1), y & (side - 1)
        if not upper:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        side >>= 1
    return along


@entry
def _along_curve(boxes: Any, origin: Any, scale: Any, out: Any) -> None:
    for k in range(len(out)):
        x = (0.5 * (np.float64(boxes[k, 0]) + boxes[k, 1]) - origin[0]) * scale[0]
        y = (0.5 * (np.float64(boxes[k, 2]) + boxes[k, 3]) - origin[1]) * scale[1]
        out[k] = _hilbert(int(x), int(y))


def enclose(boxes: NDArray[np.float64]) -> Boxes:
    """Boxes ``(n, 4)`` of west, south, east, north in single precision, rounded outwards."""
    sides = boxes[:, [0, 2, 1, 3]]
    rounded = sides.astype(np.float32)
    lower, upper = rounded[:, ::2], rounded[:, 1::2]
    np.nextafter(lower, np.float32(-np.inf), out=lower, where=lower > sides[:, ::2])
    np.nextafter(upper, np.float32(np.inf), out=upper, where=upper < sides[:, 1::2])
    return rounded


def hilbert_order(boxes: Boxes) -> NDArray[np.int64]:
    """Which boxes come first along a Hilbert curve through their middles."""
    if not len(boxes):
        return np.empty(0, np.int64)
    sides = boxes.astype(np.float64)
    low, high = sides[:, ::2].min(axis=0), sides[:, 1::2].max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    place = np.empty(len(boxes), np.int64)
    _along_curve(boxes, low, ((1 << _BITS) - 1) / span, place)
    return np.argsort(place, kind="stable")


def node_of_cells(cells: int) -> NDArray[np.int64]:
    """To which node each of so many cells goes, evenly filled: numbers from 0."""
    nodes = -(-cells // FANOUT)
    begins = np.arange(nodes + 1) * cells // max(nodes, 1)
    return np.repeat(np.arange(nodes), np.diff(begins))


def pack_nodes(ids: NDArray[np.int64], boxes: Boxes) -> tuple[NDArray[np.uint8], Boxes]:
    """Nodes of cells, in order.

    Args:
        ids: ``(n,)`` rows or nodes that the cells stand for; at least one.
        boxes: Theirs.

    Returns:
        Nodes ``(m, NODE_BYTES)`` as :func:`node_of_cells` numbers them, and what each encloses.
    """
    node = node_of_cells(len(ids))
    sizes = np.bincount(node)
    begins = np.cumsum(sizes) - sizes
    cells = np.zeros((len(sizes), FANOUT), _CELL)
    place = np.arange(len(ids)) - begins[node]
    cells["id"][node, place] = ids
    cells["box"][node, place] = boxes
    nodes = np.zeros((len(sizes), NODE_BYTES), np.uint8)
    nodes[:, 2:4] = sizes.astype(">u2").view(np.uint8).reshape(-1, 2)
    nodes[:, 4 : 4 + FANOUT * _CELL.itemsize] = cells.view(np.uint8)
    around = np.empty((len(sizes), 4), np.float32)
    around[:, ::2] = np.minimum.reduceat(boxes[:, ::2], begins)
    around[:, 1::2] = np.maximum.reduceat(boxes[:, 1::2], begins)
    return nodes, around


def set_depth(root: NDArray[np.uint8], depth: int) -> None:
    """Note in the root node how many levels there are below it."""
    root[:2] = np.array([depth], ">u2").view(np.uint8)
