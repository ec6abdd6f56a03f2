"""The codes of a block of deflate: how long each is, and how a reader is told.

Source: RFC 1951, 3.2.2 and 3.2.7. Helpers only: :mod:`geoseg.ops.deflate` has the entry.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from geoseg.ops.kernels import uncounted_helper

LETTERS, DISTANCES, RUNS = 0, 1, 2
"""Alphabets: bytes and lengths of matches; distances; sizes of codes, with repetitions."""

OFTEN, CODE, SIZE = 0, 1, 2
"""What is known of a symbol: how often it occurs; its code, the first bit lowest, and its bits."""

TABLES: Final = (3, 3, 286)
"""Shape of ``(what, alphabet, symbol)``."""

SCRATCH: Final = (8, 320)
"""Shape of the room in which codes are chosen."""

_SYMBOLS: Final = np.array([286, 30, 19])
_LIMITS: Final = np.array([15, 15, 7])  # bits of a code
_ORDER: Final = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
_USED, _WORK, _BY_SIZE, _NEXT, _EVERY, _RUN, _EXTRA, _BITS = range(8)


def _length_tables() -> tuple[Any, Any]:
    """By length of a match: its symbol; the value of its extra bits, and how many there are."""
    symbols, bits = np.zeros(259, np.int64), np.zeros((259, 2), np.int64)
    length = 3
    for symbol in range(257, 285):
        extra = max(0, (symbol - 261) // 4)
        for value in range(1 << extra):
            symbols[length], bits[length] = symbol, (value, extra)
            length += 1
            if length > 258:
                break
    symbols[258], bits[258] = 285, (0, 0)
    return symbols, bits


LENGTH_SYMBOLS, LENGTH_BITS = _length_tables()


@uncounted_helper
def write_codes(tables: Any, last: int, scratch: Any, out: Any, state: Any) -> None:
    """Begin a block (1: the last): choose codes by how often symbols occur, and write them."""
    _code(tables, LETTERS, scratch)
    _code(tables, DISTANCES, scratch)
    told, far = _used(tables, LETTERS), _used(tables, DISTANCES)
    for k in range(told):
        scratch[_EVERY, k] = tables[SIZE, LETTERS, k]
    for k in range(far):
        scratch[_EVERY, told + k] = tables[SIZE, DISTANCES, k]
    count = _runs(told + far, scratch)
    for symbol in range(_SYMBOLS[RUNS]):
        tables[OFTEN, RUNS, symbol] = 0
    for k in range(count):
        tables[OFTEN, RUNS, scratch[_RUN, k]] += 1
    _code(tables, RUNS, scratch)
    kinds = _SYMBOLS[RUNS]
    while tables[SIZE, RUNS, _ORDER[kinds - 1]] == 0:
        kinds -= 1
    # Whether it is the last block; that it has codes of its own (2); how many follow.
    head = (2 << 1) | (told - 257) << 3 | (far - 1) << 8 | (kinds - 4) << 13
    _put(out, state, head | last, 17)
    for k in range(kinds):
        _put(out, state, tables[SIZE, RUNS, _ORDER[k]], 3)
    for k in range(count):
        symbol = scratch[_RUN, k]
        _put(out, state, tables[CODE, RUNS, symbol], tables[SIZE, RUNS, symbol])
        _put(out, state, scratch[_EXTRA, k], scratch[_BITS, k])


@uncounted_helper
def _used(tables: Any, which: int) -> Any:
    """How many symbols there are up to the last that has a code."""
    count = _SYMBOLS[which]
    while tables[SIZE, which, count - 1] == 0:
        count -= 1
    return count


@uncounted_helper
def _runs(length: int, scratch: Any) -> int:
    """Sizes of codes as symbols with extra bits: 16 to 18 repeat; returns how many there are."""
    count = at = 0
    while at < length:
        size, times = scratch[_EVERY, at], 1
        while at + times < length and scratch[_EVERY, at + times] == size:
            times += 1
        at += times
        plain = 1 if size else 0  # only zeros can be repeated from the first one on
        while times:
            repeated = times - plain
            if plain or repeated < 3:
                symbol, part, extra, bits = size, 1, 0, 0
            elif size:
                part = min(repeated, 6)
                symbol, extra, bits = 16, part - 3, 2
            elif repeated <= 10:
                part = repeated
                symbol, extra, bits = 17, part - 3, 3
            else:
                part = min(repeated, 138)
                symbol, extra, bits = 18, part - 11, 7
            scratch[_RUN, count], scratch[_EXTRA, count] = symbol, extra
            scratch[_BITS, count] = bits
            count, times, plain = count + 1, times - part, 0
    return count


@uncounted_helper
def _code(tables: Any, which: int, scratch: Any) -> None:
    """Canonical codes of one alphabet; at least two."""
    symbols, limit = _SYMBOLS[which], _LIMITS[which]
    n = used = 0
    for symbol in range(symbols):
        used += 1 if tables[OFTEN, which, symbol] else 0
    for symbol in range(symbols):
        tables[SIZE, which, symbol] = 0
        # One code alone would be incomplete, which not all readers take.
        if tables[OFTEN, which, symbol] or (used < 2 and symbol < 2):
            scratch[_USED, n] = max(tables[OFTEN, which, symbol], 1) << 9 | symbol
            n += 1
    _sort(scratch, n)
    for k in range(n):
        scratch[_WORK, k] = scratch[_USED, k] >> 9
    _minimum_redundancy(scratch, n)
    for size in range(64):
        scratch[_BY_SIZE, size] = 0
    for k in range(n):
        scratch[_BY_SIZE, min(scratch[_WORK, k], limit)] += 1
    _shorten(scratch, limit)
    k = n
    code = 0
    for size in range(1, limit + 1):
        for _ in range(scratch[_BY_SIZE, size]):
            k -= 1
            tables[SIZE, which, scratch[_USED, k] & 511] = size
        scratch[_NEXT, size] = code
        code = (code + scratch[_BY_SIZE, size]) << 1
    for symbol in range(symbols):
        tables[CODE, which, symbol] = _turned(scratch, tables[SIZE, which, symbol])


@uncounted_helper
def _turned(scratch: Any, size: int) -> int:
    """The next code of so many bits, the first bit lowest."""
    code, turned = scratch[_NEXT, size], 0
    scratch[_NEXT, size] += 1
    for _ in range(size):
        turned = turned << 1 | code & 1
        code >>= 1
    return turned


@uncounted_helper
def _minimum_redundancy(scratch: Any, n: int) -> None:
    """Frequencies, rising, become lengths of codes, falling; there are at least two."""
    scratch[_WORK, 0] += scratch[_WORK, 1]
    root, leaf = 0, 2
    for k in range(1, n - 1):
        total = 0
        for first in range(2):
            inner = root < k if first else True
            if leaf >= n or (inner and scratch[_WORK, root] < scratch[_WORK, leaf]):
                total += scratch[_WORK, root]
                scratch[_WORK, root] = k
                root += 1
            else:
                total += scratch[_WORK, leaf]
                leaf += 1
        scratch[_WORK, k] = total
    scratch[_WORK, n - 2] = 0
    for k in range(n - 3, -1, -1):
        scratch[_WORK, k] = scratch[_WORK, scratch[_WORK, k]] + 1
    free, depth, root, k = 1, 0, n - 2, n - 1
    while free > 0:
        inner_nodes = 0
        while root >= 0 and scratch[_WORK, root] == depth:
            inner_nodes += 1
            root -= 1
        while free > inner_nodes:
            scratch[_WORK, k] = depth
            k -= 1
            free -= 1
        free, depth = 2 * inner_nodes, depth + 1


@uncounted_helper
def _shorten(scratch: Any, limit: int) -> None:
    """Make codes that were cut to ``limit`` fit beside each other again."""
    total = 0
    for size in range(1, limit + 1):
        total += scratch[_BY_SIZE, size] << (limit - size)
    while total > 1 << limit:
        scratch[_BY_SIZE, limit] -= 1
        size = limit - 1
        while scratch[_BY_SIZE, size] == 0:
            size -= 1
        scratch[_BY_SIZE, size] -= 1
        scratch[_BY_SIZE, size + 1] += 2
        total -= 1


@uncounted_helper
def _sort(scratch: Any, n: int) -> None:
    """The numbers of what is used, in Shell's way: a few hundred."""
    gap = n // 2
    while gap > 0:
        for k in range(gap, n):
            key, at = scratch[_USED, k], k
            while at >= gap and scratch[_USED, at - gap] > key:
                scratch[_USED, at] = scratch[_USED, at - gap]
                at -= gap
            scratch[_USED, at] = key
        gap //= 2


@uncounted_helper
def _put(out: Any, state: Any, value: int, bits: int) -> None:
    """Append at most 31 bits, the lowest first."""
    waiting, held = state[1] | value << state[2], state[2] + bits
    state[0], state[1], state[2] = flush(out, state[0], waiting, held)


@uncounted_helper
def flush(out: Any, at: int, waiting: int, held: int) -> tuple[int, int, int]:
    """Write 32 bits once there are so many; whether is not guessed by a branch, but computed."""
    out[at] = waiting & 0xFFFFFFFF
    whole = held >> 5
    return at + whole, waiting >> (whole << 5), held & 31
