"""Products as xarray datasets, and models over xarrays, against a run over the same numbers."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tomllib

import cloudpickle
import dask
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from array_cases import OPENS, by_orbit, nameless, predicted, same, unplaced, write_bands
from conftest import ROOT
from packages import BANDS, write_package
from range_server import serving

import geoseg
from geoseg.errors import GeosegError, InputError, ModelError, SceneError
from geoseg.legend import LEGENDS

pytestmark = [
    pytest.mark.cluster,
    # rioxarray 0.19 multiplies transforms as affine 3 will not have it.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

SHAPE = (220, 260)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_package(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_bands(tmp_path_factory.mktemp("scene") / "scene_20240615.tif", SHAPE)


@pytest.fixture(scope="module")
def product(tmp_path_factory, model, scene):
    """The folder of a run over the scene."""
    out = tmp_path_factory.mktemp("product") / "out"
    layers = [f"output.raster.{name}=true" for name in ("entropy", "probabilities", "quality")]
    geoseg.predict(
        scene,
        out,
        model=model,
        numbers={"units": "reflectance"},
        overrides=["cluster.workers=1", "cluster.dashboard=false", "tiling.size=128", *layers],
    )
    return out


@pytest.fixture
def bands(scene):
    """The scene as rioxarray opens it, in memory."""
    with rioxarray.open_rasterio(scene) as opened:
        return opened.load()


@pytest.mark.parametrize(
    "chunks",
    [{"x": 53, "y": 37}, {"band": 4, "y": (1, 218, 1), "x": 70}],
    ids=str,
)
def test_predictions_are_those_of_a_run_to_the_bit(bands, model, product, chunks):
    same(predicted(bands.chunk(chunks), model), geoseg.open(product))


def test_layers_are_those_of_a_run_to_the_bit(bands, model, product):
    found = predicted(bands, model, layers=["entropy", "probabilities"])
    wanted = geoseg.open(product)
    assert len(np.unique(wanted.classes)) > 3
    same(found, wanted, ("classes", "confidence", "entropy", "probabilities"))
    assert found.probabilities["class"].values.tolist() == list(LEGENDS["landcover"].names)
    assert found.probabilities.attrs == wanted.probabilities.attrs


@pytest.mark.parametrize("block", [32, 160])
def test_blocks_leave_no_seams(bands, model, product, block):
    found = predicted(bands, model, tiling={"size": 128, "margin": 48, "block": block})
    assert {size for axis in found.classes.chunks for size in axis[:-1]} == {block}
    same(found, geoseg.open(product))


def test_nothing_is_read_before_it_is_computed_and_only_what_is_asked_for(bands, model):
    read = []

    def counted(values, block_id=None):
        read.append(block_id)
        return values

    source = bands.chunk({"band": 6, "y": 110, "x": 65})
    spied = source.copy(
        data=dask.array.map_blocks(counted, source.data, dtype=source.dtype, meta=source.data._meta)
    )
    found = predicted(spied, model, tiling={"size": 128, "block": 32})
    assert found.classes.shape == SHAPE
    assert found.geoseg.legend.names == LEGENDS["landcover"].names
    assert read == []
    with dask.config.set(scheduler="synchronous"):
        found.confidence[:10, :10].compute()
        # One chip of 128 px lies in four of the eight chunks.
        assert sorted({block[1:] for block in read}) == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert len(read) == 4
        read.clear()
        found.compute()
    assert len(read) == 8, "each chunk is read once, whatever is made of it"


def test_blocks_of_large_arrays_are_small_enough_to_look_at(bands, model):
    lines = np.arange(6000)
    large = xr.DataArray(
        dask.array.zeros((6, 6000, 6000), chunks=(6, 2000, 2000), dtype=np.uint16),
        dims=("band", "y", "x"),
        coords={"band": list(BANDS), "y": 5e6 - 10.0 * lines, "x": 5e5 + 10.0 * lines},
    ).odc.assign_crs("EPSG:32629")
    found = predicted(large, model, scale=1e-4, tiling={})
    assert 512 <= found.classes.data.chunksize[0] <= 1024


def test_a_dataset_of_bands_and_a_mask_are_as_good(bands, model, product):
    named = {f"B{n}": bands[i].drop_vars("band") for i, n in enumerate(("02", "03", "04", "08"))}
    named |= {"swir1": bands[4].astype(np.int32), "swir22": bands[5]}
    dataset = xr.Dataset(
        {name: one.drop_vars("band", errors="ignore") for name, one in named.items()}
    )
    dataset["SCL"] = (bands[0] * 0 + 3).drop_vars("band")
    same(predicted(dataset, model), geoseg.open(product))
    whole = bands.copy()
    whole.attrs = {"long_name": BANDS}
    found = predicted(whole, model, scale=1e-4, valid=(bands != 0).all("band"))
    same(found, geoseg.open(product))


def test_what_was_decoded_gives_the_same_map_up_to_rounding(scene, model, product):
    with rioxarray.open_rasterio(scene, mask_and_scale=True, chunks={}) as decoded:
        found = predicted(decoded, model).compute()
        wanted = geoseg.open(product)
        assert (found.classes == wanted.classes).mean() > 0.999
        np.testing.assert_array_equal(found.classes == 255, wanted.classes == 255)


def test_dates_are_mapped_each_by_itself(bands, model):
    small = bands[:, 60:140, 80:160]
    times = np.array(["2024-06-15", "2024-07-15"], "M8[ns]")
    both = xr.concat([small, small * 0 + 900], "time").assign_coords(time=times)
    both.attrs = small.attrs
    mask = xr.concat([small[0] > 0, small[0] > 2000], "time")
    found = predicted(both, model, valid=mask).compute()
    assert found.classes.dims == ("time", "y", "x")
    np.testing.assert_array_equal(found.time, times)
    assert found.odc.geobox == small.odc.geobox
    same(found.isel(time=0), predicted(small, model))
    np.testing.assert_array_equal(found.classes[1] == 255, ~mask[1])


def test_views_are_averaged_as_a_workflow_says(bands, model):
    small = bands[:, 60:160, 80:180]
    once, flips = (
        predicted(small, {"path": model, "tta": tta}, layers=layers).compute()
        for tta, layers in (("none", []), ("flips", ["disagreement"]))
    )
    assert (once.confidence != flips.confidence).any()
    assert 0 < float(flips.disagreement.max()) <= 1


def test_a_product_is_a_dataset_with_its_legend_place_time_and_origin(product):
    found = geoseg.open(product)
    assert set(found.data_vars) >= {"classes", "confidence", "entropy", "probabilities", "quality"}
    classes = found.classes
    assert classes.dtype == np.uint8
    assert classes.chunks is not None
    assert classes.flag_values.tolist() == [1, 2, 3, 4, 5, 6]
    assert classes.flag_meanings.split()[2] == "Grass_and_shrub"
    assert classes.flag_colors.split()[0] == "#1a5bab"
    assert classes.geoseg.legend == found.geoseg.legend == LEGENDS["landcover"]
    with rasterio.open(product / "classes.tif") as file:
        assert found.odc.geobox.affine == file.transform
        assert classes.rio.crs == file.crs
        assert classes.rio.nodata == 255
        np.testing.assert_array_equal(classes, file.read(1))
    with rasterio.open(product / "confidence.tif") as file:
        percents = file.read(1)
    assert found.confidence.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found.confidence), percents == 255)
    known = percents != 255
    np.testing.assert_allclose(found.confidence.values[known], percents[known] / 100, rtol=1e-6)
    assert found.time.values == np.datetime64("2024-06-15")
    assert found.attrs["geoseg_model"] == "tiny 1.0.0"
    assert json.loads(found.attrs["geoseg_provenance"])["inputs"][0]["href"].endswith(
        "scene_20240615.tif"
    )
    assert found.attrs["lineage"] == "Segmented with tiny 1.0.0"
    assert found.quality.dtype == np.uint8


def test_xarray_finds_the_backend_by_itself(product, tmp_path):
    """As an installation tells xarray of it: by the entry point that pyproject.toml names."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, target),) = told["entry-points"]["xarray.backends"].items()
    installed = tmp_path / "geoseg-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: geoseg\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text(f"[xarray.backends]\n{name} = {target}\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", OPENS, str(product)], cwd=tmp_path, check=False,
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "Water 260"
    assert "confidence" in second.split()
    assert "classes" not in second.split()
    assert third == str(SHAPE)


