"""geoseg style: rasters and polygons get the names and colours of a legend, and nothing else."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from class_rasters import NAMES, codes, name
from in_qgis import environment, open_in_qgis
from PIL import Image
from products import GRIDS, LEGEND, ArrayStore, class_map, percents, polygons
from rasters import NORTH_UP, write

from geoseg.cli import run
from geoseg.grid import full_window
from geoseg.io.cog import write_class_cog, write_confidence_cog
from geoseg.io.columns import attributes
from geoseg.io.geopackage import write_geopackage
from geoseg.io.product_item import ItemAsset, Processing, class_asset, write_item
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import class_style, polygon_qml, polygon_style, write_class_qml
from geoseg.io.qml_time import range_in, shown_on
from geoseg.io.rat import write_rat
from geoseg.legend import LandClass

GRID = GRIDS["south-up"]
SHAPE = full_window(GRID).shape
CODES = class_map(SHAPE)
OTHER = "code,name,color\n10,Wald,#112233\n20,Busch,#445566\n80,Wasser,#778899\n90,Moor,#aabbcc\n"
WANTED = [[10, "Wald", "#112233"], [20, "Busch", "#445566"], [80, "Wasser", "#778899"],
          [90, "Moor", "#aabbcc"]]  # fmt: skip
DAY = shown_on(date(2024, 6, 1))


def make(folder):
    """A folder of products as a run leaves it."""
    write_class_cog(ArrayStore(CODES), GRID, LEGEND, folder / "classes.tif", tags={"KEPT": "yes"})
    write_rat(folder / "classes.tif", LEGEND)
    write_class_qml(folder / "classes.qml", LEGEND, shown=DAY)
    store = ArrayStore(percents(SHAPE))
    write_confidence_cog(store, GRID, folder / "confidence.tif", tags={})
    batches = list(polygons(CODES, GRID))
    fields = attributes(batches[0].schema)
    gpkg = folder / "polygons.gpkg"
    style = polygon_qml(LEGEND.classes, fields)
    write_geopackage(
        gpkg, {"land_use": batches}, grid_crs=GRID, styles={"land_use": style}, tags={"a": 1}
    )
    raster, packed = str(folder / "classes.tif"), str(gpkg)
    layers = [
        ProjectLayer(
            "Land use", packed, polygon_style(LEGEND.classes, fields), "land_use", "Polygons"
        ),
        ProjectLayer("Classes", raster, class_style(LEGEND), group="Maps", shown=DAY),
    ]
    write_project(folder / "project.qgz", layers, grid=GRID, title="A map")
    assets = {
        "classes": class_asset(folder / "classes.tif", GRID, LEGEND),
        "geopackage": ItemAsset(gpkg, "Polygons"),
        "project": ItemAsset(folder / "project.qgz", "Project"),
    }
    write_item(
        folder / "item.json", item_id="a", grid=GRID, assets=assets, acquired=None,
        processing=Processing({}, "made"),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("legend") / "other.csv"
    path.write_text(OTHER)
    return path


@pytest.fixture(scope="module")
def restyled(made, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restyled") / "out"
    shutil.copytree(made, folder)
    assert run(["style", str(folder), str(folder / "confidence.tif"), "--legend", str(table)]) == 0
    return folder


@pytest.fixture
def out(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "out"))


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def pixels(path):
    with rasterio.open(path) as raster:
        return raster.read(1), raster.colormap(1), raster.tags(), raster.overviews(1)


def styles_of(path, layer="land_use"):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(
            "SELECT styleName, styleQML, useAsDefault FROM layer_styles "
            "WHERE f_table_name = ? ORDER BY id",
            (layer,),
        ).fetchall()


def categories(qml):
    root = ET.fromstring(qml[qml.index("<qgis") :])  # noqa: S314 (our own)
    return [[int(c.get("value")), c.get("label")] for c in root.iter("category")]


def test_a_raster_keeps_its_pixels_and_stays_a_cog(made, restyled):
    before, after = pixels(made / "classes.tif"), pixels(restyled / "classes.tif")
    np.testing.assert_array_equal(before[0], after[0])
    assert before[2:] == after[2:]
    colors = {c.value: (*c.rgb, 255) for c in (LandClass(*row) for row in WANTED)}
    for code in range(256):
        if code != LEGEND.nodata:
            assert after[1][code] == colors.get(code, (0, 0, 0, 255)), code
    # Only the palettes of full resolution and overviews differ: the order of a COG is untouched.
    one, two = (np.frombuffer((f / "classes.tif").read_bytes(), np.uint8) for f in (made, restyled))
    assert one.shape == two.shape
    assert np.count_nonzero(one != two) <= 4 * 6 * 2 * (1 + len(before[3]))
    checked = subprocess.run(
        [Path(sys.executable).with_name("rio"), "cogeo", "validate", "--strict",
         restyled / "classes.tif"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "is a valid cloud optimized GeoTIFF" in checked.stdout


def test_what_lies_beside_a_raster_follows(restyled):
    band = ET.parse(restyled / "classes.tif.aux.xml").getroot().find("PAMRasterBand")  # noqa: S314 (our own)
    rows = [[cell.text for cell in row] for row in band.iter("Row")]
    assert [row[:2] for row in rows] == [[str(code), name] for code, name, _ in WANTED]
    assert [int(row[-1]) for row in rows] == [
        np.count_nonzero(code == CODES) for code, *_ in WANTED
    ]
    assert range_in(restyled / "classes.qml") == DAY
    item = json.loads((restyled / "item.json").read_text())
    classes = item["assets"]["classes"]["classification:classes"]
    assert [[c["value"], c["description"]] for c in classes] == [row[:2] for row in WANTED]
    for asset in item["assets"].values():
        file = restyled / asset["href"]
        assert asset["file:size"] == file.stat().st_size
        assert asset["file:checksum"][4:] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.qgis
def test_qgis_shows_the_new_legend_everywhere(restyled, tmp_path):
    names = ("classes.tif", "confidence.tif", "polygons.gpkg", "project.qgz")
    told = open_in_qgis(tmp_path, *(restyled / n for n in names), size=SHAPE[::-1])
    classes, confidence, packed, listed, shown = told["layers"]
    for layer in (classes, packed, listed, shown):
        assert layer["classes"] == WANTED, layer["name"]
    assert [row[0] for row in confidence["ramp"]] == [0, 25, 50, 75, 100]
    assert packed["features"] == listed["features"] > 100
    table = np.full((256, 3), 255, np.uint8)
    for code, _, color in WANTED:
        table[code] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    for layer in (classes, shown):
        with Image.open(layer["png"]) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), table[CODES[::-1]])


def test_again_changes_nothing(restyled, table, capsys):
    before = contents(restyled)
    assert run(["style", str(restyled / "classes.tif"), "--legend", str(table), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert contents(restyled) == before
    assert [c["name"] for c in told["layers"][""]] == [row[1] for row in WANTED]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--legend", "nothing"], "legend nothing: neither a file, nor a known legend"),
        (["--legend", "landcover"], "classes.tif: holds codes that legend 'landcover' lacks: 10 ("),
        (["missing.tif"], "missing.tif: no such file or folder"),
        (["--column", "kind"], "no layer has the column 'kind' with classes; land_use has class_c"),
        (["--layer", "water"], "has no layer 'water'; it has land_use"),
        (["empty"], "empty: has none of classes.tif, polygons.gpkg"),
        (["image.tif"], "image.tif: its first band is float32, not class codes"),
        (["text.gpkg"], "text.gpkg: cannot be read as a GeoPackage: file is not a database"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(out, monkeypatch, capsys, extra, said):
    monkeypatch.chdir(out.parent)
    Path("empty").mkdir()
    Path("text.gpkg").write_text("no database at all")
    write(Path("image.tif"), np.zeros((3, 3), np.float32), transform=NORTH_UP, crs="EPSG:32629")
    before = contents(out)
    assert run(["style", "out", *extra]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert contents(out) == before


def test_a_raster_of_anyones_gets_a_palette(tmp_path, capsys):
    path = tmp_path / "map.tif"
    write(path, codes(), transform=NORTH_UP, crs="EPSG:32629", nodata=0)
    name(path, NAMES)
    assert run(["style", str(path)]) == 0
    assert "map.tif: classes: 4; written: map.tif, map.tif.aux.xml, map.qml" in (
        capsys.readouterr().out
    )
    values, palette, *_ = pixels(path)
    np.testing.assert_array_equal(values, codes())
    told = ET.parse(tmp_path / "map.qml").getroot()  # noqa: S314 (our own)
    entries = {int(e.get("value")): e for e in told.iter("paletteEntry")}
    assert {code: e.get("label") for code, e in entries.items()} == {
        1: "Water", 2: "Trees", 3: "Shade", 5: "Built",
    }  # fmt: skip
    for code, entry in entries.items():
        assert "#{:02x}{:02x}{:02x}".format(*palette[code][:3]) == entry.get("color")


def test_numbers_that_need_more_than_a_byte_get_names_beside_the_file(tmp_path, table):
    path = tmp_path / "map.tif"
    values = np.where(CODES == 0, np.int16(-9999), CODES.astype(np.int16))
    write(path, values, transform=NORTH_UP, crs="EPSG:32629", nodata=-9999)
    before = path.read_bytes()
    assert run(["style", str(path), "--legend", str(table), "-q"]) == 0
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"map.tif", "map.tif.aux.xml", "map.qml"}


def append(path, tool):
    """What a colleague adds: polygons of a class that was not there."""
    frame = geopandas.read_file(path, layer="land_use", rows=3)
    frame["class_code"], frame["class_name"] = 90, "Moor"
    if tool == "pyogrio":
        pyogrio.write_dataframe(frame, path, layer="land_use", append=True, driver="GPKG")
        return
    if shutil.which("ogr2ogr", path="/usr/bin") is None:
        pytest.skip("there is no ogr2ogr")
    more = path.with_name("more.gpkg")
    frame.to_file(more, layer="land_use")
    command = ["/usr/bin/ogr2ogr", "-append", path, more, "land_use"]
    subprocess.run(command, check=True, env=environment())


def check_with_gdal(path):
    """GDAL's own validator finds nothing."""
    validator = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_gpkg.py")
    if validator.exists():
        done = subprocess.run(
            ["/usr/bin/python3", validator, path],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("tool", ["ogr2ogr", "pyogrio"])
def test_styles_survive_appending_and_new_classes_can_be_taken_up(out, capsys, tool):
    path = out / "polygons.gpkg"
    before = styles_of(path)
    append(path, tool)
    assert styles_of(path) == before
    assert run(["style", str(path), "-q"]) == 0
    ((_, qml, default),) = styles_of(path)
    assert default == 1
    assert categories(qml) == [[c.value, c.name] for c in LEGEND.classes] + [[90, "Moor"]]
    for entry in LEGEND.classes:  # colours stay
        assert ",".join(map(str, (*entry.rgb, 255))) in qml
    assert "polygons.gpkg" not in capsys.readouterr().out
    check_with_gdal(path)


def save_with_qgis(path, *, default):
    """What QGIS does where somebody saves a style in a GeoPackage."""
    with closing(sqlite3.connect(path)) as file, file:
        if default:
            file.execute("UPDATE layer_styles SET useAsDefault = 0")
        file.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', 'land_use', 'geom', 'mine', ?, '', ?, '', 'me')",
            ('<qgis version="3.34.1-Prizren"><flags/></qgis>', int(default)),
        )


