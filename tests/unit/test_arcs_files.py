"""Blocks traced on their own, kept in files, joined afterwards."""

import numpy as np
import pytest
from polygon_reference import grid_of, realistic

from geoseg.errors import BlockError
from geoseg.grid import blocks
from geoseg.io.arcs import arcs_path, load_arcs
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import TraceBlock, assemble, vectorize_array


class Raster:
    """A store of one array."""

    def __init__(self, array):
        self.array = array

    def write(self, window, values):
        self.array[window.slices] = values

    def read(self, window):
        return self.array[window.slices]


@pytest.fixture
def traced(tmp_path):
    """A map, its grid, its confidence, its blocks, and the folder with its arcs."""
    array = realistic((90, 70))
    grid, windows = grid_of(array), list(blocks(array.shape, 32))
    confidence = np.random.default_rng(0).integers(0, 101, array.shape).astype(np.uint8)
    work = TraceBlock(Raster(array), grid, tmp_path / "arcs", Raster(confidence), nodata=0)
    for window in reversed(windows):
        report = work(window)
        assert set(report) == {"regions", "arcs", "vertices", "bytes", "crc"}
    work.close()
    return array, grid, confidence, windows, tmp_path / "arcs"


@pytest.mark.parametrize("connectivity", [4, 8])
def test_joining_files_is_vectorizing_the_whole(traced, connectivity):
    array, grid, confidence, windows, folder = traced
    wanted = Wanted(connectivity=connectivity, min_area=1000)
    table = assemble(folder, grid, windows, wanted=wanted).read_all()
    whole = vectorize_array(array, grid, nodata=0, confidence=confidence, wanted=wanted)
    assert table.equals(whole.read_all(), check_metadata=True)


def test_tracing_again_gives_the_same_bytes(traced):
    array, grid, confidence, windows, folder = traced
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == len(windows)
    work = TraceBlock(Raster(array), grid, folder, Raster(confidence), nodata=0)
    for window in windows:
        work(window)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_block_that_was_not_traced_is_named(traced):
    _, grid, _, windows, folder = traced
    arcs_path(folder, windows[4]).unlink()
    with pytest.raises(BlockError, match=r"y0000032_x0000032\.npz.*has not been traced"):
        assemble(folder, grid, windows).read_all()


@pytest.mark.parametrize("keep", [0, 1, 100, -30])
def test_a_damaged_file_is_named(traced, keep):
    _, grid, _, windows, folder = traced
    path = arcs_path(folder, windows[1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BlockError, match=r"y0000000_x0000032\.npz.*damaged"):
        assemble(folder, grid, windows).read_all()


def test_arcs_of_another_raster_are_refused(traced):
    _, _, _, windows, folder = traced
    with pytest.raises(BlockError, match="another raster"):
        load_arcs(folder, windows[0], (90, 71))
