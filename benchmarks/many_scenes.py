"""Many small scenes: what share of the workers' time is lost to waiting, and blocks a second.

    python benchmarks/many_scenes.py --scenes 300 --size 512 --workers 1 2 4
    python benchmarks/many_scenes.py --scenes 300 --workers 2 --at-once 1     # one after the other

A local cluster with as many worker processes, three blocks in hand each; the model on one thread of
each. Scenes are synthetic, a few of them under many names. Prints a Markdown table.

What is counted, from the start of the first task on a worker to the end of the last one (``span``),
as the scheduler's task stream has them:

- ``idle``: share of the workers' time in which a worker had no task at all: it waited for the client,
  the scheduler or another worker. 1 - sum over workers of (time with at least one task) /
  (workers x span).
- ``slots``: the same of all blocks that a worker may have in hand: 1 - sum of task times /
  (workers x 3 x span). A task that waits for the model counts as busy.
- ``blocks/s``: segmented blocks over the span.
- ``first``: seconds from the call to the start of the first block; the cluster is there already.
- ``client``: CPU seconds of the client's process, with its scheduler, a scene.

With ``--forecast`` also what a run on paper makes of the record of a scene in its middle.

Where other programs run, CPU is shared with them; ``idle`` is then what it is on a slower machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geoseg
from geoseg.api.at_once import AHEAD, LOOKED_AT, MOST_AT_ONCE
from geoseg.api.planning import plan_workflow
from geoseg.api.simulating import DISPATCH_SECONDS, scene_cost
from geoseg.api.task_times import times_of_run
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.ops.forecast import Ahead, RunForecast, simulate_run
from geoseg.ops.simulation import Pool
from geoseg.run import forking
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.resources import available_cores
from geoseg.workflow import load

KINDS = 4
"""Different scenes; the others are links to them."""
THREADS = 3
HEAD = (
    "| workers | scenes | wall s | first s | span s | blocks/s | idle | slots | client s a scene |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def write_scenes(folder: Path, count: int, size: int) -> None:
    """``count`` scenes of ``size`` pixels, in folders of their own."""
    for seed in range(min(KINDS, count)):
        write_sample(SampleSpec((size, size), seed=seed, clouds=False), folder / f"kind{seed}")
    for number in range(count):
        place = folder / "scenes" / f"s{number:04}"
        place.mkdir(parents=True)
        os.link(folder / f"kind{number % KINDS}" / "scene.tif", place / "scene.tif")


def workflow(folder: Path, out: Path, address: str, options: argparse.Namespace) -> Path:
    """The workflow of all of them."""
    run: dict[str, Any] = {"on_error": "stop"}
    if options.at_once:
        run["scenes_at_once"] = options.at_once
    content = {
        "geoseg": 1,
        "name": "many-scenes",
        "input": {
            "kind": "files",
            "path": str(folder / "scenes" / "{scene}" / "scene.tif"),
            "units": "reflectance",
        },
        "model": {"name": options.model, "engine": "torch"},
        "output": {"directory": str(out / "{scene}")},
        "cluster": {"kind": "address", "address": address, "threads": THREADS},
        "run": run,
    }
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(content))
    return path


def together(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one of ``spans`` goes on."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def measured(folder: Path, workers: int, options: argparse.Namespace) -> str:
    """One run; a line of the table."""
    out = folder / "out"
    with connect(ClusterSpec(workers=workers, threads=THREADS, dashboard=False)) as connected:
        client = connected.client
        client.get_task_stream()  # from now on it is kept
        path = workflow(folder, out, client.scheduler.address, options)
        cpu, begun, clock = time.process_time(), time.time(), time.perf_counter()
        result = geoseg.run(path)
        wall, cpu = time.perf_counter() - clock, time.process_time() - cpu
        stream = client.get_task_stream(start=begun)
    if result.failed:
        raise SystemExit(f"{len(result.failed)} scenes failed: {result.failed[0].error}")
    said = forecast(path, workers, options) if options.forecast else None
    shutil.rmtree(out)
    forking.end()
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    first, blocks = float("inf"), 0
    for task in stream:
        computed = [s for s in task["startstops"] if s["action"] == "compute"]
        spans[task["worker"]] += [(s["start"], s["stop"]) for s in computed]
        if "geoseg-segment-" in str(task["key"]):
            blocks += 1
            first = min([first, *(s["start"] for s in computed)])
    every = [span for of_one in spans.values() for span in of_one]
    start, stop = min(s for s, _ in every), max(e for _, e in every)
    span = stop - start
    idle = 1 - sum(map(together, spans.values())) / (workers * span)
    slots = 1 - sum(e - s for s, e in every) / (workers * THREADS * span)
    if options.keep:
        Path(options.keep).write_text(
            json.dumps([dict(t, key=str(t["key"])) for t in stream], default=str)
        )
    if said is not None:
        print(
            f"forecast of the span, {workers} workers: {said.wall:.1f} s "
            f"({said.wall / span - 1:+.0%}), idle {said.waiting:.1%}"
        )
    return (
        f"| {workers} | {len(result.scenes)} | {wall:.1f} | {first - begun:.1f} | {span:.1f} | "
        f"{blocks / span:.2f} | {idle:.1%} | {slots:.1%} | {cpu / len(result.scenes):.3f} |"
    )


def forecast(path: Path, workers: int, options: argparse.Namespace) -> RunForecast:
    """What ``geoseg plan --simulate`` makes of the records of its scenes."""
    plan = plan_workflow(load(path))
    task = plan.tasks[len(plan.tasks) // 2]
    times = times_of_run(task.directory.parent, task.plan)
    cost = scene_cost(task.plan, times, 0.0, len(plan.tasks), by_workers=True)
    cores = float(available_cores())
    pool = Pool(workers, THREADS, 1, cores, together=workers, dispatch=DISPATCH_SECONDS, near=True)
    ahead = Ahead(options.at_once or MOST_AT_ONCE, AHEAD, LOOKED_AT)
    return simulate_run([cost], pool, ahead=ahead)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--at-once", type=int, default=0, help="run.scenes_at_once; 0: auto")
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--forecast", action="store_true", help="compare with --simulate")
    parser.add_argument("--keep", help="write the task stream there, as JSON")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f}\n{HEAD}")
    with tempfile.TemporaryDirectory(prefix="geoseg-many-") as name:
        folder = Path(name)
        write_scenes(folder, options.scenes, options.size)
        for workers in options.workers:
            print(measured(folder, workers, options), flush=True)


if __name__ == "__main__":
    main()
