"""The workers of a run: started beside what else is to do, and asked for executors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock
from time import perf_counter, thread_time
from typing import Any

from distributed import Client

from geoseg.api.checking import check_workers
from geoseg.api.clusters import spec_of
from geoseg.api.planning import RunPlan
from geoseg.run.base import Executor
from geoseg.run.cluster import Connected, connect
from geoseg.run.many_jobs import ManyJobs
from geoseg.run.on_dask import OnDask
from geoseg.run.reporter import Reporter
from geoseg.run.resources import available_cores


class Crew:
    """The cluster of a run; it starts when the first scene needs it. Any thread may ask.

    Args:
        plan: What is done.
        reporter: Told once that the run has begun.
        stack: Ends the cluster.
        tell: Called once with the client of the cluster, and what is doubtful about its workers.
    """

    def __init__(
        self,
        plan: RunPlan,
        reporter: Reporter,
        stack: ExitStack,
        tell: Callable[[Client, list[str]], None],
    ) -> None:
        self._plan, self._reporter, self._tell = plan, reporter, tell
        self._doubts: list[str] = []
        # Leaving waits for the thread, so that what has been started is always ended.
        self._cluster = stack.enter_context(ExitStack())
        self._beside = stack.enter_context(ThreadPoolExecutor(1, "geoseg-connect"))
        self._lock = Lock()
        self._connected: Future[Connected] | None = None
        self._start, self._told = 0.0, False

    def connect(self) -> Future[Connected]:
        """Start the cluster beside what else is to do, once."""
        with self._lock:
            if self._connected is None:
                self._connected = self._beside.submit(self._connection)
            return self._connected

    def executor(self, order: int, *, blocks: bool = True) -> Executor:
        """For the scene that is the ``order``-th: all its work goes before that of later ones.

        For ``blocks``, or for products, which need no model and take as long as they take.

        Raises:
            ClusterError: Nothing answers.
        """
        connected = self.connect().result()
        with self._lock:
            first, self._told = not self._told, True
        if first:
            self._reporter.started(
                scenes=len(self._plan.tasks),
                blocks=self._plan.blocks,
                dashboard=connected.dashboard_link,
            )
            self._tell(connected.client, self._doubts)
        rules = self._plan.workflow.run
        priority = 1000 * rules.priority - order
        kind = ManyJobs if len(self._plan.tasks) > 1 else OnDask
        if not blocks:
            return kind(connected.client, retries=rules.retries, resources={}, priority=priority)
        return kind(
            connected.client,
            retries=rules.retries,
            timeout=self.patience,
            priority=priority,
            gpus=connected.gpus,
        )

    @property
    def slots(self) -> int:
        """Blocks that all workers have in hand at once."""
        found = self._now()
        resources = self._plan.resources
        return resources.workers * resources.lanes if found is None else found.threads

    @property
    def patience(self) -> float:
        """Seconds that a block may take."""
        return self._plan.workflow.run.block_timeout.timedelta.total_seconds()

    def machine(self, since: float, cpu: float) -> dict[str, Any]:
        """Who works, and the seconds until work began: for the workers, and for all else.

        ``since`` is when the scene was begun, by :func:`perf_counter`, and ``cpu`` what its thread
        had computed by then, by :func:`thread_time`.
        """
        found, resources = self._now(), self._plan.resources
        workers = resources.workers if found is None else found.workers
        with self._lock:
            start, self._start = self._start, 0.0  # only the first scene waited for it
        return {
            "workers": workers,
            "lanes": resources.lanes if found is None else found.threads // workers,
            "models": resources.models,
            "cores": available_cores(),
            "start": round(start, 3),
            "before": round(max(0.0, perf_counter() - since - start), 3),
            "before_cpu": round(thread_time() - cpu, 3),
            "scenes": len(self._plan.tasks),
        }

    def _now(self) -> Connected | None:
        """The cluster, if it is there."""
        future = self._connected
        if future is None or not future.done() or future.exception() is not None:
            return None
        return future.result()

    def _connection(self) -> Connected:
        plan = self._plan
        spec = spec_of(plan.workflow.cluster, plan.resources)
        begun = perf_counter()
        connected = self._cluster.enter_context(
            connect(spec, blocks=plan.blocks, tell=self._reporter.warning)
        )
        if not spec.here:
            self._doubts = check_workers(connected.client, plan)
        self._start = perf_counter() - begun
        return connected
