"""Views, layers and refinement through the real command line, with products that others open."""

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
import rasterio
from packages import write_package
from scipy import ndimage
from test_run import geoseg, workflow

from geoseg.legend import LANDCOVER

pytestmark = pytest.mark.cluster

LAYERS = ("confidence", "entropy", "margin", "disagreement", "probabilities")
CHANGES = {
    "input": {"size": [260, 330]},
    "tiling": {"size": 192, "margin": 48},
    "postprocess": [
        {"step": "smooth", "radius": 2},
        {"step": "majority", "size": 3},
        {"step": "close", "classes": ["Water"], "size": 3},
        {"step": "fill_holes", "classes": ["Trees"], "max_area": "500 m2"},
        {"step": "sieve", "min_area": "400 m2", "passes": 2},
    ],
    "output": {"raster": dict.fromkeys(LAYERS, True), "keep_work": True},
}


def views_workflow(folder, model, **changes):
    """A small workflow with views, all layers and some steps."""
    path = workflow(folder, model, **(CHANGES | changes))
    data = json.loads(path.read_text())
    data["model"]["tta"] = "flips"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def out(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("refined")
    geoseg("run", views_workflow(folder, model), check=0)
    return folder / "out"


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def test_layers_are_made_and_described(out):
    item = json.loads((out / "item.json").read_text())
    record = json.loads((out / "run.json").read_text())
    valid = read(out / "classes.tif")[0] != 255
    for layer in LAYERS:
        with rasterio.open(out / f"{layer}.tif") as source:
            names = LANDCOVER.names if layer == "probabilities" else [layer]
            assert source.descriptions == tuple(f"{name} (percent)" for name in names)
            assert source.nodata == 255
            values = source.read()
        np.testing.assert_array_equal((values != 255).all(axis=0), valid)
        assert values[:, valid].max() <= 100
        bands = item["assets"][layer]["bands"]
        assert [band["name"] for band in bands] == list(names)
        style = ET.parse(out / f"{layer}.qml").getroot()  # noqa: S314 (our own file)
        assert style.find(".//colorrampshader") is not None
        if layer != "probabilities":
            assert record["layers"][layer] == pytest.approx(values[0][valid].mean(), abs=1e-3)
    shares, confidence = read(out / "probabilities.tif"), read(out / "confidence.tif")[0]
    np.testing.assert_array_equal(shares.max(axis=0), confidence)
    assert np.abs(shares[:, valid].sum(axis=0, dtype=int) - 100).max() <= 3
    two = np.sort(shares, axis=0)[-2:].astype(int)
    assert np.abs(read(out / "margin.tif")[0].astype(int) - (two[1] - two[0]))[valid].max() <= 1
    assert record["layers"]["disagreement"] > 0
    assert (record["model"]["answers"], record["model"]["symmetries"]) == (4, "flips")


def test_the_project_shows_them(out):
    import zipfile

    with zipfile.ZipFile(out / "project.qgz") as archive:
        root = ET.fromstring(archive.read("project.qgs"))  # noqa: S314 (our own file)
    names = [element.text for element in root.iter("layername")]
    assert {layer.capitalize() for layer in LAYERS} <= set(names)


@pytest.mark.parametrize("layer", LAYERS)
def test_rasters_are_cogs(out, layer):
    from rio_cogeo.cogeo import cog_validate

    found, errors, _ = cog_validate(out / f"{layer}.tif", quiet=True)
    assert found, errors


def test_the_map_is_refined_and_all_products_are_of_it(out):
    classes = read(out / "classes.tif")[0]
    record = json.loads((out / "run.json").read_text())
    assert record["refined_pixels"] > 0
    cross = ndimage.generate_binary_structure(2, 1)
    raw = read_stored(out, "classes")
    small = {name: count_small(codes, 4, cross) for name, codes in (("r", raw), ("f", classes))}
    assert small["f"] < small["r"] / 10
    assert int((raw != classes).sum()) == record["refined_pixels"]
    counts = {row["code"]: row["pixels"] for row in record["classes"]}
    for code in LANDCOVER.values:
        assert counts[code] == (classes == code).sum()
    frame = pyogrio.read_dataframe(out / "polygons.gpkg", layer="land_use")
    assert frame.pixels.sum() == (classes != 255).sum()
    assert len(frame) == record["polygons"]["count"]


def read_stored(out, name):
    import zarr

    (path,) = (out / ".geoseg").glob(f"work-*.zarr/{name}")
    return zarr.open_array(path, mode="r", zarr_format=2)[:]


def count_small(codes, pixels, structure):
    total = 0
    for code in LANDCOVER.values:
        labels, count = ndimage.label(codes == code, structure)
        total += int((np.bincount(labels.ravel(), minlength=count + 1)[1:] < pixels).sum())
    return total


@pytest.mark.parametrize(
    "changes", [{"tiling": {"block": 96}, "cluster": {"workers": 1, "threads": 2}}]
)
def test_blocks_and_workers_change_nothing(out, tmp_path, model, changes):
    changes = {**changes, "tiling": CHANGES["tiling"] | changes["tiling"]}
    geoseg("run", views_workflow(tmp_path, model, **changes), check=0)
    for name in ("classes", *LAYERS):
        np.testing.assert_array_equal(
            read(tmp_path / "out" / f"{name}.tif"), read(out / f"{name}.tif"), err_msg=name
        )
    a, b = (
        pyogrio.read_dataframe(f / "polygons.gpkg", layer="land_use")
        for f in (out, tmp_path / "out")
    )
    assert a.equals(b)


def test_other_steps_need_no_new_predictions(tmp_path, model):
    path = views_workflow(tmp_path, model, output={"keep_work": True})
    geoseg("run", path, check=0)
    first = read(tmp_path / "out/classes.tif")
    steps = "postprocess=[{step: smooth, radius: 2}, {step: majority, size: 7}]"
    geoseg("run", path, "--set", steps, check=0)
    record = json.loads((tmp_path / "out/run.json").read_text())
    seconds = record["seconds"]
    assert (seconds["segment"]["blocks"], seconds["refine"]["resumed_blocks"]) == (0, 0)
    assert seconds["refine"]["blocks"] > 0
    assert seconds["trace"]["blocks"] > 0
    second = read(tmp_path / "out/classes.tif")
    assert (second != first).any()
    fresh = tmp_path / "fresh"
    geoseg("run", path, "--set", steps, "--set", f"output.directory={fresh}", check=0)
    np.testing.assert_array_equal(read(fresh / "classes.tif"), second)


def test_an_ensemble_of_two(tmp_path, model):
    other = write_package(tmp_path / "models", "other", bands=("red", "nir"), mean=(0.1, 0.3),
                          std=(0.05, 0.1))  # fmt: skip
    path = workflow(tmp_path, model, input={"size": [130, 150]})
    data = json.loads(path.read_text())
    data["model"] = {"ensemble": [str(model), str(other)]}
    data["output"]["raster"] = {"disagreement": True}
    path.write_text(json.dumps(data))
    planned = json.loads(geoseg("plan", path, "--json", check=0).stdout)
    assert (planned["answers"], planned["scenes"][0]["passes"]) == (2, 2)
    assert planned["scenes"][0]["exact"]
    geoseg("run", path, check=0)
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert [member["name"] for member in record["model"]["members"]] == ["tiny", "other"]
    values = read(tmp_path / "out/disagreement.tif")[0]
    assert values[values != 255].max() > 0


def test_predict_takes_views(tmp_path, model):
    from packages import BANDS
    from rasters import write

    random = np.random.default_rng(0)
    scene = write(tmp_path / "s.tif", random.integers(200, 4000, (6, 70, 90)).astype(np.uint16))
    geoseg(
        "predict", scene, tmp_path / "out", "--model", model, "--bands", ",".join(BANDS),
        "--units", "reflectance", "--scale", 1e-4, "--tta", "d4",
        "--set", "cluster.workers=1", check=0,
    )  # fmt: skip
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["model"]["answers"] == 8


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("postprocess=[{step: sieve, min_area: 10 ha}]", "looks 1999 px"),
        ("postprocess=[{step: open, classes: [Watr]}]", "postprocess.0.classes"),
        ("postprocess=[{step: smooth, bands: [thermal]}]", "does not read thermal"),
        ("model.ensemble=[landcover-s2, aerial-rgb]", "ensemble"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(tmp_path, model, setting, words):
    path = workflow(tmp_path, model)
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "plan", str(path), "--set", setting],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
