"""Awkward files from a workflow to products: each property survives the whole way."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
from packages import write_package
from test_run import geoseg

from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels

pytestmark = [pytest.mark.cluster, pytest.mark.data]

NAMES = (
    "rasterio__RGBA.uint16.tif",  # 16 bit, bands from blue to red, alpha
    "rioxarray__2d_test.tif",  # rotated, 10 x 10, float64
    "rio-tiler__inverted_lat.tif",  # south-up, degrees, without any data
    "test-data__GeogToWGS84GeoKey5.tif",  # a datum of its own
    "test-data__nz_habitat_anticross_4326_1deg.tif",  # all around the globe
)


@pytest.fixture(scope="module")
def made(data_dir, tmp_path_factory):
    """The folder of one run over all of them."""
    root = tmp_path_factory.mktemp("awkward")
    model = write_package(root, bands=("first",), units="dn", mean=(100.0,), std=(50.0,))
    workflow = {
        "geoseg": 1,
        "name": "awkward",
        "input": {
            "kind": "files",
            "path": [str(data_dir / "awkward" / name) for name in NAMES],
            "bands": ["first"],
            "units": "dn",
        },
        "model": {"path": str(model)},
        "output": {"directory": str(root / "{scene}"), "vector": {"formats": ["gpkg"]}},
        "cluster": {"workers": 1, "dashboard": False},
    }
    (root / "workflow.yaml").write_text(json.dumps(workflow))
    done = geoseg("run", root / "workflow.yaml", check=0)
    # The model knows none of these files, and their numbers are told to be unlike what it knows.
    told = [line for line in done.stderr.lower().splitlines() if "warning" in line]
    (empty,) = [line for line in told if "nothing is mapped" in line]
    assert "scene rio-tiler__inverted_lat: " in empty
    assert all("its numbers are unlike" in line for line in told if line != empty)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_maps_and_polygons(made, data_dir, name):
    (scene,) = FilesSource((str(data_dir / "awkward" / name),), ("first",)).scenes(["first"])
    folder = made / scene.id
    pixels = ScenePixels(scene)
    valid = pixels.read(["first"], full_window(scene.grid)).valid
    pixels.close()
    with rasterio.open(folder / "classes.tif") as file:
        assert file.transform.almost_equals(scene.grid.affine, 1e-9)
        assert np.array_equal(file.read(1) != 255, valid)
    record = json.loads((folder / "run.json").read_text())
    hectares = sum(row["area_ha"] for row in record["classes"])
    polygons = pyogrio.read_dataframe(folder / "polygons.gpkg", layer="land_use")
    assert polygons.geometry.is_valid.all()
    assert (len(polygons) > 0) == bool(valid.any())
    assert polygons["area_m2"].sum() / 1e4 == pytest.approx(hectares, rel=1e-3, abs=1e-3)
    assert (folder / "item.json").is_file()
