"""How far runs scale: scheduling without work, two workers against one, the forecast against both.

    python benchmarks/scale.py scheduling --blocks 100000     # no-op blocks, one process a role
    python benchmarks/scale.py workers --size 5490 --times 3  # one and two workers, and forecasts
    python benchmarks/scale.py workers --confined             # each with as many cores as workers
    python benchmarks/scale.py sleeps                         # forecasts of blocks that only wait

``scheduling``: CPU seconds of the scheduler, of the client with its ledger and progress, and of the
workers, for each block; how much memory client and scheduler gain; and going on from the ledger.
Once with a scheduler of its own, once with that of a local cluster, in the client's process.

``workers``: the model (fp32; torch unless ``--engine`` says) runs on one thread of each worker. Both are measured in turn,
medians are compared. Where other programs run, ratios of wall times say little: beside them is the
CPU time that the other programs took, and the forecast is also made for the cores that they left.
One worker of two cores has the client, the scheduler, reading and writing on the other core. With
``--confined`` all of a run, and of what the network alone takes, is held to as many cores as it has
workers: what a second core with a second worker on it is worth.

``sleeps``: blocks that sleep, on a real cluster: what a forecast is worth where nothing is unknown
but the cluster itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
from floors import forward

from geoseg.api.pipeline import run_plan
from geoseg.api.planning import RunPlan, plan_workflow
from geoseg.api.simulating import DISPATCH_SECONDS, scene_cost
from geoseg.api.task_times import TaskTimes, times_of_run
from geoseg.grid import Window
from geoseg.models.engines import Runtime
from geoseg.ops.forecast import simulate_run
from geoseg.ops.simulation import BlockCost, Pool, simulate_stage
from geoseg.plan import ScenePlan
from geoseg.run import forking
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.on_dask import OnDask
from geoseg.run.progress import Plain
from geoseg.run.reporter import Several, Silent
from geoseg.run.status import StatusFile
from geoseg.workflow.loading import loads

WORKFLOW = """
geoseg: 1
name: scaling
input: {{kind: sample, size: {size}, seed: 7, directory: {sample}}}
model: {{name: landcover-s2, engine: {engine}}}
output: {{directory: {out}}}
cluster: {{workers: {workers}, threads: {lanes}, dashboard: false}}
"""
CORES = os.cpu_count() or 1
ROUNDS = 4  # blocks a process, where the network alone is measured


@dataclass(frozen=True)
class Nothing:
    """A job whose blocks sleep, or not even that. Implements :class:`geoseg.run.base.Job`."""

    key: str
    seconds: float = 0.0

    def open(self) -> Nothing:
        """There is nothing to open."""
        return self

    def __call__(self, block: Window) -> dict[str, Any]:
        """A report as large as that of a predicted block."""
        time.sleep(self.seconds)
        return {
            "pixels": 1, "valid": 1, "chips": 1, "skipped": 0, "thin": 0, "dropped": 0,
            "counts": {str(c): block.y0 for c in range(8)},
            "areas": {str(c): 1.5 * block.y0 for c in range(8)},
            "confidence": 90, "seams": [1, 2, 3, 4], "crc": [1 << 31, 1 << 30],
            "remote": {"requests": 0, "bytes": 0},
            "seconds": {"read": 0.1, "wait": 0.1, "infer": 1.0, "infer_cpu": 1.0, "write": 0.1},
        }  # fmt: skip

    def close(self) -> None:
        """There is nothing to close."""


def many(count: int) -> list[Window]:
    return [Window(i // 1000, i % 1000, i // 1000 + 1, i % 1000 + 1) for i in range(count)]


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds that processes have computed so far."""
    return sum(sum(p.cpu_times()[:2]) for p in processes)


