import json
import pickle

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 (adds .rio)
import xarray as xr
from products import GRIDS, class_map
from rasters import NORTH_UP, SOUTH_UP, UTM

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, Window, blocks, full_window
from geoseg.io.zarr_store import ZarrRaster, create_rasters, read_grid


def filled(path, grid, block=256, fill=0):
    store = ZarrRaster.create(path, grid, block=block, fill=fill)
    values = class_map(full_window(grid).shape)
    for window in blocks(values.shape, block):
        store.write(window, values[window.slices])
    return store, values


@pytest.mark.parametrize("name", GRIDS)
def test_reads_back_any_window(tmp_path, name):
    grid = GRIDS[name]
    store, values = filled(tmp_path / "a.zarr", grid)
    whole = full_window(grid)
    np.testing.assert_array_equal(store.read(whole), values)
    part = Window(whole.y1 // 3, whole.x1 // 4, whole.y1, whole.x1 // 2 + 1)
    np.testing.assert_array_equal(store.read(part), values[part.slices])


@pytest.mark.parametrize("name", [n for n in GRIDS if n != "rotated"])
def test_gdal_and_xarray_know_where_it_lies(tmp_path, name):
    grid = GRIDS[name]
    path = tmp_path / "a.zarr"
    _, values = filled(path, grid)
    if min(values.shape) > 1:  # GDAL cannot tell a pixel's size from one coordinate
        with rasterio.open(f'ZARR:"{path}":/classes') as source:
            np.testing.assert_array_equal(source.read(1), values)
            assert source.crs == rasterio.crs.CRS.from_wkt(grid.crs.wkt)
            assert source.nodata == 0
            np.testing.assert_allclose(source.transform, grid.affine, rtol=1e-12)
    with xr.open_zarr(path, decode_coords="all") as data:
        assert data.classes.rio.crs == rasterio.crs.CRS.from_wkt(grid.crs.wkt)
        assert data.classes.dims == ("y", "x")
        assert data.classes.rio.encoded_nodata == 0
        affine = grid.affine
        np.testing.assert_allclose(data.x, affine.c + (np.arange(data.x.size) + 0.5) * affine.a)
        np.testing.assert_allclose(data.y, affine.f + (np.arange(data.y.size) + 0.5) * affine.e)


def test_rotated_grid_has_a_geotransform_and_no_axes(tmp_path):
    grid = GRIDS["rotated"]
    path = tmp_path / "a.zarr"
    filled(path, grid)
    with xr.open_zarr(path, decode_coords="all") as data:
        assert "x" not in data.coords
        told = [float(v) for v in data.spatial_ref.attrs["GeoTransform"].split()]
    assert told == list(rasterio.Affine(*grid.affine[:6]).to_gdal())


def test_classes_and_confidence_share_a_group(tmp_path):
    grid = GRIDS["south-up"]
    path = tmp_path / "a.zarr"
    filled(path, grid)
    ZarrRaster.create(path, grid, block=64, fill=255, name="confidence")
    with xr.open_zarr(path) as data:
        assert {"classes", "confidence"} <= set(data.data_vars)


def test_pixels_never_written_are_fill_and_take_no_file(tmp_path):
    store = ZarrRaster.create(tmp_path / "a.zarr", GRIDS["north-up"], block=512, fill=7)
    assert (store.read(Window(0, 0, 1100, 700)) == 7).all()
    store.write(Window(0, 0, 512, 512), np.full((512, 512), 3, np.uint8))
    chunk = tmp_path / "a.zarr/classes/0.0"
    assert chunk.exists()
    store.write(Window(0, 0, 512, 512), np.full((512, 512), 7, np.uint8))
    assert not chunk.exists()
    assert (store.read(Window(0, 0, 512, 512)) == 7).all()


def test_creating_again_keeps_what_is_there(tmp_path):
    path, grid = tmp_path / "a.zarr", GRIDS["south-up"]
    _, values = filled(path, grid)
    again = ZarrRaster.create(path, grid, block=256, fill=0)
    np.testing.assert_array_equal(again.read(full_window(grid)), values)
    assert (again.shape, again.block, again.fill) == (values.shape, 256, 0)


def test_several_made_at_once_are_as_those_made_one_by_one(tmp_path):
    """Also of a second grid with the shape and CRS of the first: only its place is another."""
    fills = {"classes": 255, "confidence": 254}
    shift = rasterio.Affine.translation(70, -30)
    for name, whole in GRIDS.items():
        for number, grid in enumerate(
            (whole, GeoBox(whole.shape, whole.affine @ shift, whole.crs))
        ):
            one, other = (tmp_path / f"{name}{number}-{way}.zarr" for way in ("one", "other"))
            create_rasters(one, grid, fills, block=64)
            for array, fill in fills.items():
                ZarrRaster.create(other, grid, block=64, fill=fill, name=array)
            for path in (one, other):
                # Neither finds anything wrong with what is there.
                create_rasters(path, grid, fills, block=64)
                assert read_grid(path, full_window(grid).shape) == grid
            left, right = (xr.open_zarr(path, decode_coords="all") for path in (one, other))
            with left, right:
                xr.testing.assert_identical(left, right)
                if "x" in left.coords:
                    center = grid.affine @ (0.5, 0.5)
                    assert (float(left.x[0]), float(left.y[0])) == pytest.approx(tuple(center))


def test_creating_again_mends_metadata_that_a_kill_left_out(tmp_path):
    path, grid = tmp_path / "a.zarr", GRIDS["south-up"]
    filled(path, grid)
    (path / ".zmetadata").unlink()
    ZarrRaster.create(path, grid, block=256, fill=0)
    assert "classes/.zarray" in json.loads((path / ".zmetadata").read_text())["metadata"]


@pytest.mark.parametrize(
    ("grid", "block", "fill", "word"),
    [
        (GeoBox((130, 210), NORTH_UP, UTM), 256, 0, "another grid"),
        (GRIDS["south-up"], 128, 0, "chunks"),
        (GRIDS["south-up"], 256, 1, "fill 0"),
    ],
)
def test_creating_otherwise_is_refused(tmp_path, grid, block, fill, word):
    filled(tmp_path / "a.zarr", GRIDS["south-up"])
    with pytest.raises(ProductError, match=word) as caught:
        ZarrRaster.create(tmp_path / "a.zarr", grid, block=block, fill=fill)
    assert "a.zarr" in str(caught.value)


def test_another_shape_is_refused(tmp_path):
    filled(tmp_path / "a.zarr", GRIDS["south-up"])
    other = GeoBox((100, 210), SOUTH_UP, UTM)
    with pytest.raises(ProductError, match="shape"):
        ZarrRaster.create(tmp_path / "a.zarr", other, block=256, fill=0)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.docx").write_text("dear")
    with pytest.raises(ProductError, match="no Zarr v2 group"):
        ZarrRaster.create(tmp_path, GRIDS["south-up"], block=256, fill=0)


def test_missing_store_is_one_clear_error(tmp_path):
    with pytest.raises(ProductError, match=r"gone\.zarr/classes: cannot be opened"):
        _ = ZarrRaster(tmp_path / "gone.zarr", "classes").shape


@pytest.mark.parametrize(
    "window", [Window(0, 0, 10, 10), Window(0, 0, 512, 256), Window(256, 256, 256, 256)]
)
def test_only_whole_blocks_are_written(tmp_path, window):
    store = ZarrRaster.create(tmp_path / "a.zarr", GRIDS["north-up"], block=256, fill=0)
    with pytest.raises(ProductError, match="one whole block of 256 px"):
        store.write(window, np.zeros(window.shape, np.uint8))


@pytest.mark.parametrize("values", [np.zeros((256, 256)), np.zeros((256, 255), np.uint8)])
def test_only_fitting_values_are_written(tmp_path, values):
    store = ZarrRaster.create(tmp_path / "a.zarr", GRIDS["north-up"], block=256, fill=0)
    with pytest.raises(ProductError, match="cannot take"):
        store.write(Window(0, 0, 256, 256), values)


def test_window_beyond_the_grid_is_refused(tmp_path):
    store = ZarrRaster.create(tmp_path / "a.zarr", GRIDS["south-up"], block=256, fill=0)
    with pytest.raises(ProductError, match="leaves the grid"):
        store.read(Window(0, 0, 131, 210))


def test_damaged_chunk_is_one_clear_error(tmp_path):
    store, _ = filled(tmp_path / "a.zarr", GRIDS["south-up"])
    (tmp_path / "a.zarr/classes/0.0").write_bytes(b"not zstd")
    with pytest.raises(ProductError, match="cannot read"):
        store.read(Window(0, 0, 130, 210))


def test_same_values_give_same_bytes(tmp_path):
    for name in ("a", "b"):
        filled(tmp_path / name / "s.zarr", GRIDS["north-up"])
    a, b = (
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*.*")
            if p.is_file()
        }
        for n in ("a", "b")
    )
    assert a == b
    assert len(a) > 10


def test_travels_by_pickle(tmp_path):
    store, values = filled(tmp_path / "a.zarr", GRIDS["south-up"])
    there = pickle.loads(pickle.dumps(store))  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(there.read(Window(0, 0, 130, 210)), values)
