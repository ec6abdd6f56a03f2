"""COGs of any size, read back by GDAL: the array, and overviews as their rules say."""

import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import check_by_gdal
from odc.geo.geobox import GeoBox
from products import ArrayStore
from rasterio.shutil import copy
from rasters import NORTH_UP, UTM, write
from rio_cogeo.cogeo import cog_validate

from geoseg.io.cog import (
    write_class_cog,
    write_count_cog,
    write_number_cog,
    write_percent_cog,
    write_quality_cog,
)
from geoseg.legend import LandClass, Legend
from geoseg.ops.overviews import edges, level_shapes, reduce

LEGEND = Legend("l", tuple(LandClass(c, f"c{c}", f"#0000{c:02x}") for c in range(1, 20)), nodata=0)
WRITERS = {
    "classes": lambda stores, *at, **how: write_class_cog(stores[0], at[0], LEGEND, at[1], **how),
    "counts": lambda stores, *at, **how: write_count_cog(stores[0], *at, "n", **how),
    "numbers": lambda stores, *at, **how: write_number_cog(
        stores, *at, "abc"[: len(stores)], **how
    ),
    "percents": lambda stores, *at, **how: write_percent_cog(
        stores, *at, "abc"[: len(stores)], **how
    ),
    "quality": lambda stores, *at, **how: write_quality_cog(stores[0], *at, **how),
}
RULES = {"percents": ("average", 255), "quality": ("nearest", None)}


@st.composite
def cases(draw):
    kind = draw(st.sampled_from(list(WRITERS)))
    shape = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    bands = draw(st.integers(1, 3)) if kind in ("percents", "numbers") else 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = {"classes": 20, "percents": 101, "numbers": 65536}.get(kind, 256)
    numbers = rng.integers(0, most, draw(st.integers(1, 6)))
    values = rng.choice(numbers, (bands, *shape)).astype(
        np.uint16 if kind == "numbers" else np.uint8
    )
    if kind == "percents":
        values[rng.random(values.shape) < draw(st.sampled_from([0, 0.3, 1]))] = 255
    return kind, values, draw(st.sampled_from([16, 32, 64]))


@settings(max_examples=40)
@given(cases())
def test_gdal_reads_what_was_written_at_all_levels(tmp_path_factory, case):
    kind, values, side = case
    shape = values.shape[1:]
    path = tmp_path_factory.mktemp("cog") / "made.tif"
    grid = GeoBox(shape, NORTH_UP, UTM)
    stores = [ArrayStore(band) for band in values]
    WRITERS[kind](stores, grid, path, tags={"A": "b"}, blocksize=side)
    if min(shape) >= 16:  # what cannot be halved gives overviews that it takes for none
        valid, errors, said = cog_validate(path, strict=True, quiet=True)
        assert valid, (errors, said)
    rule, nodata = RULES.get(kind, ("majority", 0))
    with rasterio.open(path) as source:
        full = source.read()
        np.testing.assert_array_equal(full[: len(values)], values)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.tags()["A"] == "b"
        assert source.block_shapes == [(side, side)] * source.count
    for level, smaller in enumerate(level_shapes(shape, side)):
        with warnings.catch_warnings(), rasterio.open(path, overview_level=level) as source:
            assert source.shape == smaller
            assert source.nodata == nodata
            found = source.read()
            assert source.transform @ smaller[::-1] == pytest.approx(NORTH_UP @ shape[::-1])
        at = [edges(n, m) for n, m in zip(shape, smaller, strict=True)]
        for band, made in zip(full, found, strict=True):
            np.testing.assert_array_equal(made, reduce(band, *at, rule, nodata))


@settings(max_examples=25)
@given(st.tuples(st.integers(1, 700), st.integers(1, 700)), st.sampled_from([16, 64, 128]))
def test_there_are_as_many_overviews_as_gdals_driver_makes(tmp_path_factory, shape, side):
    folder = tmp_path_factory.mktemp("cog")
    plain = write(folder / "plain.tif", np.zeros(shape, np.uint8))
    copy(plain, folder / "cog.tif", driver="COG", BLOCKSIZE=side)
    with rasterio.open(folder / "cog.tif") as source:
        levels = len(source.overviews(1))
    found = []
    for level in range(levels):
        with rasterio.open(folder / "cog.tif", overview_level=level) as source:
            found.append(source.shape)
    assert level_shapes(shape, side) == found


def test_debians_gdal_looks_at_each_tile(tmp_path):
    values = np.random.default_rng(0).integers(0, 101, (3, 300, 170)).astype(np.uint8)
    path, grid = tmp_path / "made.tif", GeoBox((300, 170), NORTH_UP, UTM)
    write_percent_cog([ArrayStore(v) for v in values], grid, path, "abc", tags={}, blocksize=64)
    check_by_gdal(path)
