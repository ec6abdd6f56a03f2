import ctypes
import json
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rasterio
from affine import Affine
from products import GRIDS, LEGEND, ArrayStore, class_map
from rasters import NORTH_UP

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, full_window
from geoseg.io.cog import write_class_cog
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import (
    class_style,
    confidence_style,
    image_style,
    polygon_qml,
    write_class_qml,
    write_confidence_qml,
    write_count_qml,
    write_quality_qml,
)
from geoseg.io.qml_labels import label_scale, scale_for
from geoseg.io.qml_time import one_after_other, shown_on, step_of
from geoseg.io.rat import write_rat

# GTiff files of GDAL 3.6 read their sidecar with the first other question that is asked.
ASK_GDAL = """
import json, sys
from osgeo import gdal
gdal.UseExceptions()
raster = gdal.Open(sys.argv[1])
band = raster.GetRasterBand(1)
rat = band.GetDefaultRAT()
columns = range(rat.GetColumnCount())
print(json.dumps({
    "names": band.GetCategoryNames(),
    "columns": [[rat.GetNameOfCol(c), rat.GetTypeOfCol(c), rat.GetUsageOfCol(c)] for c in columns],
    "rows": [[rat.GetValueAsString(r, c) for c in columns] for r in range(rat.GetRowCount())],
    "type": rat.GetTableType(),
}))
"""


@pytest.fixture
def raster(tmp_path):
    values = class_map(full_window(GRIDS["south-up"]).shape)
    path = tmp_path / "classes.tif"
    write_class_cog(ArrayStore(values), GRIDS["south-up"], LEGEND, path, tags={})
    return path


def ask_gdal(path):
    if not Path("/usr/bin/python3").exists():
        pytest.skip("there is no /usr/bin/python3")
    asked = subprocess.run(
        ["/usr/bin/python3", "-c", ASK_GDAL, str(path)],
        capture_output=True, text=True, check=False, env={"LANG": "C.UTF-8"},
    )  # fmt: skip
    if "No module named 'osgeo'" in asked.stderr:
        pytest.skip("the system's Python has no GDAL")
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_gdal_sees_names_and_attribute_table(raster):
    counts = [0] * 256
    counts[10] = 5
    assert write_rat(raster, LEGEND, counts=counts).name == "classes.tif.aux.xml"
    seen = ask_gdal(raster)
    assert {i: name for i, name in enumerate(seen["names"]) if name} == {
        c.value: c.name for c in LEGEND.classes
    }
    assert seen["type"] == 0  # thematic
    assert [c[0] for c in seen["columns"]] == [
        "Value", "Class", "Red", "Green", "Blue", "Alpha", "Count",
    ]  # fmt: skip
    assert [c[2] for c in seen["columns"]] == [5, 2, 6, 7, 8, 9, 1]
    assert seen["rows"] == [
        [str(c.value), c.name, *map(str, c.rgb), "255", str(counts[c.value])]
        for c in LEGEND.classes
    ]


def test_the_table_is_what_newer_gdal_and_qgis_take_for_one(raster):
    """By rasterio's own GDAL, asked in C, as it has no other way to a table."""
    found = list((Path(rasterio.__file__).parents[1] / "rasterio.libs").glob("libgdal*"))
    if not found:
        pytest.skip("rasterio's GDAL is not in its wheel")
    write_rat(raster, LEGEND)
    gdal = ctypes.CDLL(str(found[0]))
    for name in ("GDALOpen", "GDALGetRasterBand", "GDALGetDefaultRAT"):
        getattr(gdal, name).restype = ctypes.c_void_p
    gdal.GDALRATGetValueAsString.restype = ctypes.c_char_p
    with rasterio.Env():  # knows its formats
        file = ctypes.c_void_p(gdal.GDALOpen(str(raster).encode(), 0))
        band = ctypes.c_void_p(gdal.GDALGetRasterBand(file, 1))
        table = ctypes.c_void_p(gdal.GDALGetDefaultRAT(band))
        assert table.value
        columns = range(gdal.GDALRATGetColumnCount(table))
        usages = [gdal.GDALRATGetUsageOfCol(table, column) for column in columns]
        rows = [
            [gdal.GDALRATGetValueAsString(table, row, column).decode() for column in columns]
            for row in range(gdal.GDALRATGetRowCount(table))
        ]
        gdal.GDALClose(file)
    # QGIS 3.30 wants one column of values, and red, green and blue, each of its own usage.
    assert [usages.count(usage) for usage in (5, 6, 7, 8)] == [1, 1, 1, 1]
    assert [row[:5] for row in rows] == [
        [str(c.value), c.name, *map(str, c.rgb)] for c in LEGEND.classes
    ]


