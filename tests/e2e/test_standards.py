"""Every file of a run is what the standards say it is, by others' judgement, and says its origin."""

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray  # noqa: F401 (adds .rio)
import xarray as xr
from judges import check_by_gdal, check_cogs, check_geoparquet, check_stac
from packages import write_package
from test_run import geoseg, workflow

from geoseg.api.provenance import check_inputs, read
from geoseg.cli import run
from geoseg.legend import LANDCOVER

pytestmark = pytest.mark.cluster

SHAPE = 230, 310
SPOKEN = (
    "classes.tif", "confidence.tif", "quality.tif", "probabilities.tif", "polygons.gpkg",
    "polygons.parquet", "polygons.fgb", "polygons.pmtiles", "maps.zarr",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workflow of a small scene with all that a run can write, and its products."""
    folder = tmp_path_factory.mktemp("standards")
    output = {
        "directory": str(folder / "out"),
        "raster": {"quality": True, "probabilities": True, "zarr": True},
        "vector": {
            "formats": ["gpkg", "geoparquet", "flatgeobuf", "pmtiles"],
            "layers": {"land_use": [], "water": ["Water"]},
            "min_area": "400 m2",
            "simplify": "8 m",
        },
        "quicklook": False,
    }
    asked = workflow(folder, write_package(folder), input={"size": SHAPE}, output=output)
    geoseg("run", asked, "-q", check=0)
    return asked, folder / "out"


@pytest.fixture
def out(made):
    return made[1]


def test_it_is_up_to_date_with_all_of_it(made):
    asked, out = made
    before = (out / "item.json").stat().st_mtime_ns
    told = geoseg("run", asked, check=0)
    assert "(up to date)" in told.stdout
    assert (out / "item.json").stat().st_mtime_ns == before


def test_rasters_are_cogs_by_two_judges(out):
    check_cogs(*(out / name for name in SPOKEN if name.endswith(".tif")))


def test_the_geopackage_is_one_by_gdals_judgement_and_stays_one(out, tmp_path):
    path = tmp_path / "polygons.gpkg"
    path.write_bytes((out / "polygons.gpkg").read_bytes())
    pyogrio.write_dataframe(pyogrio.read_dataframe(path, layer="water"), path, layer="more")
    check_by_gdal(out / "polygons.gpkg", path)
    assert read(path) == read(out / "polygons.gpkg")


def test_all_vectors_hold_the_same_polygons(out):
    crs, count = check_geoparquet(out / "polygons.parquet")
    assert crs.to_epsg() == 32629
    flat = pyogrio.read_info(out / "polygons.fgb")
    assert (flat["crs"], flat["features"]) == ("EPSG:32629", count)
    packed = pyogrio.read_info(out / "polygons.gpkg", layer="land_use")
    assert packed["features"] == count
    drawn = pyogrio.read_dataframe(out / "polygons.pmtiles")
    ids = set(pyogrio.read_dataframe(out / "polygons.fgb").polygon_id)
    assert set(drawn.polygon_id) <= ids
    assert drawn.crs.to_epsg() == 3857


def test_geoparquet_by_the_validator_of_its_makers(out):
    judge = pytest.importorskip("geoparquet_validator")
    report = judge.check(str(out / "polygons.parquet"))
    assert {o["id"]: o["message"] for o in report["outcomes"] if o["status"] == "fail"} == {}
    assert {o["status"] for o in report["outcomes"]} >= {"pass"}


def test_the_item_is_valid_and_names_what_lies_there(out):
    content = json.loads((out / "item.json").read_text("utf-8"))
    check_stac(content)
    there = {asset["href"].removeprefix("./") for asset in content["assets"].values()}
    assert set(SPOKEN) <= there
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert content["properties"]["version"] == record["fingerprint"][:12]


def test_zarr_is_opened_by_xarray_where_it_lies(out):
    with (
        xr.open_zarr(out / "maps.zarr", decode_coords="all", mask_and_scale=False) as data,
        rasterio.open(out / "classes.tif") as classes,
        rasterio.open(out / "probabilities.tif") as probabilities,
    ):
        assert data.attrs["Conventions"].startswith("CF-1.")
        assert data.rio.crs == classes.crs
        for at in (0, -1):
            row, column = (range(n)[at] + 0.5 for n in SHAPE)
            corner = classes.transform @ (column, row)
            np.testing.assert_allclose((data.x[at], data.y[at]), corner)
        np.testing.assert_array_equal(data.classes, classes.read(1))
        names = [f"probability_{c.value}" for c in LANDCOVER.classes]
        stack = np.stack([data[name] for name in names])
        np.testing.assert_array_equal(stack, probabilities.read())
        assert data.classes.attrs["flag_values"] == list(LANDCOVER.values)
        meanings = data.classes.attrs["flag_meanings"].split(" ")
        assert len(meanings) == len(LANDCOVER.names)
        assert data.confidence.attrs["units"] == "percent"
        acquired = json.loads((out / "item.json").read_text())["properties"]["datetime"]
        assert data.confidence.time.dt.strftime("%Y-%m-%dT%H:%M:%SZ").item() == acquired


@pytest.mark.parametrize("name", ["classes", "observations", "confidence"])
def test_zarr_is_opened_by_gdal_where_it_lies(out, name):
    with rasterio.open(f'ZARR:"{out / "maps.zarr"}":/{name}') as data:
        with rasterio.open(out / "classes.tif") as classes:
            assert (data.crs, data.shape) == (classes.crs, classes.shape)
            np.testing.assert_allclose(data.transform, classes.transform)
        assert data.read(1).any()


def test_zarr_is_opened_by_the_gdal_of_qgis(out):
    info = Path("/usr/bin/gdalinfo")
    if not info.exists():
        pytest.skip("Debian's gdal-bin is not installed")
    target = f'ZARR:"{out / "maps.zarr"}":/classes'
    done = subprocess.run([info, "-json", target], capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert told["size"] == list(SHAPE[::-1])
    assert 'ID["EPSG",32629]' in told["coordinateSystem"]["wkt"]


def test_every_product_says_the_same_of_its_origin(made):
    asked, out = made
    told = {name: read(out / name) for name in SPOKEN}
    for name, document in told.items():
        document.pop("polygons", None)
        assert document == told["classes.tif"], name
    document = told["classes.tif"]
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert document["fingerprint"] == record["fingerprint"]
    assert document["inputs"] == record["inputs"]
    for one in document["inputs"]:
        content = Path(one["href"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(content).hexdigest()
        assert one["bytes"] == len(content)
    assert document["model"]["sha256"] == record["model"]["sha256"]
    assert document["model"]["engine"]["runtime"]
    assert document["settings"]["segment"]["tiling"]["size"] == 192
    assert document["settings"]["products"]["vector"]["simplify"] == "8 m"
    assert document["software"] == record["software"]
    assert {"geoseg", "gdal", "torch"} <= document["software"].keys()
    assert str(asked) not in json.dumps(document["settings"])


def test_the_command_tells_it_and_whether_inputs_are_what_they_were(out, capfd, tmp_path):
    assert run(["provenance", str(out / "polygons.gpkg"), "--check"]) == 0
    told = capfd.readouterr().out
    assert "polygons.gpkg: map, by geoseg" in told
    assert "unchanged" in told
    assert run(["provenance", str(out / "maps.zarr"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document == read(out / "classes.tif")
    file = tmp_path / "a.tif"
    file.write_bytes(b"what was mapped")
    one = {"href": str(file), "bytes": 15, "sha256": hashlib.sha256(b"what was mapped").hexdigest()}
    inputs = [one, {**one, "href": f"{file}.gone"}, {"href": "s3://b/a.tif"}]
    states = [found.state for found in check_inputs({"inputs": inputs})]
    assert states == ["unchanged", "not found", "not checked"]
    file.write_bytes(b"something else!")
    assert [found.state for found in check_inputs({"inputs": [one]})] == ["changed"]
