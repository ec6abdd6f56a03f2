"""Chips read ahead in a thread of their own, while the network works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from geoseg.models.base import ModelCard
from geoseg.models.training.base import ChipSource
from geoseg.models.training.geometry import Chips
from geoseg.models.training.network_input import as_chips

_AHEAD = 2
_PATIENCE = 0.1


@contextmanager
def read_ahead(
    card: ModelCard, source: ChipSource, *, start: int, end: int
) -> Iterator[Callable[[], Chips]]:
    """Give what returns the batches of the steps ``start`` to ``end`` (excluded), one by one.

    What goes wrong in the thread is raised where the batch is asked for; at the end the thread is
    waited for.
    """
    ready: queue.Queue[Chips | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: Chips | BaseException) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for step in range(start, end):
                if stop.is_set():
                    return
                put(as_chips(card, source.batch(step)))
        except BaseException as error:  # noqa: BLE001 (raised again by who asks)
            put(error)

    def take() -> Chips:
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    thread = threading.Thread(target=work, name="geoseg-chips", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        stop.set()
        thread.join()
