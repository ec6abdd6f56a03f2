"""The cases of ``gpu.py`` that map blocks: what a run does, without planning and products."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from gpu_cases import CHIP, Busy, Row, Setup, calls, kernels

from geoseg.grid import Window, blocks, full_window
from geoseg.io.opening import open_pixels
from geoseg.io.zarr_store import ZarrRaster
from geoseg.models.base import Batch, ModelCard
from geoseg.ops.tiling import Lattice
from geoseg.run.base import BlockWork, Failed
from geoseg.run.serial import Serial
from geoseg.scene import Scene
from geoseg.steps.segment import SegmentBlocks, Tiling

_STRIDES: Final = 2
"""Chips along a side of a block."""
_MODEL_CALLS: Final = 4
"""Blocks of a process that are in the model at once, on a GPU."""
_ROUNDS: Final = 6
"""Blocks for each thread."""


@dataclass(frozen=True)
class Asked:
    """What is mapped, and by whom."""

    codec: str
    precision: str
    threads: int
    processes: int = 1
    network: str | None = None
    strides: int = _STRIDES
    rounds: int = _ROUNDS


@dataclass(frozen=True)
class Spent:
    """What a process took: when it began and ended, and its CPU seconds between.

    ``user`` are its own, ``system`` the system's. ``steady``: megapixels a second while all
    threads had blocks and the first of each were done; ``busy``: percent of that time in which any
    kernel ran.
    """

    begun: float
    ended: float
    user: float
    system: float
    steady: float | None
    busy: int | None


@dataclass(frozen=True)
class MapJob:
    """A scene and a model. Implements :class:`geoseg.run.base.Job`."""

    key: str
    scene: Scene
    segmenter: Any
    tiling: Tiling
    folder: Path
    model_threads: int

    def open(self) -> BlockWork:
        """Open the files."""
        stores = (ZarrRaster(self.folder, name) for name in ("classes", "confidence"))
        return SegmentBlocks(
            open_pixels(self.scene),
            self.segmenter,
            *stores,
            self.tiling,
            model_threads=self.model_threads,
        )


def runs(setup: Setup, asked: Asked) -> Row:
    """Blocks of a scene: read, mapped, written, on threads of one process or of several.

    Precision ``"none"``: by what only looks at thresholds, to see what all but the network costs.
    """
    lattice = _lattice(setup, asked)
    block = asked.strides * lattice.stride
    grid, out = setup.scenes[asked.codec].grid, _store(setup, asked)
    for name in ("classes", "confidence"):
        ZarrRaster.create(out, grid, block=block, fill=255, name=name)
    rounds = 1 if setup.quick else asked.rounds
    count = rounds * asked.threads * asked.processes * _STRIDES**2 // asked.strides**2
    some = list(islice(cycle(blocks(full_window(grid).shape, block)), max(1, count)))
    if asked.processes == 1:
        parts = [_part(setup, asked, some, None)]
    else:
        parts = _side_by_side(setup, asked, some)
    seconds = max(part.ended for part in parts) - min(part.begun for part in parts)
    area = sum(b.shape[0] * b.shape[1] for b in some) / 1e6
    user, system = (sum(getattr(p, what) for p in parts) for what in ("user", "system"))
    return {
        "codec": asked.codec,
        "precision": asked.precision,
        "processes x threads": f"{asked.processes} x {asked.threads}",
        "block": block,
        "Mpx": round(area, 1),
        "s": round(seconds, 2),
        "Mpx/s": round(area / seconds, 1),
        "CPU s a Mpx": round((user + system) / area, 4),
        "of it the system's": round(system / area, 4),
        "cores used": round((user + system) / seconds, 1),
        "steady, Mpx/s": _sum_of(part.steady for part in parts),
        "GPU busy, %": parts[0].busy,
    }


def heavy(setup: Setup, asked: Asked) -> Row:
    """A network with random weights: its kernels alone, and a run with it."""
    chip, precision = setup.chip(CHIP), asked.precision
    alone = kernels(setup, precision, setup.best(precision), chip, 1, asked.network)
    called = calls(setup, precision, 3, chip, asked.network)
    mapped = runs(setup, asked)
    # A chip computes its margin, too, for each pixel that it owns.
    lattice = _lattice(setup, asked)
    steady = mapped["steady, Mpx/s"] or mapped["Mpx/s"]
    whole = alone["Mpx/s"] * (lattice.stride / lattice.size) ** 2
    return {
        "network": asked.network,
        "precision": precision,
        "threads": asked.threads,
        "kernels, Mpx/s": alone["Mpx/s"],
        "without margins": round(whole, 1),
        "calls, Mpx/s": called["Mpx/s"],
        "block": mapped["block"],
        "run, Mpx/s": mapped["Mpx/s"],
        "steady, Mpx/s": steady,
        "steady / kernels": round(steady / whole, 2),
        "cores used": mapped["cores used"],
        "GPU busy, %": mapped["GPU busy, %"],
    }


def _lattice(setup: Setup, asked: Asked) -> Lattice:
    card = setup.card(asked.network)
    return Lattice(setup.chip(CHIP), card.margin, card.stride)


def _store(setup: Setup, asked: Asked) -> Path:
    lattice = _lattice(setup, asked)
    return setup.folder / f"map-{asked.codec}-{asked.strides * lattice.stride}.zarr"


def _side_by_side(setup: Setup, asked: Asked, some: list[Window]) -> list[Spent]:
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(asked.processes), context.Queue()
    members = [
        context.Process(
            target=_answer, args=(answers, setup, asked, some[k :: asked.processes], gate)
        )
        for k in range(asked.processes)
    ]
    for member in members:
        member.start()
    try:
        parts = [answers.get(timeout=90) for _ in members]
    finally:
        for member in members:
            member.terminate()
            member.join()
    wrong = [part for part in parts if isinstance(part, str)]
    if wrong:
        raise RuntimeError(wrong[0])
    return parts


def _answer(answers: Any, *given: Any) -> None:
    try:
        answers.put(_part(*given))
    except Exception as error:  # noqa: BLE001 - said where it is waited for
        answers.put(f"{type(error).__name__}: {error}")


def _part(setup: Setup, asked: Asked, some: list[Window], gate: Any) -> Spent:
    """What mapping takes, without what opening does."""
    lattice, card = _lattice(setup, asked), setup.card(asked.network)
    size = lattice.size
    if asked.precision == "none":
        segmenter, batch = Threshold(card), 1
    else:
        segmenter = setup.open(asked.precision, network=asked.network)
        batch = segmenter.chips_at_once((size, size))
        for _ in range(2):
            segmenter.classify(setup.batch(size, batch))
    models = min(asked.threads, _MODEL_CALLS if setup.cuda else asked.threads)
    tiling = Tiling(lattice, batch=batch)
    scene = setup.scenes[asked.codec]
    job = MapJob(asked.codec, scene, segmenter, tiling, _store(setup, asked), models)
    list(Serial(1).run(job, some[:1]))  # what is compiled on the way is not measured
    if gate is not None:
        gate.wait(60)
    clock, wrong = Clock(len(some), asked.threads), ""
    begun, before = time.perf_counter(), os.times()
    with clock.busy:
        for outcome in Serial(asked.threads, retries=0).run(job, some):
            wrong = wrong or (outcome.error if isinstance(outcome, Failed) else "")
            clock.done(outcome.block)
    ended, after = time.perf_counter(), os.times()
    if wrong:
        raise RuntimeError(wrong)
    user, system = after.user - before.user, after.system - before.system
    return Spent(begun, ended, user, system, *clock.between())


class Clock:
    """What is done while all threads have blocks: not their first ones, and not the last."""

    def __init__(self, count: int, threads: int) -> None:
        self._from, self._to = threads, count - threads
        self._times, self._areas = list[float](), list[float]()
        self.busy = Busy()

    def done(self, block: Window) -> None:
        """One more."""
        self._times.append(time.perf_counter())
        self._areas.append(block.shape[0] * block.shape[1] / 1e6)

    def between(self) -> tuple[float | None, int | None]:
        """Megapixels a second, and the percent of the time in which the GPU was busy."""
        if self._to - self._from < self._from:  # too few to tell
            return None, self.busy.percent()
        begun, ended = self._times[self._from - 1], self._times[self._to - 1]
        area = sum(self._areas[self._from : self._to])
        return round(area / (ended - begun), 1), self.busy.percent(begun, ended)


def _sum_of(parts: Iterable[float | None]) -> float | None:
    known = list(parts)
    return None if None in known else round(sum(x for x in known if x is not None), 1)


class Threshold:
    """A segmenter that costs next to nothing, for what a run costs without a network."""

    parallel = True

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def classify(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Two classes by the first band."""
        index = (batch.values[:, 0] > 1500).astype(np.uint8)
        return index, index * np.uint8(40) + np.uint8(50)
