"""Numbers of workers and of runs for Prometheus, on the port where Dask serves its own.

Dask's scheduler and workers answer ``/metrics`` with what is registered in their process. Workers
count what they do themselves; how a run goes is known by its client, which tells the scheduler.
All of it needs prometheus_client (the extra ``metrics``); without it nothing is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from geoseg.run.observed import ObservedWork

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Seconds of a block, for the histogram."""


class WorkerCounts:
    """The counters of one worker process."""

    def __init__(self) -> None:
        import prometheus_client as prometheus  # noqa: PLC0415 (an extra)

        counter, gauge = prometheus.Counter, prometheus.Gauge
        stage = ["stage"]
        self._tries = counter("geoseg_worker_tries", "Blocks tried here.", [*stage, "state"])
        self._running = gauge("geoseg_worker_blocks_running", "Blocks in hand.", stage)
        self._took = prometheus.Histogram(
            "geoseg_worker_try_seconds", "Time of one try at a block.", stage, buckets=BUCKETS
        )
        self._lanes = counter(
            "geoseg_worker_lane_seconds", "Time of blocks by what took it.", [*stage, "lane"]
        )
        self._pixels = counter("geoseg_worker_pixels", "Pixels of blocks done here.", stage)
        self._received = counter(
            "geoseg_worker_received_bytes", "Bytes of scenes that servers sent.", stage
        )
        self._memory = gauge("geoseg_worker_memory_most_bytes", "Most memory of the process.")
        self._works: WeakSet[ObservedWork] = WeakSet()
        queue = gauge("geoseg_worker_model_queue", "Blocks that are read, and wait for the model.")
        queue.set_function(self._waiting)

    def opened(self, work: ObservedWork) -> None:
        """A job was opened here."""
        self._works.add(work)

    @contextmanager
    def trying(self, stage: str, pixels: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Around a try at a block; call what is given with its report where it went well."""
        state, start = "failed", time.perf_counter()
        running = self._running.labels(stage)
        running.inc()

        def done(report: Mapping[str, Any]) -> None:
            nonlocal state
            state = "done"
            self._pixels.labels(stage).inc(pixels)
            self._add(stage, report)

        try:
            yield done
        finally:
            running.dec()
            self._tries.labels(stage, state).inc()
            self._took.labels(stage).observe(time.perf_counter() - start)

    def _add(self, stage: str, report: Mapping[str, Any]) -> None:
        seconds, remote = report.get("seconds"), report.get("remote")
        for lane, value in seconds.items() if isinstance(seconds, Mapping) else ():
            self._lanes.labels(stage, lane).inc(max(0.0, value))
        if isinstance(remote, Mapping):
            self._received.labels(stage).inc(max(0, remote.get("bytes", 0)))
        if report.get("memory"):
            self._memory.set(report["memory"])

    def _waiting(self) -> float:
        return float(sum(getattr(one.work, "waiting", 0) for one in list(self._works)))


def counts_of_worker() -> WorkerCounts | None:
    """Those of this process; None without prometheus_client."""
    with _REGISTERING:
        return _counts()


_REGISTERING = Lock()
"""Two threads that open scenes at once would both register what a process has once."""


@cache
def _counts() -> WorkerCounts | None:
    try:
        return WorkerCounts()
    except ImportError:
        return None
