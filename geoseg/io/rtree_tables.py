"""The tables behind an SQLite R*Tree, filled while rows come by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.io.sqlite_tables import PageFile, TableFiller, page_of
from geoseg.ops.rtree import FANOUT, enclose, hilbert_order, node_of_cells, pack_nodes, set_depth
from geoseg.ops.sqlite_pages import BLOB, INTEGER, NULL, Rows

CHUNK = 1 << 20
"""Rows that are ordered and packed together: what is held in memory."""

_ROOT = 1
_ROWS = 8192  # that are laid out at once
_Integers = NDArray[np.int64]


class RTreeFiller:
    """Gives boxes to an R*Tree that has none.

    Boxes are put in order among :data:`CHUNK` consecutive rows, so memory does not grow with their
    number but for a node per 48 rows. Polygons come by from north to south, so chunks are strips.

    Args:
        file: Where the tables are.
        roots: First pages of the tables ``_node``, ``_rowid`` and ``_parent``.
    """

    def __init__(self, file: PageFile, roots: tuple[int, int, int]) -> None:
        self._file = file
        self._nodes, self._rowids, self._parents = (TableFiller(file, root) for root in roots)
        self._held: list[tuple[_Integers, NDArray[np.float32]]] = []
        self._around: list[NDArray[np.float32]] = []
        self._count = _ROOT  # nodes so far, the root included
        self._root_page = 0

    def append(self, ids: _Integers, boxes: NDArray[np.float64]) -> None:
        """Add boxes ``(n, 4)``: west, south, east, north."""
        self._held.append((ids, enclose(boxes)))

    def pack(self) -> None:
        """Write what is held as leaves of the tree."""
        ids, boxes = self._take()
        if not len(ids):
            return
        if not self._root_page:
            # The root has the first number but is known last.
            self._root_page = self._file.reserve()
            self._nodes.add_page(self._root_page, _ROOT)
        order = hilbert_order(boxes)
        node = np.empty(len(ids), np.int64)
        node[order] = self._count + 1 + node_of_cells(len(ids))
        for begin in range(0, len(ids), _ROWS):
            part = slice(begin, begin + _ROWS)
            self._rowids.append(_numbers(ids[part], node[part]))
        self._around.append(self._add_nodes(ids[order], boxes[order]))

    def finish(self) -> None:
        """Write the rest of the tree."""
        if not self._root_page and sum(len(ids) for ids, _ in self._held) <= FANOUT:
            self._finish_single()
        else:
            self.pack()
            self._finish_levels()
        for table in (self._nodes, self._rowids, self._parents):
            table.finish()

    def _take(self) -> tuple[_Integers, NDArray[np.float32]]:
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._held)])
        boxes = np.concatenate([np.empty((0, 4), np.float32), *(boxes for _, boxes in self._held)])
        self._held = []
        return ids, boxes

    def _add_nodes(self, ids: _Integers, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        nodes, around = pack_nodes(ids, boxes)
        self._nodes.append(_blobs(self._count + 1 + np.arange(len(nodes)), nodes))
        self._count += len(nodes)
        return around

    def _finish_single(self) -> None:
        """The root is the only node."""
        ids, boxes = self._take()
        if not len(ids):
            ids, boxes = np.zeros(1, np.int64), np.zeros((1, 4), np.float32)
            nodes = np.zeros_like(pack_nodes(ids, boxes)[0])
            self._nodes.append(_blobs(np.array([_ROOT]), nodes))
            return
        self._nodes.append(_blobs(np.array([_ROOT]), pack_nodes(ids, boxes)[0]))
        self._rowids.append(_numbers(ids, np.full(len(ids), _ROOT)))

    def _finish_levels(self) -> None:
        boxes = np.concatenate(self._around)
        ids, depth = _ROOT + 1 + np.arange(len(boxes)), 1
        while len(ids) > FANOUT:
            first = self._count + 1
            self._parents.append(_numbers(ids, first + node_of_cells(len(ids))))
            boxes = self._add_nodes(ids, boxes)
            ids, depth = first + np.arange(len(boxes)), depth + 1
        self._parents.append(_numbers(ids, np.full(len(ids), _ROOT)))
        root, _ = pack_nodes(ids, boxes)
        set_depth(root[0], depth)
        self._file.replace(self._root_page, page_of(_blobs(np.array([_ROOT]), root)))


def _numbers(keys: _Integers, values: _Integers) -> Rows:
    """Rows of a key and a number."""
    kinds, numbers = np.array([NULL, INTEGER], np.uint8), np.zeros((2, len(keys)), np.int64)
    numbers[1] = values
    return _rows(keys, kinds, numbers, np.zeros((len(keys), 0), np.uint8))


def _blobs(keys: _Integers, blobs: NDArray[np.uint8]) -> Rows:
    """Rows of a key and a blob."""
    kinds, numbers = np.array([NULL, BLOB], np.uint8), np.zeros((2, len(keys)), np.int64)
    return _rows(keys, kinds, numbers, blobs)


def _rows(
    keys: _Integers, kinds: NDArray[np.uint8], numbers: _Integers, blobs: NDArray[np.uint8]
) -> Rows:
    nothing = np.zeros(0, np.uint8)
    nothing.flags.writeable = False  # as with what Arrow holds, lest kernels are compiled anew
    return Rows(
        np.ascontiguousarray(keys, np.int64),
        kinds,
        numbers,
        np.zeros(numbers.shape, np.bool_),
        np.zeros((2, len(keys) + 1), np.int64),
        np.zeros(0, np.uint8),
        blobs,
        np.zeros(len(keys) + 1, np.int64),
        nothing,
    )
