"""Minimum mapping units: what is left, what moved, and shapes that are hard."""

import numpy as np
import pytest
from mmu_reference import CROSS, SQUARE, pixel_areas, regions_of
from polygon_reference import grid_of, realistic
from scipy import ndimage

from geoseg.errors import BlockError, InputError
from geoseg.grid import Window, blocks
from geoseg.ops.metric import measure_grid
from geoseg.ops.mmu.rules import MinimumUnit, stages
from geoseg.ops.mmu.settling import Settling
from geoseg.ops.mmu.survey import apply_changes, survey_block
from geoseg.ops.regions import as_codes
from geoseg.steps.mmu import reassign_array

AS_A_CLASS = 9


def sizes_of(codes, connectivity, nodata=0):
    """Pixels of each region."""
    labels, count = regions_of(codes, nodata, CROSS if connectivity == 4 else SQUARE)
    return np.bincount(labels.ravel(), minlength=count + 1)[1:]


def rings(size):
    """Square rings of one pixel, of three classes in turn."""
    rows, cols = np.indices((size, size))
    away = np.minimum.reduce([rows, cols, size - 1 - rows, size - 1 - cols])
    return (away % 3 + 1).astype(np.uint8)


def snake(size):
    """A line of one pixel that winds through the other class, from one corner to another."""
    array = np.full((size, size), 2, np.uint8)
    array[::2] = 1
    array[1::4, -1] = 1
    array[3::4, 0] = 1
    return array


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("unit", [
    MinimumUnit(40, unit="px"),
    MinimumUnit(900, {2: 20_000, 3: 0}, fill_holes={5: 30_000, 1: 6_000}),
    MinimumUnit(4_000, by="probability"),
])  # fmt: skip
def test_no_pixel_depends_on_the_blocks(unit, connectivity):
    unit = MinimumUnit(unit.default, unit.areas, unit.unit, unit.by, unit.fill_holes, connectivity)
    array = realistic((300, 300))
    layers = np.random.default_rng(0).random((6, 300, 300)), (6, 5, 4, 3, 2, 1)
    options = {"nodata": 0, "probabilities": layers}
    whole, balance = reassign_array(array, grid_of(array), unit, block=300, **options)
    assert balance.reassigned > 100
    for block in (37, 64):
        cut, of_cut = reassign_array(array, grid_of(array), unit, block=block, **options)
        np.testing.assert_array_equal(cut, whole)
        np.testing.assert_array_equal(of_cut.before, balance.before)
        np.testing.assert_array_equal(of_cut.moved, balance.moved)
        for count in ("reassigned", "isolated", "filled", "unit"):
            assert getattr(of_cut, count) == getattr(balance, count)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_nothing_small_is_left_and_nothing_is_deleted(connectivity):
    array = realistic((200, 170), seed=3)
    array[100:150, 60:100] = 0
    array[120:123, 70:74] = 4  # nothing touches it
    unit = MinimumUnit(60, {4: 90}, "px", connectivity=connectivity)
    new, balance = reassign_array(array, grid_of(array), unit, nodata=0, block=64)
    np.testing.assert_array_equal(new == 0, array == 0)
    assert (new[120:123, 70:74] == 4).all()
    assert balance.isolated == 1
    new[120:123, 70:74] = 0
    assert sizes_of(new, connectivity).min() >= 60
    assert sizes_of(np.where(new == 4, new, 0), connectivity).min() >= 90
    assert sizes_of(array, connectivity).min() < 60


def test_the_balance_is_what_happened():
    array = realistic((150, 150), seed=5)
    grid, areas = grid_of(array), pixel_areas(grid_of(array))
    unit = MinimumUnit(3_000, fill_holes={1: 40_000, 2: 40_000})
    new, balance = reassign_array(array, grid, unit, nodata=0, block=37)
    for raster, rows in ((array, balance.before), (new, balance.after)):
        assert set(rows["code"]) >= set(np.unique(raster)) - {0}
        for code, pixels, area in rows.tolist():
            assert (raster == code).sum() == pixels
            assert areas[raster == code].sum() == area
    minimum, _ = reassign_array(array, grid, MinimumUnit(3_000), nodata=0)
    assert balance.filled > 0
    in_first = reassign_array(array, grid, MinimumUnit(3_000), nodata=0)[1]
    for source, target, pixels, area in in_first.moved.tolist():
        there = (array == source) & (minimum == target)
        assert (pixels, area) == (there.sum(), areas[there].sum())
        assert source != target


