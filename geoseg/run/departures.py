"""Says which workers of somebody else's cluster are gone, and which have come since."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from distributed import Client

LOG = logging.getLogger("distributed.geoseg")
"""Heard like what distributed says of workers of our own; see :func:`geoseg.run.reporter.logs_to`."""
LOG.setLevel(logging.WARNING)


def tell_of_departures(client: Client) -> None:
    """Warn of each worker that is gone, and of those that come after one is."""
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

    client.subscribe_topic("all", hear)


def _gone(worker: str, blocks: int) -> str:
    """In the words of somebody who looks after hosts."""
    had = (
        f", which had {blocks} block{'s' * (blocks != 1)} in hand; others do them" if blocks else ""
    )
    return f"worker {worker} is gone{had}"
