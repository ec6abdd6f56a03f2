"""Empty tables of an SQLite file filled with rows page by page, as no INSERT could do so fast."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
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
_ROOMS = 4  # of them: while one is filled, others are on their way to the file
_FLUSHED = 16 << 20  # bytes after which the disk is asked to begin with what was written
_CHANGES, _SIZE, _VALID_FOR = 24, 28, 92  # places in the head of the file


class PageFile:
    """An SQLite file that pages are appended to, while nobody has it open.

    Pages are written on a thread while the next ones are laid out, and reach the disk meanwhile,
    so that the sync at the end finds little left to wait for.

    A context; on leaving it without an error, all is written and the head of the file says how
    long it has become. An error of writing comes with a later call, or on leaving.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("r+b", buffering=0)
        self.count = self._file.seek(0, 2) // PAGE
        self._rooms = deque(np.empty((_ROOM, PAGE), np.uint8) for _ in range(_ROOMS))
        self._from_rooms: deque[Future[None] | None] = deque([None] * _ROOMS)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pages")
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._waiting: deque[Future[None]] = deque()
        self._flushing: Future[None] | None = None
        self._unflushed = 0

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
                self._settle(0)
                self._write_head()
        finally:
            self._writer.shutdown(cancel_futures=True)
            self._flusher.shutdown(cancel_futures=True)
            self._file.close()

    def room(self, pages: int) -> Pages:
        """Where at least so many new pages can be made; filled until the next call."""
        self._rooms.rotate(-1)
        self._from_rooms.rotate(-1)
        if self._from_rooms[0] is not None:
            self._from_rooms[0].result()  # what was made there before is in the file now
            self._from_rooms[0] = None
        self._settle(_ROOMS)
        if pages > len(self._rooms[0]) or len(self._rooms[0]) > _ROOM:
            self._rooms[0] = np.empty((max(pages, _ROOM), PAGE), np.uint8)
        leaves = np.empty((len(self._rooms[0]), 2), np.int64)
        return Pages(self._rooms[0], np.array([0, self.count + 1, 0]), leaves)

    def append(self, pages: NDArray[np.uint8]) -> None:
        """Add pages ``(m, PAGE)`` at the end: those of the room, or others, which are copied."""
        own = pages.base is self._rooms[0]
        data = (pages if own else pages.copy()).reshape(-1)
        written = self._write(self.count * PAGE, data)
        if own:
            self._from_rooms[0] = written
        self.count += len(pages)

    def reserve(self) -> int:
        """Add an empty page; returns its number."""
        skipped = self.count + 1 == LOCK_PAGE
        self.append(np.zeros((1 + skipped, PAGE), np.uint8))
        return self.count

    def replace(self, number: int, page: NDArray[np.uint8]) -> None:
        """Write the page of a number anew."""
        self._write((number - 1) * PAGE, page.copy())

    def _write(self, place: int, data: NDArray[np.uint8]) -> Future[None]:
        written = self._writer.submit(self._put, place, data)
        self._waiting.append(written)
        return written

    def _settle(self, most: int) -> None:
        """Wait until at most so many writes are on their way."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def _put(self, place: int, data: NDArray[np.uint8]) -> None:
        rest = data.data
        while len(rest):
            written = os.pwrite(self._file.fileno(), rest, place)
            rest, place = rest[written:], place + written
        self._unflushed += len(data)
        if self._unflushed > _FLUSHED and (self._flushing is None or self._flushing.done()):
            self._flushing = self._flusher.submit(_flush, self._file.fileno())
            self._unflushed = 0

    def _write_head(self) -> None:
        descriptor = self._file.fileno()
        changes = int.from_bytes(os.pread(descriptor, 4, _CHANGES), "big") + 1
        for place, value in ((_CHANGES, changes), (_SIZE, self.count), (_VALID_FOR, changes)):
            os.pwrite(descriptor, value.to_bytes(4, "big"), place)


def _flush(descriptor: int) -> None:
    """Begin early with what is synced in the end, where an error would be told."""
    with suppress(OSError):
        os.fdatasync(descriptor)


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
