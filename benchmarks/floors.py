"""What a scene cannot cost less than: its model's forward passes, its reading and its writing, alone.

Each floor is measured in as many fresh processes as a run has workers, all at the same time, each
with its share of the blocks and one thread: on the cores that the run has. COGs are written from
memory, each by a process of its own, as geoseg does it: `cogs.py` has GDAL's driver beside it, which
takes longer.
"""

from __future__ import annotations

import multiprocessing
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import rasterio
from cogs import by_geoseg

from geoseg.api.planning import RunPlan, plan_workflow
from geoseg.grid import Window
from geoseg.io.opening import open_pixels
from geoseg.io.zarr_store import ZarrRaster
from geoseg.models.base import Batch
from geoseg.models.committee import Committee
from geoseg.models.engines import Runtime
from geoseg.ops.order import neighbours_together
from geoseg.plan import ScenePlan
from geoseg.steps.segment import Tiling, seen_from
from geoseg.workflow.loading import load

FLOORS = ("forward", "read", "write")


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds on the wall, of the slowest process; and of all processors together."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does."""

    plan: ScenePlan
    committee: Committee
    runtime: Runtime
    blocks: tuple[Window, ...]

    @property
    def tiling(self) -> Tiling:
        """As the run cuts."""
        plan = self.plan
        return Tiling(plan.lattice, plan.seams, plan.weights, plan.batch, plan.layers)

    def forward(self) -> Callable[[], None]:
        """Predict as many chips as the blocks need, of the shape that they have."""
        plan = self.plan
        shape = plan.lattice.chip_shape(plan.shape)
        segmenter = self.committee.open(
            device="cpu",
            precision=self.runtime.precision,
            threads=1,
            engine=self.runtime.engine,
            callers=1,
        )
        # The upper left corner of the scene, again and again: what it shows does not matter.
        window = Window(0, 0, *(min(a, b) for a, b in zip(shape, plan.shape, strict=True)))
        with closing(open_pixels(plan.scene)) as pixels:
            patch = pixels.read(plan.card.bands, window)
        values = np.zeros((1, len(patch.values), *shape), patch.values.dtype)
        valid = np.zeros((1, *shape), np.bool_)
        values[0][:, *window.slices], valid[0][window.slices] = patch.values, patch.valid
        batch = Batch(values, patch.scale, patch.offset, valid)
        chips = sum(len(plan.lattice.chips(plan.shape, block)) for block in self.blocks)
        segmenter.classify(batch)

        def work() -> None:
            for _ in range(chips):
                segmenter.classify(batch)

        return work

    def read(self) -> Callable[[], None]:
        """Read what the chips of each block see."""
        plan, tiling = self.plan, self.tiling
        scene = Window(0, 0, *plan.shape)
        pixels = open_pixels(plan.scene)
        bands = plan.card.bands

        def work() -> None:
            for block in self.blocks:
                pixels.read(bands, seen_from(block, scene, tiling))

        return work

    def write(self) -> Callable[[], None]:
        """Store classes and confidence of each block: those of a finished map."""
        plan = self.plan
        folder = Path(tempfile.mkdtemp(prefix="floor-"))
        names = "classes", "confidence"
        stores = [
            ZarrRaster.create(
                folder / "work.zarr", plan.scene.grid, block=plan.block, fill=255, name=name
            )
            for name in names
        ]
        rows = np.arange(plan.block, dtype=np.int64)[:, None] // 37
        some = ((rows * rows.T + rows) % 7).astype(np.uint8)

        def work() -> None:
            for block in self.blocks:
                for store in stores:
                    store.write(block, some[: block.shape[0], : block.shape[1]])
            shutil.rmtree(folder)

        return work


@dataclass(frozen=True, slots=True)
class Product:
    """A finished product, to be written once more."""

    path: Path

    def cog(self) -> Callable[[], None]:
        """Write it as a COG, from memory."""
        with rasterio.open(self.path) as source:
            values, nodata = source.read(1), int(source.nodata)
        classes = self.path.stem == "classes"

        def work() -> None:
            with tempfile.TemporaryDirectory(prefix="floor-") as folder:
                by_geoseg(values, nodata, Path(folder, "cog.tif"), classes=classes)

        return work


def measure_cogs(folder: Path) -> Floor:
    """The floor of writing classes and confidence that lie in ``folder`` once more, side by side."""
    products = [Product(folder / f"{name}.tif") for name in ("classes", "confidence")]
    return _together(products, "cog")


def measure(workflow: Path, workers: int, runtime: Runtime) -> dict[str, Floor]:
    """All floors of the first scene of ``workflow``."""
    run = plan_workflow(load(workflow))
    shares = _shares(run, runtime, run.tasks[0].plan.blocks, workers)
    return {floor: _together(shares, floor) for floor in FLOORS}


def forward(run: RunPlan, runtime: Runtime, blocks: Sequence[Window], processes: int) -> Floor:
    """The forward passes of some blocks, shared out among so many processes."""
    return _together(_shares(run, runtime, blocks, processes), "forward")


def _shares(
    run: RunPlan, runtime: Runtime, blocks: Sequence[Window], processes: int
) -> list[Share]:
    ordered = neighbours_together(blocks, processes)  # as the run hands them out
    parts = [tuple(ordered[k::processes]) for k in range(processes)]
    return [Share(run.tasks[0].plan, run.committee, runtime, part) for part in parts if part]


def _together(shares: Sequence[Share] | Sequence[Product], floor: str) -> Floor:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(len(shares)), context.Queue()
    processes = [
        context.Process(target=_one, args=(share, floor, barrier, answers)) for share in shares
    ]
    for process in processes:
        process.start()
    found: list[tuple[float, float]] = []
    while len(found) < len(processes):
        with suppress(queue.Empty):
            found.append(answers.get(timeout=1))
        if any(process.exitcode for process in processes):  # has said why
            for process in processes:
                process.terminate()
            sys.exit(f"the floor {floor!r} could not be measured")
    for process in processes:
        process.join()
    return Floor(max(wall for wall, _ in found), sum(cpu for _, cpu in found))


def _one(
    share: Share | Product, floor: str, barrier: Barrier, answers: multiprocessing.Queue
) -> None:  # type: ignore[type-arg]  # not generic when run
    work: Callable[[], None] = getattr(share, floor)()
    barrier.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    answers.put((time.perf_counter() - wall, time.process_time() - cpu))