def test_areas_are_measured_on_the_ground():
    array = np.ones((20, 20), np.uint8)
    array[5:8, 5:8] = 2
    grid = grid_of(array)
    area = int(pixel_areas(grid)[5:8, 5:8].sum()) * measure_grid(grid).unit
    assert reassign_array(array, grid, MinimumUnit(area))[1].reassigned == 0
    assert reassign_array(array, grid, MinimumUnit(np.nextafter(area, 1e9)))[1].reassigned == 1
    holes = MinimumUnit(fill_holes={1: area})
    assert reassign_array(array, grid, holes)[1].filled == 1
    holes = MinimumUnit(fill_holes={1: np.nextafter(area, 0)})
    assert reassign_array(array, grid, holes)[1].filled == 0


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("block", [1, 5, 40])
@pytest.mark.parametrize("array", [
    rings(33), snake(31), np.indices((24, 24)).sum(0).astype(np.uint8) % 2 + 1,
    np.random.default_rng(0).integers(1, 200, (20, 30)).astype(np.uint8),
], ids=["rings", "snake", "chequers", "noise"])  # fmt: skip
def test_where_all_is_small_one_region_is_left(array, block, connectivity):
    unit = MinimumUnit(array.size, unit="px", connectivity=connectivity)
    new, balance = reassign_array(array, grid_of(array), unit, block=block)
    assert len(np.unique(new)) == 1
    whole, of_whole = reassign_array(array, grid_of(array), unit, block=100)
    np.testing.assert_array_equal(new, whole)
    assert balance.reassigned == of_whole.reassigned >= 1
    assert balance.isolated == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (7, 9)])
@pytest.mark.parametrize("code", [0, 3])
def test_one_class_or_none_stays(shape, code):
    array = np.full(shape, code, np.uint8)
    unit = MinimumUnit(1e9, fill_holes={3: 1e9, 4: 1e9})
    new, balance = reassign_array(array, grid_of(array), unit, nodata=0, block=4)
    np.testing.assert_array_equal(new, array)
    assert balance.isolated == (code == 3)
    assert len(balance.moved) == 0


def test_a_row_of_pixels():
    array = np.array([[1, 1, 1, 2, 1, 3, 3, 0, 2, 0, 4, 4, 4, 4]], np.uint8)
    new, balance = reassign_array(
        array, grid_of(array, crs=None), MinimumUnit(3, unit="px"), nodata=0, block=3
    )
    assert new.tolist() == [[1, 1, 1, 1, 1, 1, 1, 0, 2, 0, 4, 4, 4, 4]]
    assert (balance.reassigned, balance.isolated) == (2, 1)


def test_the_longest_border_wins_not_the_largest_neighbour():
    array = np.full((9, 9), 1, np.uint8)
    array[3:6, 3:6] = 2
    array[4, 4] = 3
    array[4, 5:] = 1  # one side of the pixel, but class 1 has more pixels
    unit = MinimumUnit(2, unit="px")
    assert reassign_array(array, grid_of(array), unit)[0][4, 4] == 2


def test_the_most_probable_neighbour_wins_if_asked():
    array = np.repeat(np.array([[1, 1, 3, 2, 2]], np.uint8), 3, axis=0)
    share = np.zeros((3, 3, 5), np.float32)
    share[:, :, 2] = np.array([[0.2], [0.25], [0.55]])  # of classes 2, 1 and 3
    unit = MinimumUnit(4, unit="px", by="probability")
    for codes, expected in (((2, 1, 3), 1), ((1, 2, 3), 2), ((4, 2, 3), 2), ((2, 3, 7), 2)):
        new, _ = reassign_array(array, grid_of(array), unit, probabilities=(share, codes))
        assert (new[:, 2] == expected).all()


def test_holes_of_any_class_or_none_are_filled():
    array = np.full((12, 12), 1, np.uint8)
    array[2:5, 2:5] = 0
    array[3, 3] = 7  # an island in it belongs to the hole
    array[5, 5] = 2  # touches the hole at a corner: it is one hole if regions touch at sides
    array[8:10, 0] = 3  # at the rim, no hole

    def fill(limit, connectivity):
        unit = MinimumUnit(unit="px", fill_holes={1: limit}, connectivity=connectivity)
        return reassign_array(array, grid_of(array), unit, nodata=0, block=5)

    assert fill(9, 4)[1].filled == 0
    new, balance = fill(10, 4)
    assert set(np.unique(new)) == {1, 3}
    moved = {tuple(row)[:3] for row in balance.moved.tolist()}
    assert moved == {(-32768, 1, 8), (7, 1, 1), (2, 1, 1)}
    assert {row[0]: row[1] for row in balance.after.tolist()} == {1: 142, 2: 0, 3: 2, 7: 0}
    assert fill(9, 8)[1].filled == 2
    assert fill(8, 8)[1].filled == 1


def test_masked_pixels_have_no_class_and_holes_show_them():
    array = np.ma.masked_array(np.ones((7, 7), np.int32), np.zeros((7, 7), bool))
    array[3, 3] = np.ma.masked
    array[0, 0] = np.ma.masked
    unit = MinimumUnit(unit="px", fill_holes={1: 1})
    new, _ = reassign_array(array, grid_of(array), unit)
    assert new.dtype == np.int32
    assert not new.mask[3, 3]
    assert new[3, 3] == 1
    assert new.mask[0, 0]
    assert array.mask[3, 3]


