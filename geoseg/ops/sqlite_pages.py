"""Pages of SQLite tables, filled with rows in the order of their keys.

Source: https://www.sqlite.org/fileformat2.html, sections 1.5, 1.6 and 2.1
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import copy_bytes, uncounted_entry, uncounted_helper

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
_PLANNED = 256  # rows whose sizes are found out together, column by column

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


@uncounted_helper
def _varint_size(value: int) -> int:
    size = 1
    while value > 127:
        value >>= 7
        size += 1
    return size


@uncounted_helper
def _put_varint(out: Any, at: Any, value: Any) -> Any:
    """Write a number below 2**56; returns where it ends."""
    size = _varint_size(value)
    for k in range(size):
        more = 128 if k < size - 1 else 0
        out[at + k] = ((value >> (7 * (size - 1 - k))) & 127) | more
    return at + size


@uncounted_helper
def _put_big_endian(out: Any, at: Any, value: Any, size: int) -> Any:
    for k in range(size):
        out[at + k] = (value >> (8 * (size - 1 - k))) & 255
    return at + size


@uncounted_helper
def _put_bytes(out: Any, at: Any, data: Any, begin: Any, size: Any) -> Any:
    copy_bytes(out, at, data, begin, size)
    return at + size


@uncounted_helper
def _put_eight(out: Any, at: Any, value: Any) -> Any:
    """Big endian, of a fixed size, which is faster."""
    target = out[at : at + 8]
    for k in range(8):
        target[k] = (value >> (56 - 8 * k)) & 255
    return at + 8


@uncounted_helper
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


@uncounted_helper
def _size_of_type(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) >> 1
    if kind == 5:
        return 6
    if kind >= 6:
        return 8 if kind < 8 else 0
    return kind


@uncounted_helper
def _note_sizes(sizes: Any, r: Any, kind: Any) -> None:
    """Add a column to what the header and the body of a row take."""
    sizes[r, 0] += _varint_size(kind)
    sizes[r, 1] += _size_of_type(kind)


@uncounted_helper
def _plan_column(rows: Any, column: Any, first: Any, kinds: Any, sizes: Any) -> None:
    """Serial types of some rows in one column."""
    kind, absent = rows.kinds[column], rows.absent[column]
    for r in range(len(sizes)):
        k, found = first + r, 0
        if kind == NULL or absent[k]:
            found = 0
        elif kind == INTEGER:
            found = _integer_type(rows.numbers[column, k])
        elif kind == REAL:
            found = 7
        elif kind == TEXT:
            found = 13 + 2 * (rows.begins[column, k + 1] - rows.begins[column, k])
        else:
            blob = rows.blob_begins[k + 1] - rows.blob_begins[k]
            found = 12 + 2 * (blob + rows.heads.shape[1])
        kinds[r, column] = found
        _note_sizes(sizes, r, found)


@uncounted_helper
def _plan_records(rows: Any, first: Any, kinds: Any, sizes: Any) -> None:
    """Serial types of some rows, and the sizes of their headers and of all.

    Args:
        rows: See :func:`pack_rows`.
        first: Row.
        kinds: ``(n, c)``, to be filled.
        sizes: ``(n, 2)``, to be filled.
    """
    sizes[:] = 0
    for column in range(kinds.shape[1]):
        _plan_column(rows, column, first, kinds, sizes)
    for r in range(len(sizes)):
        head = sizes[r, 0]
        sizes[r, 0] += _varint_size(head + _varint_size(head))
        sizes[r, 1] += sizes[r, 0]


@uncounted_helper
def _put_record(rows: Any, k: Any, kinds: Any, head: Any, out: Any, at: Any) -> None:
    at = _put_varint(out, at, head)
    for column in range(len(kinds)):
        kind = kinds[column]
        if kind < 128:  # nearly all
            out[at] = kind
            at += 1
        else:
            at = _put_varint(out, at, kind)
    for column in range(len(kinds)):
        kind = kinds[column]
        size = _size_of_type(kind)
        if size == 0:
            continue
        if kind == 6 or kind == 7:  # noqa: PLR1714 (a set would be made each time)
            at = _put_eight(out, at, rows.numbers[column, k])
        elif kind < 7:
            at = _put_big_endian(out, at, rows.numbers[column, k], size)
        elif kind & 1:
            at = _put_bytes(out, at, rows.text, rows.begins[column, k], size)
        else:
            ahead = rows.heads.shape[1]
            at = _put_bytes(out, at, rows.heads, k * ahead, ahead)
            at = _put_bytes(out, at, rows.blobs, rows.blob_begins[k], size - ahead)


@uncounted_helper
def _next_number(pages: Any) -> int:
    """The number of the page that will come next, past the one that must stay empty."""
    if pages.counts[1] == LOCK_PAGE:
        pages.out[pages.counts[0]] = 0
        pages.counts[0] += 1
        pages.counts[1] += 1
    return int(pages.counts[1])


@uncounted_helper
def _finish_leaf(leaf: Any, pages: Any) -> None:
    number, at = _next_number(pages), pages.counts[0]
    _put_leaf_head(leaf)
    copy_bytes(pages.out, at * PAGE, leaf.page, 0, PAGE)
    pages.leaves[pages.counts[2], 0], pages.leaves[pages.counts[2], 1] = number, leaf.state[2]
    for k in range(3):
        pages.counts[k] += 1
    _empty_leaf(leaf)


@uncounted_helper
def _put_leaf_head(leaf: Any) -> None:
    leaf.page[0] = _LEAF
    leaf.page[1:_LEAF_HEAD] = 0
    _put_big_endian(leaf.page, 3, leaf.state[0], 2)
    _put_big_endian(leaf.page, 5, leaf.state[1], 2)
    # What an earlier leaf left between the places of rows and the rows.
    leaf.page[_LEAF_HEAD + 2 * leaf.state[0] : leaf.state[1]] = 0


@uncounted_helper
def _empty_leaf(leaf: Any) -> None:
    leaf.state[0], leaf.state[1] = 0, PAGE


@uncounted_helper
def _local_size(payload: int) -> int:
    """How many bytes of a row stay on the leaf."""
    if payload <= _MOST_LOCAL:
        return payload
    local = _LEAST_LOCAL + (payload - _LEAST_LOCAL) % _SPILL
    return local if local <= _MOST_LOCAL else _LEAST_LOCAL


@uncounted_helper
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


@uncounted_helper
def _begin_cell(leaf: Any, key: int, payload: int, local: int, pages: Any) -> Any:
    """Make room on the leaf, a new one if need be; returns where the row goes."""
    size = _varint_size(payload) + _varint_size(key) + local + (4 if local < payload else 0)
    if leaf.state[1] - size < _LEAF_HEAD + 2 * (leaf.state[0] + 1):
        _finish_leaf(leaf, pages)
    at = leaf.state[1] - size
    _put_big_endian(leaf.page, _LEAF_HEAD + 2 * leaf.state[0], at, 2)
    leaf.state[0] += 1
    leaf.state[1], leaf.state[2] = at, key
    return _put_varint(leaf.page, _put_varint(leaf.page, at, payload), key)


@uncounted_helper
def _put_row(rows: Any, k: Any, kinds: Any, size: Any, leaf: Any, pages: Any) -> None:
    """Put a row on the leaf, and what does not fit onto one on pages of its own."""
    head, payload = size
    if payload <= _MOST_LOCAL:
        at = _begin_cell(leaf, rows.keys[k], payload, payload, pages)
        _put_record(rows, k, kinds, head, leaf.page, at)
        return
    # It is put together where the last of the pages will be made some time.
    room, local = pages.out.reshape(pages.out.size), _local_size(payload)
    record = room[len(room) - payload :]
    _put_record(rows, k, kinds, head, record, 0)
    at = _begin_cell(leaf, rows.keys[k], payload, local, pages)
    at = _put_bytes(leaf.page, at, record, 0, local)
    _put_big_endian(leaf.page, at, _spill(record, local, payload, pages), 4)


def pack_rows(rows: Rows, begin: int, leaf: Leaf, pages: Pages) -> tuple[int, int]:
    """Add rows to a table, as many as there is room for.

    Args:
        rows: Of which those before ``begin`` are there already.
        begin: The first one to add.
        leaf: What was begun before; goes on being filled.
        pages: Those that get finished are added to them.

    Returns:
        The first row that has not been added, and how many pages it needs at most.
    """
    kinds = np.empty((_PLANNED, len(rows.kinds)), np.int64)
    sizes = np.empty((_PLANNED, 2), np.int64)
    first, needed = _pack_rows(rows, begin, leaf, pages, kinds, sizes)
    return int(first), int(needed)


@uncounted_entry
def _pack_rows(
    rows: Any, begin: int, leaf: Any, pages: Any, kinds: Any, sizes: Any
) -> tuple[int, int]:
    for first in range(begin, len(rows.keys), _PLANNED):
        count = min(_PLANNED, len(rows.keys) - first)
        _plan_records(rows, first, kinds[:count], sizes[:count])
        for r in range(count):
            head, payload = sizes[r, 0], sizes[r, 1]
            # A leaf that is full before, what does not fit onto one, and the page that stays empty.
            needed = payload // _SPILL + 4
            if payload > _MOST_LOCAL:
                needed += payload // PAGE + 1  # while it is put together
            if pages.counts[0] + needed > len(pages.out):
                return first + r, needed
            _put_row(rows, first + r, kinds[r], (head, payload), leaf, pages)
    return len(rows.keys), 0


@uncounted_entry
def close_leaf(leaf: Any) -> None:
    """Make the page of ``leaf`` what it is in a file, though more may be added."""
    _put_leaf_head(leaf)


@uncounted_entry
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
