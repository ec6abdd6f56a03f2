"""What a block outlines by itself, and what it leaves to be joined."""

import numpy as np
import pytest
from affine import Affine
from polygon_reference import grid_of

from geoseg.errors import BlockError
from geoseg.grid import Window, blocks
from geoseg.ops.metric import measure_grid
from geoseg.ops.parting import part_block
from geoseg.ops.polygonize import join
from geoseg.steps.vectorize import Tracer


def traced(array, block):
    tracer = Tracer(lambda window: array[window.slices], measure_grid(grid_of(array)), 0)
    return [tracer(window) for window in blocks(array.shape, block)]


def test_a_raster_of_one_block_leaves_nothing_to_be_joined():
    array = np.random.default_rng(5).integers(0, 4, (30, 40)).astype(np.uint8)
    (block,) = traced(array, 40)
    parted = part_block(block)
    assert parted.window == Window(0, 0, 30, 40)
    assert len(parted.rest.regions) == len(parted.rest.arcs) == len(parted.rest.vertices) == 0
    assert (parted.complete == block.regions).all()
    assert len(parted.outlines.firsts) == len(block.regions) + 1


def test_only_what_lies_beside_another_block_is_left():
    array = np.ones((8, 8), np.uint8)
    array[1, 1] = 2  # within the block
    array[0, 3] = array[2, 3] = 3  # beside the seam
    array[3, 0] = 4  # beside the seam below
    array[0, 0] = 5  # at the edge of the raster, where nothing goes on
    block = traced(array, 4)[0]
    parted = part_block(block)
    assert sorted(parted.complete["code"].tolist()) == [2, 5]
    assert parted.rest.regions["code"].tolist() == [1, 3, 3, 4]
    assert set(parted.rest.rim.tolist()) == {0, 1, 2, 3, 4}
    sides = np.concatenate([parted.rest.arcs["left"], parted.rest.arcs["right"]])
    assert set(sides.tolist()) == {0, 1, 2, 3, 4}


def test_rings_come_by_region_with_the_exterior_first():
    array = np.full((9, 9), 7, np.uint8)
    array[1:8:3, 1:8:2] = 9  # holes
    array[0, 0] = 0
    (block,) = traced(array, 9)
    outlines = part_block(block).outlines
    starts = outlines.rings["start"]
    for begin, stop in zip(outlines.firsts[:-1], outlines.firsts[1:], strict=True):
        assert (np.diff(starts[begin:stop]) > 0).all()
    assert np.diff(outlines.firsts).tolist()[0] == 13


def test_a_pinched_corner_keeps_what_left_it():
    array = np.array([[1, 1, 1, 1], [1, 2, 1, 1], [1, 1, 3, 1], [1, 1, 1, 1]], np.uint8)
    array = np.kron(array, np.ones((2, 2), np.uint8))
    parted = part_block(traced(np.hstack([array, array]), 8)[0])
    # Four regions meet where 2 and 3 touch; both are complete, and no arc between them is left.
    assert parted.complete["code"].tolist() == [2, 3]
    assert parted.rest.regions["code"].tolist() == [1]
    assert not parted.gone.any()


def test_arcs_between_complete_regions_are_noted_where_they_left():
    array = np.ones((6, 12), np.uint8)
    array[2:4, 1:3], array[2:4, 3:5] = 2, 3  # neighbours within the first block
    parted = part_block(traced(array, 6)[0])
    assert parted.complete["code"].tolist() == [2, 3]
    assert sorted(parted.gone[parted.gone > 0].tolist()) == [1 << 1, 1 << 3]  # down and up


def test_parted_blocks_are_refused_where_all_arcs_are_needed():
    array = np.ones((4, 4), np.uint8)
    parted = [part_block(block) for block in traced(array, 2)]
    metric = measure_grid(grid_of(array))
    assert sum(len(b.features) for b in join(parted, Affine.identity(), metric)) == 1
    with pytest.raises(BlockError, match="must not be parted"):
        list(join(parted, Affine.identity(), metric, connectivity=8))
