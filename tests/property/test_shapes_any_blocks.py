"""Simplified and smoothed polygons share their boundaries and depend on no block."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from polygon_reference import TRANSFORMS, geometries, grid_of, realistic
from scipy import ndimage

from geoseg.ops import batches, polygonize
from geoseg.ops.topology.shaping import Shaping
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_array


@st.composite
def rasters(draw):
    """Noise, patches of some pixels, or blobs with thin necks between them."""
    height, width = draw(st.integers(1, 36)), draw(st.integers(1, 36))
    seed, kind = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(["noise", "grain", "blobs"]))
    rng = np.random.default_rng(seed)
    if kind == "blobs":
        noise = ndimage.gaussian_filter(rng.standard_normal((height, width)), 1.2)
        return (noise > 0).astype(np.uint8) + (noise > 0.15)
    grain = 1 if kind == "noise" else draw(st.integers(2, 6))
    cells = rng.integers(0, draw(st.integers(1, 4)) + 1, (height // grain + 1, width // grain + 1))
    return np.kron(cells, np.ones((grain, grain), np.int64))[:height, :width].astype(np.uint8)


@st.composite
def shapings(draw, pixel=1.0):
    """All methods, from amounts that change little to those that leave as little as may be."""
    simplify = draw(st.sampled_from([None, "visvalingam", "douglas-peucker"]))
    smooth = draw(st.sampled_from([None, "chaikin", "corners"]))
    amount = pixel * draw(st.sampled_from([0.6, 1.2, 3.0, 1e6]))
    return Shaping(simplify, amount, smooth, draw(st.integers(1, 3)))


def table_of(array, transform, **options):
    keys = ("nodata", "block", "threads")
    call = {key: options.pop(key) for key in keys if key in options}
    return vectorize_array(array, grid_of(array, transform), wanted=Wanted(**options), **call)


@pytest.fixture(autouse=True, params=[1 << 16, 0], ids=["roomy", "compacted"])
def _tables(request, monkeypatch):
    """Run everything with tables that are never compacted, and with those that always are.

    With those, batches are small, too.
    """
    monkeypatch.setattr(polygonize, "_FEWEST", request.param)
    if request.param == 0:
        monkeypatch.setattr(batches, "ROWS", 7)
        monkeypatch.setattr(batches, "_VERTICES", 60)


@settings(max_examples=100, deadline=None)
@given(
    rasters(),
    st.integers(1, 37),
    shapings(40.0),
    st.sampled_from(TRANSFORMS),
    st.sampled_from([4, 8]),
)
def test_no_byte_depends_on_the_blocks(array, block, shaping, transform, connectivity):
    options = {"shaping": shaping, "connectivity": connectivity, "nodata": 0}
    whole = table_of(array, transform, block=64, **options)
    cut = table_of(array, transform, block=block, threads=2, **options)
    assert whole.read_all().equals(cut.read_all())
    assert whole.written == cut.written


@settings(max_examples=100, deadline=None)
@given(rasters(), st.integers(1, 37), shapings(40.0), st.sampled_from(TRANSFORMS))
def test_polygons_tile_the_raster_and_none_is_lost(array, block, shaping, transform):
    exact = table_of(array, transform, block=block).read_all()
    shaped = table_of(array, transform, block=block, shaping=shaping).read_all()
    same = ["class_code", "polygon_id", "pixels", "area_m2", "touches_edge"]
    assert shaped.select(same).equals(exact.select(same))
    ours = geometries(shaped)
    assert shapely.is_valid(ours).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(ours)).all()
    assert shapely.area(ours).min() > 0
    assert shapely.coverage_is_valid(ours)
    holes = [shapely.get_num_interior_rings(polygons) for polygons in (ours, geometries(exact))]
    assert np.array_equal(*holes)
    whole = array.size * abs(transform.determinant)
    assert shapely.area(ours).sum() == pytest.approx(whole, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(rasters(), shapings(40.0))
def test_multipolygons_are_valid_and_cover_the_raster(array, shaping):
    ours = geometries(table_of(array, TRANSFORMS[0], shaping=shaping, connectivity=8).read_all())
    assert shapely.is_valid(ours).all()
    assert shapely.area(ours).sum() == pytest.approx(array.size * 100, rel=1e-9)
    assert shapely.union_all(ours).area == pytest.approx(array.size * 100, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(rasters(), shapings(40.0))
def test_gaps_of_nodata_are_kept_as_if_they_were_polygons(array, shaping):
    array = np.pad(array, 1, constant_values=9)  # at the frame, gaps are open
    with_gaps = table_of(array, TRANSFORMS[0], shaping=shaping, nodata=0).read_all()
    filled = table_of(array, TRANSFORMS[0], shaping=shaping).read_all()
    of_classes = filled.filter(np.asarray(filled["class_code"]) != 0)
    assert with_gaps.equals(of_classes)


@settings(max_examples=60, deadline=None)
@given(rasters(), shapings(40.0))
def test_gaps_at_the_frame_are_neither_closed_nor_covered_twice(array, shaping):
    ours = geometries(table_of(array, TRANSFORMS[0], shaping=shaping, nodata=0).read_all())
    exact = geometries(table_of(array, TRANSFORMS[0], nodata=0).read_all())
    assert shapely.is_valid(ours).all()
    assert shapely.coverage_is_valid(ours)
    (left, right), (top, bottom) = TRANSFORMS[0] @ np.array(
        [[0, array.shape[1]], [0, array.shape[0]]], float
    )
    frame = shapely.box(left, bottom, right, top).exterior
    before, after = (shapely.union_all(p).intersection(frame) for p in (exact, ours))
    assert after.equals(before)


@settings(max_examples=40, deadline=None)
@given(rasters(), st.integers(1, 37), shapings(40.0))
def test_leaving_polygons_out_changes_no_other(array, block, shaping):
    everything = table_of(array, TRANSFORMS[0], shaping=shaping).read_all()
    some = table_of(
        array, TRANSFORMS[0], shaping=shaping, codes=(1,), min_pixels=3, block=block
    ).read_all()
    chosen = (np.asarray(everything["class_code"]) == 1) & (np.asarray(everything["pixels"]) >= 3)
    assert some.equals(everything.filter(chosen))


@settings(max_examples=60, deadline=None)
@given(rasters(), shapings(40.0))
def test_where_three_regions_meet_nothing_moves(array, shaping):
    outside = np.pad(array.astype(int), 1, constant_values=-1)
    ul, ur, ll, lr = outside[:-1, :-1], outside[:-1, 1:], outside[1:, :-1], outside[1:, 1:]
    edges = (ul != ur).astype(int) + (ll != lr) + (ul != ll) + (ur != lr)
    rows, cols = np.nonzero(edges >= 3)
    x, y = TRANSFORMS[0] @ (cols.astype(float), rows.astype(float))
    ours = geometries(table_of(array, TRANSFORMS[0], shaping=shaping).read_all())
    there = set(map(tuple, shapely.get_coordinates(ours)))
    assert {*zip(x, y, strict=True)} <= there


@settings(max_examples=60, deadline=None)
@given(rasters(), st.sampled_from([0.8, 1.5, 4.0]), st.sampled_from([0, 2, 4]))
def test_douglas_peucker_keeps_to_its_tolerance(array, pixels, which):
    grid = grid_of(array, TRANSFORMS[which], crs=None)
    wanted = Wanted(shaping=Shaping("douglas-peucker", pixels))
    exact = geometries(vectorize_array(array, grid).read_all())
    ours = geometries(vectorize_array(array, grid, wanted=wanted).read_all())
    for one, other in zip(exact, ours, strict=True):
        # What may not go stays, and may lie on the other side of the line: twice the tolerance.
        assert shapely.hausdorff_distance(one.boundary, other.boundary) <= 2 * pixels + 1e-6


def test_a_map_as_models_make_them_is_a_valid_coverage():
    array = realistic((300, 300))
    for shaping in (
        Shaping("visvalingam", 500.0, "chaikin", 2),
        Shaping("douglas-peucker", 15.0, "corners", 2),
    ):
        table = table_of(array, TRANSFORMS[0], block=77, shaping=shaping).read_all()
        assert table.equals(table_of(array, TRANSFORMS[0], block=300, shaping=shaping).read_all())
        ours = geometries(table)
        assert shapely.is_valid(ours).all()
        assert shapely.coverage_is_valid(ours)
