"""Where flags are set, and how many before, for kernels that look for the few among many."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.kernels import helper

_ONE, _LAST = np.uint64(1), np.uint64(63)
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _SUM = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)

WORD = 8
"""Flags that are looked at together; rows of flags are as long as a multiple of it."""


@helper
def row_of_flags(count: int) -> Any:
    """Room for ``count`` flags, zeros, filled up to whole words."""
    return np.zeros((count + WORD - 1) // WORD * WORD, np.uint8)


@helper
def add_places(flags: Any, places: Any, used: Any) -> Any:
    """Note where flags are set.

    Args:
        flags: 0 or 1, uint8, as many as :func:`row_of_flags` made.
        places: Where they are written to, with room for one more than there are.
        used: How many are there already, as uint64: a place that cannot be negative is found
            sooner.

    Returns:
        How many there are now, as uint64.
    """
    words = flags.view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for k in range(word * WORD, (word + 1) * WORD):
                # Written always, kept where a flag is set: no branch to be guessed wrong.
                places[used] = k
                used += np.uint64(flags[k])
    return used


@helper
def index_places(places: Any, rows: Any, width: int) -> tuple[Any, Any]:
    """An index of rows of ascending places, for :func:`last_before`.

    Args:
        places: Places 0 to ``width``, one row after the other; ``width`` itself is ignored.
        rows: Where each row begins among them ``(h + 1,)``.
        width: What all places are below.

    Returns:
        ``(h, words)``: a bit for each place, uint64; how many places come before each word, int32.
    """
    height = len(rows) - 1
    bits = np.zeros((height, (width + 63) >> 6), np.uint64)
    before = np.empty(bits.shape, np.int32)
    for i in range(height):
        for k in range(rows[i], rows[i + 1]):
            place = np.uint64(places[k])
            if place < width:
                bits[i, place >> np.uint64(6)] |= _ONE << (place & _LAST)
        count = rows[i]
        for word in range(bits.shape[1]):
            before[i, word] = count
            count += _ones(bits[i, word])
    return bits, before


@helper
def last_before(index: Any, row: int, place: int) -> int:
    """Which of the places of a row is the last one at or before ``place``."""
    bits, before = index
    word, bit = place >> 6, np.uint64(place) & _LAST
    return int(before[row, word] + _ones(bits[row, word] << (_LAST - bit)) - 1)


@helper
def _ones(word: Any) -> int:
    """Bits that are set in a uint64; compiled to one instruction where there is one."""
    word -= (word >> np.uint64(1)) & _PAIRS
    word = (word & _FOURS) + ((word >> np.uint64(2)) & _FOURS)
    word = (word + (word >> np.uint64(4))) & _BYTES
    return int((word * _SUM) >> np.uint64(56))
