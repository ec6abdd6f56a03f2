"""Whole runs that make one map of many scenes, judged by the tools of others."""

import json
import subprocess
import sys
import zipfile
from math import ceil
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from packages import write_package
from pyproj import Geod
from pystac.validation import validate_dict
from rasterio.warp import Resampling, reproject, transform_bounds
from rasters import write
from scipy.ndimage import distance_transform_edt

from geoseg.api import plan as plan_of
from geoseg.api.inputs import find_scenes
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.sample import SampleSource, SampleSpec, write_sample
from geoseg.ops.tiling import Lattice
from geoseg.workflow import load

pytestmark = pytest.mark.cluster

SHAPE = 200, 260
NAMES = ("blue", "green", "red", "nir", "swir16", "swir22")
DATES = {"june": 1, "september": 2}


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """Two dates of one place, a quarter of each under clouds, and the rim of a swath."""
    folder = tmp_path_factory.mktemp("dates")
    for name, date in DATES.items():
        spec = SampleSpec(SHAPE, seed=5, date=date, cloud_cover=0.25)
        write_sample(spec, folder / name)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


def workflow(folder: Path, dates: Path, model: Path, **changes) -> Path:
    data = {
        "geoseg": 1,
        "name": "many",
        "input": {
            "kind": "files", "path": str(dates / "{scene}" / "scene.tif"), "units": "reflectance",
            "mask": {"method": "scl", "path": str(dates / "{scene}" / "scl.tif"), "dilate": "20 m"},
        },
        "model": {"path": str(model)},
        "tiling": {"size": 160, "margin": 48, "block": 128},
        "output": {"directory": str(folder / "out" / "{scene}")},
        "cluster": {"workers": 1, "dashboard": False},
    }  # fmt: skip
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(data | changes))
    return path


def valid_pixels(dates, name):
    from geoseg.grid import full_window
    from geoseg.io.reader import ScenePixels

    spec = SampleSpec(SHAPE, seed=5, date=DATES[name], cloud_cover=0.25)
    (scene,) = SampleSource(spec, dates / name).scenes(("red",))
    pixels = ScenePixels(scene)
    valid = pixels.read(["red"], full_window(scene.grid)).valid
    pixels.close()
    return valid


@pytest.fixture(scope="module")
def composite(tmp_path_factory, dates, model):
    folder = tmp_path_factory.mktemp("composite")
    path = workflow(folder, dates, model, composite={"method": "best_pixel"})
    assert run(["run", str(path), "-q"]) == 0
    return path, folder / "out" / "composite-20240615-20240913"


def test_a_composite_has_fewer_gaps_than_each_date(composite, dates):
    _, out = composite
    with rasterio.open(out / "classes.tif") as file:
        mapped = file.read(1) != 255
    with rasterio.open(out / "observations.tif") as file:
        counts = file.read(1)
        assert (file.nodata, file.descriptions) == (0, ("clear observations",))
    june, september = (valid_pixels(dates, name) for name in DATES)
    assert np.array_equal(counts, june.astype(int) + september)
    assert np.array_equal(mapped, counts > 0)
    gaps = [(~one).mean() for one in (june, september, mapped)]
    assert gaps[2] < 0.75 * min(gaps[:2])


