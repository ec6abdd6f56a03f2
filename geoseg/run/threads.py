"""Blocks on threads of this process, folded in their order: for work that is mostly reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from geoseg.grid import Window
from geoseg.run.reporter import Reporter
from geoseg.run.resources import available_cores

T = TypeVar("T")
Item = TypeVar("Item")


def each_block(
    work: Callable[[Window], T],
    windows: Sequence[Window],
    *,
    name: str,
    reporter: Reporter,
    workers: int | None = None,
) -> Iterator[T]:
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
) -> Iterator[T]:
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
