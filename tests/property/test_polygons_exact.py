"""Polygons joined over blocks are those of GDAL on the whole raster, whatever the blocks."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from polygon_reference import (
    TRANSFORMS,
    as_set,
    gdal_polygons,
    geometries,
    grid_of,
    pixels_of,
)

from geoseg.ops import batches, polygonize
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_array


@st.composite
def rasters(draw):
    """Noise or blobs of up to five codes; 0 is sometimes frequent, sometimes missing."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    seed, grain = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 1, 2, 5]))
    lowest, highest = draw(st.sampled_from([(0, 1), (0, 2), (1, 2), (0, 4)]))
    cells = np.random.default_rng(seed).integers(
        lowest, highest, (height // grain + 1, width // grain + 1), endpoint=True
    )
    return np.kron(cells, np.ones((grain, grain), np.int64))[:height, :width].astype(np.uint8)


@pytest.fixture(autouse=True, params=[1 << 16, 0], ids=["roomy", "compacted"])
def _tables(request, monkeypatch):
    """Run everything with tables that are never compacted, and with those that always are.

    With those, batches are small, too.
    """
    monkeypatch.setattr(polygonize, "_FEWEST", request.param)
    if request.param == 0:
        monkeypatch.setattr(batches, "ROWS", 7)
        monkeypatch.setattr(batches, "_VERTICES", 60)


def serialized(stream_of_batches):
    sink = pa.BufferOutputStream()
    made = list(stream_of_batches)
    with pa.ipc.new_stream(sink, made[0].schema) as stream:
        for batch in made:
            stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


@settings(max_examples=150, deadline=None)
@given(rasters(), st.integers(1, 41), st.sampled_from(TRANSFORMS), st.sampled_from([0, 1, None]))
def test_polygons_are_those_of_gdal(array, block, transform, nodata):
    table = vectorize_array(array, grid_of(array, transform), nodata=nodata, block=block).read_all()
    ours, codes = geometries(table), table["class_code"].to_pylist()
    assert as_set(ours, codes) == as_set(*gdal_polygons(array, transform, nodata))
    assert shapely.is_valid(ours).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(ours)).all()
    assert not any(shapely.is_ccw(hole) for p in ours for hole in p.interiors)
    area = table["pixels"].to_numpy() * abs(transform.determinant)
    np.testing.assert_allclose(shapely.area(ours), area, rtol=1e-9)
    boxes = np.stack([table[side].to_numpy() for side in ("xmin", "ymin", "xmax", "ymax")], axis=1)
    np.testing.assert_array_equal(boxes, shapely.bounds(ours).reshape(-1, 4))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(55, 200),
    st.floats(0.01, 0.9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.uint8, np.int16, np.int32]),
)
def test_rows_of_many_words_are_those_of_gdal(height, width, share, seed, dtype):
    """Runs and nodes are found by words of 8 flags and of 64 bits: few or many in each."""
    random = np.random.default_rng(seed)
    array = np.where(random.random((height, width)) < share, random.integers(0, 3, width), 1)
    array = array.astype(dtype)
    table = vectorize_array(array, grid_of(array), nodata=0, block=256).read_all()
    found = as_set(geometries(table), table["class_code"].to_pylist())
    assert found == as_set(*gdal_polygons(array.astype(np.uint8), TRANSFORMS[0], 0))


@settings(max_examples=100, deadline=None)
@given(rasters(), st.integers(1, 41), st.sampled_from(TRANSFORMS[:2]), st.sampled_from([0, None]))
def test_with_8_connectivity_they_cover_what_those_of_gdal_cover(array, block, transform, nodata):
    wanted = Wanted(connectivity=8)
    grid = grid_of(array, transform)
    table = vectorize_array(array, grid, nodata=nodata, block=block, wanted=wanted).read_all()
    ours = geometries(table)
    assert shapely.is_valid(ours).all()
    assert set(shapely.get_type_id(ours)) <= {6}
    gdal = {
        pixels_of(polygon, array, transform): (code, polygon)
        for polygon, code in zip(*gdal_polygons(array, transform, nodata, 8), strict=True)
    }
    assert len(ours) == len(gdal)
    for polygon, code in zip(ours, table["class_code"].to_pylist(), strict=True):
        code_of_gdal, of_gdal = gdal.pop(pixels_of(polygon, array, transform))
        assert code == code_of_gdal
        # GDAL's rings may touch themselves: made valid, they are the same points.
        assert polygon.equals(shapely.make_valid(of_gdal))


