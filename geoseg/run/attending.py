"""What a client looks after in somebody else's cluster: workers that leave, a scheduler gone mute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client
from tornado.ioloop import PeriodicCallback

from geoseg.run.clusters.joining import dismiss

PATIENCE_SECONDS = 60.0
"""A scheduler that is asked, and says nothing for so long, is given up."""
ASK_SECONDS = 15.0

ALL = "all"
"""Dask's topic of what becomes of workers and clients."""

LOG = logging.getLogger("distributed.geoseg")
"""Heard like what distributed says of workers of our own; see :func:`geoseg.run.reporter.logs_to`."""
LOG.setLevel(logging.WARNING)

_UNFIT: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


@contextmanager
def attended(client: Client) -> Iterator[None]:
    """Warn of workers that are gone and that come again; hang up when nobody answers any more."""
    _tell_of_departures(client)
    client.sync(_begin, client)
    try:
        yield
    finally:
        dismiss(client)
        if client.status == "running":
            # Or the scheduler would tell us, who are gone by then, that we are gone.
            client.unsubscribe_topic(ALL)


async def _begin(client: Client) -> None:
    """In the client's own thread, where all that it waits for is."""
    asking = PeriodicCallback(lambda: _ask(client), ASK_SECONDS * 1000)
    # There it ends with the client's own.
    client._periodic_callbacks["geoseg-asking"] = asking  # noqa: SLF001 (there is no other place)
    asking.start()


async def _ask(client: Client) -> None:
    """Hang up on a scheduler that is frozen: its host keeps the line, and all would wait for ever.

    What follows is what follows when a scheduler dies.
    """
    line, scheduler = client.scheduler_comm, client.scheduler
    if line is None or scheduler is None:
        return
    try:
        await asyncio.wait_for(scheduler.ncores(), PATIENCE_SECONDS)
    except TimeoutError:
        LOG.warning("the scheduler has not answered for %g s: given up", PATIENCE_SECONDS)
        _hang_up(client, str(scheduler.addr))
        line.abort()
    except OSError:
        pass  # the line is broken, which the client sees by itself


def _hang_up(client: Client, address: str) -> None:
    """Let all fail that wait for an answer: questions have lines of their own, without an end."""
    pool = client.rpc
    for line in list(pool.occupied.get(address, ())):
        line.abort()
    pool.remove(address, reason="it has not answered")


def _tell_of_departures(client: Client) -> None:
    lost = 0

    def hear(event: tuple[float, Any]) -> None:
        nonlocal lost
        said = event[1]
        if not isinstance(said, Mapping):
            return
        if said.get("action") == "remove-worker":
            lost += 1
            LOG.warning("%s", _gone(str(said.get("worker")), len(said.get("processing-tasks", ()))))
        elif said.get("action") == "add-worker" and lost:
            LOG.warning("worker %s has come, and takes blocks", said.get("worker"))

    client.subscribe_topic(ALL, hear)


def tell_of_unfit(client: Client, worker: str, why: str) -> None:
    """Warn of a worker that cannot do blocks that others can; once of each."""
    told = _UNFIT.setdefault(client, set())
    if worker not in told:
        told.add(worker)
        LOG.warning("%s; worker %s does none of these blocks, others do", why, worker)


def _gone(worker: str, blocks: int) -> str:
    """In the words of somebody who looks after hosts."""
    had = (
        f", which had {blocks} block{'s' * (blocks != 1)} in hand; others do them" if blocks else ""
    )
    return f"worker {worker} is gone{had}"
