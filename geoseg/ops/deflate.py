"""Tiles of maps compressed for everybody's readers: in a tenth of the time, to the same size.

A general compressor looks for what it has seen anywhere. In a tile what is seen again are the pixel
to the left and the row above, so nothing else is tried. The bytes depend on the pixels alone, and
not on the version of a library.

Source: RFC 1950 and 1951; lengths of codes by Moffat and Katajainen, *In-place calculation of
minimum-redundancy codes* (1995).
"""

from __future__ import annotations

from typing import Any, Final
from zlib import adler32

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.deflate_codes import (
    CODE,
    DISTANCES,
    LENGTH_BITS,
    LENGTH_SYMBOLS,
    LETTERS,
    OFTEN,
    SCRATCH,
    SIZE,
    TABLES,
    flush,
    write_codes,
)
from geoseg.ops.kernels import load_word, uncounted_entry, uncounted_helper

_SHORTEST, _LONGEST, _FARTHEST = 3, 258, 32768
_END: Final = 256  # the symbol behind the last token of a block
_TOKENS: Final = 32768  # of a block, which has codes of its own
_MATCH: Final = 512  # tokens below are bytes; from here on: a length, and from 1024 on which place
_DEAR: Final = 6  # bytes by which a match far off must be longer, as its distance takes more bits
_HEAD: Final = b"\x78\x9c"
_BACK, _SYMBOL, _EXTRA, _BITS = range(4)  # of a place: its distance, and how that is written


def deflate(values: NDArray[Any], *, rows: bool = True) -> bytes:
    """One tile ``(y, x)`` of whole numbers as a zlib stream.

    Without ``rows`` only runs of one number are looked for, and not what stands in the row above:
    faster, and as good where neighbours differ.
    """
    unit = values.itemsize
    row = unit * values.shape[1]
    data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    backs = dict.fromkeys([unit, row, row - unit, row + unit] if rows else [unit])
    places = np.array([_place(back) for back in backs if 1 <= back <= _FARTHEST], np.int64)
    tokens, state = np.empty(_TOKENS, np.int32), np.zeros(3, np.int64)
    tables, scratch = np.zeros(TABLES, np.int64), np.zeros(SCRATCH, np.int64)
    words = np.empty(data.size * 5 // 16 + 256, "<u4")
    _pack(data, places, tokens, tables, scratch, words, state)
    length = 4 * state[0] + -(-state[2] // 8)
    return _HEAD + words.view(np.uint8)[:length].tobytes() + adler32(data.data).to_bytes(4, "big")


def _place(back: int) -> tuple[int, int, int, int]:
    """A distance; its symbol, the value of the extra bits, and how many these are."""
    if back <= 4:
        return back, back - 1, 0, 0
    bits = (back - 1).bit_length() - 2
    half = ((back - 1) >> bits) & 1
    return back, 2 * bits + 2 + half, (back - 1) & ((1 << bits) - 1), bits


@uncounted_entry
def _pack(
    data: Any, places: Any, tokens: Any, tables: Any, scratch: Any, out: Any, state: Any
) -> None:
    """Fill ``out`` with blocks; ``state`` is where, the bits that wait, and how many these are."""
    at = 0
    while at < data.size:
        for symbol in range(tables.shape[2]):
            tables[OFTEN, LETTERS, symbol] = tables[OFTEN, DISTANCES, symbol] = 0
        at, count = _find(data, at, places, tokens, tables)
        tables[OFTEN, LETTERS, _END] = 1
        write_codes(tables, 1 if at >= data.size else 0, scratch, out, state)
        _write(tokens, count, tables, places, out, state)
    out[state[0]] = state[1]


@uncounted_helper
def _find(data: Any, at: int, places: Any, tokens: Any, tables: Any) -> tuple[int, int]:
    """Tokens from ``at`` on, counted by symbol; returns where they end, and how many they are."""
    count = 0
    while at < data.size and count < tokens.size:
        limit = min(_LONGEST, data.size - at)
        best = place = 0
        worth = _SHORTEST - 1
        for k in range(places.shape[0]):
            back = places[k, _BACK]
            if back <= at and worth < limit and _begins(data, at, back, worth):
                length = _same(data, at, back, limit)
                if length > worth:
                    best, place, worth = length, k, length
            if k == 0:
                worth += _DEAR
            elif place:
                worth = best
        if best:
            tokens[count] = _MATCH + 1024 * place + best
            tables[OFTEN, LETTERS, LENGTH_SYMBOLS[best]] += 1
            tables[OFTEN, DISTANCES, places[place, _SYMBOL]] += 1
            at += best
        else:
            tokens[count] = data[at]
            tables[OFTEN, LETTERS, data[at]] += 1
            at += 1
        count += 1
    return at, count


@uncounted_helper
def _begins(data: Any, at: int, back: int, worth: int) -> Any:
    """Whether the first and the last byte that must be the same are: one branch for both."""
    differ = data[at] ^ data[at - back]
    differ |= data[at + 1] ^ data[at + 1 - back]
    return (differ | (data[at + worth] ^ data[at + worth - back])) == 0


@uncounted_helper
def _same(data: Any, at: int, back: int, limit: int) -> int:
    """How many bytes are as those so far before; at most ``limit``."""
    length = 0
    while length + 8 <= limit:
        if load_word(data, at + length) != load_word(data, at + length - back):
            break
        length += 8
    while length < limit and data[at + length] == data[at + length - back]:
        length += 1
    return length


@uncounted_helper
def _write(tokens: Any, count: int, tables: Any, places: Any, out: Any, state: Any) -> None:
    """The tokens of a block, and its end."""
    at, waiting, held = state[0], state[1], state[2]
    for k in range(count):
        token = tokens[k]
        if token < _MATCH:
            waiting |= tables[CODE, LETTERS, token] << held
            held += tables[SIZE, LETTERS, token]
        else:
            length, place = (token & 1023) - _MATCH, token >> 10
            letter, far = LENGTH_SYMBOLS[length], places[place, _SYMBOL]
            waiting |= tables[CODE, LETTERS, letter] << held
            held += tables[SIZE, LETTERS, letter]
            waiting |= LENGTH_BITS[length, 0] << held
            held += LENGTH_BITS[length, 1]
            at, waiting, held = flush(out, at, waiting, held)
            waiting |= tables[CODE, DISTANCES, far] << held
            held += tables[SIZE, DISTANCES, far]
            waiting |= places[place, _EXTRA] << held
            held += places[place, _BITS]
        at, waiting, held = flush(out, at, waiting, held)
    waiting |= tables[CODE, LETTERS, _END] << held
    held += tables[SIZE, LETTERS, _END]
    state[0], state[1], state[2] = flush(out, at, waiting, held)
