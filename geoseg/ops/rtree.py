"""Nodes of SQLite's R*Tree, packed along a Hilbert curve instead of grown box by box.

Sources: https://www.sqlite.org/rtree.html and the head of rtree.c; Kamel & Faloutsos 1993
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import uncounted_entry, uncounted_helper

Boxes = NDArray[np.float32]
"""``(n, 4)``: least and greatest x, least and greatest y, in the order of the tree."""

NODE_BYTES = 1228
"""Of a node of two dimensions on pages of 4096 bytes: 51 cells."""

FANOUT = 48
"""Cells of a node: all but three, which leaves room for a few more."""

_NODE_HEAD = 4  # bytes before the cells
_BITS = 16  # of each coordinate along the curve
_DIGIT = 11  # bits of a place along the curve that are sorted by at once


@uncounted_helper
def _spread(value: Any) -> Any:
    """Sixteen bits, a zero before each."""
    value = (value | (value << 8)) & 0x00FF00FF
    value = (value | (value << 4)) & 0x0F0F0F0F
    value = (value | (value << 2)) & 0x33333333
    return (value | (value << 1)) & 0x55555555


@uncounted_helper
def _hilbert(x: Any, y: Any) -> Any:
    """How far along the curve a cell of a square of ``2**16`` lies.

    All levels at once: what each does to those below is a permutation, and they are joined by
    doubling, as carries in a fast adder (Warren 2012, 16-3).
    """
    a, b = x ^ y, 0xFFFF ^ (x ^ y)
    c, d = 0xFFFF ^ (x | y), x & (y ^ 0xFFFF)
    swap, same = a | (b >> 1), (a >> 1) ^ a
    low, high = ((c >> 1) ^ (b & (d >> 1))) ^ c, ((a & (c >> 1)) ^ (d >> 1)) ^ d
    for shift in (2, 4, 8):
        a, b, c, d = swap, same, low, high
        if shift < 8:
            swap = (a & (a >> shift)) ^ (b & (b >> shift))
            same = (a & (b >> shift)) ^ (b & ((a ^ b) >> shift))
        low ^= (a & (c >> shift)) ^ (b & (d >> shift))
        high ^= (b & (c >> shift)) ^ ((a ^ b) & (d >> shift))
    a, b = low ^ (low >> 1), high ^ (high >> 1)
    first = x ^ y
    second = b | (0xFFFF ^ (first | a))
    return (_spread(second) << 1) | _spread(first)


@uncounted_entry
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
    low, high = (
        side.astype(np.float64) for side in (boxes[:, ::2].min(axis=0), boxes[:, 1::2].max(axis=0))
    )
    span = np.where(high > low, high - low, 1.0)
    place = np.empty(len(boxes), np.uint32)
    _along_curve(boxes, low, ((1 << _BITS) - 1) / span, place)
    order = np.arange(len(boxes))
    others, held = np.empty_like(place), np.empty_like(order)
    starts = np.empty(1 << _DIGIT, np.int64)
    for shift in range(0, 2 * _BITS, _DIGIT):
        _sort_by_digit(place, order, shift, starts, others, held)
        place, others, order, held = others, place, held, order
    return order


@uncounted_entry
def _sort_by_digit(
    places: Any, order: Any, shift: Any, starts: Any, sorted_places: Any, sorted_order: Any
) -> None:
    """One pass of a radix sort: rows with the same digit stay in their order."""
    mask = len(starts) - 1
    starts[:] = 0
    for k in range(len(places)):
        starts[(places[k] >> shift) & mask] += 1
    total = 0
    for digit in range(len(starts)):
        count = starts[digit]
        starts[digit] = total
        total += count
    for k in range(len(places)):
        digit = (places[k] >> shift) & mask
        at = starts[digit]
        starts[digit] = at + 1
        sorted_places[at], sorted_order[at] = places[k], order[k]


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
    sizes = np.bincount(node_of_cells(len(ids)))
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    nodes = np.zeros((len(sizes), NODE_BYTES), np.uint8)
    around = np.empty((len(sizes), 4), np.float32)
    boxes = np.ascontiguousarray(boxes)
    _fill_nodes(ids, boxes, boxes.view(np.int32), begins, nodes, around)
    return nodes, around


@uncounted_helper
def _put(out: Any, at: Any, value: Any, size: Any) -> Any:
    for k in range(size):
        out[at + k] = (value >> (8 * (size - 1 - k))) & 255
    return at + size


@uncounted_entry
def _fill_nodes(ids: Any, boxes: Any, bits: Any, begins: Any, nodes: Any, around: Any) -> None:
    """Write cells into nodes; ``bits`` are those of ``boxes``."""
    for p in range(len(nodes)):
        node, box, first = nodes[p], around[p], begins[p]
        _put(node, 2, begins[p + 1] - first, 2)
        at = _NODE_HEAD
        for side in range(4):
            box[side] = boxes[first, side]
        for k in range(first, begins[p + 1]):
            at = _put(node, at, ids[k], 8)
            for side in range(4):
                at = _put(node, at, bits[k, side], 4)
                if side & 1:
                    box[side] = max(box[side], boxes[k, side])
                else:
                    box[side] = min(box[side], boxes[k, side])


def set_depth(root: NDArray[np.uint8], depth: int) -> None:
    """Note in the root node how many levels there are below it."""
    root[:2] = np.array([depth], ">u2").view(np.uint8)
