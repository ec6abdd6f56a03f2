"""What Dask's report of a run costs: the scheduler's and the client's CPU, memory, time, bytes.

    python benchmarks/dask_report.py --blocks 5000 --times 3

Blocks that do nothing, on two workers whose scheduler is in the client's process, as in a local run:
without the report; with the last 5,000 tasks kept, as runs do; and with Dask's own 100,000. Each run
keeps the record, some draw the page of it. The first page of a process costs more, as bokeh is imported
for it: each is made in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from scale import many, measured

from geoseg.run import dask_report
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.dask_page import page_of
from geoseg.run.on_dask import OnDask

KEPT = {"without": 0, "kept 5,000": dask_report.MOST, "kept 100,000": 100_000}


def one(count: int, kept: int, *, dashboard: bool) -> dict[str, float]:
    """CPU milliseconds a block; of record and page CPU seconds, seconds, MB; MB that memory gained."""
    own = psutil.Process()
    spec = ClusterSpec(workers=2, threads=3, dashboard=dashboard)
    with tempfile.TemporaryDirectory() as room, connect(spec) as connected:
        executor = OnDask(connected.client)
        measured(executor, many(500), Path(room) / "warm", [])
        dask_report.MOST = kept
        rss = own.memory_info().rss
        report = dask_report.DaskReport(connected.client) if kept else None
        cpu, wall = measured(executor, many(count), Path(room), [])
        told = {"ms": 1000 * cpu / count, "wall": wall}
        if report is not None:
            record = timed(told, "record", report.record)
            told["record_gained_mb"] = (own.memory_info().rss - rss) / 1e6
            timed(told, "page", lambda: page_of(record, named="record"))
        told["gained_mb"] = (own.memory_info().rss - rss) / 1e6
    return told


def timed(told: dict[str, float], name: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` makes; what that took goes to ``told``."""
    begun, spent = time.perf_counter(), time.process_time()
    made = make()
    told[f"{name}_cpu"] = time.process_time() - spent
    told[f"{name}_wall"] = time.perf_counter() - begun
    told[f"{name}_mb"] = len(made) / 1e6
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--dashboard", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(one(given.blocks, given.one, dashboard=given.dashboard)))
        return
    took: dict[str, list[dict[str, float]]] = {name: [] for name in KEPT}
    for _ in range(given.times):  # in turn: other programs disturb all alike
        for name, kept in KEPT.items():
            command = [sys.executable, *sys.argv, "--one", str(kept)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            took[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{given.blocks:,} blocks that do nothing, median of {given.times}")
    for name, runs in took.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(f"  {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in middle.items()))


if __name__ == "__main__":
    main()
