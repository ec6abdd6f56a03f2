"""Minimum mapping units by way of files, as on a cluster."""

import numpy as np
import pytest
from polygon_reference import grid_of, realistic

from geoseg.errors import BlockError, InputError
from geoseg.grid import Window, blocks
from geoseg.io.mmu_files import CodeBlocks, load_changes, load_surveys
from geoseg.ops.mmu.rules import LOWEST, MinimumUnit
from geoseg.ops.regions import as_codes
from geoseg.steps.mmu import (
    Probabilities,
    RewriteBlock,
    SurveyBlock,
    reassign_array,
    settle_blocks,
    stage_count,
)
from geoseg.steps.vectorize import TraceBlock, assemble, vectorize_array

BLOCK = 32
UNIT = MinimumUnit(2_000, by="probability", fill_holes={2: 30_000, 5: 30_000}, connectivity=8)


class Raster:
    """One array, or layers of it."""

    def __init__(self, array):
        self.array = array

    def read(self, window):
        return self.array[(..., *window.slices)]


def reassign_files(folder, array, layers):
    """Do all stages with files; the last raster, its balance."""
    grid, windows = grid_of(array), list(blocks(array.shape, BLOCK))
    reader, nodata, balance = Raster(array), 0, None
    chances = Probabilities(Raster(layers[0]), layers[1])
    for stage in range(stage_count(UNIT)):
        out = CodeBlocks(folder / f"codes{stage}", array.shape, BLOCK)
        where = folder / f"stage{stage}"
        survey = SurveyBlock(reader, grid, where, UNIT, stage, chances, nodata)
        for window in reversed(windows):
            assert set(survey(window)) == {"undecided", "changes", "bytes", "crc"}
        survey.close()
        one = settle_blocks(where, grid, windows, UNIT, stage=stage, layers=layers[1])
        rewrite = RewriteBlock(reader, grid, where, UNIT, stage, chances, nodata, out=out)
        for window in windows:
            rewrite(window)
        balance = one if balance is None else balance.then(one)
        reader, nodata = out, LOWEST
    return reader, balance


@pytest.fixture
def case():
    array = realistic((90, 70))
    return array, (np.random.default_rng(1).random((6, 90, 70)), (1, 2, 3, 4, 5, 6))


def test_files_give_what_memory_gives(case, tmp_path):
    array, layers = case
    out, balance = reassign_files(tmp_path, array, layers)
    new, expected = reassign_array(array, grid_of(array), UNIT, nodata=0, probabilities=layers)
    codes = as_codes(new, 0)
    np.testing.assert_array_equal(out.read(Window(0, 0, 90, 70)), codes)
    np.testing.assert_array_equal(balance.moved, expected.moved)
    np.testing.assert_array_equal(balance.after, expected.after)
    assert (balance.reassigned, balance.filled) == (expected.reassigned, expected.filled)
    assert balance.filled > 0
    grid, windows = grid_of(array), list(blocks(array.shape, 41))
    trace = TraceBlock(out, grid, tmp_path / "arcs", nodata=LOWEST)
    for window in windows:
        trace(window)
    table = assemble(tmp_path / "arcs", grid, windows).read_all()
    assert table.equals(vectorize_array(new, grid, nodata=0).read_all())


def test_doing_it_again_gives_the_same_bytes(case, tmp_path):
    array, layers = case
    files = []
    for _ in range(2):
        reassign_files(tmp_path, array, layers)
        files.append({path: path.read_bytes() for path in sorted(tmp_path.rglob("*.npz"))})
    assert files[0] == files[1]
    assert len(files[0]) == 3 * 9 * 3


@pytest.mark.parametrize("window", [
    Window(0, 0, 90, 70), Window(31, 31, 65, 65), Window(31, 5, 32, 60), Window(3, 64, 80, 65),
    Window(89, 69, 90, 70), Window(10, 31, 20, 33), Window(40, 40, 40, 50),
])  # fmt: skip
def test_any_window_of_code_blocks_can_be_read(window, tmp_path):
    codes = as_codes(realistic((90, 70)), 0)
    store = CodeBlocks(tmp_path, (90, 70), BLOCK)
    for block in blocks((90, 70), BLOCK):
        store.write(block, codes[block.slices])
    np.testing.assert_array_equal(store.read(window), codes[window.slices])


@pytest.mark.parametrize("what", ["survey", "changes", "codes"])
@pytest.mark.parametrize("keep", [None, 0, 100, -30])
def test_files_that_are_missing_or_damaged_are_named(case, tmp_path, what, keep):
    array, layers = case
    out, _ = reassign_files(tmp_path, array, layers)
    folder, window = (out.folder if what == "codes" else tmp_path / "stage0"), Window(32, 0, 64, 32)
    path = folder / f"{what}_y0000032_x0000000.npz"
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    read = {
        "survey": lambda: list(load_surveys(folder, [window], array.shape)),
        "changes": lambda: load_changes(folder, window, array.shape),
        "codes": lambda: out.read(window),
    }
    with pytest.raises(BlockError, match=f"{what}_y0000032_x0000000.npz: .*the block|done yet"):
        read[what]()


def test_files_of_another_raster_are_refused(case, tmp_path):
    array, layers = case
    reassign_files(tmp_path, array, layers)
    with pytest.raises(BlockError, match="another raster"):
        load_changes(tmp_path / "stage0", Window(0, 0, 32, 32), (90, 71))


def test_rewriting_wants_a_place(case, tmp_path):
    array, _ = case
    rewrite = RewriteBlock(Raster(array), grid_of(array), tmp_path, MinimumUnit(10))
    with pytest.raises(InputError, match="nowhere to write"):
        rewrite(Window(0, 0, 32, 32))
