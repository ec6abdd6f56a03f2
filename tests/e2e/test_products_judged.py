"""The products of a whole run, judged by the tools of others: GDAL, rio-cogeo, geopandas, QGIS."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas
import jsonschema
import numpy as np
import pyproj
import pystac
import pytest
import rasterio
from conftest import ROOT
from in_qgis import open_in_qgis
from packages import write_package
from PIL import Image
from pystac.validation import validate_dict
from rasters import band_of, write
from test_run import workflow

from geoseg.api.layers import as_qgis_reads
from geoseg.legend import LANDCOVER

pytestmark = pytest.mark.cluster

CLASSES = [[c.value, c.name, c.color] for c in LANDCOVER.classes]
SHAPE = 230, 310


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The products of a run on a small synthetic scene."""
    folder = tmp_path_factory.mktemp("judged")
    model = write_package(folder)
    path = workflow(folder, model, input={"size": SHAPE})
    command = [sys.executable, "-m", "geoseg", "run", path, "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "out"


@pytest.mark.parametrize("name", ["classes.tif", "confidence.tif"])
def test_rasters_are_cogs_by_the_strictest_judge(out, name):
    done = subprocess.run(
        [Path(sys.executable).with_name("rio"), "cogeo", "validate", "--strict", out / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("is a valid cloud optimized GeoTIFF"), done.stdout


def test_geopackage_is_1_3_and_brings_its_style(out):
    with closing(sqlite3.connect(out / "polygons.gpkg")) as file:
        assert file.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
        assert file.execute("PRAGMA user_version").fetchone() == (10300,)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not file.execute("PRAGMA foreign_key_check").fetchall()
        styles = file.execute("SELECT f_table_name, useAsDefault, styleQML FROM layer_styles")
        ((table, default, style),) = styles.fetchall()
        assert (table, default) == ("land_use", 1)
        (extent,) = file.execute(
            "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = 'land_use'"
        )
        tree = file.execute("SELECT count(*) FROM rtree_land_use_geom").fetchone()
        assert tree == file.execute("SELECT count(*) FROM land_use").fetchone()
    labels = [[int(c.get("value")), c.get("label")] for c in ET.fromstring(style).iter("category")]  # noqa: S314 (our own)
    assert labels == [row[:2] for row in CLASSES]
    with rasterio.open(out / "classes.tif") as raster:
        left, bottom, right, top = raster.bounds
    assert left <= extent[0] < extent[2] <= right
    assert bottom <= extent[1] < extent[3] <= top


def test_both_vector_formats_say_the_same(out):
    flat = geopandas.read_parquet(out / "polygons.parquet")
    packed = geopandas.read_file(out / "polygons.gpkg", layer="land_use")
    with rasterio.open(out / "classes.tif") as raster:
        crs = pyproj.CRS.from_user_input(raster.crs.to_wkt())
        values = raster.read(1)
    assert flat.crs == packed.crs == crs
    assert flat.crs.to_epsg() == 32629
    assert flat.geometry.geom_equals_exact(packed.geometry, 0).all()
    for name in ("class_code", "class_name", "pixels", "polygon_id", "scene", "touches_edge"):
        assert (flat[name] == packed[name]).all(), name
    assert flat.polygon_id.is_unique
    counts = np.bincount(values[values != 255], minlength=256)
    assert flat.groupby("class_code").pixels.sum().to_dict() == {
        int(code): int(counts[code]) for code in np.flatnonzero(counts)
    }
    few = geopandas.read_parquet(out / "polygons.parquet", bbox=tuple(flat.geometry.iloc[0].bounds))
    assert 0 < len(few) < len(flat)


def test_item_is_valid_stac_and_all_it_names_is_there(out):
    path = out / "item.json"
    content = json.loads(path.read_text("utf-8"))
    validate_dict(content, pystac.STACObjectType.ITEM, stac_version="1.1.0", extensions=[])
    for uri in content["stac_extensions"]:
        name, version = uri.split("/")[-3:-1]
        file = ROOT / "geoseg/models/stac_schemas" / name / version / "schema.json"
        jsonschema.Draft7Validator(json.loads(file.read_text("utf-8"))).validate(content)
    item = pystac.Item.from_file(str(path))
    for asset in item.assets.values():
        assert Path(asset.get_absolute_href()).stat().st_size == asset.extra_fields["file:size"]
    assert {"classes", "confidence", "geopackage", "geoparquet", "project"} <= set(item.assets)


def drawn(layer, scale=1):
    with Image.open(layer["png"]) as image:
        return np.asarray(image.convert("RGB"))[scale // 2 :: scale, scale // 2 :: scale]


@pytest.fixture(scope="module")
def wanted(out):
    """The class raster in its colours, white where there is no class."""
    table = np.full((256, 3), 255, np.uint8)
    for entry in LANDCOVER.classes:
        table[entry.value] = entry.rgb
    with rasterio.open(out / "classes.tif") as raster:
        return table[raster.read(1)]


@pytest.mark.qgis
def test_the_project_opens_in_qgis_as_it_was_meant(out, tmp_path, wanted):
    day, other = ("2024-06-15", "2024-06-16")
    frames = [(f"{d}T00:00:00Z", f"{d}T23:00:00Z") for d in (day, other)]
    told = open_in_qgis(
        tmp_path, out / "project.qgz", size=SHAPE[::-1], frames=frames, labels=[4_000, 90_000]
    )
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert list(layers) == ["Land use", "Classes", "Confidence", "Scene"]
    assert all(layer["valid"] for layer in told["layers"])
    assert {layer["crs"] for layer in told["layers"]} == {"EPSG:32629"}
    assert told["shown"] == ["Land use", "Classes", "Scene"]
    classes, polygons = layers["Classes"], layers["Land use"]
    assert (classes["renderer"], classes["classes"]) == ("paletted", CLASSES)
    assert (polygons["renderer"], polygons["by"]) == ("categorizedSymbol", "class_code")
    assert polygons["classes"] == CLASSES
    assert polygons["aliases"]["confidence_mean"] == "Confidence (%)"
    assert polygons["invalid"] == 0
    np.testing.assert_array_equal(drawn(classes), wanted)
    (project,) = told["projects"]
    assert [(group, shown) for group, shown, _ in project["groups"]] == [
        ("Polygons", True), ("Maps", True), ("Scene", True),
    ]  # fmt: skip
    assert (project["crs"], project["time"][0]) == ("EPSG:32629", f"{day}T00:00:00Z")
    on, off = (drawn({"png": path}) for path in project["frames"])
    np.testing.assert_array_equal(on[wanted != 255], drawn(polygons)[wanted != 255])
    assert (off == 255).all(), "there is nothing on another day"
    assert polygons["labels"][1] == 25_000
    near, far = ([drawn({"png": p}) for p in pair] for pair in polygons["labelled"])
    assert (near[0] != near[1]).any()
    np.testing.assert_array_equal(far[0], far[1])
    assert max(layer["legend"][1] for layer in told["layers"]) < 100, "legends are short, in mm"
    scene = drawn(layers["Scene"])
    assert len(np.unique(scene.reshape(-1, 3), axis=0)) > 1000, "the scene is stretched"


@pytest.mark.parametrize("told", [True, False])
def test_stretch_is_in_the_numbers_that_qgis_sees(tmp_path, told):
    scales = {"scales": (2e-4, 1e-4), "offsets": (0.0, -0.1)} if told else {}
    path = write(tmp_path / "a.tif", np.ones((2, 3, 4), np.uint16), **scales)
    bands = [band_of(path, 1, scale=2e-4), band_of(path, 2, scale=1e-4, offset=-0.1)]
    found = as_qgis_reads(bands, [(0.1, 0.2), (0.1, 0.3)])
    wanted = [(0.1, 0.2), (0.1, 0.3)] if told else [(500, 1000), (2000, 4000)]
    np.testing.assert_allclose(found, wanted)


@pytest.mark.qgis
def test_files_alone_open_styled_too(out, tmp_path, wanted):
    paths = [out / name for name in ("classes.tif", "confidence.tif", "polygons.gpkg")]
    told = open_in_qgis(tmp_path, *paths, size=SHAPE[::-1], scale=8)
    classes, confidence, polygons = told["layers"]
    assert (classes["renderer"], classes["classes"]) == ("paletted", CLASSES)
    assert confidence["renderer"] == "singlebandpseudocolor"
    assert (polygons["renderer"], polygons["classes"]) == ("categorizedSymbol", CLASSES)
    assert polygons["aliases"]["area_ha"] == "Area (ha)"
    np.testing.assert_array_equal(drawn(classes, 8), wanted)
    # The layer's extent may end before the raster's, where nodata is: polygons know no nodata.
    rows, cols = np.nonzero((wanted != 255).any(axis=2))
    if (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) == (0, 0, *SHAPE):
        np.testing.assert_array_equal(drawn(polygons, 8), wanted)
