"""Small regions go where the rule says on the whole raster, whatever the blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mmu_reference import GRIDS, grid_called, reference

from geoseg.ops.metric import measure_grid
from geoseg.ops.mmu.rules import MinimumUnit
from geoseg.steps.mmu import reassign_array

NODATA = 0


@st.composite
def rasters(draw):
    """Noise or blobs of two to five classes, often with holes without a class."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    seed, grain = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 1, 2, 3]))
    lowest, highest = draw(st.sampled_from([(0, 2), (0, 3), (1, 2), (1, 5), (0, 5)]))
    rng = np.random.default_rng(seed)
    cells = rng.integers(lowest, highest, (height // grain + 1, width // grain + 1), endpoint=True)
    array = np.kron(cells, np.ones((grain, grain), np.int64))[:height, :width].astype(np.uint8)
    speckle = rng.random(array.shape) < draw(st.sampled_from([0, 0.1]))
    array[speckle] = highest
    return array


@st.composite
def units(draw, array, grid):
    """Minima from none to more than there is; by pixels or on the ground."""
    unit = draw(st.sampled_from(["px", "m2"]))
    metric = measure_grid(grid)
    scale = 1 if unit == "px" else float(metric.density.mean())
    sizes = st.sampled_from([0, 1, 2, 3.5, 6, 20, 1000]).map(lambda n: n * scale)
    codes = st.integers(1, 5)
    return MinimumUnit(
        draw(sizes),
        draw(st.dictionaries(codes, sizes, max_size=2)),
        unit,
        draw(st.sampled_from(["border", "border", "probability"])),
        draw(st.dictionaries(codes, sizes, max_size=2)),
        draw(st.sampled_from([4, 8])),
    )


@settings(max_examples=100, deadline=None)
@given(st.data(), rasters(), st.sampled_from(sorted(GRIDS)), st.integers(1, 13))
def test_regions_go_where_the_rule_says(data, array, name, block):
    grid = grid_called(name, array.shape)
    unit = data.draw(units(array, grid))
    rng = np.random.default_rng(1)
    layers = rng.integers(0, 4, (3, *array.shape)), (1, 2, 4)
    wanted = reference(array, grid, unit, NODATA, layers)
    found, balance = reassign_array(
        array, grid, unit, nodata=NODATA, probabilities=layers, block=block
    )
    np.testing.assert_array_equal(found, wanted[0])
    assert (balance.reassigned, balance.isolated, balance.filled) == wanted[1:]
    after = {code: pixels for code, pixels, _ in balance.after.tolist() if pixels}
    assert after == {
        c: n for c, n in zip(*np.unique(found, return_counts=True), strict=True) if c != NODATA
    }
