"""Worker processes on this machine, reached by loopback only: one a core, or one for each GPU."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny

from geoseg.errors import ClusterError
from geoseg.run import forking
from geoseg.run.clusters.base import GPU, LOOPBACK, PRELOAD, ClusterSpec
from geoseg.run.clusters.scaling import adapt
from geoseg.run.resources import (
    NANNY_ENVIRONMENT,
    available_cores,
    dask_settings,
    visible_gpus,
    worker_environment,
)

DASHBOARD_PORT = 8787
DASHBOARD_TRIES = 100
PATIENCE_SECONDS = 0.5
"""For workers to end by themselves after an error; then they are killed."""


@contextmanager
def start(spec: ClusterSpec, blocks: int | None = None) -> Iterator[Client]:
    """See :class:`geoseg.run.clusters.base.Starter`."""
    gpus = _gpus(spec) if spec.kind == "cuda" else ()
    cores = available_cores()
    workers = len(gpus) + spec.cpu_workers or _workers(spec, cores, blocks)
    environment = worker_environment(cores, workers)
    with ExitStack() as stack:
        room = stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-workers-"))
        if not forking.FORKS:  # see _Nanny
            stack.enter_context(_environment_kept(environment))
        forking.begin(environment=environment)
        stack.enter_context(dask.config.set(dask_settings(environment) | forking.settings()))
        options = _options(spec, room)
        begun = spec.elastic.minimum if spec.elastic else workers
        cluster = LocalCluster(n_workers=0 if gpus else begun, **options)
        stack.enter_context(cluster)
        if gpus:
            _add_gpu_workers(cluster, gpus, spec.cpu_workers)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        if spec.elastic is not None and begun < workers:
            adapt(cluster, spec.elastic.minimum, workers)
        try:
            yield client
        finally:
            _hush()
            # Blocks may be running still: nobody waits for them, and they can be done again. And
            # who has nothing to do has nothing to save, but takes seconds to end by itself.
            cluster.sync(_end, list(cluster.workers.values()))


class _Nanny(Nanny):
    """Gives a fork its environment, and leaves that of this process alone.

    distributed sets it here before each start of a worker, also of one that died. A new name moves
    all of them in memory, which no lock of glibc guards: threads that read files at that moment, for
    GDAL looks at the environment all the time, end the process by a segmentation fault.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Without what this process has of the same names, which distributed would prefer.
        told = {name: str(value) for name, value in dask.config.get(NANNY_ENVIRONMENT).items()}
        self.env = {**self.env, **told, **(options.get("env") or {})}
        self.pre_spawn_env = {}


def _workers(spec: ClusterSpec, cores: int, blocks: int | None) -> int:
    """Processes at most: never more than there are blocks."""
    wanted = spec.elastic.maximum if spec.elastic else spec.workers or cores
    return min(wanted, max(1, blocks or wanted))


def _options(spec: ClusterSpec, room: str) -> dict[str, Any]:
    first = DASHBOARD_PORT if spec.dashboard is True else int(spec.dashboard)
    dashboard = free_port(first) if first else None
    return {
        "threads_per_worker": spec.threads,
        "worker_class": _Nanny if forking.FORKS else Nanny,
        "host": LOOPBACK,
        "dashboard_address": f"{LOOPBACK}:{dashboard or 0}",
        "scheduler_kwargs": {"dashboard": dashboard is not None},
        "memory_limit": spec.memory or 0,
        "local_directory": room,
        "silence_logs": False,
        "preload": [PRELOAD],
        **_encrypted(spec),
    }


def _encrypted(spec: ClusterSpec) -> dict[str, Any]:
    """Options of a cluster of our own, and none where nothing is to be encrypted."""
    return {} if spec.tls is None else {"security": spec.tls.security(), "protocol": "tls"}


def _gpus(spec: ClusterSpec) -> tuple[str, ...]:
    """Those that get a worker.

    Raises:
        ClusterError: There are none, or fewer than are asked for.
    """
    found = visible_gpus()
    if not found:
        raise ClusterError(
            "cluster: kind 'cuda' needs an NVIDIA GPU, and none is seen here: nvidia-smi lists "
            "none, or CUDA_VISIBLE_DEVICES hides them; use kind 'local'"
        )
    if spec.workers is not None and spec.workers > len(found):
        raise ClusterError(
            f"cluster: workers: found {spec.workers}, but kind 'cuda' has one for each GPU, and "
            f"{len(found)} are seen here"
        )
    return found[: spec.workers]


def _add_gpu_workers(cluster: LocalCluster, gpus: tuple[str, ...], others: int) -> None:
    """One worker for each GPU, which sees only that one; and others, which see none.

    CUDA looks at its variable once in a process, when it is first used: no worker may inherit that.
    """
    plain = cluster.new_worker_spec()
    ((_, like),) = plain.items()
    pools: list[tuple[str, str, Mapping[str, float]]] = [
        *((f"gpu-{n}", gpu, {GPU: 1}) for n, gpu in enumerate(gpus)),
        *((f"cpu-{n}", "", {}) for n in range(others)),
    ]
    for name, seen, resources in pools:
        options = like["options"] | {
            "name": name,
            "env": {"CUDA_VISIBLE_DEVICES": seen},
            "resources": dict(resources),
        }
        cluster.worker_spec[name] = {"cls": like["cls"], "options": options}
    cluster.scale(len(pools))
    cluster.wait_for_workers(len(pools))


def _hush() -> None:
    """That workers end is no news any more; what is quiet now, ``connect`` undoes."""
    logging.getLogger("distributed.nanny").setLevel(logging.CRITICAL)


async def _end(nannies: list[Nanny]) -> None:
    # On a busy machine even a killed process takes its time: that is no reason to hide why we end.
    ending = (n.close(timeout=PATIENCE_SECONDS) for n in nannies)
    await asyncio.gather(*ending, return_exceptions=True)


def free_port(first: int) -> int:
    """The first free port of this machine from there on; 0 (any) where none is.

    Another program may take it before Dask does. Dask then finds one by itself, and warns of it in
    vain: what is told is the address that it has.
    """
    warnings.filterwarnings(
        "ignore", r"Port \d+ is already in use", UserWarning, r"distributed\.node"
    )
    for port in range(first, min(first + DASHBOARD_TRIES, 65536)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    return 0


@contextmanager
def _environment_kept(names: Iterable[str]) -> Iterator[None]:
    """Undo what distributed changes in this process's environment; meanwhile ``names`` are free."""
    before = dict(os.environ)
    for name in names:  # which distributed would prefer to what it is told
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
