"""Clusters: worker processes on this machine, or workers somewhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Final, cast

from distributed import Client

from geoseg.errors import ClusterError
from geoseg.run.attending import attended
from geoseg.run.clusters.base import GPU, Certificates, ClusterSpec, Starter
from geoseg.run.on_dask import survey
from geoseg.run.on_worker import WorkerFacts, disagreement, messages_heed_no_clock, versions

__all__ = ["Certificates", "ClusterSpec", "Connected", "connect"]

_MODULES: Final[Mapping[str, str]] = {
    "local": "local",
    "cuda": "local",
    "address": "address",
    "slurm": "jobqueue",
    "pbs": "jobqueue",
    "kubernetes": "kubernetes",
    "gateway": "gateway",
}
"""The module of :mod:`geoseg.run.clusters` that starts a kind; loaded where it is asked for."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A cluster that answers; ``gpus``: whether some of its workers offer a GPU."""

    client: Client
    dashboard_link: str | None
    workers: int
    threads: int
    gpus: bool = False


@contextmanager
def connect(
    spec: ClusterSpec, *, blocks: int | None = None, tell: Callable[[str], None] | None = None
) -> Iterator[Connected]:
    """The cluster of ``spec``, with at most as many local workers as there are ``blocks``.

    ``tell`` hears what distributed logs of workers that are replaced; None: its own handlers do.

    Raises:
        ClusterError: Nothing answers, there are no workers, or their versions are not ours.
    """
    messages_heed_no_clock()
    module = import_module(f"geoseg.run.clusters.{_MODULES[spec.kind]}")
    start = cast("Starter", module.start)
    with _quiet_logs(tell), ExitStack() as stack:
        client = stack.enter_context(start(spec, blocks))
        shown = spec.dashboard or spec.kind in {"address", "kubernetes", "gateway"}
        dashboard = client.dashboard_link if shown else None
        facts = survey(client)
        _agree(facts)
        if not spec.here:
            stack.enter_context(attended(client))
        threads = sum(fact.threads for fact in facts.values())
        gpus = any(fact.resources.get(GPU) for fact in facts.values())
        yield Connected(client, dashboard or None, len(facts), threads, gpus)


def _agree(facts: Mapping[str, WorkerFacts]) -> None:
    """Refuse workers that would compute with other code than ours."""
    ours = versions()
    others = {who: (f.geoseg, f.python) for who, f in facts.items()}
    others = {who: theirs for who, theirs in others.items() if theirs != ours}
    if others:
        raise ClusterError(disagreement(others, ours))


@contextmanager
def _quiet_logs(tell: Callable[[str], None] | None) -> Iterator[None]:
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
    root = logging.getLogger("distributed")
    handlers = root.handlers[:]
    if tell is not None:  # its lines would stand between ours, which may be JSON
        root.handlers[:] = [_Telling(tell)]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for logger, level in before.items():
            logger.setLevel(level)


class _Telling(logging.Handler):
    """Hands on what is logged."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(f"{record.name}: {record.getMessage()}")
