"""How near a run comes to what its scene cannot cost less than; what it costs by size; profiles.

    OMP_NUM_THREADS=1 python benchmarks/efficiency.py --engine torch --engine openvino:bf16
    OMP_NUM_THREADS=1 python benchmarks/efficiency.py --sizes 1024,2745,5490,10980 --out profiles

The run makes classes and confidence as COGs with their item, without polygons and pictures. Efficiency
is the floor of the forward passes (see floors.py) over the wall time from the first block to the end
of the process, with all reading, stitching and writing; what comes before, imports and the start of
workers, is told apart. "of all floors" has those of reading, of the store and of the COGs above the line, too: a
model that computes as fast as pixels are read leaves no room for a run near its forward passes alone. As wall
times lie where others use the machine, the same is told of CPU seconds.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from floors import Floor, measure, measure_cogs

from geoseg.api.planning import plan_workflow
from geoseg.io.opening import open_pixels
from geoseg.models.engines import Runtime
from geoseg.steps.segment import Tiling, infer
from geoseg.steps.segment import load as load_block
from geoseg.workflow.loading import load

WORKFLOW = """
geoseg: 1
name: efficiency
input: {{kind: sample, size: {size}, seed: 7, directory: {sample}}}
model: {{name: {model}, engine: {engine}, precision: {precision}}}
output: {{directory: {out}, vector: false, quicklook: false, project: false}}
cluster: {{workers: {workers}, dashboard: false}}
"""

SIZES = (1024, 2745, 5490, 10980)
LONG = 21960
SHOWN = 25


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of one run: until the first block began, of the stage, of all; of all processors."""

    start: float
    stage: float
    wall: float
    cpu: float

    @property
    def work(self) -> float:
        """From the first block on."""
        return self.wall - self.start