@settings(max_examples=60, deadline=None)
@given(
    rasters(),
    st.integers(1, 20),
    st.sampled_from(TRANSFORMS),
    st.sampled_from([4, 8]),
    st.integers(1, 3),
)
def test_no_byte_depends_on_the_blocks(array, block, transform, connectivity, threads):
    grid, wanted = grid_of(array, transform), Wanted(connectivity=connectivity)
    confidence = np.random.default_rng(0).integers(0, 101, array.shape).astype(np.uint8)
    options = {"nodata": 0, "wanted": wanted, "confidence": confidence}
    whole = vectorize_array(array, grid, block=64, **options)
    cut = vectorize_array(array, grid, block=block, threads=threads, **options)
    assert serialized(whole) == serialized(cut)


@settings(max_examples=60, deadline=None)
@given(rasters(), st.integers(1, 41), st.sampled_from([4, 8]))
def test_attributes_add_up(array, block, connectivity):
    grid = grid_of(array)
    confidence = np.random.default_rng(1).integers(0, 101, array.shape).astype(np.uint8)
    confidence[::3] = 255
    table = vectorize_array(
        array,
        grid,
        nodata=0,
        block=block,
        confidence=confidence,
        wanted=Wanted(connectivity=connectivity),
    ).read_all()
    assert sum(table["pixels"].to_pylist()) == np.count_nonzero(array)
    assert len(set(table["polygon_id"].to_pylist())) == table.num_rows
    edge = np.ones(array.shape, np.uint8)
    edge[1:-1, 1:-1] = 0
    for row, polygon in zip(table.to_pylist(), geometries(table), strict=True):
        inside = np.frombuffer(pixels_of(polygon, array, grid.affine), np.uint8) == 1
        inside = inside.reshape(array.shape)
        assert set(array[inside].tolist()) == {row["class_code"]}
        assert np.count_nonzero(inside) == row["pixels"]
        assert row["touches_edge"] == bool(np.any(edge[inside]))
        measured = confidence[inside & (confidence != 255)]
        assert row["confidence_mean"] == (measured.mean() if measured.size else None)
        assert row["confidence_min"] == (measured.min() if measured.size else None)
        share = 100 * measured.size / row["pixels"]
        assert row["valid_share"] == (share if measured.size else None)


@settings(max_examples=60, deadline=None)
@given(rasters(), st.integers(1, 41), st.integers(1, 41), st.integers(0, 2**32 - 1))
def test_the_same_polygon_has_the_same_id_whatever_else_is_there(array, one, other, seed):
    rng = np.random.default_rng(seed)
    changed = np.where(rng.random(array.shape) < 0.02, rng.integers(0, 5, array.shape), array)
    ids = [
        dict(as_pairs(vectorize_array(a, grid_of(array), nodata=0, block=block).read_all()))
        for a, block in ((array, one), (changed.astype(np.uint8), other))
    ]
    both = ids[0].keys() & ids[1].keys()
    assert {key: ids[0][key] for key in both} == {key: ids[1][key] for key in both}
    assert all(len(set(known.values())) == len(known) for known in ids)


def as_pairs(table):
    """Each polygon's shape and class, and its id."""
    keys = zip(table["geometry"].to_pylist(), table["class_code"].to_pylist(), strict=True)
    return zip(keys, table["polygon_id"].to_pylist(), strict=True)
