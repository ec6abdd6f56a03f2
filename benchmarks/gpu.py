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
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from gpu_cases import VARIANTS, Setup, agreement, calls, cogs, kernels
from gpu_report import Report, paper, read_alone
from gpu_runs import Asked, heavy, runs
from gpu_scene import CODECS, make_scenes

CHIPS, AT_ONCE = (256, 512, 1024, 2048), (1, 4, 16)
Case = tuple[str, Callable[[], dict[str, Any]]]
"""The table that a row goes to, and what makes it."""


def main() -> None:
    """Make the scenes, try the cases in turn, write the tables."""
    asked = _arguments()
    # As on geoseg's workers; GDAL looks when it first reads.
    for name, value in (("GDAL_CACHEMAX", "64"), ("GDAL_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        folder = asked.scratch or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-gpu-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        scenes = make_scenes(
            folder,
            repeat=1 if asked.quick else asked.repeat,
            quick=asked.quick,
            codecs=asked.codecs.split(","),
        )
        setup = Setup(asked.device, asked.model, scenes, folder, quick=asked.quick)
        report = Report(setup, scenes_made=time.perf_counter() - start)
        cases = paper_cases(setup) if asked.paper else all_cases(setup)
        for table, case in cases:
            if asked.only and table not in asked.only.split(","):
                continue
            if time.perf_counter() - start > asked.budget and not asked.paper:
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
    low = precisions[-2:][0]
    for precision in precisions:
        yield "agreement", partial(agreement, setup, precision)
        yield "kernels", partial(kernels, setup, precision, setup.best(precision), 1024, 1)
    if setup.cuda:
        yield from saturating(setup)
    for threads in (16, 4, 1) if setup.cuda else (2,):
        for codec in setup.scenes:
            yield "runs", partial(runs, setup, Asked(codec, low, threads))
    yield "cogs", partial(cogs, setup)
    if setup.cuda:
        yield from heavier(setup)
    for threads in (1, 16) if setup.cuda else (1,):
        for codec in setup.scenes:
            yield "reading", partial(read_alone, setup, codec, threads)
    for lanes in (1, 2, 3) if setup.cuda else (1,):
        yield "calls", partial(calls, setup, low, lanes, 1024)
    if setup.cuda:
        yield from rest(setup, precisions)
    else:
        yield "kernels", partial(kernels, setup, low, "eager", 1024, 1)


def saturating(setup: Setup) -> Iterator[Case]:
    """Networks that keep a GPU busy, with blocks so large that little is read twice."""
    for network, precision in (
        ("U-Net resnet50", "fp32"),
        ("U-Net++ resnet50", "bf16"),
        ("SegFormer mit_b2", "bf16"),
    ):
        asked = Asked("zstd", precision, 16, network=network, strides=4, rounds=12)
        yield "heavy", partial(heavy, setup, asked)
    # In fp32 it depends on the shape which layout is faster.
    for chip, count in ((512, 4), (1024, 4)):
        for variant in ("graphs, planes apart", "graphs"):
            yield "kernels", partial(kernels, setup, "fp32", variant, chip, count)
    yield "runs", partial(runs, setup, Asked("zstd", "bf16", 16, strides=4, rounds=12))
    yield "kernels", partial(kernels, setup, "bf16", "compiled", 1024, 1)


def heavier(setup: Setup) -> Iterator[Case]:
    """The same with smaller blocks, and how many threads it takes to feed them."""
    for network, precision, threads in (
        ("U-Net++ resnet50", "bf16", 16),
        ("U-Net resnet50", "bf16", 16),
        ("SegFormer mit_b2", "bf16", 16),
        ("U-Net++ resnet50", "bf16", 8),
        ("U-Net++ resnet50", "bf16", 4),
        ("SegFormer mit_b2", "bf16", 8),
    ):
        yield "heavy", partial(heavy, setup, Asked("zstd", precision, threads, network=network))


def rest(setup: Setup, precisions: tuple[str, ...]) -> Iterator[Case]:
    """By how kernels are started, by processes, block and chip, and how many at once."""
    for processes, threads, strides in ((4, 4, 2), (2, 8, 2), (2, 8, 4)):
        asked = Asked("zstd", "bf16", threads, processes=processes, strides=strides)
        yield "runs", partial(runs, setup, asked)
    for codec, threads in product(setup.scenes, (8, 2)):
        yield "runs", partial(runs, setup, Asked(codec, "bf16", threads))
    for variant, precision in product(VARIANTS, precisions[:2]):
        if variant not in {setup.best(precision), "compiled"}:
            yield "kernels", partial(kernels, setup, precision, variant, 1024, 1)
    for chip, count in product(CHIPS, AT_ONCE):
        for precision in precisions:
            if (chip, count) != (1024, 1) and chip * chip * count <= 2**24:
                best = setup.best(precision)
                yield "kernels", partial(kernels, setup, precision, best, chip, count)
    yield "kernels", partial(kernels, setup, "fp32", "compiled", 1024, 1)


def paper_cases(setup: Setup) -> Iterator[Case]:
    """What a machine without a GPU can tell: reading, and a run without its network."""
    for codec in setup.scenes:
        yield "reading", partial(read_alone, setup, codec, 1)
        yield "runs", partial(runs, setup, Asked(codec, "none", 1))
    yield "cogs", partial(cogs, setup)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    parser.add_argument("--budget", type=float, default=600.0, help="seconds, about")
    parser.add_argument("--repeat", type=int, default=4, help="copies of the sample along a side")
    parser.add_argument("--codecs", default=",".join(CODECS), help="with commas between them")
    parser.add_argument("--scratch", type=Path, help="where scenes are kept for the next time")
    parser.add_argument("--only", default="", help="tables, with commas between them")
    parser.add_argument("--quick", action="store_true", help="tiny: to see that it works")
    parser.add_argument("--paper", action="store_true", help="cores for a GPU that is not here")
    parser.add_argument("--gpu-mpx", type=float, default=500.0, help="of that GPU, a second")
    return parser.parse_args()


if __name__ == "__main__":
    main()
