"""Blocks on threads of this process, folded in their order: for work that is mostly reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar, cast

from geoseg.grid import Window
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

    At most two blocks a thread are in hand: memory does not grow with the raster.

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


def in_background(items: Iterable[T], *, held: int = 2) -> Generator[T, None, None]:
    """The same items in the same order, made on a thread while the caller is busy with earlier ones.

    An error of ``items`` comes where the next item would have come.

    Args:
        items: Iterated over on one thread, but not on the caller's.
        held: Items that are made ahead at most.
    """
    iterator, waiting = iter(items), deque[Future[object]]()
    with ThreadPoolExecutor(1, thread_name_prefix="background") as pool:
        try:
            while True:
                while len(waiting) < held:
                    waiting.append(pool.submit(next, iterator, _END))
                item = waiting.popleft().result()
                if item is _END:
                    return
                yield cast("T", item)
        finally:
            for future in waiting:
                future.cancel()
