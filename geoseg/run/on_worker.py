"""What runs on Dask workers: a plugin that holds the opened job, and the task of one block."""

from __future__ import annotations

import logging
import pickle
import platform
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from distributed import Worker, WorkerPlugin, batched, get_worker
from distributed.metrics import monotonic

import geoseg
from geoseg.errors import ClusterError
from geoseg.grid import Window
from geoseg.run.base import Job
from geoseg.run.clusters.joining import Joining
from geoseg.run.opened import Answer, Opened


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker says of itself."""

    geoseg: str
    python: str
    threads: int
    resources: Mapping[str, float]


def versions() -> tuple[str, str]:
    """Of geoseg and Python, as far as client and workers must agree on them."""
    return geoseg.__version__, ".".join(platform.python_version_tuple()[:2])


def describe(dask_worker: Worker) -> WorkerFacts:
    """Asked of every worker by :meth:`distributed.Client.run`."""
    state = dask_worker.state
    return WorkerFacts(*versions(), int(state.nthreads), dict(state.total_resources))


class JobPlugin(WorkerPlugin):
    """Holds one job on each worker, also on those that join or restart later.

    ``topic`` is where the client listens for answers; ``timeout`` are the seconds of a block;
    ``joining`` is the name of the plugin that looks whether this worker sees what it should.
    """

    def __init__(
        self, job: Job, topic: str, *, timeout: float | None = None, joining: str = ""
    ) -> None:
        self.name, self.topic, self.joining = f"geoseg-{job.key}", topic, joining
        self.job, self.timeout = job, timeout
        self.versions = versions()

    def setup(self, worker: Worker) -> None:
        """Get ready; the job itself is opened by the first block, in a thread that may wait."""
        self._worker = worker
        self.opened = Opened(
            self.job, where=worker.address, check=self._check, timeout=self.timeout
        )

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - distributed passes it
        """Let go of the model and the files, now or when the last running block ends."""
        self.opened.close()

    def _check(self) -> None:
        if versions() != self.versions:
            raise ClusterError(disagreement({"this worker": versions()}, self.versions))
        looking = self._worker.plugins.get(self.joining)
        if isinstance(looking, Joining):
            looking.check()


def disagreement(found: Mapping[str, tuple[str, str]], ours: tuple[str, str]) -> str:
    """One line about workers whose versions are not ours."""
    theirs = sorted({f"geoseg {g} on Python {p}" for g, p in found.values()})
    who = next(iter(found)) if len(found) == 1 else f"{len(found)} workers"
    return (
        f"cluster: {who} run {' and '.join(theirs)}, but the client runs geoseg {ours[0]} on "
        f"Python {ours[1]}; install the same on both"
    )


def do_block(plugin: str, window: tuple[int, int, int, int]) -> Answer:
    """The task of one block; answers in a few hundred bytes and never raises.

    The answer also goes along with the message that the task has ended. Asking for results takes
    the scheduler three messages more for each block, about a quarter of its time.
    """
    worker = get_worker()
    held = _plugin(worker, plugin)
    if held is None:
        return Answer(None)
    answer = held.opened(Window(*window))
    key = str(worker.get_current_task())
    worker.log_event(held.topic, (plugin, key, pickle.dumps(answer)))
    return answer


async def stop_job(plugin: str, dask_worker: Worker) -> None:
    """Begin no further block of the job on this worker."""
    held = _plugin(dask_worker, plugin)
    if held is not None:
        held.opened.stop()


def _plugin(worker: Worker, name: str) -> JobPlugin | None:
    """None once the job has ended: a task that comes late has nothing to do."""
    return cast("JobPlugin | None", worker.plugins.get(name))


def messages_heed_no_clock() -> None:
    """Let distributed's messages leave in time in this process, whatever becomes of the wall clock.

    It keeps messages until a time of day: a clock that is set back by hours keeps them for hours.
    """
    batched.time = monotonic  # type: ignore[attr-defined]  # imported there, not exported


def dask_setup(worker: Any) -> None:  # noqa: ARG001 - the name and argument distributed looks for
    """Preload of our own workers: Ctrl-C is for the client, which lets running blocks end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages_heed_no_clock()
    # A heartbeat that meets a scheduler on its way out is no news; blocks tell what fails in them.
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
