"""Clusters: worker processes on this machine, or a scheduler somewhere else."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
from distributed import Client, LocalCluster, Nanny, Security

from geoseg.errors import ClusterError
from geoseg.run import forking
from geoseg.run.attending import attended
from geoseg.run.on_dask import survey
from geoseg.run.on_worker import WorkerFacts, disagreement, messages_heed_no_clock, versions
from geoseg.run.resources import available_cores, dask_settings, worker_environment

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
DASHBOARD_TRIES = 100
PATIENCE_SECONDS = 0.5
"""For workers to end by themselves after an error; then they are killed."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: of the authority that signed all of a cluster's certificates, and our own two."""

    ca: str
    cert: str
    key: str

    def security(self) -> Security:
        """As distributed wants it; nothing is said in the clear.

        Raises:
            ClusterError: A file is missing, or is not what it should be.
        """
        for what in ("ca", "cert", "key"):
            if not Path(getattr(self, what)).is_file():
                raise ClusterError(f"cluster.tls.{what}: {getattr(self, what)}: no such file")
        security = Security(
            tls_ca_file=self.ca,
            tls_client_cert=self.cert,
            tls_client_key=self.key,
            tls_scheduler_cert=self.cert,
            tls_scheduler_key=self.key,
            tls_worker_cert=self.cert,
            tls_worker_key=self.key,
            require_encryption=True,
        )
        try:
            security.get_connection_args("client")
        except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
            raise ClusterError(
                f"cluster.tls: {self.ca}, {self.cert} and {self.key} are no PEM files that belong "
                f"together ({getattr(error, 'reason', None) or error})"
            ) from error
        return security


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Where blocks run.

    Attributes:
        kind: ``local``: worker processes on this machine, reached by loopback only;
            ``address``: a scheduler that is already there.
        workers: Worker processes; None: one a core. Local only.
        threads: Blocks that one worker has in flight (read, in the model, written). Local only.
        memory: Bytes that one worker may use; a worker that takes more is replaced, and its
            blocks run again. None: no limit. Local only.
        address: Of the scheduler, like ``tcp://host:8786``.
        dashboard: True: at 8787 or the next free port; a number: at that port; False: none.
            Local only.
        timeout: Seconds to wait for the scheduler, and then for its first worker.
        tls: Certificates; all connections are encrypted where there are any.
    """

    kind: Literal["local", "address"] = "local"
    workers: int | None = None
    threads: int = 3
    memory: int | None = None
    address: str | None = None
    dashboard: bool | int = True
    timeout: float = 20.0
    tls: Certificates | None = None

    def __post_init__(self) -> None:
        if self.kind == "address" and not self.address:
            raise ClusterError("cluster: kind 'address' needs an address, like tcp://host:8786")
        if self.kind == "local" and self.address:
            raise ClusterError("cluster: an address was given; it needs kind 'address'")
        for what, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ClusterError(f"cluster: {what}: found {value}, at least 1 is needed")


@dataclass(frozen=True, slots=True)
class Connected:
    """A cluster that answers."""

    client: Client
    dashboard_link: str | None
    workers: int
    threads: int


@contextmanager
def connect(spec: ClusterSpec, *, blocks: int | None = None) -> Iterator[Connected]:
    """The cluster of ``spec``, with at most as many local workers as there are ``blocks``.

    Raises:
        ClusterError: Nothing answers, there are no workers, or their versions are not ours.
    """
    messages_heed_no_clock()
    with _quiet_logs(), ExitStack() as stack:
        if spec.kind == "local":
            client = stack.enter_context(_local(spec, blocks))
            dashboard = client.dashboard_link if spec.dashboard else None
        else:
            client = stack.enter_context(_remote(spec))
            dashboard = client.dashboard_link
        facts = survey(client)
        _agree(facts)
        if spec.kind != "local":
            stack.enter_context(attended(client))
        threads = sum(fact.threads for fact in facts.values())
        yield Connected(client, dashboard or None, len(facts), threads)


@contextmanager
def _local(spec: ClusterSpec, blocks: int | None) -> Iterator[Client]:
    cores = available_cores()
    workers = min(spec.workers or cores, max(1, blocks or spec.workers or cores))
    environment = worker_environment(cores, workers)
    first = DASHBOARD_PORT if spec.dashboard is True else int(spec.dashboard)
    dashboard = _free_port(first) if first else None
    with ExitStack() as stack:
        room = stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-workers-"))
        stack.enter_context(_environment_kept())
        for name in environment:  # which distributed would prefer to what it is told
            os.environ.pop(name, None)
        forking.begin(environment=environment)
        stack.enter_context(dask.config.set(dask_settings(environment) | forking.settings()))
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=spec.threads,
            processes=True,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:{dashboard or 0}",
            scheduler_kwargs={"dashboard": dashboard is not None},
            memory_limit=spec.memory or 0,
            local_directory=room,
            silence_logs=False,
            **_encrypted(spec),
            preload=["geoseg.run.on_worker"],
        )
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        try:
            yield client
        finally:
            _hush()
            # Blocks may be running still: nobody waits for them, and they can be done again. And
            # who has nothing to do has nothing to save, but takes seconds to end by itself.
            cluster.sync(_end, list(cluster.workers.values()))


def _encrypted(spec: ClusterSpec) -> dict[str, Any]:
    """Options of a cluster of our own, and none where nothing is to be encrypted."""
    return {} if spec.tls is None else {"security": spec.tls.security(), "protocol": "tls"}


def _hush() -> None:
    """That workers end is no news any more; what is quiet now, :func:`_quiet_logs` undoes."""
    logging.getLogger("distributed.nanny").setLevel(logging.CRITICAL)


async def _end(nannies: list[Nanny]) -> None:
    # On a busy machine even a killed process takes its time: that is no reason to hide why we end.
    ending = (n.close(timeout=PATIENCE_SECONDS) for n in nannies)
    await asyncio.gather(*ending, return_exceptions=True)


@contextmanager
def _remote(spec: ClusterSpec) -> Iterator[Client]:
    security = None if spec.tls is None else spec.tls.security()
    try:
        client = Client(spec.address, timeout=spec.timeout, set_as_default=False, security=security)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"cluster: no scheduler answers at {spec.address} within {spec.timeout:g} s; start one "
            f"with 'dask scheduler', or use kind 'local'"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=spec.timeout)
        except TimeoutError as error:
            raise ClusterError(
                f"cluster: the scheduler at {spec.address} has no workers; start some with "
                f"'dask worker {spec.address}'"
            ) from error
        yield client


def _agree(facts: Mapping[str, WorkerFacts]) -> None:
    """Refuse workers that would compute with other code than ours."""
    ours = versions()
    others = {who: (f.geoseg, f.python) for who, f in facts.items()}
    others = {who: theirs for who, theirs in others.items() if theirs != ours}
    if others:
        raise ClusterError(disagreement(others, ours))


def _free_port(first: int) -> int:
    """The first free port from there on; 0 (any) where none is."""
    for port in range(first, min(first + DASHBOARD_TRIES, 65536)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    return 0


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what distributed changes in this process's environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Let distributed speak of what matters only: workers that were replaced."""
    levels = {
        "distributed": logging.CRITICAL,
        "distributed.client": logging.CRITICAL,
        "distributed.nanny": logging.WARNING,
    }
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