def test_its_products_say_what_they_are_of(composite, dates):
    _, out = composite
    record = json.loads((out / "run.json").read_text())["combined"]
    assert (record["rule"], record["after_the_model"]) == ("best_pixel", False)
    assert [one["scene"] for one in record["scenes"]] == ["june", "september"]
    with rasterio.open(out / "observations.tif") as file:
        counts = file.read(1)
    assert record["observations"]["pixels"] == (counts > 0).sum()
    assert record["observations"]["mean"] == pytest.approx(counts[counts > 0].mean(), abs=1e-4)
    content = json.loads((out / "item.json").read_text())
    validate_dict(content, pystac.STACObjectType.ITEM, stac_version="1.1.0", extensions=[])
    item = pystac.Item.from_file(str(out / "item.json"))
    assert item.datetime is None
    times = item.common_metadata.start_datetime, item.common_metadata.end_datetime
    assert [f"{time:%Y-%m-%d}" for time in times] == ["2024-06-15", "2024-09-13"]
    sources = {Path(link.get_absolute_href()) for link in item.get_links("derived_from")}
    assert sources == {dates / name / file for name in DATES for file in ("scene.tif", "scl.tif")}
    assert item.assets["observations"].extra_fields["file:size"] > 0
    polygons = geopandas.read_file(out / "polygons.gpkg", layer="land_use")
    assert set(polygons.date) == {"2024-06-15/2024-09-13"}
    judge = [Path(sys.executable).with_name("rio"), "cogeo", "validate", "--strict"]
    done = subprocess.run(
        [*judge, out / "observations.tif"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("is a valid cloud optimized GeoTIFF"), done.stdout


def test_its_project_shows_observations_and_scenes(composite):
    _, out = composite
    most = json.loads((out / "run.json").read_text())["combined"]["observations"]["most"]
    style = ET.parse(out / "observations.qml").getroot()  # noqa: S314 (our own file)
    assert [r.get("classificationMax") for r in style.iter("rasterrenderer")] == [str(most)]
    with zipfile.ZipFile(out / "project.qgz") as project:
        root = ET.fromstring(project.read("project.qgs").decode().partition("\n")[2])  # noqa: S314 (same)
    shown = {layer.get("name"): layer for layer in root.iter("layer-tree-layer")}
    assert list(shown)[-3:] == ["Clear observations", "september", "june"]
    assert shown["Clear observations"].get("checked") == "Qt::Unchecked"
    for name in ("observations.tif", "september/scene.tif", "june/scene.tif"):
        (source,) = [
            lay.get("source") for lay in shown.values() if lay.get("source").endswith(name)
        ]
        assert (out / source).exists()


LEAST = 0.55


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"composite": {"method": "median", "min_observations": 2}}, 2),
        ({"mosaic": "probability"}, 1),
    ],
)
def test_quality_and_thin_chips_of_many_scenes(tmp_path, dates, model, changes, least):
    output = {"directory": str(tmp_path / "out"), "project": False, "quicklook": False}
    path = workflow(
        tmp_path, dates, model, **changes,
        tiling={"size": 160, "margin": 48, "block": 128, "min_valid": LEAST},
        output=output | {"vector": False, "raster": {"quality": True}},
    )  # fmt: skip
    assert run(["run", str(path), "-q"]) == 0
    out = tmp_path / "out"
    seen = [valid_pixels(dates, name) for name in DATES]
    counts = sum(one.astype(int) for one in seen)
    valid = counts >= least
    with rasterio.open(out / "quality.tif") as file:
        found, far = file.read()
    assert np.array_equal(found, counts)
    assert np.array_equal(far, np.minimum(np.floor(distance_transform_edt(valid)), 64))
    with rasterio.open(out / "observations.tif") as file:
        assert np.array_equal(file.read(1), counts)
    # A composite is seen as one scene, each scene of a mosaic by itself.
    parts = [thick(one) for one in (seen if "mosaic" in changes else [valid])]
    expected = np.logical_or.reduce(parts)
    with rasterio.open(out / "classes.tif") as file:
        assert np.array_equal(file.read(1) != 255, expected)
    record = json.loads((out / "run.json").read_text())
    assert record["valid_pixels"] == expected.sum()
    assert record["dropped_pixels"] == (valid & ~expected).sum() > 0
    assert record["thin_chips"] > 0


def thick(valid):
    """Valid pixels that a chip speaks for of which enough is valid."""
    kept = np.zeros_like(valid)
    for chip in Lattice(160, 48, 8).chips(SHAPE, Window(0, 0, *SHAPE)):
        if valid[(chip.sees & Window(0, 0, *SHAPE)).slices].mean() >= LEAST:
            kept[chip.owns.slices] = True
    return kept & valid


