"""One scene from its files to its products, resumed where an earlier run left off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Lock
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.api import fingerprint
from geoseg.api.accounts import Account, what_lacks
from geoseg.api.ahead import Ahead, Hashed, ahead
from geoseg.api.chosen import Chosen
from geoseg.api.combining import combined_settings
from geoseg.api.crew import Crew
from geoseg.api.diary import Diary
from geoseg.api.engines import Engines
from geoseg.api.holding import STATE
from geoseg.api.holes import Holes
from geoseg.api.jobs import RefineJob, SegmentJob, WorkFolder, fills, make_stores
from geoseg.api.looking import Numbers
from geoseg.api.observing import Observing
from geoseg.api.places import place_of_blocks
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.results import SceneResult
from geoseg.api.resuming import Resuming
from geoseg.api.stages import MadeFrom, Stage
from geoseg.api.stored import bring
from geoseg.io.atomic import remove_leftovers
from geoseg.ops.order import neighbours_together
from geoseg.run.base import Executor
from geoseg.run.loop import OnError, Summary, run_blocks
from geoseg.run.reporter import Reporter, Several

if TYPE_CHECKING:
    from geoseg.api.making import Making
    from geoseg.api.products import Products

ITEM = "item.json"
"""The last product of a scene: without it there is something to do."""

T = TypeVar("T")
Here = Callable[[Callable[[], T]], T]

_TRYING = Lock()
"""Engines are tried one scene after the other: they would disturb each other."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the scenes of one run have in common; used by a thread for each of them.

    Attributes:
        plan: All that is done.
        crew: The workers.
        engines: Chooses what computes.
        diary: The ledger's side; only asked by way of ``here``.
        here: Calls something on the thread of the run.
        watch: Tells others how it goes.
        force: Do again what is finished.
        warnings: What was found to be doubtful, and did not keep a scene from being mapped.
    """

    plan: RunPlan
    crew: Crew
    engines: Engines
    diary: Diary
    here: Here[Any]
    watch: Observing
    force: bool
    warnings: list[str]


class SceneRun:
    """One scene of a run, the ``order``-th of those that are done."""

    def __init__(self, shared: Shared, task: SceneTask, reporter: Reporter, *, order: int) -> None:
        self._shared, self._task, self._order = shared, task, order
        self.plan, self.reporter, self.force = shared.plan, reporter, shared.force
        self._crew, self._engines, self._diary = shared.crew, shared.engines, shared.diary
        self._begun = perf_counter(), thread_time()

    def result(self) -> SceneResult:
        """Do what there is to do; what came of it.

        Raises:
            GeosegError: The scene failed.
            StoppedError: It was asked to stop.
        """
        return self._scene(self._task)

    def _scene(self, task: SceneTask) -> SceneResult:
        scene, diary, here = task.plan.scene, self._diary, self._shared.here
        if not self.force and here(lambda: diary.removed(task)):
            self.reporter.message(f"scene {scene.id}: was removed to make room, stays away")
            return SceneResult(scene.id, task.directory, fresh=False)
        for folder in (task.directory, task.directory / STATE):
            remove_leftovers(folder)
        if not task.found.ready:
            # A cluster that does not answer is known before anything is written.
            self._crew.executor(self._order)
        task.found.prepare(self.reporter)
        with ahead(task, self.plan.committee, self._crew.patience) as found:
            return self._looked_ahead(task, found)

    def _looked_ahead(self, task: SceneTask, found: Ahead) -> SceneResult:
        """A scene whose files are there."""
        scene, diary, here = task.plan.scene, self._diary, self._shared.here
        begun = self.force or not (task.directory / ITEM).exists()
        with _TRYING:
            if begun and not self._engines.will_measure(task):
                # Beside the choice of the engine: comparing takes a second.
                self._crew.connect()
                found.begin()
            engine = self._engines.of(task)
            if begun:
                self._crew.connect()
            task = self._engines.planned(task, engine, ask=begun)
        from geoseg.api.products import Products  # noqa: PLC0415 (numba; while the workers start)

        made_from = self._made_from(task, engine, found.hashed())
        # Without the other scenes: workers are told of it.
        alone = replace(self.plan, tasks=(task,), warnings=())
        products = Products(alone, task, made_from, made_from.products)
        finished = products.finished()
        why = here(lambda: diary.why(task, made_from, finished=finished, force=self.force))
        if why is None:
            if not self.plan.workflow.output.keep_work:
                # A run that was killed after its last product has left its blocks.
                self._work_folder(task, made_from).remove()
            here(lambda: diary.made(task, made_from, None))
            products.tell()
            self.reporter.message(f"scene {scene.id}: up to date")
            return SceneResult(scene.id, task.directory, products.paths(), fresh=False)
        self._crew.connect()
        looked = found.looked()  # while the workers start
        executor = self._crew.executor(self._order)
        here(diary.begin)
        if why.why != "new":
            self.reporter.message(f"scene {scene.id} runs again: {why}")
        return self._begun_scene(task, products, made_from, executor, looked)

    def _begun_scene(
        self,
        task: SceneTask,
        products: Products,
        made_from: MadeFrom,
        executor: Executor,
        looked: tuple[Numbers, list[str]],
    ) -> SceneResult:
        """A scene that there is something to do for, with its status for other terminals."""
        work = self._work_folder(task, made_from)
        seen = self._shared.watch.scene(task, work.root)
        try:
            reporter = Several([self.reporter, seen])
            self._engines.keep(task, made_from.engine)
            record, holes = self._make(task, products, made_from, work, executor, reporter, looked)
        except BaseException as error:
            seen.broken(error)
            raise
        seen.made(products.paths(), holes)
        self._shared.here(lambda: self._diary.made(task, made_from, record, holes))
        return SceneResult(
            task.plan.scene.id,
            task.directory,
            products.paths(),
            record=record,
            failed_blocks=len(holes.failed),
        )

    def _make(
        self,
        task: SceneTask,
        products: Products,
        made_from: MadeFrom,
        work: WorkFolder,
        executor: Executor,
        reporter: Reporter,
        looked: tuple[Numbers, list[str]],
    ) -> tuple[dict[str, Any], Holes]:
        """All stages of a scene, then its products: what run.json says, and which blocks lack."""
        numbers, doubts = looked
        self._warn(doubts, reporter)
        stages = self._stages(task, work, made_from)
        resuming = Resuming(work, reporter)
        committee = self._engines.committee(task, made_from.engine)
        resuming.begin(stages[0], lambda: make_stores(task.plan, work, committee), force=self.force)
        machine = self._crew.machine(*self._begun)
        stages, summaries, holes = self._map(task, stages, resuming, executor)
        fingerprint.check_states(made_from.files)
        moved, products = None, products.with_holes(holes)
        if (outlining := products.outlining) is not None:
            from geoseg.api.tracing import Tracing  # noqa: PLC0415 (numba)

            parts = holes.parts(stages[-1].parts) | {"made from": made_from.products}
            trace = Tracing(task.plan, work, outlining, parts)
            moved = trace.run(lambda stage: _do(stage, executor, resuming), summaries)
        account = _account(stages, work)
        lacks = what_lacks(task.plan.scene.id, account, holes)
        self._warn(lacks, reporter)
        told = {"numbers": numbers, "warnings": doubts + lacks, "machine": machine}
        told["engine"] = made_from.engine.record
        from geoseg.api.making import Making  # noqa: PLC0415 (numba)

        making = Making(products, work, account, summaries, moved, told)
        record = self._made(making, reporter)
        if not (holes or self.plan.workflow.output.keep_work):
            work.remove()
        return record, holes

    def _made(self, making: Making, reporter: Reporter) -> dict[str, Any]:
        """Make the products, here or on workers; what run.json says."""
        from geoseg.api import making as ways  # noqa: PLC0415 (numba)

        if not ways.on_workers(self.plan, self._task, alone=len(self.plan.tasks) == 1):
            record = ways.make_here(making, reporter)
            bring(self._task.directory)
            return record
        executor = self._crew.executor(self._order, blocks=False)
        return ways.make_on_workers(making, executor, reporter)

    def _map(
        self,
        task: SceneTask,
        stages: list[Stage],
        resuming: Resuming,
        executor: Executor,
    ) -> tuple[list[Stage], dict[str, Summary], Holes]:
        """All stages of the map: as they were done, what came of them, and which blocks lack."""
        skips = self.plan.workflow.run.on_error == "skip_block"
        done, summaries, holes = [], {}, Holes(blocks=len(task.plan.blocks))
        for whole in stages:
            stage = holes.around(whole)
            summary = _do(stage, executor, resuming, "skip_block" if skips else "stop")
            holes = holes.joined(summary.failed)
            summaries[stage.name] = summary
            done.append(stage)
        if holes:
            holes.empty(resuming.work, fills(task.plan, resuming.work), done)
        return done, summaries, holes

    def _warn(self, doubts: list[str], reporter: Reporter) -> None:
        for doubt in doubts:
            reporter.warning(doubt)
        self._shared.warnings.extend(doubts)

    def _made_from(self, task: SceneTask, engine: Chosen, hashed: Hashed) -> MadeFrom:
        workflow, plan = self.plan.workflow, task.plan
        keys, committee = workflow.results_key_fields(), self.plan.committee
        lattice = [plan.lattice.size, plan.lattice.margin, plan.lattice.multiple]
        parts = fingerprint.parts(
            sources=hashed.inputs,
            model={
                "cards": [repr(member.card) for member in committee.members],
                "engine": engine.part,
            },
            settings={
                "segment": keys["segment"],
                "lattice": lattice,
                "area": plan.scene.area,
                "grid": repr(plan.scene.grid),
                "numbers": fingerprint.meaning(plan.scene),
                "layers": plan.layers,
                "observations": plan.observations,
                "combined": combined_settings(plan.scene),
            },
        )
        products = fingerprint.digest([parts, keys])
        return MadeFrom(hashed.inputs, parts, products, engine, hashed.files)

    def _work_folder(self, task: SceneTask, made_from: MadeFrom) -> WorkFolder:
        parts, plan = _stored_parts(task, made_from), task.plan
        refined = plan.refinement and f"refined-{_short(repr(plan.refinement))}"
        return WorkFolder(
            task.directory / STATE,
            refined or "classes",
            _short(parts),
            _short([parts, made_from.products]),
            place_of_blocks(self.plan.workflow.run.work, plan.scene.id, task.directory),
        )

    def _stages(self, task: SceneTask, work: WorkFolder, made_from: MadeFrom) -> list[Stage]:
        plan, choice = task.plan, self.plan.workflow.model
        parts = _stored_parts(task, made_from)
        # With the folder: another run on the same cluster may map the same scene.
        key = f"{plan.scene.id}-{_short([made_from.products, str(work.root)])}"
        segment = SegmentJob(
            f"segment-{key}",
            plan,
            self._engines.committee(task, made_from.engine),
            work,
            choice.device,
            made_from.engine.runtime,
            self.plan.resources.models,
            made_from.engine.runtime.versions,
        )
        # Whoever reads a block has tiles of its neighbours decoded.
        blocks = neighbours_together(plan.blocks, self.plan.resources.workers)
        stages = [Stage("segment", segment, blocks, parts, counts=True)]
        if plan.refinement is not None:
            # Not among the parts of the segment stage: other steps need no other predictions.
            parts = {**parts, "postprocess": fingerprint.digest(repr(plan.refinement))}
            refine = RefineJob(f"refine-{key}", plan, work)
            stages.append(Stage("refine", refine, plan.blocks, parts, counts=True))
        return stages


def _account(stages: list[Stage], work: WorkFolder) -> Account:
    """What the blocks of those stages said that count pixels."""
    with ExitStack() as stack:
        segmented, *others = (
            stack.enter_context(stage.ledger(work)) for stage in stages if stage.counts
        )
        return Account.of(segmented.reports(), *(ledger.reports() for ledger in others))


def _stored_parts(task: SceneTask, made_from: MadeFrom) -> dict[str, str]:
    """What the blocks of the first stage depend on."""
    # The block is no part of the result, but of how the stores are laid out.
    return made_from.stored | {"blocks": str(task.plan.block)}


def _short(value: Any) -> str:
    return fingerprint.digest(value)[:12]


def _do(
    stage: Stage, executor: Executor, resuming: Resuming, on_error: OnError = "stop"
) -> Summary:
    blocks, reporter = stage.blocks, resuming.reporter
    with resuming.ledger(stage) as ledger:
        return run_blocks(
            executor, stage.job, blocks, ledger, reporter, name=stage.name, on_error=on_error
        )