@contextmanager
def processes(
    workers: int, threads: int
) -> Iterator[tuple[str, psutil.Process, list[psutil.Process]]]:
    """A scheduler and workers, each a process of its own: its address, and them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    own = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    module = [sys.executable, "-m", "distributed.cli.dask_"]
    host, port = address.split(":")
    dask = [*module[:2], module[2] + "scheduler"]
    started = [subprocess.Popen([*dask, "--host", host, "--port", port, "--no-dashboard"], **own)]
    one = [*module[:2], module[2] + "worker", f"tcp://{address}", "--no-nanny", "--no-dashboard"]
    started += [subprocess.Popen([*one, "--nthreads", str(threads)], **own) for _ in range(workers)]
    try:
        found = [psutil.Process(p.pid) for p in started]
        yield f"tcp://{address}", found[0], found[1:]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def measured(
    executor: OnDask, blocks: list[Window], room: Path, others: list[list[psutil.Process]]
) -> list[float]:
    """Run blocks of nothing; CPU seconds of this process and of ``others``, then wall seconds."""
    groups = [[psutil.Process()], *others]
    with Ledger.open(room / "ledger.jsonl", "f", {}) as ledger:
        before, begun = [cpu(group) for group in groups], time.perf_counter()
        reporter = Several([Plain(StringIO()), StatusFile(room)])
        summary = run_blocks(executor, Nothing(f"nothing-{len(blocks)}"), blocks, ledger, reporter)
        wall = time.perf_counter() - begun
    assert summary.done == len(blocks)
    return [*(cpu(g) - b for g, b in zip(groups, before, strict=True)), wall]


def scheduling(count: int) -> None:
    """Blocks that do nothing, and what they cost."""
    blocks, own = many(count), psutil.Process()
    print(f"{count:,} blocks that do nothing, 2 workers with 3 threads; ms a block (CPU)")
    with tempfile.TemporaryDirectory() as name, processes(2, 3) as (address, boss, workers):
        room = Path(name)
        with connect(ClusterSpec("address", address=address, timeout=120)) as connected:
            executor = OnDask(connected.client, patience=120)
            measured(executor, many(1000), room / "warm", [[boss], workers])
            rss = own.memory_info().rss, boss.memory_info().rss
            client, scheduler, work, wall = measured(executor, blocks, room, [[boss], workers])
            gained = own.memory_info().rss - rss[0], boss.memory_info().rss - rss[1]
        each = [f"{seconds / count * 1000:.3f}" for seconds in (scheduler, client, work, wall)]
        print("separate: scheduler {}, client {}, workers {}; {} on the wall".format(*each))
        print(f"  gained: client {gained[0] / 1e6:.1f} MB, scheduler {gained[1] / 1e6:.1f} MB")
        resuming(blocks, room)
    local(blocks)


def resuming(blocks: list[Window], room: Path) -> None:
    """Going on from the ledger of a run that did them all."""
    begun = time.process_time()
    with Ledger.open(room / "ledger.jsonl", "f", {}) as ledger:
        todo = len(set(blocks) - ledger.done)
        loaded = time.process_time() - begun
        reports = sum(1 for _ in ledger.reports())
    spent = time.process_time() - begun
    size = (room / "ledger.jsonl").stat().st_size / len(blocks)
    print(
        f"  ledger: {size:.0f} bytes a block; opened in {loaded:.1f} s, {todo} blocks to do; "
        f"{reports:,} reports read in {spent - loaded:.1f} s"
    )


def local(blocks: list[Window]) -> None:
    """The same with the scheduler in this process."""
    count, own = len(blocks), psutil.Process()
    with tempfile.TemporaryDirectory() as name:
        with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
            executor, room = OnDask(connected.client), Path(name)
            measured(executor, many(1000), room / "warm", [])
            rss = own.memory_info().rss
            both, wall = measured(executor, blocks, room, [])
            gained = own.memory_info().rss - rss
        each = [f"{seconds / count * 1000:.3f}" for seconds in (both, wall)]
        print("local: client with scheduler {}; {} on the wall".format(*each), end="")
        print(f"; gained {gained / 1e6:.1f} MB")


@dataclass(frozen=True)
class Took:
    """One run: seconds on the wall, of all and of its stages; CPU seconds of workers and others."""

    whole: float
    segment: float
    workers: float
    others: float

    @property
    def cores(self) -> float:
        """Cores that the other programs left."""
        return max(0.2, CORES - self.others / self.whole)


@contextmanager
def held_to(cores: int | None) -> Iterator[None]:
    """Let this process, and those that it starts, have so many cores; None: all that it has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores is None else sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def one_run(plan: RunPlan, workers: int, cores: int | None = None) -> Took:
    """Run a plan with so many workers, whose models have one thread each."""
    plan = replace(plan, resources=replace(plan.resources, workers=workers, models=1))
    busy, own, children = _busy(), time.process_time(), _children()
    with held_to(cores):
        begun = time.perf_counter()
        # As geoseg.run does while it reads the workflow: torch is loaded once for all workers.
        forking.begin(["torch"] if plan.workflow.model.engine.startswith("torch") else [])
        result = run_plan(plan, Silent(), force=True)
        whole = time.perf_counter() - begun
        forking.end()  # else nobody counts what it and the workers took
    children = _children() - children
    others = _busy() - busy - (time.process_time() - own) - children
    seconds = result.scenes[0].record["seconds"]["segment"]["wall"]
    return Took(whole, seconds, children, others)


