"""Blocks on threads of this process, folded in their order: for work that is mostly reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar, cast

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
) -> Generator[T, None, None]:
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
) -> Generator[T, None, None]:
    """As :func:`each_block`, for anything that has ``sizes``, in pixels."""
    # Asked for now, and not when the first is: that may be on another thread.
    one = _Stage(name, work, allowed())
    return _in_order(one, items, sizes, reporter, workers)


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
        held: Items that are made ahead at most.
    """

    def __init__(self, items: Iterable[T], *, held: int = 2) -> None:
        self._iterator, self._held = iter(items), held
        self._waiting = deque[Future[object]]()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")
        self._fill()

    def __iter__(self) -> Iterator[T]:
        """The items; once."""
        while True:
            self._fill()
            item = self._waiting.popleft().result()
            if item is _END:
                return
            yield cast("T", item)

    def close(self) -> None:
        """Make no more of them; ends when the one in hand is made."""
        for future in self._waiting:
            future.cancel()
        self._pool.shutdown()

    def _fill(self) -> None:
        while len(self._waiting) < self._held:
            self._waiting.append(self._pool.submit(next, self._iterator, _END))
