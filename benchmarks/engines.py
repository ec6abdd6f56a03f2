"""Engines and precisions side by side: seconds a chip on one thread, and pixels that agree.

    python benchmarks/engines.py [WORKFLOW.yaml ...] [--chips 4] [--markdown FILE]

For each workflow, its model and tiling on real chips of its first scene; without one, the shipped
land-cover model on a synthetic scene. Seconds are those of the quickest chip, from the stored
numbers to classes and confidence, all engines in the same process, so that their ratios mean more
than the numbers; ``opens`` is what an engine takes from the call to the first answer, once its
network is converted, and ``cache`` what the conversion keeps on disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from math import prod
from pathlib import Path
from typing import Any

from geoseg.api.planning import RunPlan, SceneTask, plan_workflow
from geoseg.errors import GeosegError
from geoseg.io.opening import open_pixels
from geoseg.models.base import Batch
from geoseg.models.converted import as_onnx
from geoseg.models.engine_trial import Trial, share, try_engines
from geoseg.models.engines import ENGINES, PRECISIONS, Runtime, is_installed, version_of
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


def main() -> None:
    """Try all engines on each scene; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workflows", nargs="*", type=Path)
    parser.add_argument("--chips", type=int, default=4)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    versions = ", ".join(f"{name} {version_of(name)}" for name in ENGINES)
    lines = [f"One thread; {versions}."]
    with tempfile.TemporaryDirectory() as room:
        plans = [plan_workflow(load(path)) for path in asked.workflows]
        if not plans:
            plans = [plan_workflow(loads(SYNTHETIC.format(out=Path(room, "out"))))]
        for plan in plans:
            lines += ["", *table(plan, plan.tasks[0], asked.chips)]
    text = "\n".join(lines)
    print(text)
    if asked.markdown is not None:
        asked.markdown.write_text(text + "\n")


def table(plan: RunPlan, task: SceneTask, count: int) -> Iterator[str]:
    """The lines of one model on one scene."""
    task.found.prepare(Silent())
    scene = task.plan
    with closing(open_pixels(scene.scene)) as pixels:
        found = real_chips(
            pixels, scene.card.bands, scene.blocks, Tiling(scene.lattice), count=count
        )
    assert found is not None, f"scene {scene.scene.id}: nothing valid in a few chips"
    chips, counted = found
    runtimes = [
        Runtime(engine, kind)
        for engine in ENGINES
        if is_installed(engine)
        for kind in PRECISIONS[engine]
        if kind != "fp16"
    ]
    trials = try_engines(plan.committee, runtimes, chips, counted, device="cpu")
    kept = [as_onnx(member).weights for member in plan.committee.members]
    size = sum(file.stat().st_size for file in kept if file is not None) / 1e6
    height, width = scene.lattice.chip_shape(scene.shape)
    yield (
        f"{scene.card.name}, {len(counted)} chips of {height} x {width} px of {scene.scene.id}, "
        f"{counted.sum():,} pixels compared; cache {size:.1f} MB"
    )
    yield ""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'---|' * len(HEAD)}"
    for trial in trials:
        yield f"| {' | '.join(row(trial, trials[0], plan, chips))} |"


def row(trial: Trial, first: Trial, plan: RunPlan, chips: Batch) -> list[str]:
    """The cells of one engine."""
    if trial.seconds is None or trial.agreement is None:
        return [str(trial.runtime), "-", "-", "-", "-", trial.fault]
    pixels = prod(chips.valid.shape[1:]) / 1e6
    gain = (first.seconds or 0.0) / trial.seconds
    numbers = [f"{trial.seconds:.3f}", f"{pixels / trial.seconds:.2f}", f"{gain:.2f}"]
    return [
        str(trial.runtime), *numbers, share(trial.agreement), opens(trial.runtime, plan, chips),
    ]  # fmt: skip


def opens(runtime: Runtime, plan: RunPlan, chips: Batch) -> str:
    """Seconds from the call to the first answer, less those of the answer itself."""
    one = Batch(chips.values[:1], chips.scale, chips.offset, chips.valid[:1])
    start = time.perf_counter()
    options: dict[str, Any] = {"precision": runtime.precision, "engine": runtime.engine}
    try:
        segmenter = plan.committee.open(device="cpu", threads=1, **options)
        segmenter.classify(one)
        first = time.perf_counter()
        segmenter.classify(one)
    except GeosegError as error:
        return str(error)
    return f"{first - start - (time.perf_counter() - first):.2f}"


if __name__ == "__main__":
    main()
