"""Polygons of what is in memory, through the public function."""

import json

import geopandas
import numpy as np
import odc.geo.xr
import pyogrio
import pytest
import rasterio
import xarray
from polygon_reference import NORTH_UP, as_set, gdal_polygons, grid_of, realistic

import geoseg
from geoseg.errors import InputError


@pytest.fixture
def array():
    return realistic((60, 80))


def wanted(array):
    return as_set(*gdal_polygons(array, NORTH_UP, nodata=0))


def found(frame):
    return as_set(frame.geometry.values, frame.class_code.tolist())


def test_a_masked_array_with_its_grid_gives_the_polygons_of_gdal(array):
    masked = np.ma.masked_equal(array, 0)
    frame = geoseg.vectorize(masked, grid_of(array)).to_geopandas()
    assert found(frame) == wanted(array)
    assert frame.crs == "EPSG:32633"
    assert set(frame.class_name) == {f"Class {code}" for code in set(frame.class_code)}
    table = geoseg.vectorize(masked, grid_of(array)).read_all()
    assert table["polygon_id"].to_pylist() == frame.polygon_id.tolist()
    batches = list(geoseg.vectorize(masked, grid_of(array)))
    assert sum(batch.num_rows for batch in batches) == len(frame)


def test_without_a_mask_every_pixel_has_a_class(array):
    frame = geoseg.vectorize(array, grid_of(array)).to_geopandas()
    assert found(frame) == as_set(*gdal_polygons(array, NORTH_UP, nodata=None))


def test_what_is_written_is_what_the_file_way_writes(array, tmp_path):
    raster = tmp_path / "polygons.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(
        raster, "w", height=60, width=80, crs="EPSG:32633", transform=NORTH_UP, **profile
    ) as file:
        file.write(array, 1)
    count = geoseg.vectorize(raster, tmp_path / "file.parquet").polygons
    masked = np.ma.masked_equal(array, 0)
    assert geoseg.vectorize(masked, grid_of(array)).write(tmp_path / "array.parquet") == count
    file, memory = (geopandas.read_parquet(tmp_path / f"{n}.parquet") for n in ("file", "array"))
    assert file.equals(memory)
    styles = [(tmp_path / f"{n}.qml").read_text() for n in ("file", "array")]
    assert styles[0] == styles[1]


def test_an_xarray_says_itself_where_it_lies_and_what_nodata_is(array, tmp_path):
    data = xarray.DataArray(array[None], dims=("band", "y", "x"), attrs={"_FillValue": 0})
    placed = odc.geo.xr.assign_crs(
        data.assign_coords(
            y=5300040 - 10 * (np.arange(60) + 0.5), x=499980 + 10 * (np.arange(80) + 0.5)
        ),
        "EPSG:32633",
    )
    out = tmp_path / "deep" / "er.gpkg"
    count = geoseg.vectorize(placed).write(out)
    frame = pyogrio.read_dataframe(out, layer="land_use")
    assert found(frame) == wanted(array)
    assert count == len(frame)


def test_a_known_legend_names_classes_and_the_hole(array):
    codes = np.where(array == 0, 255, array % 2).astype(np.uint8)
    frame = geoseg.vectorize(
        codes, grid_of(array), legend="forest", classes=["forest"], min_area="2 px", small="drop"
    ).to_geopandas()
    assert set(frame.class_name) == {"Forest"}
    assert frame.pixels.min() >= 2


def test_small_regions_go_to_their_neighbours_in_memory_as_in_files(array, tmp_path):
    masked = np.ma.masked_equal(array, 0)
    frame = geoseg.vectorize(masked, grid_of(array), min_area="5 px").to_geopandas()
    assert frame.pixels.sum() == np.count_nonzero(array)
    assert len(frame) < len(wanted(array))
    raster = tmp_path / "in.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(
        raster, "w", height=60, width=80, crs="EPSG:32633", transform=NORTH_UP, **profile
    ) as file:
        file.write(array, 1)
    geoseg.vectorize(raster, tmp_path / "out.parquet", min_area="5 px")
    assert found(geopandas.read_parquet(tmp_path / "out.parquet")) == found(frame)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((3, 3), int),), {}, "does not say where it lies: vectorize"),
        ((np.ones((3, 3), int), "out.gpkg"), {}, "give an array its grid"),
        (("in.tif",), {}, "a raster file needs a file to write to"),
        ((xarray.DataArray(np.ones((3, 3), int)),), {}, "write its CRS"),
        ((np.ones((3, 3)), grid_of(np.ones((3, 3)))), {}, "wanted are whole numbers"),
        ((np.ones((2, 3), int), grid_of(np.ones((3, 3)))), {}, "does not fit a grid"),
        (
            (np.ones((3, 3), int), grid_of(np.ones((3, 3)))),
            {"classes": ["Trees"]},
            "the array has no class 'Trees'",
        ),
    ],
)
def test_what_cannot_be_outlined_is_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        geoseg.vectorize(*arguments, **options)


def test_polygons_are_a_stream_and_names_of_files_are_checked(array, tmp_path):
    outlines = geoseg.vectorize(array, grid_of(array))
    with pytest.raises(InputError, match="ends in"):
        outlines.write(tmp_path / "out.shp")
    assert json.loads(outlines.schema.field("geometry").metadata[b"ARROW:extension:metadata"])
    outlines.read_all()
    with pytest.raises(RuntimeError, match="iterate once"):
        outlines.read_all()