def test_labels_begin_where_a_pixel_is_0_4_mm_wide():
    scales = [scale_for(metres) for metres in (0.05, 0.5, 3, 10, 20, 30, 250)]
    assert scales == [100, 1000, 5000, 25_000, 50_000, 50_000, 500_000]
    assert label_scale(GRIDS["north-up"]) == 25_000
    # 0.0001 degrees are 11 m at the equator.
    equator = GeoBox((10, 10), Affine(1e-4, 0, 20, 0, -1e-4, 0.0005), "EPSG:4326")
    assert label_scale(equator) == 25_000


@pytest.mark.parametrize(
    ("days", "step"),
    [(("2024-05-01",), "d"), (("2024-05-01", "2024-05-06"), "d"),
     (("2024-05-01", "2024-05-08", "2024-06-01"), "wk"), (("2024-02-01", "2024-03-01"), "mon"),
     (("2023-01-01", "2024-01-01", "2025-01-01"), "y")],
)  # fmt: skip
def test_the_slider_steps_as_layers_follow_each_other(days, step):
    shown = one_after_other([date.fromisoformat(day) for day in days])
    assert step_of(shown) == step
    assert [one.end for one in shown[:-1]] == [one.start for one in shown[1:]]


def test_maps_of_one_day_are_shown_together():
    day, later = date(2024, 5, 1), date(2024, 5, 9)
    one, two, three = one_after_other([day, day, later])
    assert one == two == shown_on(day, later)
    assert three == shown_on(later)
    assert shown_on(None) is None


def test_what_gdal_keeps_in_the_sidecar_stays(raster):
    sidecar = raster.with_name("classes.tif.aux.xml")
    sidecar.write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MEAN">3</MDI>'
        "</Metadata></PAMRasterBand></PAMDataset>"
    )
    for _ in range(2):
        write_rat(raster, LEGEND)
    root = ET.parse(sidecar).getroot()  # noqa: S314 (our own file)
    assert len(root.findall(".//GDALRasterAttributeTable")) == 1
    assert len(root.findall(".//CategoryNames")) == 1
    with rasterio.open(raster) as source:
        assert source.tags(1)["STATISTICS_MEAN"] == "3"
        assert source.colormap(1)[10] == (0, 100, 0, 255)


def test_a_broken_sidecar_is_named(raster):
    raster.with_name("classes.tif.aux.xml").write_text("<PAM")
    with pytest.raises(ProductError, match=r"classes\.tif\.aux\.xml: cannot be read"):
        write_rat(raster, LEGEND)


def test_raster_style_has_exactly_the_legend(tmp_path):
    write_class_qml(tmp_path / "a.qml", LEGEND)
    root = ET.parse(tmp_path / "a.qml").getroot()  # noqa: S314 (our own file)
    entries = [dict(e.attrib) for e in root.iter("paletteEntry")]
    assert entries == [
        {"value": str(c.value), "color": c.color, "label": c.name, "alpha": "255"}
        for c in LEGEND.classes
    ]
    assert root.find("pipe/rasterrenderer").get("type") == "paletted"


def test_confidence_style_runs_from_0_to_100(tmp_path):
    write_confidence_qml(tmp_path / "a.qml")
    root = ET.parse(tmp_path / "a.qml").getroot()  # noqa: S314 (our own file)
    values = [float(item.get("value")) for item in root.iter("item")]
    assert (values[0], values[-1]) == (0, 100)
    assert values == sorted(values)