def _busy() -> float:
    """CPU seconds of all programs of this machine so far."""
    t = psutil.cpu_times()
    return float(sum(t) - t.idle - getattr(t, "iowait", 0.0))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workers(asked: argparse.Namespace) -> None:
    """One worker and two, in turn; and what was forecast for both from the runs of one."""
    size, engine = asked.size, asked.engine
    with tempfile.TemporaryDirectory() as name:
        out = asked.keep or Path(name, "out")
        sample = Path(name, "sample")
        text = WORKFLOW.format(
            size=size, sample=sample, engine=engine, out=out, workers=2, lanes=asked.lanes
        )
        plan = plan_workflow(loads(text))
        plan.tasks[0].found.prepare(Silent())
        scene = plan.tasks[0].plan
        print(f"{size} x {size}: {len(scene.blocks)} blocks of {scene.block} px")
        one_run(plan, 2)  # kernels are compiled, files are in the page cache
        took: dict[int, list[Took]] = {1: [], 2: []}
        records = []
        for _ in range(asked.times):
            for count, list_of in took.items():
                list_of.append(one_run(plan, count, count if asked.confined else None))
                if count == 1:
                    records.append(times_of_run(out, scene))
        median = {n: _median(list_of) for n, list_of in took.items()}
        tell_workers(median, confined=asked.confined)
        ceiling(plan, engine, confined=asked.confined)
        if not asked.confined:  # a forecast knows of the whole machine
            record = sorted(records, key=lambda r: r.infer)[len(records) // 2]
            forecasts(scene, record, median)


def tell_workers(took: dict[int, Took], *, confined: bool) -> None:
    """What one and two workers took, and how much faster two are."""
    for n, t in took.items():
        where = f" on {n} core(s)" if confined else ""
        print(
            f"  {n} worker(s){where}: segment {t.segment:.1f} s, whole run {t.whole:.1f} s, CPU of "
            f"workers {t.workers:.1f} s; other programs had {t.others / t.whole:.2f} cores"
        )
    one, two = took[1], took[2]
    print(f"  1 -> 2 workers: segment {one.segment / two.segment:.2f} x, "
          f"whole run {one.whole / two.whole:.2f} x")  # fmt: skip


def ceiling(plan: RunPlan, engine: str, *, confined: bool) -> None:
    """What these cores give two processes that do nothing but compute the network."""
    runtime = Runtime(engine)  # type: ignore[arg-type]  # one of the parser's choices
    some = plan.tasks[0].plan.blocks[: 2 * ROUNDS]
    walls = []
    for n in (1, 2):
        with held_to(n if confined else None):
            walls.append(min(forward(plan, runtime, some, n).wall for _ in range(2)))
    print(f"  the network alone, 1 -> 2 processes: {walls[0] / walls[1]:.2f} x")


def forecasts(scene: ScenePlan, times: TaskTimes, took: dict[int, Took]) -> None:
    """What would have been said before the runs, of an idle machine and of what was left of it."""
    cost = scene_cost(scene, times, 0.0, 1)
    for n, t in took.items():
        for what, cores in (("idle", float(CORES)), ("left", min(t.cores, CORES))):
            pool = Pool(n, 3, 1, cores, n, dispatch=DISPATCH_SECONDS)
            found = simulate_run([cost], pool, start=times.start)
            segment = found.stages["segment"]
            print(
                f"  forecast, {n} worker(s), {cores:.2f} cores ({what}): segment "
                f"{segment:.1f} s ({segment / t.segment - 1:+.0%}), whole run "
                f"{found.wall:.1f} s ({found.wall / t.whole - 1:+.0%})"
            )


def _median(runs: list[Took]) -> Took:
    values = ([getattr(t, f) for t in runs] for f in ("whole", "segment", "workers", "others"))
    return Took(*(statistics.median(v) for v in values))


def sleeps(count: int, seconds: float) -> None:
    """Blocks that sleep on one and two workers, against the forecast."""
    blocks, walls = many(count), []
    for n in (1, 2):
        with connect(ClusterSpec(workers=n, threads=3, dashboard=False)) as connected:
            job, began = Nothing("sleeps", seconds), time.perf_counter()
            done = sum(1 for _ in OnDask(connected.client).run(job, blocks))
            walls.append(time.perf_counter() - began)
        assert done == count
        pool = Pool(n, 3, 1, float(CORES), n, dispatch=DISPATCH_SECONDS)
        found = simulate_stage([BlockCost(latency=seconds)] * count, pool).wall
        print(
            f"{count} blocks of {seconds} s on {n} worker(s) with 3 lanes: {walls[-1]:.2f} s, "
            f"forecast {found:.2f} s ({found / walls[-1] - 1:+.0%})"
        )
    print(f"1 -> 2 workers: {walls[0] / walls[1]:.2f} x")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["scheduling", "workers", "sleeps"])
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=5490)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--engine", choices=["torch", "onnxruntime", "openvino"], default="torch")
    parser.add_argument("--lanes", type=int, default=3, help="blocks in hand; 1: one core a worker")
    parser.add_argument("--keep", type=Path, help="folder for the products of the last run")
    parser.add_argument("--confined", action="store_true", help="as many cores as workers")
    asked = parser.parse_args()
    if asked.what == "scheduling":
        scheduling(asked.blocks)
    elif asked.what == "workers":
        workers(asked)
    else:
        sleeps(120, 0.5)


if __name__ == "__main__":
    main()
