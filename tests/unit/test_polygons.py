"""Polygons of shapes that are easily got wrong, and what is said of them."""

import numpy as np
import pytest
import shapely
from polygon_reference import (
    NORTH_UP,
    SOUTH_UP,
    as_set,
    gdal_polygons,
    geometries,
    grid_of,
    realistic,
)

from geoseg.errors import BlockError, InputError
from geoseg.grid import blocks
from geoseg.legend import LandClass, Legend
from geoseg.ops.arcs import trace_block
from geoseg.ops.metric import measure_grid
from geoseg.ops.polygonize import join
from geoseg.ops.regions import as_codes
from geoseg.steps import polygons as polygons_module
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_array

LEGEND = Legend(
    "two", (LandClass(1, "water", "#0000ff"), LandClass(2, "forest", "#00ff00")), nodata=0
)


def table_of(array, **options):
    return vectorize_array(array, grid_of(array), **options).read_all()


def ids_of(table):
    codes, ids = table["class_code"].to_pylist(), table["polygon_id"].to_pylist()
    return dict(zip(codes, ids, strict=True))


def spiral(size):
    """One path of 1 that winds to the middle between walls of 2."""
    out = np.full((size, size), 2, np.uint8)
    row, col, down, right = 0, -1, 0, 1
    steps = [size, *(n for k in range(size - 1, 1, -2) for n in (k, k))]
    for length in steps[:-1]:
        for _ in range(length):
            row, col = row + down, col + right
            out[row, col] = 1
        down, right = right, -down
    return out


