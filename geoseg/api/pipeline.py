"""Run a workflow: each scene through its stages, resumed where an earlier run left off."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from geoseg.api import fingerprint
from geoseg.api.accounts import Account, what_lacks
from geoseg.api.after import after_scenes, check_after
from geoseg.api.chosen import Chosen, EngineRefusedError
from geoseg.api.combining import combined_settings
from geoseg.api.diary import Diary, diary_of, say_what_lacks
from geoseg.api.engines import Engines
from geoseg.api.holding import STATE, held
from geoseg.api.holes import Holes
from geoseg.api.jobs import RefineJob, SegmentJob, WorkFolder, fills, make_stores
from geoseg.api.looking import Numbers, look_at
from geoseg.api.places import check_folder
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.results import RunResult, SceneResult
from geoseg.api.resuming import Resuming
from geoseg.api.stages import MadeFrom, Stage
from geoseg.errors import ClusterError, GeosegError
from geoseg.io.atomic import remove_leftovers
from geoseg.run.base import Executor
from geoseg.run.clock import Clock
from geoseg.run.cluster import Certificates, ClusterSpec, Connected, connect
from geoseg.run.loop import OnError, Summary, run_blocks
from geoseg.run.on_dask import OnDask
from geoseg.run.reporter import Reporter, Several
from geoseg.run.resources import available_cores
from geoseg.run.status import StatusFile

if TYPE_CHECKING:
    from geoseg.api.products import Products

ITEM = "item.json"
"""The last product of a scene: without it there is something to do."""


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
    check_after(plan)
    for warning in plan.warnings:
        reporter.warning(warning)
    say_what_lacks(plan.workflow.notify, reporter)
    with diary_of(plan.workflow, Clock.at(now), reporter, plan.committee.members) as diary:
        diary.check(plan.tasks)
        with ExitStack() as stack:
            for folder in _outputs(plan, diary):
                stack.enter_context(held(folder))
            run = _Run(plan, reporter, stack, diary, force=force)
            results = run.results()
            diary.tell(after_scenes(plan, results, reporter))
            diary.finish(results)
    warnings = (*plan.warnings, *run.warnings, *diary.warnings)
    result = RunResult(plan.workflow.name, results, warnings)
    made = sum(scene.fresh and scene.error is None for scene in results)
    reporter.done(f"{made} of {len(results)} scenes made, {len(result.failed)} failed")
    return result


def _outputs(plan: RunPlan, diary: Diary) -> list[Path]:
    """The folders that a run writes to; night after night, the one above them is one."""
    above = [] if plan.workflow.monitor is None else [diary.ledger.root]
    return list(dict.fromkeys((*above, *(task.directory for task in plan.tasks))))


class _Run:
    """One run of a plan; the cluster starts when the first scene needs it."""

    def __init__(
        self, plan: RunPlan, reporter: Reporter, stack: ExitStack, diary: Diary, *, force: bool
    ) -> None:
        self.plan, self.reporter, self.force = plan, reporter, force
        self._stack, self._diary = stack, diary
        self._connected: Future[Connected] | None = None
        self._begun, self._start = perf_counter(), 0.0
        self._engines = Engines(plan, reporter, force=force)
        self._told = False
        self.warnings: list[str] = []

    def results(self) -> tuple[SceneResult, ...]:
        """What came of each scene, in order."""
        results = []
        for task in self.plan.tasks:
            try:
                results.append(self._scene(task))
            except (ClusterError, EngineRefusedError):
                raise  # no scene can do without
            except GeosegError as error:
                self._diary.failed(task, error)
                if self.plan.workflow.run.on_error == "stop":
                    raise
                self.reporter.warning(f"scene {task.plan.scene.id} failed: {error}")
                failed = SceneResult(task.plan.scene.id, task.directory, error=str(error))
                results.append(failed)
        return tuple(results)

    def _scene(self, task: SceneTask) -> SceneResult:
        scene, diary = task.plan.scene, self._diary
        self._begun, self._start = perf_counter(), 0.0
        if not self.force and diary.removed(task):
            self.reporter.message(f"scene {scene.id}: was removed to make room, stays away")
            return SceneResult(scene.id, task.directory, fresh=False)
        for folder in (task.directory, task.directory / STATE):
            remove_leftovers(folder)
        if not task.found.ready:
            self._executor()  # a cluster that does not answer is known before anything is written
        task.found.prepare(self.reporter)
        begun = not (task.directory / ITEM).exists()
        if begun and not self._engines.will_measure(task):
            self._connect()  # beside the choice of the engine, which takes a second to compare
        engine = self._engines.of(task)
        if begun:
            self._connect()
        from geoseg.api.products import Products  # noqa: PLC0415 (numba; while the workers start)

        made_from = self._made_from(task, engine)
        products = Products(self.plan, task, made_from, made_from.products)
        why = diary.why(task, made_from, finished=products.finished(), force=self.force)
        if why is None:
            if not self.plan.workflow.output.keep_work:
                # A run that was killed after its last product has left its blocks.
                self._work_folder(task, made_from).remove()
            diary.made(task, made_from, None)
            products.tell()
            self.reporter.message(f"scene {scene.id}: up to date")
            return SceneResult(scene.id, task.directory, products.paths(), fresh=False)
        self._connect()
        looked = look_at(task, self.plan.committee, self._patience)  # while the workers start
        executor = self._executor()
        diary.begin()
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
        status = StatusFile(work.root)
        try:
            reporter = Several([self.reporter, status])
            self._engines.keep(task, made_from.engine)
            record, holes = self._make(task, products, made_from, work, executor, reporter, looked)
        except BaseException as error:
            status.ended("failed" if isinstance(error, Exception) else "stopped", str(error))
            raise
        status.done(f"products are made; {holes}" if holes else "all products are made")
        self._diary.made(task, made_from, record, holes)
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
        resuming.begin(stages[0], lambda: make_stores(task.plan, work), force=self.force)
        machine = self._machine()
        stages, summaries, holes = self._map(task, stages, resuming, executor)
        fingerprint.check_states(made_from.files)
        moved, products = None, products.with_holes(holes)
        if products.outlining is not None:
            from geoseg.api.tracing import Tracing  # noqa: PLC0415 (numba)

            parts = holes.parts(stages[-1].parts) | {"made from": made_from.products}
            trace = Tracing(task.plan, work, products.outlining, parts)
            moved = trace.run(lambda stage: _do(stage, executor, resuming), summaries)
        account = _account(stages, work)
        lacks = what_lacks(task.plan.scene.id, account, holes)
        self._warn(lacks, reporter)
        told = {
            "numbers": numbers,
            "warnings": doubts + lacks,
            "engine": made_from.engine.record,
            "machine": machine,
        }
        record = products.write(work, account, summaries, reporter, moved, told)
        if not (holes or self.plan.workflow.output.keep_work):
            work.remove()
        return record, holes

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

    def _machine(self) -> dict[str, Any]:
        """Who works, and the seconds until work began: for the workers, and for all else."""
        found = None if self._connected is None else self._connected.result()
        resources = self.plan.resources
        workers = resources.workers if found is None else found.workers
        return {
            "workers": workers,
            "lanes": resources.lanes if found is None else found.threads // workers,
            "models": resources.models,
            "cores": available_cores(),
            "start": round(self._start, 3),
            "before": round(max(0.0, perf_counter() - self._begun - self._start), 3),
        }

    def _warn(self, doubts: list[str], reporter: Reporter) -> None:
        for doubt in doubts:
            reporter.warning(doubt)
        self.warnings += doubts

    def _made_from(self, task: SceneTask, engine: Chosen) -> MadeFrom:
        workflow, plan = self.plan.workflow, task.plan
        keys, committee = workflow.results_key_fields(), self.plan.committee
        files = fingerprint.files(plan.scene.sources)
        states = fingerprint.states(files)  # before they are hashed
        inputs = fingerprint.inputs(files)
        lattice = [plan.lattice.size, plan.lattice.margin, plan.lattice.multiple]
        parts = fingerprint.parts(
            sources=inputs,
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
        return MadeFrom(inputs, parts, fingerprint.digest([parts, keys]), engine, states)

    def _work_folder(self, task: SceneTask, made_from: MadeFrom) -> WorkFolder:
        parts, plan = _stored_parts(task, made_from), task.plan
        refined = plan.refinement and f"refined-{_short(repr(plan.refinement))}"
        return WorkFolder(
            task.directory / STATE,
            refined or "classes",
            _short(parts),
            _short([parts, made_from.products]),
        )

    def _stages(self, task: SceneTask, work: WorkFolder, made_from: MadeFrom) -> list[Stage]:
        plan, choice = task.plan, self.plan.workflow.model
        parts = _stored_parts(task, made_from)
        key = f"{plan.scene.id}-{made_from.products[:12]}"
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
        stages = [Stage("segment", segment, plan.blocks, parts, counts=True)]
        if plan.refinement is not None:
            # Not among the parts of the segment stage: other steps need no other predictions.
            parts = {**parts, "postprocess": fingerprint.digest(repr(plan.refinement))}
            refine = RefineJob(f"refine-{key}", plan, work)
            stages.append(Stage("refine", refine, plan.blocks, parts, counts=True))
        return stages

    def _connect(self) -> None:
        """Start the cluster beside what else is to do, once."""
        if self._connected is not None:
            return
        cluster = self._stack.enter_context(ExitStack())
        # Leaving waits for the thread, so that what has been started is always ended.
        beside = self._stack.enter_context(ThreadPoolExecutor(1, "geoseg-connect"))
        self._connected = beside.submit(self._connection, cluster)

    def _connection(self, stack: ExitStack) -> Connected:
        plan, cluster = self.plan, self.plan.workflow.cluster
        spec = ClusterSpec(
            kind=cluster.kind,
            workers=None if cluster.kind == "address" else plan.resources.workers,
            threads=plan.resources.lanes,
            memory=None if cluster.memory is None else cluster.memory.bytes,
            address=cluster.address,
            dashboard=cluster.dashboard,
            tls=None
            if cluster.tls is None
            else Certificates(cluster.tls.ca, cluster.tls.cert, cluster.tls.key),
        )
        begun = perf_counter()
        connected = stack.enter_context(connect(spec, blocks=plan.blocks))
        self._start = perf_counter() - begun
        return connected

    def _executor(self) -> Executor:
        """The cluster, started when the first scene needs it."""
        self._connect()
        assert self._connected is not None, "it was just started"  # noqa: S101 (for mypy)
        connected = self._connected.result()
        if not self._told:
            self._told = True
            self.reporter.started(
                scenes=len(self.plan.tasks),
                blocks=self.plan.blocks,
                dashboard=connected.dashboard_link,
            )
        retries = self.plan.workflow.run.retries
        return OnDask(connected.client, retries=retries, timeout=self._patience)

    @property
    def _patience(self) -> float:
        """Seconds that a block may take."""
        return self.plan.workflow.run.block_timeout.timedelta.total_seconds()


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
