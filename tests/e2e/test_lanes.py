"""The lanes of a worker: they overlap, share its cores, and one that fails is one failed block."""

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from geoseg.grid import Window, blocks
from geoseg.io.zarr_store import ZarrRaster
from geoseg.models.base import ModelCard
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.ops.tiling import Lattice
from geoseg.run.base import Done, Failed
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.on_dask import OnDask
from geoseg.run.serial import Serial
from geoseg.steps.segment import SegmentBlocks, Tiling
from geoseg.testing import LAND_WATER, ArrayPixels, ArrayStore, ConstantModel, utm_grid

SHAPE, SIDE = (192, 128), 64
BLOCKS = list(blocks(SHAPE, SIDE))
BAD = Window(64, 0, 128, 64)
LANES = ("read", "predict", "write")
TILING = Tiling(Lattice(SIDE, 0, 1))


@dataclass(frozen=True)
class Faulty:
    """A job of the real step, of which one lane fails at one block, as told.

    ``how``: raises always, or kills the worker once.
    """

    key: str
    folder: Path
    lane: str
    how: str

    def open(self):
        values = np.zeros((1, *SHAPE), np.uint16)
        values[0][BAD.slices] = 1  # which the model sees
        stores = [ZarrRaster(self.folder / "work.zarr", n) for n in ("classes", "confidence")]
        return SegmentBlocks(
            FaultyPixels(values, self), FaultyModel(self), FaultyStore(stores[0], self),
            stores[1], TILING,
        )  # fmt: skip

    def meet(self, lane):
        """What happens where a lane gets to the block."""
        if lane != self.lane:
            return
        with (self.folder / "met").open("a") as file:
            file.write("x")
        if self.how == "raises":
            raise ValueError(f"{lane} is broken")
        if (self.folder / "met").stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def stored(self):
        return ZarrRaster(self.folder / "work.zarr", "classes").read(Window(0, 0, *SHAPE))


class FaultyPixels(ArrayPixels):
    def __init__(self, values, job):
        super().__init__(values)
        self.job = job

    def read(self, bands, window):
        if window == BAD:
            self.job.meet("read")
        return super().read(bands, window)


class FaultyModel(ConstantModel):
    def __init__(self, job):
        super().__init__()
        self.job = job

    def classify(self, batch):
        if batch.values.any():
            self.job.meet("predict")
        return super().classify(batch)


class FaultyStore:
    def __init__(self, store, job):
        self.store, self.job = store, job

    def write(self, window, values):
        if window == BAD:
            self.job.meet("write")
        self.store.write(window, values)


@pytest.fixture(scope="module")
def cluster():
    with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
        yield connected


@pytest.fixture(params=["serial", pytest.param("dask", marks=pytest.mark.cluster)])
def executor(request):
    if request.param == "dask":
        return OnDask(request.getfixturevalue("cluster").client, retries=1)
    return Serial(3, retries=1)


@pytest.fixture
def job(tmp_path):
    for name in ("classes", "confidence"):
        ZarrRaster.create(tmp_path / "work.zarr", utm_grid(SHAPE), block=SIDE, fill=255, name=name)
    return Faulty(f"lanes-{tmp_path.name}", tmp_path, "none", "raises")


def outcomes(executor, job):
    found = list(executor.run(job, BLOCKS))
    assert Counter(o.block for o in found) == Counter(BLOCKS), "one outcome for each block"
    return [o for o in found if isinstance(o, Failed)]


@pytest.mark.parametrize("lane", LANES)
def test_a_lane_that_raises_is_one_failed_block(executor, job, lane):
    job = replace(job, lane=lane)
    (failed,) = outcomes(executor, job)
    assert failed.block == BAD
    assert failed.error == f"ValueError: {lane} is broken"
    wanted = np.full(SHAPE, 2, np.uint8)
    wanted[BAD.slices] = 255
    np.testing.assert_array_equal(job.stored(), wanted)


