"""A run that only takes place on paper: how long it will take, and what would hold it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg.api.at_once import AHEAD, LOOKED_AT, most_at_once
from geoseg.api.clusters import SPARE_LANES
from geoseg.api.planning import RunPlan, SceneTask, plan_workflow
from geoseg.api.task_times import TaskTimes, times_by_trial, times_of_run
from geoseg.errors import InputError, PlanError
from geoseg.ops.forecast import Ahead, RunForecast, SceneCost, StageCost, simulate_run
from geoseg.ops.simulation import BlockCost, Pool
from geoseg.plan import ScenePlan
from geoseg.run.resources import available_cores
from geoseg.workflow import Workflow
from geoseg.workflow.cluster import Cluster

DISPATCH_SECONDS = 0.001
"""Of the scheduler for a block, about (``benchmarks/scale.py scheduling``)."""

GPU_CORES = 8
"""Cores beside a GPU, where it is not said how many there are."""

ELSEWHERE = "16 GB"
"""Memory of a worker on another machine, for choosing the size of blocks."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a simulation; None: as the workflow and this machine have it.

    Attributes:
        workers: Worker processes of all runs, on this machine unless ``cores`` is given.
        gpus: Workers with a GPU each, instead.
        gpu_speed: Millions of pixels that one GPU's model sees in a second.
        cores: Cores that each worker has of its own.
        latency: Seconds that one request for a block's pixels waits for a server.
        failures: Chance of a try of a block to fail, 0..1.
        scenes: So many scenes like the first one.
        runs: Runs side by side that share scenes and workers.
    """

    workers: int | None = None
    gpus: int | None = None
    gpu_speed: float | None = None
    cores: int | None = None
    latency: float = 0.0
    failures: float = 0.0
    scenes: int | None = None
    runs: int = 1

    def __post_init__(self) -> None:
        for name in ("workers", "gpus", "gpu_speed", "cores", "scenes", "runs"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(
                    f"--{name.replace('_', '-')}: found {value}; more than 0 is needed"
                )
        if not self.latency >= 0:
            raise InputError(f"--latency: found {self.latency * 1000:g} ms; 0 or more is needed")
        if not 0 <= self.failures < 1:
            raise InputError(
                f"--failures: found {self.failures:g}; a share from 0 to below 1 is needed"
            )
        if self.gpus is None and self.gpu_speed is not None:
            raise InputError("--gpu-speed: there is no GPU; say how many with --gpus")
        if self.gpus is not None and self.gpu_speed is None:
            raise InputError(
                "--gpus: nothing is known of their speed; add --gpu-speed (millions of pixels a "
                "second through the model, as benchmarks/gpu.py measures it)"
            )
        if self.workers is not None and self.gpus is not None:
            raise InputError("--workers: each GPU has one worker; give one of --workers and --gpus")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation came to.

    Attributes:
        pool: Of one run.
        runs: Side by side.
        forecast: Of one run, the longest of them.
        times: What tasks take.
        busy: Share of the wall time in which each of them works: ``model``, ``cores`` (of the
            workers), ``client`` (start, looks at scenes, products that it makes), ``scheduler``.
        feeding: Cores that are needed to read and write for one model that never waits.
        reading, writing: Bytes a second of all runs, before compression, while blocks are done.
        pixels: Of all scenes of all runs.
        took: Seconds of the simulation itself.
    """

    pool: Pool
    runs: int
    forecast: RunForecast
    times: TaskTimes
    busy: Mapping[str, float]
    feeding: float
    reading: float
    writing: float
    pixels: int
    took: float

    @property
    def bottleneck(self) -> str:
        """What is busy for the largest share of the time."""
        return max(self.busy, key=lambda name: self.busy[name])

    def as_json(self) -> dict[str, Any]:
        """As plain values; rates in units of one second."""
        return {
            "seconds": self.forecast.wall,
            "megapixels_per_second": self.pixels / 1e6 / self.forecast.wall,
            "runs": self.runs,
            "bottleneck": self.bottleneck,
            "busy": dict(self.busy),
            "feeding_cores_per_model": self.feeding,
            "bytes_read_per_second": self.reading,
            "bytes_written_per_second": self.writing,
            "forecast": asdict(self.forecast),
            "pool": asdict(self.pool),
            "times": self.times.as_json(),
            "simulation_seconds": self.took,
        }


def simulate_plan(
    workflow: Workflow, wanted: Wanted | None = None, *, measured: Path | None = None
) -> Simulation:
    """Go through a run on paper.

    Args:
        workflow: What is run.
        wanted: On what, and how much of it.
        measured: Output folder of a finished run, which says what tasks take; without it, a few
            blocks of the first scene are tried in this process.

    Raises:
        InputError: What is asked does not go together, or the record says nothing of tasks.
    """
    wanted = wanted or Wanted()
    if wanted.runs > (wanted.workers or wanted.gpus or wanted.runs):
        raise InputError(f"--runs: {wanted.runs} runs share fewer workers; each needs one")
    pool, plan = _shared_out(workflow, wanted)
    task = plan.tasks[0]
    times = times_by_trial(plan, task) if measured is None else times_of_run(measured, task.plan)
    begun = perf_counter()
    scenes = _scenes(plan, wanted, times)
    count = sum(scene.count for scene in scenes)
    start = times.start + (max(0.0, times.before - times.look) if count > 1 else 0.0)
    ahead = Ahead(most_at_once(workflow), AHEAD, LOOKED_AT)
    forecast = simulate_run(scenes, pool, start=start, ahead=ahead)
    return _told(plan, wanted, pool, forecast, times, perf_counter() - begun)


