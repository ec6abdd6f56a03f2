"""Shipped workflows on products of their sensors, and what is not valid in all that a run makes."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
from affine import Affine
from packages import write_package
from rasterio.errors import NotGeoreferencedWarning
from rasters import write
from safes import L1C_NAME, level_1c
from scipy.ndimage import distance_transform_edt

from geoseg.api.looking import look_at
from geoseg.api.planning import plan_workflow
from geoseg.cli import run
from geoseg.workflow import load

WORKFLOWS = Path(__file__).parents[2] / "workflows"
PLACE = Affine(30, 0, 600_000, 0, -30, 5_200_000)
HLS = "HLS.S30.T32TMT.2021265T102031"
CODES = ("B02", "B03", "B04", "B8A", "B11", "B12")


def planned(name, folder, *settings):
    told = [f"output.directory={folder}/out", *settings]
    return plan_workflow(load(WORKFLOWS / f"{name}.yaml", overrides=told))


@pytest.fixture
def hls(tmp_path, data_dir, monkeypatch):
    """A real chip of HLS with clouds, laid out as an S30 product; its stored bands and its Fmask."""
    chip = data_dir / "hls_water_landcover"
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(chip / "images" / "098.tif") as file:
        bands = file.read([2, 3, 4, 5, 6, 7])
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(chip / "labels" / "098.tif") as file:
        fmask = file.read(4)
    bands[:, :, :9] = -9999
    fmask[40:70, 50:100] |= 1 << 1
    fmask[100, 100] |= 1 << 3
    for code, band in zip(CODES, bands, strict=True):
        write(tmp_path / f"{HLS}.v2.0.{code}.tif", band, transform=PLACE, nodata=-9999)
    write(tmp_path / f"{HLS}.v2.0.Fmask.tif", fmask, transform=PLACE)
    monkeypatch.setenv("HLS_SCENES", str(tmp_path))
    return bands, fmask


@pytest.mark.data
@pytest.mark.cluster
def test_what_is_not_valid_has_no_class_no_confidence_no_polygon_and_no_area(hls, tmp_path):
    bands, fmask = hls
    out = tmp_path / "out"
    settings = [
        f"output.directory={out}", "output.raster.quality=true", "input.mask.dilate=0",
        "tiling={size: 112, margin: 48, min_valid: 0.82}", "cluster={workers: 1, dashboard: false}",
    ]  # fmt: skip
    told = [part for setting in settings for part in ("--set", setting)]
    assert run(["run", str(WORKFLOWS / "hls.yaml"), "-q", *told]) == 0
    valid = (fmask & 0b1110 == 0) & (bands != -9999).all(axis=0)
    with rasterio.open(out / "quality.tif") as file:
        seen, far = file.read()
        assert file.nodata is None
        assert file.descriptions == ("observations", "distance to invalid (pixels)")
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert np.array_equal(seen, valid)
    assert np.array_equal(far, np.minimum(np.floor(distance_transform_edt(valid)), 64))
    with rasterio.open(out / "classes.tif") as file:
        classes = file.read(1)
    with rasterio.open(out / "confidence.tif") as file:
        assert np.array_equal(file.read(1) != 255, classes != 255)
    mapped = classes != 255
    assert not (mapped & ~valid).any()
    record = json.loads((out / "run.json").read_text())
    assert record["valid_pixels"] == mapped.sum() > 0
    assert record["dropped_pixels"] == (valid & ~mapped).sum() > 0
    assert 0 < record["thin_chips"] < record["skipped_chips"] + record["chips"]
    assert sum(row["pixels"] for row in record["classes"]) == mapped.sum()
    total = sum(row["area_ha"] for row in record["classes"])
    assert total == pytest.approx(mapped.sum() * 0.09, rel=2e-3)
    polygons = pyogrio.read_dataframe(out / "polygons.gpkg", layer="land_use")
    covered = rasterio.features.rasterize(polygons.geometry, valid.shape, transform=PLACE)
    assert np.array_equal(covered > 0, mapped)
    assert record["warnings"] == []
    assert record["numbers"]["nir"]["low"] < record["numbers"]["nir"]["high"] < 1
    item = json.loads((out / "item.json").read_text())
    assert [band["name"] for band in item["assets"]["quality"]["bands"]] == list(file_bands(out))
    assert (out / "quality.qml").exists()
    with zipfile.ZipFile(out / "project.qgz") as project:
        assert b"quality.tif" in b"".join(project.read(name) for name in project.namelist())


def file_bands(out):
    with rasterio.open(out / "quality.tif") as file:
        return file.descriptions


@pytest.mark.data
@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["input.scale=1"], "reflectance times 10000"),
        (["input.offset=0.1"], "offset of -1000 had been left out"),
        (["input.offset=-0.1"], "numbers that have none"),
    ],
)
def test_wrong_numbers_are_told_before_anything_is_mapped(hls, tmp_path, settings, what):
    told = [*settings, "input.units=reflectance", "input.mask.dilate=0"]
    if "scale" not in settings[0]:
        told.append("input.scale=0.0001")
    plan = planned("hls", tmp_path, *told)
    numbers, (warning,) = look_at(plan.tasks[0], plan.committee, 600)
    assert what in warning
    assert set(numbers) == set(plan.committee.card.bands)


SENSORS = ["drone", "folder", "forest", "landsat-c2", "landsat8", "naip", "sentinel2-safe", "water"]


@pytest.mark.data
@pytest.mark.parametrize("name", SENSORS)
def test_real_scenes_of_each_sensor_are_what_its_model_knows(data_dir, monkeypatch, tmp_path, name):
    monkeypatch.setenv("GEOSEG_DATA", str(data_dir.parent))
    plan = planned(name, tmp_path / "{scene}")
    units = plan.committee.card.units
    seen = 0
    for task in plan.tasks:
        assert task.plan.scene.units == units
        numbers, doubts = look_at(task, plan.committee, 600)
        assert doubts == []
        seen += bool(numbers)
    assert seen >= 1  # one of the Landsat scenes has nothing but clouds


def test_level_1c_as_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("S2_L1C_SCENES", str(tmp_path))
    bands = {"B03": 10, "B04": 10, "B08": 10, "B11": 20}
    level_1c(tmp_path / L1C_NAME, bands=bands)
    (task,) = planned("sentinel2-l1c", tmp_path).tasks
    assert task.plan.scene.units == "reflectance"
    assert len(task.plan.scene.masks) == 2


def test_planetscope_as_shipped(tmp_path, monkeypatch):
    scene = "20220815_151234_01_2461"
    bands = np.full((8, 40, 40), 900, np.uint16)
    write(tmp_path / f"{scene}_3B_AnalyticMS_SR_8b_clip.tif", bands, transform=PLACE)
    write(tmp_path / f"{scene}_3B_udm2_clip.tif", np.ones((8, 40, 40), np.uint8), transform=PLACE)
    wanted = {"bands": ("blue", "green", "red", "nir"), "mean": (0.1,) * 4, "std": (0.1,) * 4}
    monkeypatch.setenv("PLANET_MODEL", str(write_package(tmp_path / "models", **wanted)))
    monkeypatch.setenv("PLANET_SCENES", str(tmp_path))
    (task,) = planned("planetscope", tmp_path).tasks
    assert (task.plan.scene.id, task.plan.scene.units) == (scene, "reflectance")
    assert [task.plan.scene.bands[b].index for b in wanted["bands"]] == [2, 4, 6, 8]