@pytest.mark.cluster
@pytest.mark.parametrize("lane", LANES)
def test_a_worker_that_dies_in_a_lane_costs_no_block(cluster, job, lane):
    job = replace(job, lane=lane, how="dies once")
    assert not outcomes(OnDask(cluster.client), job)
    assert (job.folder / "met").stat().st_size >= 2, "it was tried again"
    assert (job.stored() == 2).all()


class Waiting:
    """Two lanes that each wait until the other is at work: at different blocks, or never."""

    def __init__(self):
        self.inside = {lane: threading.Event() for lane in LANES}

    def work(self, lane, other):
        self.inside[lane].set()
        assert self.inside[other].wait(60), f"nothing is in {other} while a block is in {lane}"


@pytest.mark.parametrize(("lane", "other"), [("read", "predict"), ("predict", "write")])
def test_lanes_overlap(lane, other):
    """Were they one after the other, nobody would ever be in the other lane."""
    waiting = Waiting()
    calls = dict.fromkeys(LANES, 0)

    def meet(name):
        calls[name] += 1
        # The first block to come to the later lane waits for another in the earlier one.
        if name == other and calls[name] == 1:
            waiting.work(other, lane)
        elif name == lane and calls[name] == 2:
            waiting.work(lane, other)

    class Pixels(ArrayPixels):
        def read(self, bands, window):
            meet("read")
            return super().read(bands, window)

    class Model(ConstantModel):
        def classify(self, batch):
            meet("predict")
            return super().classify(batch)

    class Store(ArrayStore):
        def write(self, window, values):
            meet("write")
            super().write(window, values)

    class Job:
        key = "overlap"

        def open(self):
            pixels = Pixels(np.zeros((1, *SHAPE), np.uint16))
            return SegmentBlocks(pixels, Model(), Store(SHAPE), ArrayStore(SHAPE), TILING)

    found = list(Serial(2, retries=0).run(Job(), BLOCKS))
    assert all(isinstance(o, Done) for o in found), found
    assert waiting.inside[lane].is_set(), "one block was in each lane at the same time"


CARD = ModelCard(
    name="threads",
    version="1.0.0",
    bands=("b1", "b2", "b3"),
    units="reflectance",
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    legend=LAND_WATER,
    stride=8,
    architecture={"name": "geoseg-unet"},
)


@dataclass(frozen=True)
class Busy:
    """One block, predicted by torch as runs do it; tells who was at work."""

    key: str

    def open(self):
        return self

    def __call__(self, block):
        values = np.zeros((3, 256, 256), np.uint16)
        segmenter = TorchSegmenter.untrained(CARD, threads=1)
        stores = ArrayStore((256, 256)), ArrayStore((256, 256))
        tiling = Tiling(Lattice(256, 0, 8))
        work = SegmentBlocks(ArrayPixels(values, bands=CARD.bands), segmenter, *stores, tiling)
        try:
            work(Window(0, 0, 256, 256))  # which also warms up
            for store in stores:
                store.written[:] = False
            before = time.process_time()
            said = work(Window(0, 0, 256, 256))
            everybody = time.process_time() - before
        finally:
            work.close()
        import torch

        pools = {name: os.environ[name] for name in ("GDAL_NUM_THREADS", "OMP_NUM_THREADS")}
        alone = said["seconds"]["infer_cpu"]
        return {"all": everybody, "model": alone, "pools": pools, "torch": torch.get_num_threads()}

    def close(self):
        pass


@pytest.mark.cluster
def test_a_worker_for_each_core_is_busy_on_one(monkeypatch):
    """torch, GDAL and BLAS keep to their share; the lanes beside the model have nothing to spin on."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
        (found,) = OnDask(connected.client).run(Busy("busy"), [Window(0, 0, 1, 1)])
    assert isinstance(found, Done), found
    said = found.report
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    assert int(said["pools"]["GDAL_NUM_THREADS"]) <= cores
    assert int(said["pools"]["OMP_NUM_THREADS"]) <= cores
    # CPU seconds of the process and of the one thread that holds the model.
    assert said["all"] < 1.5 * said["model"] + 0.1