def rings_in_rings(size):
    rows, cols = np.indices((size, size))
    return (np.maximum(abs(rows - size // 2), abs(cols - size // 2)) % 2 + 1).astype(np.uint8)


def checkerboard(size):
    return (np.indices((size, size)).sum(0) % 2 + 1).astype(np.uint8)


def corners():
    """Holes that touch each other and the outside in corners only."""
    return np.array(
        [
            [1, 1, 1, 1, 1, 0],
            [1, 2, 1, 2, 0, 1],
            [1, 1, 2, 1, 1, 1],
            [1, 2, 1, 2, 1, 0],
            [0, 1, 1, 1, 2, 1],
            [1, 0, 1, 1, 1, 1],
        ],
        np.uint8,
    )


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
@pytest.mark.parametrize(
    "array",
    [spiral(23), rings_in_rings(25), checkerboard(12), corners(), np.ones((9, 5), np.uint8)],
    ids=["spiral", "nested", "checkerboard", "corners", "one-class"],
)
def test_difficult_shapes_are_those_of_gdal(array, block):
    table = table_of(array, nodata=0, block=block)
    ours = geometries(table)
    assert shapely.is_valid(ours).all()
    expected = as_set(*gdal_polygons(array, NORTH_UP, 0))
    assert as_set(ours, table["class_code"].to_pylist()) == expected


@pytest.mark.parametrize(("connectivity", "size"), [(4, 1200), (8, 500)])
def test_a_large_map_is_that_of_gdal(connectivity, size):
    array = realistic((size, size))
    table = table_of(array, nodata=0, block=256, wanted=Wanted(connectivity=connectivity))
    ours, codes = geometries(table), table["class_code"].to_pylist()
    gdal, gdal_codes = gdal_polygons(array, NORTH_UP, 0, connectivity)
    if connectivity == 8:
        assert shapely.is_valid(ours).all()
        # Made valid by structure, GDAL's self-touching rings have the parts that ours have.
        gdal = shapely.make_valid(gdal, method="structure", keep_collapsed=False)
        assert sorted(zip(codes, shapely.area(ours), strict=True)) == sorted(
            zip(gdal_codes, shapely.area(gdal), strict=True)
        )
    else:
        assert as_set(ours, codes) == as_set(gdal, gdal_codes)


def test_a_raster_without_data_has_no_polygons_but_a_schema():
    polygons = vectorize_array(np.zeros((9, 9), np.uint8), grid_of(np.zeros((9, 9))), nodata=0)
    (batch,) = list(polygons)
    assert batch.num_rows == polygons.kept == 0
    assert batch.schema.equals(polygons.schema, check_metadata=True)


def test_a_stream_is_read_once():
    polygons = vectorize_array(np.ones((3, 3), np.uint8), grid_of(np.ones((3, 3))))
    assert polygons.read_all().num_rows == 1
    with pytest.raises(RuntimeError, match="once"):
        polygons.read_all()


def test_order_is_that_of_the_last_pixels():
    array = np.array([[1, 2, 1], [1, 3, 1], [1, 1, 1], [4, 4, 5]], np.uint8)
    assert table_of(array, block=2)["class_code"].to_pylist() == [2, 3, 1, 4, 5]


def test_rings_start_at_their_first_vertex():
    (polygon,) = geometries(table_of(np.array([[0, 1], [1, 1]], np.uint8), nodata=0))
    x, y = 499980, 5300040
    assert list(polygon.exterior.coords) == [
        (x + 10, y),
        (x + 10, y - 10),
        (x, y - 10),
        (x, y - 20),
        (x + 20, y - 20),
        (x + 20, y),
        (x + 10, y),
    ]


def test_names_and_nodata_come_from_the_legend():
    array = np.array([[1, 0, 2], [0, 7, 0]], np.uint8)
    table = table_of(array, legend=LEGEND)
    assert table["class_code"].to_pylist() == [1, 2, 7]
    assert table["class_name"].to_pylist() == ["water", "forest", None]


def test_small_polygons_are_dropped_and_counted():
    array = np.array([[1, 1, 0, 2, 2, 0, 1]], np.uint8)
    wanted = Wanted(codes=(1,), min_area=150)
    polygons = vectorize_array(array, grid_of(array), nodata=0, wanted=wanted)
    table = polygons.read_all()
    assert table["pixels"].to_pylist() == [2]
    assert (polygons.kept, polygons.dropped) == (1, 1)
    # 0.9996 is the scale of UTM at its central meridian.
    assert polygons.dropped_area_m2 == pytest.approx(100 / 0.9996**2, rel=1e-4)


def test_ids_are_those_of_grid_place_and_class():
    array = np.array([[1, 2, 2], [3, 3, 2]], np.uint8)
    ids = ids_of(table_of(array))
    again = array.copy()
    again[1, 1] = 2  # class 2 grows but begins where it began
    assert ids_of(table_of(again)) == ids
    moved = vectorize_array(array, grid_of(array, SOUTH_UP))
    assert not set(moved.read_all()["polygon_id"].to_pylist()) & set(ids.values())
    assert all(len(i) == 16 and int(i, 16) >= 0 for i in ids.values())


@pytest.mark.parametrize("block", [3, 50])
def test_batches_are_cut_by_rows_and_bytes(monkeypatch, block):
    monkeypatch.setattr(polygons_module, "ROWS", 100)
    monkeypatch.setattr(polygons_module, "_BYTES", 11_000)
    array = np.zeros((30, 100), np.uint8)
    array[::2, ::2] = 1  # 750 polygons of 93 bytes
    array[0] = 2  # and one of more bytes than a batch may have
    array[:, 1::2] = 2
    array[29] = 2
    sizes = [b.num_rows for b in vectorize_array(array, grid_of(array), nodata=0, block=block)]
    assert sizes == [100, 100, 100, 100, 100, 100, 100, 1]


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.int64]
)
def test_any_whole_numbers_are_classes(dtype):
    array = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    assert set(table_of(array)["class_code"].to_pylist()) == {0, 1}


def test_masked_pixels_have_no_class():
    array = np.ma.MaskedArray([[5, 5], [5, 7]], [[False, True], [False, False]])
    assert table_of(array)["pixels"].to_pylist() == [2, 1]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((2, 2), np.float32), {}, "float32"),
        (np.zeros((2, 3), np.uint8), {}, r"\(2, 3\) does not fit a grid of \(2, 2\)"),
        (np.full((2, 2), 40_000, np.uint16), {}, "class code 40000"),
        (np.full((2, 2), -32_768, np.int16), {}, "class code -32768"),
        (np.zeros((2, 2), np.uint8), {"block": 0}, "block 0"),
        (np.zeros((2, 2), np.uint8), {"confidence": np.zeros((2, 2))}, "percents as uint8"),
    ],
)
def test_what_is_no_raster_of_classes_is_refused(array, options, message):
    with pytest.raises(InputError, match=message):
        vectorize_array(array, grid_of(np.zeros((2, 2))), **options).read_all()


@pytest.mark.parametrize("wanted", [{"connectivity": 6}, {"min_area": -1}, {"min_area": np.nan}])
def test_what_cannot_be_wanted_is_refused(wanted):
    with pytest.raises(InputError):
        Wanted(**wanted)


def test_missing_and_disordered_blocks_are_refused():
    array = np.ones((8, 8), np.uint8)
    grid = grid_of(array)
    metric = measure_grid(grid)
    traced = [
        trace_block(np.pad(as_codes(array, None), 1)[w.y0 : w.y1 + 2, w.x0 : w.x1 + 2], w, metric)
        for w in blocks(array.shape, 4)
    ]
    for wrong in (traced[:3], traced[1:], traced[::-1], traced[:2], []):
        with pytest.raises(BlockError):
            list(join(wrong, grid.affine, metric))
