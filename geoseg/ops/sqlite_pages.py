"""Pages of SQLite tables, filled with rows in the order of their keys.

Source: https://www.sqlite.org/fileformat2.html, sections 1.5, 1.6 and 2.1
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper

PAGE = 4096
"""Bytes of a page; all of them are used, none is reserved."""

LOCK_PAGE = (1 << 30) // PAGE + 1
"""Number of the page that nothing may be stored on, as SQLite locks its bytes."""

NULL, INTEGER, REAL, TEXT, BLOB = range(5)
"""Kinds of columns."""

_LEAF, _INTERIOR = 13, 5
_LEAF_HEAD, _INTERIOR_HEAD = 8, 12
_MOST_LOCAL = PAGE - 35  # bytes of a row above which it goes on on other pages
_LEAST_LOCAL = (PAGE - 12) * 32 // 255 - 23
_SPILL = PAGE - 4  # bytes of a row on such a page
_VARINT = 9  # bytes at most

MOST_CHILDREN = 1 + (PAGE - _INTERIOR_HEAD) // (2 + 4 + _VARINT)
"""Pages that one page of the level above always has room for."""


class Rows(NamedTuple):
    """Some rows of a table.

    Numbers of columns that have none, and texts of columns that are not text, are not looked at.
    """

    keys: NDArray[np.int64]  # (n,) ascending, not negative
    kinds: NDArray[np.uint8]  # (c,)
    numbers: NDArray[np.int64]  # (c, n) integers, or the bits of float64
    absent: NDArray[np.bool_]  # (c, n) null
    begins: NDArray[np.int64]  # (c, n + 1) where texts begin in ``text``
    text: NDArray[np.uint8]
    heads: NDArray[np.uint8]  # (n, h) what goes before each blob
    blob_begins: NDArray[np.int64]  # (n + 1,) where blobs begin in ``blobs``
    blobs: NDArray[np.uint8]  # those of the one column that may be a BLOB


class Leaf(NamedTuple):
    """The page that rows are being added to."""

    page: NDArray[np.uint8]  # (PAGE,)
    state: NDArray[np.int64]  # rows on it, where their bytes begin, the key of the last


class Pages(NamedTuple):
    """Pages that are finished, and what is known of them."""

    out: NDArray[np.uint8]  # (m, PAGE)
    counts: NDArray[np.int64]  # how many there are; the number of the next one; how many are leaves
    leaves: NDArray[np.int64]  # (m, 2) number and last key of those that are leaves


@helper
def _varint_size(value: int) -> int:
    size = 1
    while value > 127:
        value >>= 7
        size += 1
    return size


@helper
def _put_varint(out: Any, at: Any, value: Any) -> Any:
    """Write a number below 2**56; returns where it ends."""
    size = _varint_size(value)
    for k in range(size):
        more = 128 if k < size - 1 else 0
        out[at + k] = ((value >> (7 * (size - 1 - k))) & 127) | more
    return at + size


@helper
def _put_big_endian(out: Any, at: Any, value: Any, size: int) -> Any:
    for k in range(size):
        out[at + k] = (value >> (8 * (size - 1 - k))) & 255
    return at + size


@helper
def _put_bytes(out: Any, at: Any, data: Any, begin: Any, size: Any) -> Any:
    # Indices that are seen not to be negative make this a plain copy, ten times faster.
    target, source = out[at : at + size], data[begin : begin + size]
    for k in range(size):
        target[k] = source[k]
    return at + size


@helper
def _put_eight(out: Any, at: Any, value: Any) -> Any:
    """Big endian, of a fixed size, which is faster."""
    target = out[at : at + 8]
    for k in range(8):
        target[k] = (value >> (56 - 8 * k)) & 255
    return at + 8


@helper
def _integer_type(value: Any) -> Any:
    """The serial type with the fewest bytes."""
    if 0 <= value <= 1:
        return 8 + value
    magnitude = value if value >= 0 else ~value
    bits = (7, 15, 23, 31, 47)
    for k in range(5):
        if magnitude < (np.int64(1) << bits[k]):
            return k + 1
    return 6


@helper
def _size_of_type(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) >> 1
    if kind == 5:
        return 6
    if kind >= 6:
        return 8 if kind < 8 else 0
    return kind


@helper
def _serial_type(rows: Any, column: int, k: int) -> Any:
    kind = rows.kinds[column]
    if kind == NULL or rows.absent[column, k]:
        return 0
    if kind == INTEGER:
        return _integer_type(rows.numbers[column, k])
    if kind == REAL:
        return 7
    if kind == TEXT:
        return 13 + 2 * (rows.begins[column, k + 1] - rows.begins[column, k])
    blob = rows.blob_begins[k + 1] - rows.blob_begins[k]
    return 12 + 2 * (blob + rows.heads.shape[1])


@helper
def _plan_record(rows: Any, k: int, types: Any) -> tuple[int, int]:
    """Fill in the serial types of a row; returns the sizes of their header and of all."""
    head, body = 0, 0
    for column in range(len(types)):
        types[column] = _serial_type(rows, column, k)
        head += _varint_size(types[column])
        body += _size_of_type(types[column])
    head += _varint_size(head + _varint_size(head))
    return head, head + body


@helper
def _put_record(rows: Any, k: int, types: Any, head: int, out: Any, at: int) -> None:
    at = _put_varint(out, at, head)
    for column in range(len(types)):
        at = _put_varint(out, at, types[column])
    for column in range(len(types)):
        kind, size = rows.kinds[column], _size_of_type(types[column])
        if size == 0:
            continue
        if kind == TEXT:
            at = _put_bytes(out, at, rows.text, rows.begins[column, k], size)
        elif kind == BLOB:
            ahead = rows.heads.shape[1]
            at = _put_bytes(out, at, rows.heads[k], 0, ahead)
            at = _put_bytes(out, at, rows.blobs, rows.blob_begins[k], size - ahead)
        elif size == 8:
            at = _put_eight(out, at, rows.numbers[column, k])
        else:
            at = _put_big_endian(out, at, rows.numbers[column, k], size)


@helper
def _next_number(pages: Any) -> int:
    """The number of the page that will come next, past the one that must stay empty."""
    if pages.counts[1] == LOCK_PAGE:
        pages.out[pages.counts[0]] = 0
        pages.counts[0] += 1
        pages.counts[1] += 1
    return int(pages.counts[1])


@helper
def _finish_leaf(leaf: Any, pages: Any) -> None:
    number, at = _next_number(pages), pages.counts[0]
    _put_leaf_head(leaf)
    pages.out[at] = leaf.page
    pages.leaves[pages.counts[2], 0], pages.leaves[pages.counts[2], 1] = number, leaf.state[2]
    for k in range(3):
        pages.counts[k] += 1
    _empty_leaf(leaf)


@helper
def _put_leaf_head(leaf: Any) -> None:
    leaf.page[0] = _LEAF
    _put_big_endian(leaf.page, 3, leaf.state[0], 2)
    _put_big_endian(leaf.page, 5, leaf.state[1], 2)


@helper
def _empty_leaf(leaf: Any) -> None:
    leaf.page[:] = 0
    leaf.state[0], leaf.state[1] = 0, PAGE


@helper
def _local_size(payload: int) -> int:
    """How many bytes of a row stay on the leaf."""
    if payload <= _MOST_LOCAL:
        return payload
    local = _LEAST_LOCAL + (payload - _LEAST_LOCAL) % _SPILL
    return local if local <= _MOST_LOCAL else _LEAST_LOCAL


@helper
def _spill(record: Any, begin: int, stop: int, pages: Any) -> Any:
    """Put the rest of a row on pages of its own; returns the number of the first."""
    first = _next_number(pages)
    while begin < stop:
        _next_number(pages)
        at, size = pages.counts[0], min(_SPILL, stop - begin)
        pages.out[at] = 0
        pages.counts[0] += 1
        pages.counts[1] += 1
        follower = pages.counts[1] + (pages.counts[1] == LOCK_PAGE)
        _put_big_endian(pages.out[at], 0, follower if begin + size < stop else 0, 4)
        _put_bytes(pages.out[at], 4, record, begin, size)
        begin += size
    return first


@helper
def _put_cell(leaf: Any, key: int, record: Any, payload: int, pages: Any) -> None:
    local = _local_size(payload)
    size = _varint_size(payload) + _varint_size(key) + local + (4 if local < payload else 0)
    if leaf.state[1] - size < _LEAF_HEAD + 2 * (leaf.state[0] + 1):
        _finish_leaf(leaf, pages)
    at = leaf.state[1] - size
    _put_big_endian(leaf.page, _LEAF_HEAD + 2 * leaf.state[0], at, 2)
    leaf.state[0] += 1
    leaf.state[1], leaf.state[2] = at, key
    at = _put_varint(leaf.page, _put_varint(leaf.page, at, payload), key)
    at = _put_bytes(leaf.page, at, record, 0, local)
    if local < payload:
        _put_big_endian(leaf.page, at, _spill(record, local, payload, pages), 4)


@entry
def pack_rows(rows: Any, begin: int, leaf: Any, pages: Any) -> tuple[int, int]:
    """Add rows to a table, as many as there is room for.

    Args:
        rows: Of which those before ``begin`` are there already.
        begin: The first one to add.
        leaf: What was begun before; goes on being filled.
        pages: Those that get finished are added to them.

    Returns:
        The first row that has not been added, and how many pages it needs at most.
    """
    types = np.empty(len(rows.kinds), np.int64)
    record = np.empty(PAGE, np.uint8)
    for k in range(begin, len(rows.keys)):
        head, payload = _plan_record(rows, k, types)
        # A leaf that is full before, what does not fit onto one, and the page that stays empty.
        needed = payload // _SPILL + 4
        if pages.counts[0] + needed > len(pages.out):
            return k, needed
        if payload > len(record):
            record = np.empty(2 * payload, np.uint8)
        _put_record(rows, k, types, head, record, 0)
        _put_cell(leaf, rows.keys[k], record, payload, pages)
    return len(rows.keys), 0


@entry
def close_leaf(leaf: Any) -> None:
    """Make the page of ``leaf`` what it is in a file, though more may be added."""
    _put_leaf_head(leaf)


@entry
def pack_children(children: Any, begins: Any, out: Any) -> None:
    """Pages of the level above leaves or of any higher one.

    Args:
        children: ``(m, 2)`` numbers and last keys of the pages below.
        begins: ``(p + 1,)`` which of them belong to each page: at most :data:`MOST_CHILDREN`.
        out: Zeros ``(p, PAGE)``, to be filled.
    """
    for p in range(len(out)):
        page, at = out[p], PAGE
        last = begins[p + 1] - 1
        for k in range(begins[p], last):
            at -= 4 + _varint_size(children[k, 1])
            _put_varint(page, _put_big_endian(page, at, children[k, 0], 4), children[k, 1])
            _put_big_endian(page, _INTERIOR_HEAD + 2 * (k - begins[p]), at, 2)
        page[0] = _INTERIOR
        _put_big_endian(page, 3, last - begins[p], 2)
        _put_big_endian(page, 5, at, 2)
        _put_big_endian(page, 8, children[last, 0], 4)


def new_leaf() -> Leaf:
    """A page without rows."""
    return Leaf(np.zeros(PAGE, np.uint8), np.array([0, PAGE, 0], np.int64))
