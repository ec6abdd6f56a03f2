"""Every awkward file, by every command that takes a raster: done, or refused in one clear line."""

import json
from pathlib import Path

import pyogrio
import pytest
from packages import write_package

from geoseg.cli import run

pytestmark = pytest.mark.data

TRUNCATED = "truncated, at least 8854 bytes are missing; get the file again"
POINTS = "has ground control points but no geotransform; rectify it first (gdalwarp -tps"
RPCS = "has RPCs but no geotransform; rectify it first (gdalwarp -rpc"
NO_CRS = "no CRS; give it one first (gdal_edit.py -a_srs EPSG:..."
WORKFLOW_CRS = "no CRS; say which it is with input.crs: EPSG:..."
PICTURE = "is a colour image, not a raster of class codes"
FLOATS = "its first band is float"

# What plan, vectorize and evaluate say of each; None: they do it.
SAID = {
    "rasterio__RGBA.uint16.tif": (None, "holds 10000; class codes", "holds 10000; class codes"),
    "rasterio__alpha.tif": (None, PICTURE, PICTURE),
    "rasterio__corrupt.tif": (TRUNCATED, TRUNCATED, TRUNCATED),
    "rasterio__float_nan.tif": (WORKFLOW_CRS, NO_CRS, NO_CRS),
    "rasterio__rotated.tif": (WORKFLOW_CRS, NO_CRS, NO_CRS),
    "rio-cogeo__image_colormap.tif": (None, None, None),
    "rio-cogeo__image_webp.tif": (None, PICTURE, PICTURE),
    "rio-cogeo__image_with_offsets.tif": (None, "holds 500; class", "holds 500; class"),
    "rio-tiler__cog_cmap.tif": (None, None, None),
    "rio-tiler__cog_dateline.tif": (None, "holds 23888; class", "holds 23888; class"),
    "rio-tiler__cog_gcps.tif": (POINTS, POINTS, POINTS),
    "rio-tiler__cog_nodata_nan.tif": (None, FLOATS, "holds 0.018"),
    "rio-tiler__cog_rgb_mask.tif": (None, PICTURE, PICTURE),
    "rio-tiler__cog_scale.tif": (None, "holds 500; class", "holds 500; class"),
    "rio-tiler__inverted_lat.tif": (None, FLOATS, "is there both a label and a prediction"),
    "rioxarray__2d_test.tif": (None, FLOATS, "holds 0.23"),
    "rioxarray__test_rpcs.tif": (RPCS, RPCS, RPCS),
    "test-data__GeogToWGS84GeoKey5.tif": (None, None, None),
    "test-data__no_pixelscale_or_tiepoints.tiff": (None, FLOATS, "holds 1.59"),
    # Whole numbers in floating point are codes for those who only compare.
    "test-data__nz_habitat_anticross_4326_1deg.tif": (None, FLOATS, None),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("model"), bands=("first",), units="dn", mean=(100.0,), std=(50.0,))  # fmt: skip


def workflow(folder, model, path, **source):
    content = {
        "geoseg": 1,
        "name": "awkward",
        "input": {"kind": "files", "path": str(path), "units": "dn"} | source,
        "model": {"path": str(model)},
        "output": {"directory": str(folder / "out")},
    }
    written = folder / "workflow.yaml"
    written.write_text(json.dumps(content))
    return written


def ask(capfd, path, said, *words):
    """Run a command; it does what it should, or says in one line what is wrong with ``path``."""
    status = run([str(word) for word in words])
    out, told = capfd.readouterr()
    if said is None:
        assert status == 0, told
        return out
    assert status == 2
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert f": {path}: " in line
    assert said in line
    _, below = told.split(line + "\n")
    assert len(below.splitlines()) in (0, 2), "nothing after it but the line of a workflow"
    return ""


def test_all_of_them_are_here(data_dir):
    assert SAID.keys() == {p.name for p in (data_dir / "awkward").glob("*.tif*")}


@pytest.mark.parametrize("name", SAID)
def test_plan(data_dir, tmp_path, model, capfd, name):
    path = data_dir / "awkward" / name
    said = SAID[name][0]
    out = ask(capfd, path, said, "plan", workflow(tmp_path, model, path, bands=["first"]))
    assert ("pixels in" in out) == (said is None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SAID)
def test_vectorize(data_dir, tmp_path, capfd, name):
    path, target = data_dir / "awkward" / name, tmp_path / "out.gpkg"
    said = SAID[name][1]
    ask(capfd, path, said, "vectorize", path, target)
    if said is None:
        assert pyogrio.read_info(target, layer="land_use")["features"] > 60
    else:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SAID)
def test_evaluate(data_dir, tmp_path, capfd, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = data_dir / "awkward" / name
    said = SAID[name][2]
    out = ask(capfd, path, said, "evaluate", path, path)
    # A map is its own truth.
    assert ("accuracy" in out and "100" in out) == (said is None)
    assert list(Path().iterdir()) == []


def test_the_globe_does_not_fit_into_a_zone(data_dir, tmp_path, model, capfd):
    path = data_dir / "awkward" / "test-data__nz_habitat_anticross_4326_1deg.tif"
    asked = workflow(tmp_path, model, path, bands=["first"])
    assert run(["plan", str(asked), "--set", "grid.crs=utm"]) == 2
    _, told = capfd.readouterr()
    assert told.startswith("error: --set grid.crs=utm: scene ")
    assert f"scene {path.stem}: reaches 180 degrees of longitude from 3, " in told
    assert "EPSG:6933" in told
    assert run(["plan", str(asked), "--set", "grid.crs=EPSG:6933"]) == 0


def test_a_palette_is_no_image(data_dir, tmp_path, capfd):
    path = data_dir / "awkward" / "rio-cogeo__image_colormap.tif"
    content = json.loads(workflow(tmp_path, "aerial-rgb", path).read_text()) | {
        "model": "aerial-rgb"
    }
    for bands in ({}, {"bands": ["red", "green", "blue"]}):
        content["input"] |= bands
        (tmp_path / "workflow.yaml").write_text(json.dumps(content))
        ask(capfd, path, "gdal_translate -expand rgb", "plan", tmp_path / "workflow.yaml")
