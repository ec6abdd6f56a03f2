"""What a GPU maps in a second: its kernels alone, a segmenter, and whole runs from COGs to stores.

    python benchmarks/gpu.py --out gpu [--budget 200] [--device cpu --quick]
    python benchmarks/gpu.py --paper [--gpu-mpx 500]

The scene is geoseg's own sample of 2048 x 2048 px with six bands of uint16, repeated, as a COG with
deflate and one with zstd. Cases that matter most come first; the others are left out when the
budget is spent, and named. Writes ``gpu.json`` and ``gpu.md`` to ``--out``. ``--paper`` is for
machines without a GPU: from what reading and writing cost here, how many cores a GPU needs that
maps so many megapixels a second.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from gpu_cases import Setup, agreement, calls, cogs, kernels, runs
from gpu_report import Report, paper, read_alone
from gpu_scene import make_scenes

CHIPS, AT_ONCE = (256, 512, 1024, 2048), (1, 4, 16)
Case = tuple[str, Callable[[], dict[str, Any]]]
"""The table that a row goes to, and what makes it."""


def main() -> None:
    """Make the scenes, try the cases in turn, write the tables."""
    asked = _arguments()
    # As on geoseg's workers; GDAL looks when it first reads.
    for name, value in (("GDAL_CACHEMAX", "64"), ("GDAL_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory(prefix="geoseg-gpu-") as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        scenes = make_scenes(folder, repeat=1 if asked.quick else asked.repeat, quick=asked.quick)
        setup = Setup(asked.device, asked.model, scenes, folder, quick=asked.quick)
        report = Report(setup, scenes_made=time.perf_counter() - start)
        cases = paper_cases(setup) if asked.paper else all_cases(setup)
        for table, case in cases:
            if time.perf_counter() - start > asked.budget:
                report.left_out(table)
                continue
            report.add(table, case)
            report.write(asked.out)
    if asked.paper:
        report.extra = paper(report.rows, asked.gpu_mpx)
    print(report.write(asked.out))
    sys.exit(bool(report.failed))


def all_cases(setup: Setup) -> Iterator[Case]:
    """Those that matter most come first."""
    precisions = ("fp32", "bf16", "fp16") if setup.cuda else ("fp32",)
    for precision in precisions:
        yield "agreement", lambda p=precision: agreement(setup, p)
        yield "kernels", lambda p=precision: kernels(setup, p, setup.best, 1024, 1)
    for threads in (16, 4, 1, 8, 2) if setup.cuda else (2,):
        for codec in setup.scenes:
            low = precisions[-2:][0]
            yield "runs", lambda t=threads, c=codec, p=low: runs(setup, p, c, t)
    yield "cogs", lambda: cogs(setup)
    for threads in (1, 16) if setup.cuda else (1,):
        for codec in setup.scenes:
            yield "reading", lambda t=threads, c=codec: read_alone(setup, c, t)
    yield from variants(setup, precisions)
    if setup.cuda:
        yield from shapes(setup, precisions)


def variants(setup: Setup, precisions: tuple[str, ...]) -> Iterator[Case]:
    """By how kernels are started, and how many calls there are at once."""
    for variant in ("eager", "channels_last") if setup.cuda else ("eager",):
        for precision in precisions[:2]:
            yield "kernels", lambda p=precision, v=variant: kernels(setup, p, v, 1024, 1)
    for lanes in (1, 2, 3) if setup.cuda else (1,):
        yield "calls", lambda n=lanes: calls(setup, precisions[-2:][0], n, 1024)


def shapes(setup: Setup, precisions: tuple[str, ...]) -> Iterator[Case]:
    """By processes, by chip and how many at once, and what takes longest to begin."""
    for processes, threads in ((4, 4), (2, 8)):
        yield "runs", lambda n=processes, t=threads: runs(setup, "bf16", "zstd", t, processes=n)
    for chip, count in product(CHIPS, AT_ONCE):
        for precision in precisions:
            if (chip, count) != (1024, 1) and chip * chip * count <= 2**24:
                yield "kernels", partial(kernels, setup, precision, setup.best, chip, count)
    for precision in precisions:
        yield "kernels", partial(kernels, setup, precision, setup.best, 1024, 1, "resnet34")
    for precision in ("fp32", "fp16"):
        yield "runs", lambda p=precision: runs(setup, p, "zstd", 16)
    for precision in precisions[:2]:
        yield "kernels", partial(kernels, setup, precision, "compiled", 1024, 1)


def paper_cases(setup: Setup) -> Iterator[Case]:
    """What a machine without a GPU can tell: reading, and a run without its network."""
    for codec in setup.scenes:
        yield "reading", lambda c=codec: read_alone(setup, c, 1)
        yield "runs", lambda c=codec: runs(setup, "none", c, 1)
    yield "cogs", lambda: cogs(setup)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    parser.add_argument("--budget", type=float, default=600.0, help="seconds, about")
    parser.add_argument("--repeat", type=int, default=4, help="copies of the sample along a side")
    parser.add_argument("--quick", action="store_true", help="tiny: to see that it works")
    parser.add_argument("--paper", action="store_true", help="cores for a GPU that is not here")
    parser.add_argument("--gpu-mpx", type=float, default=500.0, help="of that GPU, a second")
    return parser.parse_args()


if __name__ == "__main__":
    main()