def main() -> None:
    """Print a table, and keep profiles where a folder for them is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", action="append", help="torch, openvino:bf16... (several times)")
    parser.add_argument("--sizes", default="5490", help="sides in pixels, like 1024,2745")
    parser.add_argument("--long", action="store_true", help=f"{LONG} too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--repeat", type=int, default=3, help="runs; their median counts")
    parser.add_argument("--out", type=Path, help="folder for profiles")
    parser.add_argument("--keep", type=Path, help="folder for scenes and products")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")] + [LONG] * args.long
    print(
        "| engine | size | forward | read | store | COGs | start | stage | run | CPU | s/Mpx |",
        end="",
    )
    print(" efficiency: stage | run | CPU | run, of all floors | CPU, of all floors |")
    print("|" + " --- |" * 16)
    with tempfile.TemporaryDirectory() as scratch:
        for engine in args.engine or ["torch"]:
            for size in sizes:
                one(args.keep or Path(scratch), size, engine, args)


def one(root: Path, size: int, engine: str, args: argparse.Namespace) -> None:
    """Measure one size with one engine."""
    name, _, precision = engine.partition(":")
    runtime = Runtime(name, precision or "fp32")  # type: ignore[arg-type]  # as typed
    workflow = root / f"{name}-{runtime.precision}-{size}.yaml"
    sample, out = root / f"sample-{size}", root / f"out-{size}"
    text = WORKFLOW.format(
        size=size,
        sample=sample,
        model=args.model,
        engine=name,
        precision=runtime.precision,
        out=out,
        workers=args.workers,
    )
    workflow.write_text(text)
    make = [sys.executable, "-m", "geoseg", "sample", sample, "--size", str(size), "--seed", "7"]
    subprocess.run([*make, "-q"], check=True, stdout=subprocess.DEVNULL)
    os.sync()  # what is being written for the benchmark must not be paid for by the run
    floors = measure(workflow, args.workers, runtime)
    runs = sorted((run(workflow, out) for _ in range(args.repeat)), key=lambda r: r.wall)
    floors["COGs"] = measure_cogs(out)
    report(engine, size, floors, runs)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        profile(workflow, runtime, args.out / f"{name}-{runtime.precision}-{size}")


def run(workflow: Path, out: Path) -> Run:
    """Run the workflow anew, and see when its first block began."""
    ledger = out / ".geoseg" / "segment.jsonl"
    ledger.unlink(missing_ok=True)
    before, begun = _cpu(), time.perf_counter()
    command = [sys.executable, "-m", "geoseg", "run", workflow, "--force", "-q"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    first = None
    while process.poll() is None:
        time.sleep(0.01)
        if first is None and (seconds := _first_block(ledger)) is not None:
            first = time.perf_counter() - begun - seconds
    wall = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"the run failed with {process.returncode}")
    said = json.loads((out / "run.json").read_text("utf-8"))["seconds"]["segment"]
    return Run(first or 0.0, said["wall"], wall, _cpu() - before)


def _first_block(ledger: Path) -> float | None:
    """Seconds that the first block took, once it is written down."""
    with suppress(OSError, ValueError, IndexError):
        for line in ledger.read_text("utf-8").splitlines():
            if '"seconds"' in line:
                # A line is a checksum and a record.
                record = json.loads(line[line.index("{") :])
                found = _find(record, "seconds")
                return sum(found.get(key, 0.0) for key in ("read", "wait", "infer", "write"))
    return None


def _find(record: dict[str, object], key: str) -> dict[str, float]:
    """The first mapping that is called so, however deep."""
    for name, value in record.items():
        if isinstance(value, dict):
            found = value if name == key else _find(value, key)
            if found:
                return found
    return {}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def report(engine: str, size: int, floors: dict[str, Floor], runs: Sequence[Run]) -> None:
    """One row; of several runs the median of each number."""
    start, stage, wall, cpu, work = (
        statistics.median(getattr(r, name) for r in runs)
        for name in ("start", "stage", "wall", "cpu", "work")
    )
    forward = floors["forward"]
    every = Floor(sum(f.wall for f in floors.values()), sum(f.cpu for f in floors.values()))
    costs = " | ".join(f"{f.wall:.1f} s ({f.cpu:.1f} CPU)" for f in floors.values())
    shares = (
        *(forward.wall / stage, forward.wall / work, forward.cpu / cpu),
        *(every.wall / work, every.cpu / cpu),
    )
    told = " | ".join(f"{share:.2f}" for share in shares)
    print(
        f"| {engine} | {size} | {costs} | {start:.1f} s | {stage:.1f} s | {wall:.1f} s | "
        f"{cpu:.1f} s | {wall / (size * size / 1e6):.3f} | {told} |",
        flush=True,
    )


def profile(workflow: Path, runtime: Runtime, stem: Path) -> None:
    """What a worker does with its blocks one after the other, and what the client does, as text."""
    run_plan = plan_workflow(load(workflow))
    plan = run_plan.tasks[0].plan
    segmenter = run_plan.committee.open(
        device="cpu", precision=runtime.precision, threads=1, engine=runtime.engine, callers=1
    )
    tiling = Tiling(plan.lattice, plan.seams, plan.weights, plan.batch, plan.layers)
    profiler = cProfile.Profile()
    with closing(open_pixels(plan.scene)) as pixels:
        for number, block in enumerate(plan.blocks[:5]):
            if number == 1:  # the first one warms up
                profiler.enable()
            infer(load_block(block, pixels, plan.card.bands, tiling), segmenter, tiling)
    profiler.disable()
    _write(profiler, Path(f"{stem}-worker.txt"))
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch, "client")
        command = ["-m", "cProfile", "-o", kept, "-m", "geoseg", "run", workflow, "--force", "-q"]
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        _write(str(kept), Path(f"{stem}-client.txt"))


def _write(source: cProfile.Profile | str, path: Path) -> None:
    text = io.StringIO()
    stats = pstats.Stats(source, stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(SHOWN)
    stats.sort_stats("cumulative").print_stats(2 * SHOWN)
    path.write_text(text.getvalue())


if __name__ == "__main__":
    main()