@pytest.mark.parametrize("default", [True, False])
def test_what_somebody_has_saved_stays(out, table, default):
    path = out / "polygons.gpkg"
    save_with_qgis(path, default=default)
    batches = list(polygons(CODES, GRID))
    style = polygon_qml(LEGEND.classes, attributes(batches[0].schema))
    layers = {"land_use": batches}
    write_geopackage(path, layers, grid_crs=GRID, styles={"land_use": style}, tags={})
    assert {name: bool(d) for name, _, d in styles_of(path)} == {
        "land_use": not default, "mine": default,
    }  # fmt: skip
    # Asked for, the new style rules; theirs is still on offer.
    assert run(["style", str(path), "--legend", str(table), "-q"]) == 0
    found = {name: (qml, d) for name, qml, d in styles_of(path)}
    assert (found["mine"][1], found["land_use"][1]) == (0, 1)
    assert categories(found["land_use"][0]) == [row[:2] for row in WANTED]


def test_a_project_that_somebody_has_saved_stays(out, table, capsys):
    project = out / "project.qgz"
    with zipfile.ZipFile(project) as archive:
        text = archive.read("project.qgs").decode()
    with zipfile.ZipFile(project, "w") as archive:
        archive.writestr("project.qgs", text.replace('version="3.22.0"', 'version="3.34.1"', 1))
    before = project.read_bytes()
    assert run(["style", str(out / "classes.tif"), "--legend", str(table)]) == 0
    assert "project.qgz: was saved with QGIS, and stays as it is" in capsys.readouterr().out
    assert project.read_bytes() == before
    project.write_bytes(b"no archive")
    assert run(["style", str(out / "classes.tif"), "--legend", "worldcover", "-q", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["notes"] == [f"{project}: cannot be read as a project, and stays as it is"]


def test_a_geopackage_that_is_being_written_is_left_alone(out, table, capsys, monkeypatch):
    monkeypatch.setattr("geoseg.io.polygon_styling._PATIENCE", 0.1)
    path = out / "polygons.gpkg"
    with closing(sqlite3.connect(path, isolation_level=None)) as editor:
        editor.execute("BEGIN IMMEDIATE")
        assert run(["style", str(path), "--legend", str(table)]) == 75
    assert "polygons.gpkg: another program is writing to it" in capsys.readouterr().err


def test_texts_of_a_geopackage_of_anyones_are_classes_by_name(tmp_path, table):
    path = tmp_path / "parcels.gpkg"
    frame = geopandas.GeoDataFrame(
        {"use": ["wald", "WASSER", None, "wald"]},
        geometry=geopandas.points_from_xy(range(4), range(4)).buffer(0.4),
        crs="EPSG:32629",
    )
    frame.to_file(path, layer="parcels")
    command = ["style", str(path), "--legend", str(table), "--column", "use", "-q"]
    assert run(command) == 0
    ((_, qml, default),) = styles_of(path, "parcels")
    root = ET.fromstring(qml[qml.index("<qgis") :])  # noqa: S314 (our own)
    assert [c.get("value") for c in root.iter("category")] == ["WASSER", "wald"]
    assert default == 1
    assert run([*command, "--layer", "parcels"]) == 0
    assert len(styles_of(path, "parcels")) == 1


@pytest.mark.parametrize("suffix", [".parquet", ".fgb"])
def test_formats_without_styles_get_a_file_beside_them(out, table, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    frame = geopandas.read_file(out / "polygons.gpkg", layer="land_use")
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path, driver="FlatGeobuf")
    assert run(["style", str(path), "--legend", str(table), "-q"]) == 0
    assert categories((tmp_path / "a.qml").read_text("utf-8")) == [row[:2] for row in WANTED]