def test_a_large_map_becomes_what_the_rule_of_single_steps_gives():
    """Regions of one pixel in a large one: all go at once, by a majority of their four sides."""
    rng = np.random.default_rng(0)
    array = np.ones((60, 60), np.uint8)
    array[:, 30:] = 2
    alone = rng.random((60, 60)) < 0.05
    alone &= ndimage.convolve(alone.astype(int), SQUARE, mode="constant") == 1
    new, balance = reassign_array(
        np.where(alone, 3, array), grid_of(array), MinimumUnit(2, unit="px"), block=16
    )
    np.testing.assert_array_equal(new, array)
    assert balance.reassigned == alone.sum()


@pytest.mark.parametrize(("options", "message"), [
    ({"default": -1}, "default: found -1"),
    ({"areas": {3: float("nan")}}, "areas of class 3: found nan"),
    ({"fill_holes": {40_000: 1}}, "code 40000 does not lie within"),
    ({"unit": "ha"}, "unit: found 'ha', expected 'm2' or 'px'"),
    ({"by": "size"}, "by: found 'size'"),
    ({"connectivity": 6}, "connectivity: found 6, expected 4 or 8"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_named(options, message):
    with pytest.raises(InputError, match=message):
        MinimumUnit(**options)


def test_input_that_does_not_fit_is_named():
    array = realistic((8, 8))
    unit = MinimumUnit(10, by="probability")
    grid, layers = grid_of(array), np.zeros((2, 8, 8))
    for options, message in (
        ({}, "no layers of probabilities"),
        ({"probabilities": (layers, (1, 1))}, "more than one"),
        ({"probabilities": (layers, (1, 2, 3))}, r"found \(2, 8, 8\), expected .*\(3, 8, 8\)"),
        ({"probabilities": (layers.astype(str), (1, 2))}, "wanted are numbers"),
        ({"block": 0}, "block: found 0"),
    ):
        with pytest.raises(InputError, match=message):
            reassign_array(array, grid, unit, **options)
    with pytest.raises(InputError, match="does not fit a grid"):
        reassign_array(array[1:], grid, MinimumUnit(10))
    with pytest.raises(InputError, match="wanted are whole numbers"):
        reassign_array(array.astype(float), grid, MinimumUnit(10))
    with pytest.raises(InputError, match="class 300 does not fit into uint8"):
        reassign_array(array, grid, MinimumUnit(fill_holes={300: 1}))


def strips(shape, height, width):
    """Blocks that are not square, row by row."""
    return [
        Window(y, x, min(y + height, shape[0]), min(x + width, shape[1]))
        for y in range(0, shape[0], height)
        for x in range(0, shape[1], width)
    ]


@pytest.mark.parametrize(("height", "width"), [(1, 100), (100, 1), (7, 100), (1, 1), (3, 41)])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_blocks_of_any_shape_give_the_same(height, width, connectivity):
    array = realistic((45, 60), seed=8)
    metric, codes = measure_grid(grid_of(array)), as_codes(array, 0)
    unit = MinimumUnit(30, unit="px", connectivity=connectivity)
    (stage,) = stages(unit, metric)
    windows = strips(array.shape, height, width)
    surveys = (survey_block(codes[w.slices], w, metric, stage) for w in windows)
    new, settling, seen = codes.copy(), Settling(surveys, stage, metric), []
    for window, changes in settling:
        new[window.slices] = apply_changes(codes[window.slices], changes, stage)
        seen.append(window)
    assert sorted(map(str, seen)) == sorted(map(str, windows))
    whole, balance = reassign_array(array, grid_of(array), unit, nodata=0)
    np.testing.assert_array_equal(new, as_codes(whole, 0))
    np.testing.assert_array_equal(settling.balance.moved, balance.moved)


@pytest.mark.parametrize("stage", [0, 1])
def test_what_is_held_does_not_grow_with_the_raster(stage):
    array = realistic((600, 60), seed=4)
    metric, codes = measure_grid(grid_of(array)), as_codes(array, 0)
    unit = MinimumUnit(60, unit="px", fill_holes={3: 60})
    stage = stages(unit, metric)[stage]
    read = []

    def surveys():
        for window in blocks(array.shape, 20):
            read.append(window)
            yield survey_block(codes[window.slices], window, metric, stage)

    settling, behind, held = Settling(surveys(), stage, metric), [], []
    for done, _ in enumerate(settling, 1):
        behind.append(len(read) - done)
        held.append(len(settling._graph.regions) + len(settling._graph.pieces))
    assert len(read) == done == 90
    assert max(behind) <= 3 * 3 + 2  # three rows of blocks
    assert max(held) < 150


def test_blocks_must_come_in_order():
    array = realistic((40, 40))
    metric = measure_grid(grid_of(array))
    (stage,) = stages(MinimumUnit(1000), metric)
    codes = as_codes(array, 0)
    surveys = [survey_block(codes[w.slices], w, metric, stage) for w in blocks(array.shape, 20)]
    for some in (surveys[1:], surveys[::-1], surveys[:3]):
        settling = Settling(some, stage, metric)
        with pytest.raises(BlockError, match="minimum unit: blocks"):
            list(settling)
        with pytest.raises(RuntimeError, match="all blocks"):
            _ = settling.balance