def test_windows_steps_and_copies_are_those_of_the_file(product):
    lazy = geoseg.open(product, chunks=None)
    with rasterio.open(product / "probabilities.tif") as file:
        wanted = file.read()
    wanted = np.where(wanted == 255, np.nan, wanted * np.float32(0.01)).astype(np.float32)
    for key in (
        (slice(1, 4), slice(190, None), slice(7, 9)),
        (2, slice(None, None, -3), slice(250, 100, -7)),
        (slice(None, None, 2), 17, slice(5, 5)),
        ([5, 1], [8, 210, 9], slice(0, 260, 50)),
    ):
        found = lazy.probabilities[key].values
        expected = (
            wanted[key]
            if not isinstance(key[0], list)
            else wanted[np.ix_(*key[:2], range(0, 260, 50))]
        )
        np.testing.assert_array_equal(found, expected)
    again = pickle.loads(pickle.dumps(geoseg.open(product)))  # noqa: S301 (our own)
    same(again, lazy)


def test_items_rasters_and_zarr_groups_open_alike(product, tmp_path):
    folder = geoseg.open(product)
    xr.testing.assert_identical(geoseg.open(product / "item.json"), folder)
    single = geoseg.open(str(product / "classes.tif"))
    assert list(single.data_vars) == ["classes"]
    assert single.classes.geoseg.legend == folder.geoseg.legend
    same(single, folder, ["classes"])
    assert geoseg.open(product / "confidence.tif").confidence.dtype == np.float32
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        folder.to_zarr(path, zarr_format=version, consolidated=False)
        again = geoseg.open(path)
        xr.testing.assert_equal(again, folder)
        assert {n: v.dtype for n, v in again.data_vars.items()} == {
            n: v.dtype for n, v in folder.data_vars.items()
        }
        assert again.odc.geobox == folder.odc.geobox
        assert again.geoseg.legend == folder.geoseg.legend
        assert again.attrs["geoseg_provenance"] == folder.attrs["geoseg_provenance"]
    only = folder[["classes"]]
    only.to_zarr(tmp_path / "only.zarr", zarr_format=2, consolidated=False)
    xr.testing.assert_equal(geoseg.open(tmp_path / "only.zarr"), only)


