"""Empty tables of an SQLite file filled with rows page by page, as no INSERT could do so fast."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.sqlite_pages import (
    LOCK_PAGE,
    MOST_CHILDREN,
    PAGE,
    Pages,
    Rows,
    close_leaf,
    new_leaf,
    pack_children,
    pack_rows,
)

_ROOM = 1024  # pages that are written at once
_CHANGES, _SIZE, _VALID_FOR = 24, 28, 92  # places in the head of the file


class PageFile:
    """An SQLite file that pages are appended to, while nobody has it open.

    A context; on leaving it without an error, the head of the file says how long it has become.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("r+b")
        self.count = self._file.seek(0, 2) // PAGE
        self._room = np.empty((_ROOM, PAGE), np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write_head()
        finally:
            self._file.close()

    def room(self, pages: int) -> Pages:
        """Where at least so many new pages can be made."""
        if pages > len(self._room) or len(self._room) > _ROOM:
            self._room = np.empty((max(pages, _ROOM), PAGE), np.uint8)
        leaves = np.empty((len(self._room), 2), np.int64)
        return Pages(self._room, np.array([0, self.count + 1, 0]), leaves)

    def append(self, pages: NDArray[np.uint8]) -> None:
        """Add pages ``(m, PAGE)`` at the end."""
        self._file.seek(self.count * PAGE)
        self._file.write(pages.reshape(-1).data)
        self.count += len(pages)

    def reserve(self) -> int:
        """Add an empty page; returns its number."""
        skipped = self.count + 1 == LOCK_PAGE
        self.append(np.zeros((1 + skipped, PAGE), np.uint8))
        return self.count

    def replace(self, number: int, page: NDArray[np.uint8]) -> None:
        """Write the page of a number anew."""
        self._file.seek((number - 1) * PAGE)
        self._file.write(page.data)

    def _write_head(self) -> None:
        self._file.seek(_CHANGES)
        changes = (int.from_bytes(self._file.read(4), "big") + 1).to_bytes(4, "big")
        for place, value in (
            (_CHANGES, changes),
            (_SIZE, self.count.to_bytes(4, "big")),
            (_VALID_FOR, changes),
        ):
            self._file.seek(place)
            self._file.write(value)


class TableFiller:
    """Gives rows to a table that has none.

    Args:
        file: Where the table is.
        root: Number of its first page, as in ``sqlite_schema``; what is on it is forgotten.
    """

    def __init__(self, file: PageFile, root: int) -> None:
        self._file, self._root = file, root
        self._leaf = new_leaf()
        self._children: list[NDArray[np.int64]] = []

    def append(self, rows: Rows) -> None:
        """Add rows whose keys come after those that are there."""
        begin, needed = 0, 0
        while begin < len(rows.keys):
            pages = self._file.room(needed)
            begin, needed = pack_rows(rows, begin, self._leaf, pages)
            made, _, leaves = pages.counts.tolist()
            self._file.append(pages.out[:made])
            self._children.append(pages.leaves[:leaves].copy())

    def add_page(self, number: int, last: int) -> None:
        """Take a page of rows, of which ``last`` is the last key, that is filled elsewhere."""
        self._children.append(np.array([[number, last]]))

    def finish(self) -> None:
        """Write what leads to the rows."""
        close_leaf(self._leaf)
        children = np.concatenate([np.empty((0, 2), np.int64), *self._children])
        if not len(children):
            self._file.replace(self._root, self._leaf.page)
            return
        last = np.array([[self._write(self._leaf.page), self._leaf.state[2]]])
        children = np.concatenate([children, last])
        while len(children) > MOST_CHILDREN:
            begins, pages = _parents(children)
            numbers = [self._write(page) for page in pages]
            children = np.stack([numbers, children[begins[1:] - 1, 1]], axis=1)
        self._file.replace(self._root, _parents(children)[1][0])

    def _write(self, page: NDArray[np.uint8]) -> int:
        number = self._file.reserve()
        self._file.replace(number, page)
        return number


def page_of(rows: Rows) -> NDArray[np.uint8]:
    """Rows as one page, that they must fit onto."""
    leaf = new_leaf()
    nowhere = Pages(
        np.empty((9, PAGE), np.uint8), np.zeros(3, np.int64), np.empty((9, 2), np.int64)
    )
    pack_rows(rows, 0, leaf, nowhere)
    close_leaf(leaf)
    return leaf.page


def _parents(children: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Pages above ``children``, evenly filled, and which children each begins with."""
    count = -(-len(children) // MOST_CHILDREN)
    begins = np.arange(count + 1) * len(children) // count
    pages = np.zeros((count, PAGE), np.uint8)
    pack_children(children, begins, pages)
    return begins, pages
