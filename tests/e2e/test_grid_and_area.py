"""Whole runs on a grid of choice and on parts of scenes, judged by the tools of others."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
from packages import BANDS, write_package
from rasterio.warp import reproject
from rasters import NORTH_UP, write
from test_run import workflow

from geoseg.cli import run

pytestmark = pytest.mark.cluster

SIZE = 15
CRS = 3035
GEOD = pyproj.Geod(ellps="WGS84")


AREA = {"bbox": [560_300, 5_898_000, 562_700, 5_899_700], "crs": "EPSG:32629"}
"""Nearly all of the sample below."""


def made(path):
    """Run a workflow in this process, on one worker."""
    assert run(["run", str(path), "-q", "--set", "cluster.workers=1"]) == 0


@pytest.fixture(scope="module")
def native_and_placed(tmp_path_factory):
    """An area of a scene on its own grid, and cut out in Europe's equal area projection."""
    folder = tmp_path_factory.mktemp("grids")
    sample = {"kind": "sample", "size": [230, 310], "seed": 3, "directory": str(folder / "scene")}
    placed = {
        "grid": {"crs": f"EPSG:{CRS}", "resolution": f"{SIZE} m"},
        "area": {**AREA, "crop": True},
    }
    for name, changes in (("native", {"area": AREA}), ("placed", placed)):
        (folder / name).mkdir()
        path = workflow(folder / name, folder, input=sample, tiling={"margin": 48}, **changes)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "landcover-s2"}))
        made(path)
    return folder / "native" / "out", folder / "placed" / "out"


def test_products_lie_on_the_grid_that_was_asked_for(native_and_placed):
    native, placed = native_and_placed
    with (
        rasterio.open(native / "classes.tif") as here,
        rasterio.open(placed / "classes.tif") as there,
    ):
        assert there.crs.to_epsg() == CRS
        a = there.transform
        assert (a.a, a.b, a.d, a.e) == (SIZE, 0, 0, -SIZE)
        assert (a.c % SIZE, a.f % SIZE) == (0, 0)
        bounds = rasterio.warp.transform_bounds(here.crs, there.crs, *AREA["bbox"], densify_pts=99)
        assert all(abs(x - y) <= SIZE for x, y in zip(bounds, there.bounds, strict=True))
        found, moved = there.read(1), np.full(there.shape, 255, np.uint8)
        reproject(
            here.read(1), moved, src_transform=here.transform, src_crs=here.crs,
            dst_transform=a, dst_crs=there.crs, src_nodata=255, dst_nodata=255,
        )  # fmt: skip
    both = (found != 255) & (moved != 255)
    assert both.sum() > 0.97 * (moved != 255).sum()
    assert (found == moved)[both].mean() > 0.9
    polygons = geopandas.read_file(placed / "polygons.gpkg", layer="land_use")
    assert polygons.crs.to_epsg() == CRS
    assert polygons.area.sum() == pytest.approx(int((found != 255).sum()) * SIZE**2)
    item = json.loads((placed / "item.json").read_text())
    assert item["properties"]["proj:code"] == f"EPSG:{CRS}"


def test_areas_are_those_of_the_ellipsoid_on_any_grid(native_and_placed):
    hectares = []
    for out in native_and_placed:
        polygons = geopandas.read_file(out / "polygons.gpkg", layer="land_use").to_crs(4326)
        measured = polygons.geometry.map(lambda p: abs(GEOD.geometry_area_perimeter(p)[0]) / 1e4)
        by_class = measured.groupby(polygons.class_name).sum()
        told = {
            c["name"]: c["area_ha"] for c in json.loads((out / "run.json").read_text())["classes"]
        }
        for name, area in by_class.items():
            assert told[name] == pytest.approx(area, rel=2e-4, abs=1e-4), name
        hectares.append(by_class)
    native, placed = hectares
    assert placed.sum() == pytest.approx(native.sum(), rel=0.03)
    # The rim of clouds is hidden by whole pixels, and mixed pixels are other ones.
    assert (placed - native).abs().max() < 0.05 * native.sum()


WHERE = {"bbox": [500_950, 5_898_100, 501_850, 5_898_970], "crs": "EPSG:32629"}
"""Columns 95 to 185, rows 103 to 190 of the scene below."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A scene of which only tiles at the area can be read."""
    folder = tmp_path_factory.mktemp("damaged")
    values = np.random.default_rng(1).integers(200, 4000, (6, 384, 384)).astype(np.uint16)
    path = write(
        folder / "scene.tif", values, names=BANDS, tiled=True, blockxsize=64, blockysize=64,
        compress="deflate", interleave="pixel",
    )  # fmt: skip
    with rasterio.open(path) as file:
        far = [(y, x) for y in range(6) for x in range(6) if y >= 4 or x >= 4]
        places = [
            tuple(int(file.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
            for y, x in far
        ]  # fmt: skip
    with Path(path).open("r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(b"\xff" * size)
    with rasterio.open(path) as file, pytest.raises(rasterio.errors.RasterioError):
        file.read(1)
    return folder, path


def test_only_blocks_at_the_area_are_read(damaged):
    folder, scene = damaged
    model = write_package(folder)
    source = {"kind": "files", "path": scene, "scale": 1e-4, "units": "reflectance"}
    path = workflow(folder, model, area=WHERE, tiling={"block": 96})
    data = json.loads(path.read_text()) | {"input": source}
    # Pictures of the whole scene are made of all of it.
    data["output"] |= {"quicklook": False, "project": False}
    path.write_text(json.dumps(data))
    made(path)
    with rasterio.open(folder / "out" / "classes.tif") as file:
        found, where = file.read(1), file.transform
    assert where == NORTH_UP
    inside = np.zeros((384, 384), bool)
    inside[103:190, 95:185] = True
    assert found.shape == inside.shape
    assert np.array_equal(found != 255, inside)