def test_what_is_finished_is_not_done_again(composite):
    path, out = composite
    before = (out / "classes.tif").stat().st_mtime_ns
    assert run(["run", str(path), "-q"]) == 0
    assert (out / "classes.tif").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def zones(tmp_path_factory):
    """Two overlapping halves of a scene, one of them in the next UTM zone."""
    folder = tmp_path_factory.mktemp("zones")
    spec = SampleSpec(SHAPE, seed=5, clouds=False, swath_edge=False)
    with rasterio.open(write_sample(spec, folder / "whole")) as file:
        values, place, names = file.read(), file.transform, file.descriptions
    west, east = values[:, :, :170], values[:, :, 90:]
    scaled = {"names": names, "nodata": 0, "scales": (1e-4,) * 6, "offsets": (-0.1,) * 6}
    write(folder / "west_20240615.tif", west, transform=place, **scaled)
    here = place @ Affine.translation(90, 0)
    rows, cols = east.shape[1:]
    here_bounds = here.c, here.f - 10 * rows, here.c + 10 * cols, here.f
    bounds = transform_bounds("EPSG:32629", "EPSG:32630", *here_bounds)
    there = Affine(10, 0, bounds[0], 0, -10, bounds[3])
    shape = ceil((bounds[3] - bounds[1]) / 10), ceil((bounds[2] - bounds[0]) / 10)
    moved = np.zeros((6, *shape), np.uint16)
    reproject(
        east, moved, src_transform=here, src_crs="EPSG:32629", src_nodata=0,
        dst_transform=there, dst_crs="EPSG:32630", dst_nodata=0, resampling=Resampling.bilinear,
    )  # fmt: skip
    write(folder / "east_20240625.tif", moved, transform=there, crs="EPSG:32630", **scaled)
    return folder


def test_scenes_of_two_zones_become_one_map(tmp_path, zones, model):
    source = {"kind": "files", "path": str(zones / "*.tif"), "units": "reflectance"}
    output = {"directory": str(tmp_path / "out" / "{scene}"), "vector": False, "project": False}
    path = workflow(
        tmp_path, zones, model, input=source, mosaic="probability", output=output,
        grid={"crs": "EPSG:32629", "resolution": "10 m"},
    )  # fmt: skip
    assert run(["run", str(path), "-q"]) == 0
    out = tmp_path / "out" / "mosaic-20240615-20240625"
    with rasterio.open(out / "classes.tif") as file, rasterio.open(zones / "whole/scene.tif") as of:
        assert file.crs.to_epsg() == 32629
        window = file.window(*of.bounds)
        mapped = file.read(1, window=window.round_offsets().round_lengths())
    with rasterio.open(out / "observations.tif") as file:
        counts = file.read(1, window=window.round_offsets().round_lengths())
    assert mapped.shape == SHAPE
    # All of the place is mapped, but the rim that was lost when the half was warped.
    assert (mapped[3:-3, :-3] != 255).all()
    assert (counts[5:-5, 5:85] == 1).all()
    assert (counts[5:-5, 95:165] == 2).all()
    assert (counts[5:-5, 175:-5] == 1).all()
    record = json.loads((out / "run.json").read_text())["combined"]
    assert (record["rule"], record["after_the_model"]) == ("probability", True)


