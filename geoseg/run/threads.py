"""Blocks on threads of this process, folded in their order: for work that is mostly reading."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar, cast

from geoseg.grid import Window
from geoseg.run.patience import LateError, Patience, allowed
from geoseg.run.reporter import Reporter
from geoseg.run.resources import available_cores

T = TypeVar("T")
Item = TypeVar("Item")

_END: Final = object()


def each_block(
    work: Callable[[Window], T],
    windows: Sequence[Window],
    *,
    name: str,
    reporter: Reporter,
    workers: int | None = None,
) -> Closable[T]:
    """What ``work`` gives for each window, in the order of the windows.

    At most two blocks a thread are in hand: memory does not grow with the raster. A block that
    takes longer than :func:`geoseg.run.patience.block_timeout` says, else three hours, ends it by a
    :class:`~geoseg.run.patience.LateError`.

    Args:
        work: Called from several threads at once.
        windows: Of one raster.
        name: Of the stage, for the reporter.
        reporter: Told of each block.
        workers: Threads; one a core without it.
    """
    sizes = [w.shape[0] * w.shape[1] for w in windows]
    return each_item(work, windows, sizes, name=name, reporter=reporter, workers=workers)


def each_item(
    work: Callable[[Item], T],
    items: Sequence[Item],
    sizes: Sequence[int],
    *,
    name: str,
    reporter: Reporter,
    workers: int | None = None,
) -> Closable[T]:
    """As :func:`each_block`, for anything that has ``sizes``, in pixels."""
    # Asked for now, and not when the first is: that may be on another thread.
    one = _Stage(name, work, allowed())
    return Closable(_in_order(one, items, sizes, reporter, workers))


class Closable(Generic[T]):
    """Items of a generator that any thread may close, also while another one asks for the next.

    Ctrl-C comes to the main thread at any moment, and the items may be asked for on another one. A
    generator can't be closed while it runs.
    """

    def __init__(self, made: Generator[T, None, None]) -> None:
        self._made = made
        self._one = threading.Lock()
        self._closed = False

    def __iter__(self) -> Iterator[T]:
        """Itself: the items come once."""
        return self

    def __next__(self) -> T:
        """The next one.

        Raises:
            CancelledError: Closed: what was made must not pass for all of them.
        """
        with self._one:
            if self._closed:
                raise CancelledError
            return next(self._made)

    def close(self) -> None:
        """Make no more of them; ends when the one in hand is made."""
        self._closed = True  # before the lock is had: nobody begins another one meanwhile
        with self._one:
            self._made.close()


class _Stage(Generic[Item, T]):
    """One call of ``work``, as long as it may take."""

    def __init__(self, name: str, work: Callable[[Item], T], patience: Patience) -> None:
        self.name, self._work, self._patience = name, work, patience

    def __call__(self, item: Item) -> T:
        try:
            return self._patience.call(lambda: self._work(item))
        except LateError as error:
            raise LateError(f"{self.name}: {error}") from error

    def close(self) -> None:
        self._patience.close()


def _in_order(
    work: _Stage[Item, T],
    items: Sequence[Item],
    sizes: Sequence[int],
    reporter: Reporter,
    workers: int | None,
) -> Generator[T, None, None]:
    name = work.name
    threads = min(workers or available_cores(), max(1, len(items)))
    reporter.stage(name, blocks=len(items), pixels=sum(sizes))
    rest, waiting = iter(items), deque[Future[T]]()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for size in sizes:
                while len(waiting) < 2 * threads and (item := next(rest, None)) is not None:
                    waiting.append(pool.submit(work, item))
                yield waiting.popleft().result()
                reporter.advance(blocks=1, pixels=size)
        finally:
            for future in waiting:
                future.cancel()
            work.close()


class InBackground(Generic[T]):
    """The same items in the same order, made on a thread while the caller is busy with other work.

    It begins at once, before anybody asks. An error of ``items`` comes where the next item would
    have come.

    Args:
        items: Iterated over on one thread, but not on the caller's.
        source: What they are made from, if it can be closed: the one in hand then ends soon.
        held: Items that are made ahead at most.
    """

    def __init__(
        self, items: Iterable[T], *, source: Closable[Any] | None = None, held: int = 2
    ) -> None:
        self._iterator, self._source, self._held = iter(items), source, held
        self._waiting = deque[Future[object]]()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")
        try:
            self._fill()
        except BaseException:  # Ctrl-C, say: nobody has this yet, who could close it
            self.close()
            raise

    def __iter__(self) -> Iterator[T]:
        """The items; once."""
        while True:
            self._fill()
            item = self._waiting.popleft().result()
            if item is _END:
                return
            yield cast("T", item)

    def close(self) -> None:
        """Make no more of them; ends when the one in hand is made, or what it is made from ends."""
        for future in self._waiting:
            future.cancel()
        if self._source is not None:
            self._source.close()
        self._pool.shutdown()

    def _fill(self) -> None:
        while len(self._waiting) < self._held:
            self._waiting.append(self._pool.submit(next, self._iterator, _END))
