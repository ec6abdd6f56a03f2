"""Smaller versions of a raster, of which each pixel stands for all that it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, load_word, uncounted_entry, uncounted_helper

Rule = Literal["majority", "average", "nearest"]
"""What a pixel of an overview is: see :func:`reduce`."""

_BYTES_1, _BYTES_2 = 0x0101010101010101, 0x0001000100010001  # a number in each place of a word
_ONE = 1 << 32  # a known pixel, where sums stand in the lower half of 64 bits


def level_shapes(shape: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Rows and columns of all overviews, the largest first: as many as GDAL's COG driver makes.

    Each has half the pixels along an axis of the one before, rounded down, until both axes are at
    most ``side``.
    """
    found: list[tuple[int, int]] = []
    height, width = shape
    while max(height, width) > side:
        height, width = max(height // 2, 1), max(width // 2, 1)
        found.append((height, width))
    return found


def edges(length: int, parts: int) -> NDArray[np.int64]:
    """Where ``parts`` pixels of an overview begin and end in ``length`` pixels; ``(parts + 1,)``.

    An overview lies on the same ground as its raster, so that its pixels are ``length / parts``
    wide: no whole number where ``length`` cannot be halved. Each edge goes to the nearest one, and
    each pixel belongs to exactly one pixel of the overview.
    """
    return (2 * np.arange(parts + 1) * length + parts) // (2 * parts)


def reduce(
    values: NDArray[Any],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    rule: Rule,
    nodata: int | None,
) -> NDArray[Any]:
    """Pixels of an overview, each made of the pixels between two edges along both axes.

    ``majority`` is the number that occurs most often among those that are not ``nodata``; of
    several the one that comes first, row by row from the upper left. ``average`` is the mean of what
    is not ``nodata``, half rounded up. Both are ``nodata`` where there is nothing else. ``nearest``
    is the pixel in the middle, whatever it is.

    Args:
        values: ``(y, x)``, uint8 or uint16.
        rows: Edges ``(i + 1,)``, rising, within ``values``.
        columns: Edges ``(j + 1,)``, likewise.
        rule: What is wanted.
        nodata: None where every number counts.

    Returns:
        ``(i, j)`` of the dtype of ``values``.
    """
    if rule == "nearest":
        middle = [(at[:-1] + at[1:]) // 2 for at in (rows, columns)]
        return np.asarray(values[np.ix_(*middle)])
    values = np.ascontiguousarray(values)
    out = np.empty((len(rows) - 1, len(columns) - 1), values.dtype)
    unknown = -1 if nodata is None else nodata
    if rule == "majority":
        seen = np.zeros((2, 256**values.itemsize), np.int64)
        _majorities(values, rows, columns, unknown, seen, out)
    else:
        _averages(values, rows, columns, unknown, out)
    return out


def histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each of the 256 numbers occurs in ``values`` ``(y, x)``."""
    counts = np.zeros((4, 256), np.int64)
    _count(np.ascontiguousarray(values).reshape(-1), counts)
    return np.asarray(counts.sum(axis=0))


@dataclass(frozen=True, slots=True)
class _Level:
    """Edges of the pixels of one overview."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


class Pyramid:
    """All overviews of one band, made while its rows go by; see :func:`reduce` for the rules.

    What is kept are the rows that no overview has finished: fewer than a pixel of the smallest one
    covers.

    Args:
        shape: Rows and columns of the band.
        levels: Those of its overviews.
        rule: What their pixels are.
        nodata: None where every number counts.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        levels: Sequence[tuple[int, int]],
        rule: Rule,
        nodata: int | None,
    ) -> None:
        self._rule: Rule = rule
        self._nodata = nodata
        self._levels = [_Level(*map(edges, shape, level)) for level in levels]
        self._done = [0] * len(levels)
        self._kept: NDArray[Any] | None = None
        self._first = 0  # the row of the band that is the first of those kept

    def add(self, strip: NDArray[Any]) -> list[NDArray[Any]]:
        """Take the next rows ``(y, x)``; returns the rows that this finishes, for each overview."""
        kept = self._kept
        rows = strip if kept is None or not len(kept) else np.concatenate([kept, strip])
        end, made = self._first + len(rows), []
        for index, level in enumerate(self._levels):
            begin = self._done[index]
            ready = int(np.searchsorted(level.rows, end, side="right")) - 1
            part = level.rows[begin : ready + 1] - self._first
            made.append(reduce(rows, part, level.columns, self._rule, self._nodata))
            self._done[index] = ready
        needed = (int(v.rows[n]) for v, n in zip(self._levels, self._done, strict=True))
        first = min(needed, default=end)
        self._kept, self._first = rows[first - self._first :].copy(), first
        return made


@uncounted_entry
def _majorities(values: Any, rows: Any, columns: Any, nodata: int, seen: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        y0, y1 = rows[i], rows[i + 1]
        for j in range(out.shape[1]):
            x0, x1 = columns[j], columns[j + 1]
            if y1 - y0 == 2 and x1 - x0 == 2:
                out[i, j] = _most_of_four(values, y0, x0, nodata)
            elif _all_same(values, y0, y1, x0, x1):
                out[i, j] = values[y0, x0]
            else:
                out[i, j] = _most(values, (y0, y1, x0, x1), nodata, seen)


@uncounted_helper
def _all_same(values: Any, y0: int, y1: int, x0: int, x1: int) -> bool:
    """Whether all pixels of a place are as the first, many compared at once."""
    at_once, width = 8 // values.itemsize, x1 - x0
    if (y1 - 1) * values.shape[1] + x0 + at_once > values.size:
        return False  # no eight bytes to load
    alike = values[y0, x0] * (_BYTES_1 if values.itemsize == 1 else _BYTES_2)
    used = -1 if width >= at_once else (1 << (width * 8 * values.itemsize)) - 1
    for y in range(y0, y1):
        start = y * values.shape[1]
        differ = (load_word(values, start + x0) ^ alike) & used
        for x in range(x0 + at_once, x1 - at_once, at_once):
            differ |= load_word(values, start + x) ^ alike
        if width > at_once:
            differ |= load_word(values, start + x1 - at_once) ^ alike
        if differ:
            return False
    return True


@uncounted_helper
def _most_of_four(values: Any, y: int, x: int, nodata: int) -> Any:
    """What :func:`_most` says of the smallest places, of which there are so many."""
    a, b, c, d = values[y, x], values[y, x + 1], values[y + 1, x], values[y + 1, x + 1]
    if ((a ^ b) | (a ^ c) | (a ^ d)) == 0:
        return a
    best, most = nodata, 0
    if a != nodata:
        best, most = a, 1 + (a == b) + (a == c) + (a == d)
    if b != nodata and 1 + (b == c) + (b == d) > most:
        best, most = b, 1 + (b == c) + (b == d)
    if c != nodata and 1 + (c == d) > most:
        best, most = c, 1 + (c == d)
    return d if most == 0 else best


@uncounted_helper
def _most(values: Any, place: tuple[int, int, int, int], nodata: int, seen: Any) -> int:
    """The most frequent known number.

    ``seen`` ``(2, number)`` is how often each occurs, 0 everywhere before and after; and which
    occur, in their order.
    """
    y0, y1, x0, x1 = place
    different = 0
    for y in range(y0, y1):
        x = x0
        while x < x1:
            value, begin = values[y, x], x
            x += 1
            while x < x1 and values[y, x] == value:
                x += 1
            if value != nodata:
                if seen[0, value] == 0:
                    seen[1, different] = value
                    different += 1
                seen[0, value] += x - begin
    best, most = nodata, 0
    for k in range(different):
        value = seen[1, k]
        if seen[0, value] > most:
            best, most = value, seen[0, value]
        seen[0, value] = 0
    return best


@entry
def _averages(
    values: Any, rows: NDArray[np.int64], columns: NDArray[np.int64], nodata: int, out: Any
) -> None:
    sums = np.empty(values.shape[1], np.uint64)
    for i in range(out.shape[0]):
        sums[:] = 0
        for y in range(rows[i], rows[i + 1]):
            for x in range(values.shape[1]):
                value = values[y, x]
                sums[x] += np.uint64(value) + np.uint64(_ONE) if value != nodata else np.uint64(0)
        for j in range(out.shape[1]):
            both = np.uint64(0)
            for x in range(columns[j], columns[j + 1]):
                both += sums[x]
            total, known = np.int64(both & np.uint64(_ONE - 1)), np.int64(both >> np.uint64(32))
            out[i, j] = (2 * total + known) // (2 * known) if known else nodata


@entry
def _count(values: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """In four tables by turns: one number after its like would wait for the count before it."""
    whole = values.size // 4 * 4
    for at in range(0, whole, 4):
        for k in range(4):
            counts[k, values[at + k]] += 1
    for at in range(whole, values.size):
        counts[0, values[at]] += 1
