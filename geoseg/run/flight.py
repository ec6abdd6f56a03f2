"""Several things under way at once, each on a thread of its own, begun in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from geoseg.errors import StoppedError
from geoseg.run.stopping import StopRequest

Item = TypeVar("Item")
T = TypeVar("T")

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 5.0
"""For threads to end that nobody waits for any more; they are daemons."""


class Flight(Generic[Item]):
    """Does something for many items, some of them at once.

    Args:
        do: Called for each item, on a thread of its own.
        most: Items that are under way at once.
        enough: Whether those that are under way have work enough for now; asked when one ends, and
            a few times a second.
    """

    def __init__(self, do: Callable[[Item], Any], *, most: int, enough: Callable[[], bool]) -> None:
        self._do, self._most, self._enough = do, most, enough
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._owner, self._left = threading.get_ident(), False
        self._ended: deque[tuple[Item, Any]] = deque()
        self._running: list[threading.Thread] = []

    def outcomes(self, items: Iterable[Item], request: StopRequest) -> Iterator[tuple[Item, Any]]:
        """Each item with what came of it, or what was raised, as they end.

        Once ``request`` was asked, no further item is begun; those under way end as they do.
        """
        waiting = deque(items)
        try:
            while waiting or self._running:
                while waiting and not request.asked and self._has_room():
                    self._begin(waiting.popleft())
                if not self._running:
                    return
                with suppress(Empty):
                    self._queue.get(timeout=POLL_SECONDS)()
                while self._ended:
                    yield self._ended.popleft()
        finally:
            self._left = True
            if self._running:
                request.ask(at_once=True)
                for thread in self._running:
                    thread.join(PATIENCE_SECONDS)

    def here(self, call: Callable[[], T]) -> T:
        """What ``call`` gives or raises, on the thread that waits in :meth:`outcomes`.

        For what only one may do at a time, like writing to a database of one thread.

        Raises:
            StoppedError: Nobody waits there any more.
        """
        if threading.get_ident() == self._owner:
            return call()
        done = threading.Event()
        came: list[T] = []
        raised: list[BaseException] = []

        def answer() -> None:
            try:
                came.append(call())
            except BaseException as error:  # noqa: BLE001 (whoever asked gets it)
                raised.append(error)
            done.set()

        self._queue.put(answer)
        while not done.wait(POLL_SECONDS):
            if self._left:
                raise StoppedError("stopped at once; finished blocks are kept")
        if raised:
            raise raised[0]
        return came[0]

    def _has_room(self) -> bool:
        count = len(self._running)
        return count == 0 or (count < self._most and not self._enough())

    def _begin(self, item: Item) -> None:
        context = copy_context()

        def work() -> None:
            try:
                came = self._do(item)
            except BaseException as error:  # noqa: BLE001 (told by outcomes)
                came = error
            self._queue.put(lambda: self._end(thread, item, came))

        thread = threading.Thread(
            target=context.run, args=(work,), daemon=True, name=f"geoseg-scene-{id(item):x}"
        )
        self._running.append(thread)
        thread.start()

    def _end(self, thread: threading.Thread, item: Item, came: Any) -> None:
        self._running.remove(thread)
        self._ended.append((item, came))