def test_rasters_on_servers_open_by_their_address(product):
    with serving(product) as server:
        found = geoseg.open(f"{server.url}/classes.tif")
        asked = server.requests
        same(found, geoseg.open(product), ["classes"])
        assert server.requests >= asked > 0
    # Names lie beside the file; what others have beside theirs on servers is not asked for.
    colors = {one.value: one.color for one in found.geoseg.legend.classes}
    assert colors.items() >= {one.value: one.color for one in LEGENDS["landcover"].classes}.items()


def test_what_is_to_be_predicted_travels_to_workers(bands, model):
    small = bands[:, 60:140, 80:160].chunk({"y": 30})
    found = predicted(small, model)
    again = cloudpickle.loads(cloudpickle.dumps(found))
    same(again, found)


def test_opening_reads_no_pixel(product, tmp_path):
    copy = shutil.copytree(product, tmp_path / "copy")
    opened = geoseg.open(copy)
    for raster in copy.glob("*.tif"):
        raster.unlink()
    assert opened.classes.shape == SHAPE
    with pytest.raises(GeosegError, match=r"classes\.tif"):
        opened.classes.compute()


def test_a_folder_of_scenes_is_a_dataset_by_time(product, tmp_path):
    for name, day in (("b", "2024-06-15"), ("a", "2024-08-01")):
        folder = shutil.copytree(product, tmp_path / name)
        item = json.loads((folder / "item.json").read_text())
        item["properties"]["datetime"] = f"{day}T00:00:00Z"
        (folder / "item.json").write_text(json.dumps(item))
    found = geoseg.open(tmp_path)
    assert found.time.values.astype("M8[D]").astype(str).tolist() == ["2024-06-15", "2024-08-01"]
    assert found.classes.sizes == {"time": 2, "y": 220, "x": 260}
    np.testing.assert_array_equal(found.classes[1], geoseg.open(product).classes)
    shutil.copytree(product, tmp_path / "c")
    (tmp_path / "c" / "item.json").unlink()
    with rasterio.open(tmp_path / "c" / "classes.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(ACQUISITIONDATETIME="")
    with pytest.raises(InputError, match="c has no date"):
        geoseg.open(tmp_path)


def test_areas_and_colours_are_those_of_the_run(product):
    record = json.loads((product / "run.json").read_text())
    wanted = {row["code"]: row["area_ha"] for row in record["classes"]}
    for found in (
        geoseg.open(product),
        geoseg.open(product, chunks=None).chunk({"y": 77, "x": 91}),
    ):
        areas = found.geoseg.areas()
        assert areas.index.tolist() == [1, 2, 3, 4, 5, 6]
        assert areas.name.tolist() == list(LEGENDS["landcover"].names)
        for code, hectares in areas.area_ha.items():
            assert hectares == pytest.approx(wanted.get(code, 0), abs=1e-4)
        assert areas.share.sum() == pytest.approx(1)
        assert areas.pixels.sum() == int((found.classes != 255).sum())
    drawn = geoseg.open(product).geoseg.rgba().compute()
    codes = geoseg.open(product).classes.values
    assert drawn.dims == ("y", "x", "rgba")
    assert (drawn.values[codes == 2] == (0x35, 0x82, 0x21, 255)).all()
    assert (drawn.values[codes == 255, 3] == 0).all()


def test_polygons_of_an_opened_product_have_its_names(product):
    frame = geoseg.vectorize(geoseg.open(product).classes[100:200, 100:200]).to_geopandas()
    assert set(frame.class_name) <= set(LEGENDS["landcover"].names)


@pytest.mark.parametrize(
    ("change", "settings", "error", "message"),
    [
        (unplaced, {}, InputError, r"does not say where it lies.*assign_crs"),
        (lambda a: a.drop_vars(["x", "y", "spatial_ref"]), {}, InputError, "where it lies"),
        (by_orbit, {}, InputError, r"dimensions orbit, band, y, x.*isel\(orbit=0\)"),
        (nameless, {}, SceneError, "none of its bands has a name: name all 6 of them"),
        (
            lambda a: a[:4],
            {},
            SceneError,
            "no band swir16, swir22, which model tiny needs; it has blue",
        ),
        (None, {"bands": ["red"]}, SceneError, "bands: 1 names; the array has 6 bands"),
        (None, {"units": None}, ModelError, r"not known, and model tiny needs reflectance"),
        (None, {"units": "dn"}, ModelError, r"its numbers are dn, and model tiny needs"),
        (
            None,
            {"layers": ["doubt"]},
            InputError,
            "there is no 'doubt'; wanted: confidence, entropy",
        ),
        (None, {"tiling": {"overlap": 3}}, InputError, r"tiling\.overlap: unknown key"),
        (None, {"valid": np.ones((3, 4), bool)}, InputError, "wanted are true and false"),
        (lambda a: a.astype(complex), {}, SceneError, "holds complex128; wanted are numbers"),
    ],
)
def test_what_cannot_be_predicted_is_refused_at_once(
    bands, model, change, settings, error, message
):
    array = bands if change is None else change(bands)
    with pytest.raises(error, match=message):
        predicted(array, model, **settings)


def test_what_cannot_be_opened_is_refused(tmp_path, scene, product):
    with pytest.raises(InputError, match="no such file or folder"):
        geoseg.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"has neither item.json nor classes.tif \(nothing in it"):
        geoseg.open(tmp_path)
    (tmp_path / "item.json").write_text('{"assets": {"a": {"href": "/vsistdin/x.tif"}}}')
    with pytest.raises(SceneError, match="special files"):
        geoseg.open(tmp_path)
    (tmp_path / "item.json").write_text('{"assets": {"a": {"href": "a.gpkg"}}}')
    with pytest.raises(InputError, match="none of its assets is a GeoTIFF: a"):
        geoseg.open(tmp_path)
    with pytest.raises(InputError, match="has no legend"):
        _ = geoseg.open(scene).scene_20240615.geoseg.legend
    with pytest.raises(InputError, match="0 variables of classes"):
        geoseg.open(scene).geoseg.areas()
