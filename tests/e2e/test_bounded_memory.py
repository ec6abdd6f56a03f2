"""A worker's memory is set by its blocks: a scene nine times as large takes no more of it."""

import subprocess
import sys

import pytest

WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from geoseg.grid import Window, blocks
from geoseg.io.base import Patch
from geoseg.io.zarr_store import ZarrRaster
from geoseg.legend import LandClass, Legend
from geoseg.ops.tiling import Lattice
from geoseg.run.base import Done
from geoseg.run.serial import Serial
from geoseg.steps.segment import SegmentBlocks, Tiling, plane_names
from geoseg.testing import ConstantModel, fake_card, utm_grid

side, folder, block = int(sys.argv[1]), Path(sys.argv[2]), 512
bands = tuple(f"b{k}" for k in range(6))
legend = Legend("ten", tuple(LandClass(k, f"Class {k}", "#102030") for k in range(1, 11)))
grid = utm_grid((side, side))
card = replace(fake_card("ten", bands=bands), legend=legend)
names = ("classes", "confidence", *plane_names(["probabilities"], legend.values))


class Pixels:
    grid = grid

    def read(self, bands, window):
        one = np.ones(6, np.float32)
        valid = np.ones(window.shape, np.bool_)
        return Patch(np.zeros((6, *window.shape), np.uint16), one, one, valid)

    def close(self):
        pass


class Job:
    key = "bounded"

    def open(self):
        stores = [ZarrRaster(folder / "work.zarr", name) for name in names]
        model = ConstantModel([0.1] * 10, card=card)
        tiling = Tiling(Lattice(block, 0, 1), layers=("probabilities",))
        layers = dict(zip(names[2:], stores[2:], strict=True))
        return SegmentBlocks(Pixels(), model, *stores[:2], tiling, layers=layers)


for name in names:
    ZarrRaster.create(folder / "work.zarr", grid, block=block, fill=255, name=name)
for outcome in Serial(3).run(Job(), list(blocks((side, side), block))):
    assert isinstance(outcome, Done), outcome
assert (ZarrRaster(folder / "work.zarr", names[-1]).read(Window(0, 0, 9, 9)) == 10).all()
(peak,) = (s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s)
print(peak.split()[1])
"""


def peak(side, folder):
    """Kilobytes that a process holds at most for a scene of ``side`` pixels."""
    command = [sys.executable, "-c", WORKER, str(side), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak of memory")
def test_ten_classes_with_probabilities_are_streamed(tmp_path):
    small, large = (peak(side, tmp_path / str(side)) for side in (1536, 4608))
    # The larger scene's stored planes alone are 250 MB.
    assert large < small + 32 * 1024, (small, large)
