"""Wall time, memory and the model's share of a whole run on a synthetic scene.

    python benchmarks/scene.py --size 5490 --workers 2

Prints one line: seconds on the wall, CPU seconds of all processes, peak memory of the largest
worker and of the client (resident, sampled 20 times a second; shared libraries count in each), and
the share of CPU time that was spent in forward passes. The scene is written before the clock runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

WORKFLOW = """
geoseg: 1
name: benchmark
input: {{kind: sample, size: {size}, seed: 7, directory: {sample}}}
model: {model}
output: {{directory: {out}}}
cluster: {{workers: {workers}, dashboard: false}}
"""


class Watch(threading.Thread):
    """Samples the resident memory of a process and of its workers."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root, self._ended = psutil.Process(pid), threading.Event()
        self.client = self.worker = self.total = 0

    def run(self) -> None:
        """Until told to end."""
        while not self._ended.wait(0.05):
            with suppress(psutil.Error):
                sizes = [p.memory_info().rss for p in self._root.children(recursive=True)]
                own = self._root.memory_info().rss
                self.client = max(self.client, own)
                self.worker = max([self.worker, *sizes])
                self.total = max(self.total, own + sum(sizes))

    def end(self) -> None:
        """Stop, and wait for the last sample."""
        self._ended.set()
        self.join()


def main() -> None:
    """Make the scene, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=2745)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--keep", type=Path, help="folder for scene and products")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        sample = root / f"sample-{args.size}"
        make = [sys.executable, "-m", "geoseg", "sample", sample, "--size", str(args.size), "-q"]
        subprocess.run([*make, "--seed", "7"], check=True, stdout=subprocess.DEVNULL)
        workflow = root / "benchmark.yaml"
        out = root / f"out-{args.size}"
        text = WORKFLOW.format(
            size=args.size, sample=sample, out=out, workers=args.workers, model=args.model
        )
        workflow.write_text(text)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run = [sys.executable, "-m", "geoseg", "run", workflow, "--force", "-q"]
        process = subprocess.Popen(run, stdout=subprocess.DEVNULL)
        watch = Watch(process.pid)
        watch.start()
        code = process.wait()
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        watch.end()
        if code:
            sys.exit(f"the run failed with {code}")
        report(args.size, wall, _cpu(after) - _cpu(before), watch, out / "run.json")


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def report(size: int, wall: float, cpu: float, watch: Watch, record: Path) -> None:
    """One line, and one of each stage."""
    said = json.loads(record.read_text("utf-8"))
    infer = said["seconds"]["segment"]["infer_cpu"]
    print(
        f"{size} x {size}: {wall:.1f} s wall, {cpu:.1f} s CPU, "
        f"{size * size / wall / 1e6:.2f} Mpx/s; worker {watch.worker / 1e9:.2f} GB, "
        f"client {watch.client / 1e9:.2f} GB, together {watch.total / 1e9:.2f} GB; "
        f"forward passes {infer:.1f} CPU s = {infer / cpu:.0%} of it; "
        f"{said['tiling']['predictions_per_pixel']:.2f} predictions per pixel"
    )
    for stage, seconds in said["seconds"].items():
        print(f"  {stage}: {seconds}")


if __name__ == "__main__":
    main()