def test_a_composite_across_the_antimeridian(tmp_path, model):
    rng = np.random.default_rng(1)
    for name, west in (("a_20240601", 179.985), ("b_20240611", -180)):
        values = rng.integers(200, 4000, (6, 12, 15)).astype(np.uint16).repeat(10, 1).repeat(10, 2)
        place = Affine(1e-4, 0, west, 0, -1e-4, 10)
        write(tmp_path / "in" / f"{name}.tif", values, transform=place, crs="EPSG:4326", names=NAMES)  # fmt: skip
    source = {"kind": "files", "path": str(tmp_path / "in"), "units": "reflectance", "scale": 1e-4}
    output = {"directory": str(tmp_path / "out")}
    tiling = {"size": 160, "margin": 48}
    path = workflow(
        tmp_path, tmp_path, model, input=source, composite="median", output=output, tiling=tiling
    )
    assert run(["run", str(path), "-q"]) == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        assert file.shape == (120, 300)
        assert (file.read(1) != 255).all()
    item = json.loads((tmp_path / "out" / "item.json").read_text())
    assert item["bbox"] == pytest.approx([179.985, 9.988, -179.985, 10])
    polygons = geopandas.read_file(tmp_path / "out" / "polygons.gpkg", layer="land_use")
    geod = Geod(ellps="WGS84")
    whole, _ = geod.geometry_area_perimeter(shapely.box(0, 9.988, 0.03, 10).segmentize(1e-3))
    assert polygons.area_m2.sum() == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("composite", "ids"),
    [
        ({"period": "month"}, ["composite-2024-06", "composite-2024-09"]),
        ({"period": "quarter"}, ["composite-2024-Q2", "composite-2024-Q3"]),
        ({"period": "16d"}, ["composite-2024-06-09-16d", "composite-2024-09-13-16d"]),
        ({"period": "year", "method": "max_ndvi"}, ["composite-2024"]),
    ],
)
def test_each_period_is_planned_as_a_scene_of_its_own(tmp_path, dates, model, composite, ids):
    output = {"directory": str(tmp_path / "out" / "{date:%Y-%m-%d}")}
    path = workflow(tmp_path, dates, model, composite=composite, output=output)
    found = plan_of(path)
    assert [task.plan.scene.id for task in found.tasks] == ids
    assert len({task.directory for task in found.tasks}) == len(ids)


def test_the_plan_says_which_scenes_are_combined(tmp_path, dates, model, capfd):
    path = workflow(tmp_path, dates, model, mosaic="latest")
    assert run(["plan", str(path)]) == 0
    assert "2 scenes combined by latest after the model: june, september" in capfd.readouterr().out
    assert run(["plan", str(path), "--json"]) == 0
    (told,) = json.loads(capfd.readouterr().out)["scenes"]
    once = plan_of(workflow(tmp_path, dates, model, composite="latest")).tasks[0].plan
    assert told["combined"]["scenes"] == ["june", "september"]
    assert told["crs"] == "EPSG:32629"
    assert told["chips"] == 2 * once.chips, "each chip is predicted in both scenes"


def test_ndvi_asks_for_bands_that_the_model_does_not(tmp_path, dates, model):
    read = load(workflow(tmp_path, dates, model, composite="max_ndvi"))
    (found,) = find_scenes(read, ("red", "green"))
    assert list(found.scene.bands) == ["red", "green", "nir"]
    read = load(workflow(tmp_path, dates, model, composite="median"))
    (found,) = find_scenes(read, ("red", "green"))
    assert list(found.scene.bands) == ["red", "green"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"composite": "median", "mosaic": "latest"}, "expected only one of composite"),
        ({"composite": {"method": "mean"}}, "expected median, best_pixel, max_ndvi or latest"),
        ({"composite": {"period": "36h"}}, "whole days like '16d'"),
        ({"composite": {"period": "quater"}}, "did you mean 'quarter'?"),
        ({"mosaic": {"rule": "probabilty"}}, "did you mean 'probability'?"),
        ({"composite": "median", "input": {"kind": "sample"}}, "a sample is a single scene"),
    ],
)
def test_wrong_requests_are_refused_where_they_stand(tmp_path, dates, model, changes, said):
    with pytest.raises(InputError) as caught:
        plan_of(workflow(tmp_path, dates, model, **changes))
    assert f"{tmp_path / 'workflow.yaml'}:1:" in str(caught.value)
    assert said in str(caught.value)
