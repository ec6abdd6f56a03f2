"""Until workers are there: how long, for how many, and what is said where none came."""

from __future__ import annotations

import time
from collections.abc import Callable

from distributed import Client

from geoseg.errors import ClusterError
from geoseg.run.clusters.base import GPU, ClusterSpec
from geoseg.run.placing import offered

POLL_SECONDS = 0.2


def wait_for(client: Client, spec: ClusterSpec, *, words: Callable[[], str] = str) -> None:
    """Wait for the first worker, and for the first that has a GPU where some are asked for.

    Args:
        client: Of the cluster.
        spec: What was asked for; ``timeout`` is how long this waits.
        words: What the cluster says of workers that did not come.

    Raises:
        ClusterError: They did not come.
    """
    until = time.monotonic() + spec.timeout
    while not _enough(client, spec):
        if time.monotonic() > until:
            what = "no worker" if not offered(client) else "no worker with a GPU"
            said = words()
            raise ClusterError(
                f"cluster: {what} came within {spec.timeout:g} s from kind '{spec.kind}'"
                f"{f' ({said})' if said else ''}; wait longer (cluster.wait), or ask for less"
            )
        time.sleep(POLL_SECONDS)


def _enough(client: Client, spec: ClusterSpec) -> bool:
    workers = offered(client)
    if spec.gpu is None:
        return bool(workers)
    return any(worker.resources.get(GPU) for worker in workers.values())
