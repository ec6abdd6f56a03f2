"""A bitmap of the corners of all boundaries, and the triangles that hold none of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper


class Obstacles:
    """One bit for each lattice vertex of the rows that are in flight.

    Attributes:
        bits: ``(rows, words)`` uint64; bit ``c & 63`` of word ``c >> 6`` is column ``c``.
        top: The lattice row that comes first.
    """

    def __init__(self, width: int) -> None:
        self.top = 0
        self.bits: NDArray[np.uint64] = np.zeros((0, (width + 64) // 64), np.uint64)

    @property
    def view(self) -> tuple[NDArray[np.uint64], int]:
        """What kernels take."""
        return self.bits, self.top

    def move(self, top: int, bottom: int) -> None:
        """Cover rows ``top`` to ``bottom``; what is above is forgotten, what is new is empty."""
        moved = np.zeros((bottom - top + 1, self.bits.shape[1]), np.uint64)
        kept = self.bits[top - self.top :]
        moved[: len(kept)] = kept
        self.bits, self.top = moved, top


@helper
def mark(bits: Any, row: Any, col: Any) -> None:
    """Set the bit of a column in a row of ``bits``."""
    bits[row, col >> 6] |= np.uint64(1) << np.uint64(col & 63)


@helper
def _bits_set(word: Any) -> Any:
    """How many bits of a uint64 are set (Warren, Hacker's Delight, 5-1)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@helper
def _count_between(row: Any, first: int, last: int) -> Any:
    """Set bits of a row from one column to another, both included."""
    full = ~np.uint64(0)
    head = full << np.uint64(first & 63)
    tail = full >> np.uint64(63 - (last & 63))
    begin, end = first >> 6, last >> 6
    if begin == end:
        return _bits_set(row[begin] & head & tail)
    count = _bits_set(row[begin] & head) + _bits_set(row[end] & tail)
    for k in range(begin + 1, end):
        count += _bits_set(row[k])
    return count


@helper
def _columns(ay: int, ax: int, by: int, bx: int, y: int, scale: int) -> tuple[int, int]:
    """The first whole column right of, and the last left of where an edge crosses ``y``.

    Nothing (a large and a small number) if it does not.
    """
    if ay > by:
        ay, ax, by, bx = by, bx, ay, ax
    if y < ay or y > by:
        return 1 << 60, -(1 << 60)
    if ay == by:
        low, high = min(ax, bx), max(ax, bx)
        return -(-low // scale), high // scale
    over, under = ax * (by - ay) + (bx - ax) * (y - ay), (by - ay) * scale
    return -(-over // under), over // under


@helper
def count_in_triangle(obstacles: Any, at: Any, legs: Any, scale: int) -> int:
    """How many marked vertices lie in a closed triangle.

    Args:
        obstacles: Bits and the row of the first of them.
        at: A lattice vertex ``(row, col)``, one tip of the triangle.
        legs: From there to the other tips, ``(row, col, row, col)`` in parts of a pixel.
        scale: Parts that make a pixel.
    """
    bits, top = obstacles
    row, col = at
    py, px, qy, qx = legs
    count = 0
    for i in range(-(-min(0, py, qy) // scale), max(0, py, qy) // scale + 1):
        y = i * scale
        first, last = _columns(0, 0, py, px, y, scale)
        low, high = _columns(0, 0, qy, qx, y, scale)
        first, last = min(first, low), max(last, high)
        low, high = _columns(py, px, qy, qx, y, scale)
        first, last = min(first, low), max(last, high)
        if first <= last:
            count += _count_between(bits[row + i - top], col + first, col + last)
    return count


@helper
def in_triangle(y: int, x: int, legs: Any) -> Any:
    """Whether a point lies in the closed triangle of ``(0, 0)`` and the ends of two legs."""
    py, px, qy, qx = legs
    one = y * px - x * py
    two = (y - py) * (qx - px) - (x - px) * (qy - py)
    three = qx * (qy - y) - qy * (qx - x)
    return (one >= 0 and two >= 0 and three >= 0) or (one <= 0 and two <= 0 and three <= 0)


@entry
def count_marked(obstacles: Any, at: Any, legs: Any, scale: int) -> Any:
    """See :func:`count_in_triangle`."""
    return count_in_triangle(obstacles, at, legs, scale)
