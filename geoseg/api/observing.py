"""All that listens to a run beside its terminal: logs of events, metrics, traces, Dask's report."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Literal, cast

import geoseg
from geoseg.api.dask_files import LOG, draw_record, keep_record
from geoseg.api.holding import STATE
from geoseg.api.holes import Holes
from geoseg.api.results import SceneResult
from geoseg.errors import ClusterLostError
from geoseg.run import traces
from geoseg.run.dask_report import DaskReport
from geoseg.run.event_log import Event, EventLog
from geoseg.run.events import MOST_TEXT, RunEvents, SceneEvents, Sink
from geoseg.run.reporter import Reporter, Several
from geoseg.run.run_metrics import RunMetrics
from geoseg.run.status import StatusFile
from geoseg.run.watching import takers_of
from geoseg.workflow.schema import LONG_RUN

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.api.planning import RunPlan, SceneTask

_OVERVIEW = {"run_started", "run_ended", "scene_started", "scene_ended"}
"""What stands in the log above all scenes."""


class Observing:
    """One run, as others see it. Nothing of it can make a run fail; any thread may call."""

    def __init__(self, plan: RunPlan, root: Path, reporter: Reporter) -> None:
        self.reporter = reporter
        self._begun, self._results = perf_counter(), tuple[SceneResult, ...]()
        self._folder = root / STATE / LOG
        self._logs, self._dask = Logs(self._folder), cast("DaskReport | None", None)
        self._wants_report = plan.workflow.run.performance_report
        self._here = plan.workflow.cluster.here
        self._metrics = RunMetrics(
            plan.workflow.name,
            scenes=len(plan.tasks),
            memory_planned=max((t.plan.memory_per_worker for t in plan.tasks), default=0),
        )
        self._traces = _traces(reporter)
        sinks: list[Sink] = [*(taker.event for taker in takers_of(reporter)), self._logs]
        sinks.append(self._metrics)
        if self._traces is None:
            self._run = RunEvents(sinks)
        else:
            self._run = RunEvents([*sinks, self._traces], carrier=self._traces.carrier)
        self._run.emit(
            "run_started",
            workflow=plan.workflow.name,
            geoseg=geoseg.__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            scenes=len(plan.tasks),
            blocks=plan.blocks,
        )

    def connected(self, client: Client) -> None:
        """The cluster of the run is there."""
        self._metrics.connect(client)
        if self._wants_report is False:
            return
        try:
            self._dask = DaskReport(client)
        except Exception as error:  # noqa: BLE001 (whatever distributed raises: no run needs it)
            self._say(f"run.performance_report: there will be none: {error}")

    def scene(self, task: SceneTask, state: Path) -> SceneWatch:
        """There is something to do for a scene, whose state folder is ``state``."""
        plan = task.plan
        self._logs.add(plan.scene.id, state / LOG)
        events = SceneEvents(self._run, plan.scene.id)
        height, width = plan.shape
        events.emit(
            "scene_started",
            blocks=len(plan.blocks),
            height=height,
            width=width,
            memory_planned=plan.memory_per_worker,
        )
        return SceneWatch(StatusFile(state), events)

    def results(self, results: Sequence[SceneResult]) -> None:
        """What came of all scenes; those that failed before they were begun are told of now."""
        self._results = tuple(results)
        for one in results:
            if one.error is not None and not self._logs.knows(one.scene):
                error = one.error[:MOST_TEXT]
                self._run.emit("scene_ended", scene=one.scene, state="failed", error=error)

    def ended(self, error: BaseException | None = None) -> None:
        """The run has ended, by ``error`` or well."""
        stopped = error is not None and not isinstance(error, Exception)
        # A cluster that is lost says nothing any more; and who asks one that is mute would wait.
        if self._dask is not None and not (stopped or isinstance(error, ClusterLostError)):
            self._keep_report(self._dask)
        state = "done" if error is None else "failed" if isinstance(error, Exception) else "stopped"
        self._run.emit(
            "run_ended",
            state=state,
            seconds=round(perf_counter() - self._begun, 3),
            made=sum(one.fresh and one.error is None for one in self._results),
            failed=sum(one.error is not None for one in self._results),
            error=None if error is None else str(error)[:MOST_TEXT],
        )
        self._logs.close()
        if self._traces is not None and self._traces.complaint:
            self.reporter.warning(f"traces: not all were delivered: {self._traces.complaint}")

    def _keep_report(self, dask: DaskReport) -> None:
        short = self._here and perf_counter() - self._begun < LONG_RUN
        what = "kept"
        try:
            record = dask.record()
            keep_record(self._folder, record)
            if self._wants_report is True or not short:
                what = "drawn"
                draw_record(self._folder, record)
        except Exception as error:  # noqa: BLE001 (a full disk, a scheduler that went: no run needs it)
            self._say(f"run.performance_report: was not {what}: {error}")

    def _say(self, what: str) -> None:
        """Only to those who asked for the report."""
        if self._wants_report is True:
            self.reporter.warning(what)


class SceneWatch(Several):
    """Tells of one scene: in its status file, and as events. Implements :class:`Reporter`."""

    def __init__(self, status: StatusFile, events: SceneEvents) -> None:
        super().__init__([status, events])
        self._status, self._events, self._begun = status, events, perf_counter()

    def broken(self, error: BaseException) -> None:
        """The scene, or the whole run, has ended by ``error``."""
        how: Literal["failed", "stopped"] = "failed" if isinstance(error, Exception) else "stopped"
        self._status.ended(how, str(error))
        self._events.ended(how, seconds=self._seconds, error=str(error)[:MOST_TEXT])

    def made(self, products: Mapping[str, Path], holes: Holes) -> None:
        """All products are there, with ``holes`` in them."""
        self._status.done(f"products are made; {holes}" if holes else "all products are made")
        for role, path in products.items():
            size = None
            with suppress(OSError):
                size = path.stat().st_size if path.is_file() else None
            self._events.emit("product", role=role, file=path.name, bytes=size)
        self._events.ended("done", seconds=self._seconds, failed_blocks=len(holes.failed))

    @property
    def _seconds(self) -> float:
        return round(perf_counter() - self._begun, 3)


class Logs:
    """The logs of a run: one for each scene, and one above them. A sink of :class:`RunEvents`.

    They may be the same. Nothing is written until there is a scene to do something for.
    """

    def __init__(self, above: Path) -> None:
        self._lock, self._above = Lock(), EventLog(above)
        self._of_scene: dict[str, EventLog] = {}
        self._held: list[Event] = []
        self._folder = above

    def add(self, scene: str, folder: Path) -> None:
        """A scene that there is something to do for."""
        with self._lock:
            log = self._above if folder == self._folder else EventLog(folder)
            first, self._of_scene[scene] = not self._of_scene, log
            held = list(self._held)
        for begun in {self._above, log} if first else {log} - {self._above}:
            for event in held:
                begun(event)

    def knows(self, scene: str) -> bool:
        """Whether it was added."""
        return scene in self._of_scene

    def __call__(self, event: Event) -> None:
        """Write ``event`` where it belongs."""
        with self._lock:
            if not self._of_scene:
                self._held.append(event)
                return
            log = self._of_scene.get(event.get("scene", ""))
        if event["event"] in _OVERVIEW and log is not self._above:
            self._above(event)
        if log is not None:
            log(event)
            if event["event"] == "scene_ended":
                log.close()  # hundreds of scenes must not hold hundreds of files

    def close(self) -> None:
        """Let go of all files."""
        for log in (self._above, *self._of_scene.values()):
            log.close()


@contextmanager
def observed(plan: RunPlan, root: Path, reporter: Reporter) -> Iterator[Observing]:
    """Around a run, while its cluster is there; ``root`` is the folder above all outputs."""
    observing = Observing(plan, root, reporter)
    try:
        yield observing
    except BaseException as error:
        observing.ended(error)
        raise
    observing.ended()


def _traces(reporter: Reporter) -> traces.Traces | None:
    if not traces.wanted():
        return None
    try:
        return traces.Traces()
    except ImportError as error:
        reporter.warning(
            f"traces: OTEL_* variables ask for them, but {error.name} is missing; "
            f"pip install 'geoseg[otel]'"
        )
        return None