def test_quality_style_shows_distances_of_the_second_band(tmp_path):
    write_quality_qml(tmp_path / "a.qml", 64)
    root = ET.parse(tmp_path / "a.qml").getroot()  # noqa: S314 (our own file)
    assert [r.get("band") for r in root.iter("rasterrenderer")] == ["2"]
    items = [(item.get("value"), item.get("label")) for item in root.iter("item")]
    assert items == [(str(v), f"{v} px") for v in (0, 16, 32, 48, 64)]


@pytest.mark.parametrize(("most", "shown"), [(9, (0, 2, 4, 7, 9)), (2, (0, 1, 2)), (0, (0, 1))])
def test_count_style_runs_to_the_most_and_shows_whole_numbers(tmp_path, most, shown):
    write_count_qml(tmp_path / "a.qml", most)
    root = ET.parse(tmp_path / "a.qml").getroot()  # noqa: S314 (our own file)
    items = [(item.get("value"), item.get("label")) for item in root.iter("item")]
    assert [value for value, _ in items] == [str(number) for number in shown]
    assert items[-1][1].endswith(" observations")
    assert [r.get("classificationMax") for r in root.iter("rasterrenderer")] == [str(shown[-1])]
    assert next(reversed(list(root.iter("item")))).get("color") == "#fde725"


def test_polygon_style_has_names_colours_and_aliases():
    root = ET.fromstring(  # noqa: S314 (our own text)
        polygon_qml(LEGEND.classes[:2], ["class_code", "area_ha", "mine"]).partition("\n")[2]
    )
    assert [(c.get("value"), c.get("label")) for c in root.iter("category")] == [
        ("10", "Tree cover"),
        ("20", "Shrub & <co>"),
    ]
    fills = [o.get("value") for o in root.iter("Option") if o.get("name") == "color"]
    assert fills == ["0,100,0,255", "255,187,34,255"]
    assert [a.get("name") for a in root.iter("alias")] == ["Code", "Area (ha)", "mine"]
    assert root.get("labelsEnabled") == "1"
    settings = root.find("labeling/settings")
    assert '"class_name"' in settings.find("text-style").get("fieldName")
    assert settings.find("rendering").get("scaleMax") == "25000"


def project(path, source):
    layers = [
        ProjectLayer("Classes", source, class_style(LEGEND), group="Maps"),
        ProjectLayer("Confidence", source, confidence_style(), group="Maps", checked=False),
        ProjectLayer("Scene", "/vsizip/away.zip/a.tif", image_style((3, 2, 1), [(0, 1)] * 3)),
    ]
    write_project(path, layers, grid=GRIDS["rotated"], title="Län & co")


def test_project_has_relative_paths_and_the_same_bytes(tmp_path, raster):
    project(tmp_path / "maps" / "project.qgz", str(raster))
    first = (tmp_path / "maps" / "project.qgz").read_bytes()
    project(tmp_path / "maps" / "project.qgz", str(raster))
    assert (tmp_path / "maps" / "project.qgz").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "maps" / "project.qgz") as archive:
        assert archive.namelist() == ["project.qgs"]
        text = archive.read("project.qgs").decode()
    root = ET.fromstring(text.partition("\n")[2])  # noqa: S314 (our own text)
    sources = [e.text for e in root.iter("datasource")]
    assert sources == ["../classes.tif", "../classes.tif", "/vsizip/away.zip/a.tif"]
    assert str(tmp_path) not in text
    assert [e.get("checked") for e in root.iter("layer-tree-layer")] == [
        "Qt::Checked", "Qt::Unchecked", "Qt::Checked",
    ]  # fmt: skip
    ids = [e.text for e in root.iter("id")]
    assert len(set(ids)) == 3
    assert min(map(len, ids)) > 10


def test_project_needs_a_layer_and_a_crs(tmp_path):
    with pytest.raises(ProductError, match="at least one layer"):
        write_project(tmp_path / "a.qgz", [], grid=GRIDS["rotated"], title="")
    layer = ProjectLayer("a", "a.tif", class_style(LEGEND))
    with pytest.raises(ProductError, match="CRS"):
        write_project(tmp_path / "a.qgz", [layer], grid=GeoBox((1, 1), NORTH_UP, None), title="")
