"""What a run's tasks take: from the record of a finished run, or from a short trial on the scene."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from geoseg.api.engines import Engines
from geoseg.api.jobs import SegmentJob, StoredCodes, TraceJob, WorkFolder, make_stores
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.errors import InputError
from geoseg.ops.simulation import BlockCost, Pool, simulate_stage
from geoseg.plan import ScenePlan
from geoseg.run.base import Job
from geoseg.run.reporter import Silent

START_SECONDS = 6.0
BEFORE_SECONDS = 1.0
LOOK_SECONDS = 0.1
AFTER_PER_MPX = 0.35
"""What a trial does not show: two workers' start, the first look at a scene and at further ones,
products. Rough, from runs on two cores; ``--measured`` takes those of a run instead."""

CLIENT_SECONDS = 0.1
"""Of the client for each of many scenes beside what it looks at before the first block: messages,
ledgers, status (``benchmarks/many_scenes.py``)."""

AFTER_RECORD = 1.4
"""Products take about so much more than their record says, as it is made before report and item."""

MOST_RECORDS = 50
"""Scenes of a run of many whose records are looked at."""

TRIED = 3
"""Blocks of a trial; the first one opens the job, and is not counted."""

_OWN = {"segment", "products"}


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """What tasks take on cores of their own; a million pixels are a Mpx.

    Attributes:
        read, write: Seconds of a core for each Mpx of a block.
        latency: Seconds of waiting for each Mpx of a block.
        infer: Seconds in the model for each Mpx that it sees.
        opening: Seconds of a core that each worker takes to open the job.
        others: Seconds of a core for each Mpx of a block, by later stage.
        others_opening: Seconds of a core that each worker takes to open these.
        start: Seconds until the workers are there.
        before: Seconds of the client before the first block of a scene, the first or the only one.
        look: The same of one of many: seconds that the client computes.
        after: Seconds of the client for each Mpx of a scene, after its last block.
        making: Seconds of a core for each Mpx of products that a worker makes; 0: as ``after``.
        source: Where all this is from.
    """

    read: float
    infer: float
    write: float
    latency: float = 0.0
    opening: float = 0.0
    others: Mapping[str, float] | None = None
    others_opening: Mapping[str, float] | None = None
    start: float = START_SECONDS
    before: float = BEFORE_SECONDS
    look: float = LOOK_SECONDS
    after: float = AFTER_PER_MPX
    making: float = 0.0
    source: str = "told"

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def times_of_run(folder: Path, plan: ScenePlan) -> TaskTimes:
    """From ``run.json`` of a finished run with the model of ``plan``, on any scene.

    Or from those of the folders in ``folder``, as a run of many scenes leaves them: the mean of up
    to :data:`MOST_RECORDS`, as one scene may have come at a good moment. Its later scenes say what
    each of many takes: the model and all libraries were loaded before.

    Raises:
        InputError: There is no such record, it is of another model, or nothing was done in it.
    """
    if (folder / "run.json").exists():
        return _times_of_scene(folder, plan)
    every = sorted(path.parent for path in folder.glob("*/run.json"))
    if not every:
        return _times_of_scene(folder, plan)  # which says what is missing
    some = every[:: -(-len(every) // MOST_RECORDS)]
    return _mean([_times_of_scene(one, plan) for one in some], f"{folder}: {len(some)} scenes")


def _mean(of: Sequence[TaskTimes], source: str) -> TaskTimes:
    """Of scenes of one run, for each of many: how long the first of them waited says nothing."""

    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(of)

    names = {name for one in of for name in one.others or {}}
    look = mean(one.look for one in of)
    return TaskTimes(
        mean(one.read for one in of),
        mean(one.infer for one in of),
        mean(one.write for one in of),
        latency=mean(one.latency for one in of),
        others={name: mean((one.others or {}).get(name, 0.0) for one in of) for name in names},
        look=look,
        before=look,
        after=mean(one.after for one in of),
        making=mean(one.making for one in of),
        source=source,
    )


def _times_of_scene(folder: Path, plan: ScenePlan) -> TaskTimes:
    """See :func:`times_of_run`.

    Blocks that had to wait for cores took longer than they would have alone: by what the model took
    on the clock against its thread's CPU time, where the engine tells that (torch on a CPU).

    Raises:
        InputError: There is no such record, it is of another model, or nothing was done in it.
    """
    record = _record(folder, plan)
    segment, machine = record["seconds"]["segment"], record["machine"]
    blocks, tiling = segment["blocks"], record["tiling"]
    share = blocks / (blocks + segment["resumed_blocks"])
    whole = record["pixels"] / 1e6
    mpx = share * whole
    slow = _slowness(record)
    walls = {lane: segment[lane] / slow for lane in ("read", "infer", "write")}
    beside = machine.get("scenes", 1) > 1
    # Beside other scenes a stage also waits for theirs, who have opened the model before.
    opening = 0.0 if beside else _unexplained(segment, machine) / slow
    cores = min(machine["cores"], machine["workers"] * machine["lanes"])
    others = {
        name: (seconds["ran"] if beside else seconds["wall"] * cores) / slow / mpx
        for name, seconds in record["seconds"].items()
        if name not in _OWN and seconds["wall"]
    }
    return TaskTimes(
        walls["read"] / mpx,
        walls["infer"] / (mpx * tiling["predictions_per_pixel"]),
        walls["write"] / mpx,
        opening=opening,
        others=others,
        start=machine["start"] / slow or START_SECONDS,
        before=machine["before"] / slow,
        look=machine.get("before_cpu", machine["before"] / slow) + CLIENT_SECONDS,
        after=record["seconds"]["products"]["wall"] / slow / whole,
        making=record["seconds"]["products"].get("cpu", 0.0) * AFTER_RECORD / whole,
        source=f"{folder / 'run.json'}: {blocks} blocks on {machine['workers']} workers",
    )


def _record(folder: Path, plan: ScenePlan) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; --measured takes the output folder of a finished run"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is not the record of a run ({error})") from error
    try:
        made_by, done = record["model"]["name"], record["seconds"]["segment"]["blocks"]
        whole = record["machine"] and record["seconds"]["products"] and record["tiling"]
    except (KeyError, TypeError):
        whole = None
    if not whole:
        raise InputError(f"{path}: does not say what its tasks took; run it again with --force")
    if made_by != plan.card.name:
        raise InputError(
            f"{path}: was made by model {made_by}, the workflow has {plan.card.name}; a run of the "
            f"same model is needed"
        )
    if not done:
        raise InputError(f"{path}: no block was predicted in that run; run it with --force")
    return record


def _slowness(record: Mapping[str, Any]) -> float:
    """How much longer the model took than it computed, as others had the cores."""
    segment = record["seconds"]["segment"]
    runtime = (record.get("engine") or {}).get("runtime") or {}
    told = runtime.get("engine", "torch") == "torch" and segment["infer_cpu"] > 0
    return max(1.0, segment["infer"] / segment["infer_cpu"]) if told else 1.0


def _unexplained(segment: Mapping[str, float], machine: Mapping[str, Any]) -> float:
    """Seconds that the stage took beside its blocks: opening the job, on all workers at once."""
    count = int(segment["blocks"])
    read, infer, write = (segment[lane] / count for lane in ("read", "infer", "write"))
    cost = BlockCost(read=read, infer=infer, write=write)
    lanes = machine["workers"], machine["lanes"], machine["models"]
    alone = Pool(*lanes, cores=1e6, together=machine["workers"])
    return max(0.0, float(segment["wall"]) - simulate_stage([cost] * count, alone).wall)


def times_by_trial(plan: RunPlan, task: SceneTask) -> TaskTimes:
    """From a few blocks of the scene itself, one after the other, in this process.

    Where there are others at work, seconds are those of the process's CPU time. Products are not
    tried: :data:`AFTER_PER_MPX` is assumed for them.

    Raises:
        GeosegError: The scene, or the model, cannot be opened.
    """
    task.found.prepare(Silent())
    scene = task.plan
    with tempfile.TemporaryDirectory(prefix="geoseg-trial-") as room:
        work = WorkFolder(Path(room))
        make_stores(scene, work)
        choice, runtime = plan.workflow.model, Engines(plan, Silent()).of(task).runtime
        segment = SegmentJob(
            "trial", scene, plan.committee, work, choice.device, runtime, 1, runtime.versions
        )
        first, reports, seconds = _tried(segment, scene)
        others, opened = {}, {}
        if plan.workflow.output.vector is not None:
            source = StoredCodes(work, scene.card.legend.nodata)
            slow, _, quick = _tried(TraceJob("trial", scene.scene.grid, work, source), scene)
            others = {"trace": quick / _mpx(scene)}
            opened = {"trace": max(0.0, slow - quick)}
    walls = {lane: sum(r["seconds"][lane] for r in reports) for lane in ("read", "infer", "write")}
    mpx = _mpx(scene) * len(reports)
    busy = min(1.0, seconds * len(reports) / sum(walls.values()))
    read = walls["read"] * busy / mpx
    return TaskTimes(
        read,
        walls["infer"] * busy / (mpx * scene.predictions_per_pixel),
        walls["write"] * busy / mpx,
        opening=max(0.0, first - seconds),
        others=others,
        others_opening=opened,
        source=f"a trial of {len(reports)} blocks of scene {scene.scene.id}; start, first look and "
        f"products are assumed",
    )


def _mpx(scene: ScenePlan) -> float:
    """Of a block of mean size, in millions of pixels."""
    area = sum(b.shape[0] * b.shape[1] for b in scene.blocks)
    return area / len(scene.blocks) / 1e6


def _tried(job: Job, scene: ScenePlan) -> tuple[float, list[Mapping[str, Any]], float]:
    """CPU seconds of opening and the first block; reports, and mean CPU seconds, of the others."""
    step = max(1, len(scene.blocks) // (TRIED + 1))
    blocks = (list(scene.blocks[step::step]) or list(scene.blocks))[:TRIED]
    begun = process_time()
    with closing(job.open()) as work:
        work(blocks[0])
        first = process_time() - begun
        begun, clock = process_time(), perf_counter()
        reports = [work(block) for block in blocks[1:] or blocks]
        seconds = min(process_time() - begun, perf_counter() - clock)
    return first, reports, seconds / len(reports)