def _shared_out(workflow: Workflow, wanted: Wanted) -> tuple[Pool, RunPlan]:
    """The workers of one of the runs, and the plan for them."""
    elsewhere = wanted.gpus is not None or wanted.cores is not None
    found, cluster = _elsewhere if elsewhere else _here, workflow.cluster
    pool, given = found(cluster, wanted)
    plan = plan_workflow(workflow.model_copy(update={"cluster": given}))
    if not elsewhere:
        here = plan.resources
        pool = replace(
            pool,
            workers=here.workers,
            together=here.workers,
            lanes=here.lanes,
            models=here.models,
        )
    chances = wanted.failures, workflow.run.retries
    dispatch = DISPATCH_SECONDS
    return replace(pool, dispatch=dispatch, failures=chances[0], retries=chances[1]), plan


def _here(cluster: Cluster, wanted: Wanted) -> tuple[Pool, Cluster]:
    """All workers on this machine, as the plan shares it out."""
    if wanted.workers is not None:
        each = max(1, wanted.workers // wanted.runs)
        cluster = Cluster(workers=each, threads=cluster.threads, memory=cluster.memory)
    return Pool(cores=available_cores() / wanted.runs, near=True), cluster


def _elsewhere(cluster: Cluster, wanted: Wanted) -> tuple[Pool, Cluster]:
    """Workers that have their cores, and perhaps a GPU, to themselves."""
    cores, gpu = wanted.cores or GPU_CORES, wanted.gpus is not None
    each = max(1, (wanted.gpus or wanted.workers or cluster.workers or 1) // wanted.runs)
    models = 1 if gpu else cores
    lanes = cluster.threads or max(cores if gpu else 0, models + SPARE_LANES)
    given = Cluster.model_validate({"workers": each, "threads": lanes, "memory": ELSEWHERE})
    return Pool(each, lanes, min(models, lanes), cores, gpu=gpu), given


def _scenes(plan: RunPlan, wanted: Wanted, times: TaskTimes) -> list[SceneCost]:
    """What the scenes of one of the runs take."""
    if wanted.gpu_speed is not None:
        times = replace(times, infer=1 / wanted.gpu_speed)
    if wanted.scenes is None:
        if wanted.runs > len(plan.tasks):
            raise PlanError(f"--runs: {wanted.runs} runs share {len(plan.tasks)} scenes")
        every = plan.tasks[:: wanted.runs]
        many = len(every) > 1
        return [_cost(plan, task, times, wanted.latency, many=many) for task in every]
    count = -(-wanted.scenes // wanted.runs)
    one = _cost(plan, plan.tasks[0], times, wanted.latency, many=count > 1)
    return [replace(one, count=count)]


def _cost(
    plan: RunPlan, task: SceneTask, times: TaskTimes, latency: float, *, many: bool
) -> SceneCost:
    """Of a scene as its run does it: one of ``many`` is looked at beside others."""
    from geoseg.api.making import on_workers  # noqa: PLC0415 (numba)

    by_workers = on_workers(plan, task, alone=not many)
    if many:
        times = replace(times, before=times.look)
    return scene_cost(task.plan, times, latency, 1, by_workers=by_workers)


def scene_cost(
    plan: ScenePlan, times: TaskTimes, latency: float, count: int, *, by_workers: bool = False
) -> SceneCost:
    """What ``count`` scenes of this plan take, with ``latency`` seconds for each request.

    ``by_workers``: whether these make the products; else the client does.
    """
    # Each band is asked for on its own; what one band's window takes in requests is not known.
    waits = latency * (len(plan.card.bands) + len(plan.scene.masks))
    per_pixel = times.infer * plan.predictions_per_pixel
    segment, later = [], []
    for block in plan.blocks:
        mpx = block.shape[0] * block.shape[1] / 1e6
        segment.append(
            BlockCost(times.read * mpx, waits + times.latency * mpx, per_pixel * mpx,
                      times.write * mpx)
        )  # fmt: skip
        later.append(mpx)
    stages = [StageCost("segment", tuple(segment), times.opening)]
    opened = times.others_opening or {}
    for name, seconds in (times.others or {}).items():
        costs = tuple(BlockCost(write=seconds * mpx) for mpx in later)
        stages.append(StageCost(name, costs, opened.get(name, 0.0)))
    whole = plan.shape[0] * plan.shape[1] / 1e6
    products = (times.making or times.after) * whole if by_workers else 0.0
    after = 0.0 if by_workers else times.after * whole
    return SceneCost(times.before, tuple(stages), after, count, products)


def _told(
    plan: RunPlan, wanted: Wanted, pool: Pool, forecast: RunForecast, times: TaskTimes, took: float
) -> Simulation:
    scenes, wall = wanted.scenes or len(plan.tasks), forecast.wall
    tasks = plan.tasks if wanted.scenes is None else plan.tasks[:1]
    weight = 1 if wanted.scenes is None else scenes
    places = pool.workers * (1 if pool.gpu else pool.models)
    busy = {
        "model": forecast.model / (wall * places),
        "cores": forecast.cores / (wall * pool.cores * pool.machines),
        "client": (forecast.client + forecast.start) / wall,
        "scheduler": forecast.tries * pool.dispatch / wall,
    }
    per_pixel = tasks[0].plan.predictions_per_pixel
    seen = (1 / wanted.gpu_speed if wanted.gpu_speed else times.infer) * per_pixel
    segment = forecast.stages.get("segment", 0.0) or wall
    return Simulation(
        pool,
        wanted.runs,
        forecast,
        times,
        busy,
        (times.read + times.write) / seen if seen else 0.0,
        weight * sum(t.plan.bytes_read for t in tasks) / segment,
        weight * sum(t.plan.bytes_written for t in tasks) / segment,
        weight * sum(t.plan.shape[0] * t.plan.shape[1] for t in tasks),
        took,
    )
