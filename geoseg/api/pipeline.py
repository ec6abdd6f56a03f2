"""Run a workflow: its scenes one by one, or several at once, each resumed where it was left."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from distributed import Client

from geoseg.api.after import after_scenes, check_after
from geoseg.api.at_once import AHEAD, LOOKED_AT, most_at_once
from geoseg.api.chosen import EngineRefusedError
from geoseg.api.crew import Crew
from geoseg.api.diary import Diary, diary_of, say_what_lacks
from geoseg.api.engines import Engines
from geoseg.api.holding import STATE, held
from geoseg.api.observing import Observing, observed
from geoseg.api.places import check_folder
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.publishing import output_root
from geoseg.api.results import RunResult, SceneResult
from geoseg.api.scene_run import SceneRun, Shared
from geoseg.api.stored import check_stores
from geoseg.api.trial_away import Away
from geoseg.errors import ClusterError, GeosegError, StoppedError
from geoseg.run.clock import Clock
from geoseg.run.flight import Flight
from geoseg.run.gathering import Gathering
from geoseg.run.reporter import Reporter, logs_to
from geoseg.run.stopping import StopRequest, stop_together


def run_plan(
    plan: RunPlan, reporter: Reporter, *, force: bool = False, now: datetime | None = None
) -> RunResult:
    """Do all scenes of ``plan``; what is finished, or begun, is not done again unless ``force``.

    ``now`` is the time of the run; without it that of this machine.

    Raises:
        LockedError: Another run holds one of the outputs.
        BlockError: A block failed, and the workflow says to stop at that.
        StoppedError: A signal came; what is done is kept.
    """
    for task in plan.tasks:
        check_folder(task.directory, what="output.directory")
    check_stores(plan)
    check_after(plan)
    for warning in plan.warnings:
        reporter.warning(warning)
    say_what_lacks(plan.workflow.notify, reporter)
    with diary_of(plan.workflow, Clock.at(now), reporter, plan.committee.members) as diary:
        diary.check(plan.tasks)
        with ExitStack() as stack:
            for folder, above in _outputs(plan, diary).items():
                stack.enter_context(held(folder, above=above))
            diary.held()
            with observed(plan, diary.ledger.root, reporter) as watch:
                run = _Run(plan, watch, stack, diary, force=force)
                results = run.results()
                diary.tell(after_scenes(plan, results, reporter))
                watch.results(results)
            diary.finish(results)
    warnings = (*plan.warnings, *run.warnings, *diary.warnings)
    result = RunResult(plan.workflow.name, results, warnings)
    made = sum(scene.fresh and scene.error is None for scene in results)
    reporter.done(f"{made} of {len(results)} scenes made, {len(result.failed)} failed")
    return result


def _outputs(plan: RunPlan, diary: Diary) -> dict[Path, bool]:
    """The folders that a run writes to; night after night, the one ``above`` them is one."""
    above = {} if plan.workflow.monitor is None else {diary.root: True}
    return above | dict.fromkeys((task.directory for task in plan.tasks), False)


class _Run:
    """One run of a plan."""

    def __init__(
        self, plan: RunPlan, watch: Observing, stack: ExitStack, diary: Diary, *, force: bool
    ) -> None:
        self.plan, self._reporter, self._diary = plan, watch.reporter, diary
        self._watch, self._stack, self._force = watch, stack, force
        self.warnings: list[str] = []
        self._results: dict[int, SceneResult] = {}
        self._first: BaseException | None = None

    def results(self) -> tuple[SceneResult, ...]:
        """What came of each scene, in order."""
        tasks = self.plan.tasks
        if len(tasks) == 1 or most_at_once(self.plan.workflow) == 1:
            return self._one_by_one()
        blocks = [block for task in tasks for block in task.plan.blocks]
        gathering = Gathering(
            self._reporter,
            output_root(self.plan.workflow) / STATE,
            self.plan.workflow.name,
            scenes=len(tasks),
            blocks=len(blocks),
            pixels=sum(b.shape[0] * b.shape[1] for b in blocks),
        )
        try:
            self._together(gathering)
        except BaseException as error:
            gathering.ended("failed" if isinstance(error, Exception) else "stopped", str(error))
            raise
        gathering.ended("done", "all scenes have come to an end")
        return tuple(self._results[number] for number in range(len(tasks)))

    def _one_by_one(self) -> tuple[SceneResult, ...]:
        shared = self._shared(self._reporter, lambda call: call())
        for number, task in enumerate(self.plan.tasks):
            try:
                came: Any = SceneRun(shared, task, self._reporter, order=number).result()
            except GeosegError as error:
                came = error
            self._settle(number, came, self._reporter)
            if self._first is not None:
                raise self._first
        return tuple(self._results[number] for number in range(len(self.plan.tasks)))

    def _together(self, gathering: Gathering) -> None:
        """All scenes, several of them under way at once."""
        tasks = self.plan.tasks

        def do(number: int) -> SceneResult:
            task = tasks[number]
            told = gathering.begins(task.plan.scene.id, len(task.plan.blocks))
            fresh = failed = True
            try:
                result = SceneRun(shared, task, told, order=number).result()
                fresh, failed = result.fresh, result.error is not None
            finally:
                gathering.ends(task.plan.scene.id, fresh=fresh, failed=failed)
            return result

        def tell() -> None:
            gathering.message("stopping: running blocks are finished and kept (once more: at once)")

        self._diary.reporter = gathering  # one lock for all that is told
        most = most_at_once(self.plan.workflow)
        flight = Flight(do, most=most, enough=lambda: self._enough(shared, gathering))
        shared = self._shared(gathering, flight.here)
        with stop_together(tell) as request, logs_to(gathering):
            for number, came in flight.outcomes(range(len(tasks)), request):
                self._settle(number, came, gathering)
                if self._first is not None:
                    request.ask()
        if self._first is None and len(self._results) < len(tasks):
            self._first = StoppedError("stopped")
        if self._first is not None:
            raise self._why(request)

    def _shared(self, reporter: Reporter, here: Any) -> Shared:
        def tell(client: Client, doubts: list[str]) -> None:
            self._watch.connected(client)
            for doubt in doubts:
                reporter.warning(doubt)
            self.warnings.extend(doubts)

        crew = Crew(self.plan, reporter, self._stack, tell)
        away = None if self.plan.workflow.cluster.here else Away(crew, self.plan, reporter)
        engines = Engines(self.plan, reporter, force=self._force, away=away)
        return Shared(
            self.plan, crew, engines, self._diary, here, self._watch, self._force, self.warnings
        )

    def _enough(self, shared: Shared, gathering: Gathering) -> bool:
        """Whether the scenes under way keep all workers busy for a while, or will as soon as may be."""
        return gathering.looked_at >= LOOKED_AT or gathering.backlog >= AHEAD * shared.crew.slots

    def _settle(self, number: int, came: Any, reporter: Reporter) -> None:
        """Note what came of a scene: a result, or what it raised."""
        if isinstance(came, SceneResult):
            self._results[number] = came
            return
        # No scene can do without a cluster or an engine.
        fatal = isinstance(came, (ClusterError, EngineRefusedError))
        task: SceneTask = self.plan.tasks[number]
        if isinstance(came, GeosegError) and not fatal:
            self._diary.failed(task, came)
            if self.plan.workflow.run.on_error != "stop":
                scene = task.plan.scene.id
                reporter.warning(f"scene {scene} failed: {came}")
                self._results[number] = SceneResult(scene, task.directory, error=str(came))
                return
        # That others were stopped because of the first is no news.
        if self._first is None or isinstance(self._first, StoppedError):
            self._first = came

    def _why(self, request: StopRequest) -> BaseException:
        """What ends the run."""
        first = self._first
        assert first is not None, "asked for nothing else"  # noqa: S101 (for mypy)
        if not isinstance(first, StoppedError) or request.signal is None:
            return first
        total = len(self.plan.tasks)
        return request.error(
            f"stopped{request.by} with {total - len(self._results)} of {total} scenes to go; what is "
            f"done is kept, and the same command goes on from there"
        )
