"""Engines and precisions side by side: seconds a chip on one thread, pixels that agree, memory.

    python benchmarks/engines.py [WORKFLOW.yaml ...] [--chips 4] [--memory] [--markdown FILE]

For each workflow, its model and tiling on real chips of its first scene; without one, the shipped
land-cover model on a synthetic scene. Seconds are the processor's, of the quickest chip, from the
stored numbers to classes and confidence, all engines in the same process, so that their ratios mean
more than the numbers; ``opens`` is what an engine takes from the call to the first answer, once its
network is converted, and ``cache`` what the conversion keeps on disk. int8 is calibrated on twice
as many other chips of the scene. ``--memory`` adds the peak of a process that computes one chip, or
two at once, having loaded what a worker has.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from geoseg.api.planning import RunPlan, SceneTask, plan_workflow
from geoseg.errors import GeosegError
from geoseg.io.opening import open_pixels
from geoseg.models.base import Batch, Segmenter
from geoseg.models.card import dump_card
from geoseg.models.committee import Committee
from geoseg.models.converted import as_onnx
from geoseg.models.engine_trial import Trial, share, try_engines
from geoseg.models.engines import ENGINES, PRECISIONS, Runtime, is_installed, version_of
from geoseg.models.quantizing import quantized
from geoseg.models.registry import CARD_FILE
from geoseg.run.reporter import Silent
from geoseg.steps.real_chips import real_chips
from geoseg.steps.segment import Tiling
from geoseg.workflow.loading import load, loads

SYNTHETIC = """
geoseg: 1
name: engines
input: {{kind: sample, size: 2000, seed: 7}}
model: landcover-s2
output: {{directory: {out}}}
"""
HEAD = ("engine", "s a chip", "Mpx/s", "times torch", "agree", "opens, s")

WORKER = """
import json, sys, threading
import distributed, rasterio, zarr  # noqa: F401 (a worker has them)
import geoseg.io.opening, geoseg.io.zarr_store, geoseg.steps.segment  # noqa: F401 (likewise)
from geoseg.models.registry import find, open_segmenter
from geoseg.testing import random_batch

folder, engine, precision, size, callers = sys.argv[1:]
package, size, callers = find(folder), int(size), int(callers)
batches = [random_batch(package.card, (size, size), seed=n) for n in range(callers)]
if engine != "none":
    model = open_segmenter(
        package, device="cpu", engine=engine, precision=precision, threads=1, callers=callers
    )
    threads = [threading.Thread(target=model.classify, args=(batch,)) for batch in batches]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


def main() -> None:
    """Try all engines on each scene; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workflows", nargs="*", type=Path)
    parser.add_argument("--chips", type=int, default=4)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    versions = ", ".join(f"{name} {version_of(name)}" for name in ENGINES)
    lines = [f"One thread; {versions}."]
    with tempfile.TemporaryDirectory() as room:
        plans = [plan_workflow(load(path)) for path in asked.workflows]
        if not plans:
            plans = [plan_workflow(loads(SYNTHETIC.format(out=Path(room, "out"))))]
        for plan in plans:
            lines += ["", *table(plan, plan.tasks[0], asked.chips, memory=asked.memory)]
    text = "\n".join(lines)
    print(text)
    if asked.markdown is not None:
        asked.markdown.write_text(text + "\n")


def table(plan: RunPlan, task: SceneTask, count: int, *, memory: bool) -> Iterator[str]:
    """The lines of one model on one scene."""
    task.found.prepare(Silent())
    scene = task.plan
    with closing(open_pixels(scene.scene)) as pixels:
        found = real_chips(
            pixels, scene.card.bands, scene.blocks, Tiling(scene.lattice), count=3 * count
        )
    assert found is not None, f"scene {scene.scene.id}: nothing valid in a few chips"
    every, counted = found
    # int8 is judged on others than it was made with; where there is one chip only, on that.
    judged = slice(None, None, 3)
    chips, counted = some(every, judged), counted[judged]
    seen = [n for n in range(len(every.valid)) if n % 3] or [0]
    bands, members = scene.card.bands, plan.committee.members
    coarse = tuple(quantized(one, some(every, seen), bands) for one in members)
    committees = {"int8": replace(plan.committee, members=coarse)}
    runtimes = [
        Runtime(engine, kind)
        for engine in ENGINES
        if is_installed(engine)
        for kind in PRECISIONS[engine]
        if kind != "fp16"
    ]

    def opening(runtime: Runtime) -> Segmenter:
        return opened(committees.get(runtime.precision, plan.committee), runtime)

    trials = try_engines(opening, runtimes, chips, counted)
    kept = [as_onnx(member).weights for member in plan.committee.members]
    size = sum(file.stat().st_size for file in kept if file is not None) / 1e6
    height, width = scene.lattice.chip_shape(scene.shape)
    yield (
        f"{scene.card.name}, {len(counted)} chips of {height} x {width} px of {scene.scene.id}, "
        f"{counted.sum():,} pixels compared; cache {size:.1f} MB"
    )
    yield ""
    head = (*HEAD, "MiB for one chip", "for two") if memory else HEAD
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for trial in trials:
        committee = committees.get(trial.runtime.precision, plan.committee)
        cells = row(trial, trials[0], committee, chips)
        if memory:
            cells += [peak(committee, trial.runtime, max(height, width), n) for n in (1, 2)]
        yield f"| {' | '.join(cells)} |"
    if memory:
        alone = peak(plan.committee, None, 8, 1)
        yield f"\nA process that has loaded what a worker has, and no engine: {alone} MiB."


def some(chips: Batch, which: slice | list[int]) -> Batch:
    return replace(chips, values=chips.values[which], valid=chips.valid[which])


def opened(committee: Committee, runtime: Runtime) -> Segmenter:
    options: dict[str, Any] = {"precision": runtime.precision, "engine": runtime.engine}
    return committee.open(device="cpu", threads=1, **options)


def peak(committee: Committee, runtime: Runtime | None, size: int, callers: int) -> str:
    """MiB that a process takes at most; of the first model, where there are several."""
    (first, *_) = committee.members
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room, first.card.name)
        folder.mkdir()
        assert first.weights is not None, "a network without weights"
        Path(folder, first.weights.name).symlink_to(first.weights)
        dump_card(first.card, folder / CARD_FILE)
        engine = ("none", "") if runtime is None else (runtime.engine, runtime.precision)
        words = [sys.executable, "-c", WORKER, str(folder), *engine, str(size), str(callers)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def row(trial: Trial, first: Trial, committee: Committee, chips: Batch) -> list[str]:
    """The cells of one engine."""
    if trial.seconds is None or trial.agreement is None:
        return [str(trial.runtime), "-", "-", "-", "-", trial.fault]
    pixels = prod(chips.valid.shape[1:]) / 1e6
    gain = (first.seconds or 0.0) / trial.seconds
    numbers = [f"{trial.seconds:.3f}", f"{pixels / trial.seconds:.2f}", f"{gain:.2f}"]
    return [
        str(trial.runtime), *numbers, share(trial.agreement), opens(trial.runtime, committee, chips),
    ]  # fmt: skip


def opens(runtime: Runtime, committee: Committee, chips: Batch) -> str:
    """Seconds from the call to the first answer, less those of the answer itself."""
    one = some(chips, slice(1))
    start = time.process_time()
    try:
        segmenter = opened(committee, runtime)
        segmenter.classify(one)
        first = time.process_time()
        segmenter.classify(one)
    except GeosegError as error:
        return str(error)
    return f"{first - start - (time.process_time() - first):.2f}"


if __name__ == "__main__":
    main()
