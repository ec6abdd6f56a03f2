"""Names and colours that class rasters of others bring."""

import subprocess
from pathlib import Path

import pandas as pd
import pyogrio
import pytest
from class_rasters import TABLE, codes, name, paint
from in_qgis import PYTHON, environment, lacking
from rasters import write

from geoseg.io.class_raster import read_legend


def test_the_table_that_arcgis_writes(tmp_path):
    raster = write(tmp_path / "in.tif", codes(), nodata=0)
    paint(raster)
    columns = {
        "Value": [1, 2], "Count": [7.0, 8.0], "CLASS_NAME": ["Open water", "Wood"],
        "Red": [0.0, 0.2], "Green": [0.4, 1.0], "Blue": [0.8, 0.0],
    }  # fmt: skip
    pyogrio.write_dataframe(pd.DataFrame(columns), f"{raster}.vat.dbf", driver="ESRI Shapefile")
    found = {c.value: (c.name, c.color) for c in read_legend(Path(raster)).classes}
    assert found[1] == ("Open water", "#0066cc")
    assert found[2] == ("Wood", "#33ff00")
    assert found[5] == ("Class 5", "#ed022a")


@pytest.mark.parametrize("table", ["", "<PAMDataset", "<a/>", TABLE.replace("<F>9</F>", "", 1)])
def test_tables_in_disorder_are_as_good_as_none(tmp_path, table):
    raster = write(tmp_path / "in.tif", codes(), nodata=0)
    Path(f"{raster}.aux.xml").write_text(table)
    Path(f"{raster}.vat.dbf").write_text("no table")
    assert read_legend(Path(raster)).names[8].startswith("Class 9")


def test_names_that_say_the_same_are_told_apart(tmp_path):
    raster = write(tmp_path / "in.tif", codes())
    name(raster, ["Crop", "crop", "Crop (3)", "CROP", " ", "Class 6"])
    legend = read_legend(Path(raster))
    assert legend.nodata == -1
    assert legend.names[:7] == (
        "Crop", "crop (1)", "Crop (3)", "CROP (3) (3)", "Class 4", "Class 6", "Class 6 (6)",
    )  # fmt: skip


GDAL_SCRIPT = """
import sys
from osgeo import gdal
gdal.UseExceptions()
file = gdal.Open(sys.argv[1], gdal.GA_Update)
band = file.GetRasterBand(1)
band.SetCategoryNames(["None", "Lake", "Wood", "Rock", "", "Town"])
if sys.argv[2] == "table":
    table = gdal.RasterAttributeTable()
    for title, type_, usage in (("Count", gdal.GFT_Integer, gdal.GFU_PixelCount),
                                ("VALUE", gdal.GFT_Integer, gdal.GFU_Generic),
                                ("Class_Name", gdal.GFT_String, gdal.GFU_Generic),
                                ("Red", gdal.GFT_Integer, gdal.GFU_Red),
                                ("Green", gdal.GFT_Integer, gdal.GFU_Green),
                                ("Blue", gdal.GFT_Integer, gdal.GFU_Blue)):
        table.CreateColumn(title, type_, usage)
    for row, (code, text, rgb) in enumerate([(1, "See", (0, 51, 255)), (5, "Stadt", (255, 0, 0))]):
        table.SetValueAsInt(row, 1, code)
        table.SetValueAsString(row, 2, text)
        for column, value in enumerate(rgb, 3):
            table.SetValueAsInt(row, column, value)
    band.SetDefaultRAT(table)
"""


@pytest.mark.qgis
@pytest.mark.parametrize("how", ["names", "table"])
def test_names_as_gdal_itself_writes_them(tmp_path, how):
    if lacking():
        pytest.skip(lacking())
    raster = write(tmp_path / "in.tif", codes(), nodata=0)
    subprocess.run([PYTHON, "-c", GDAL_SCRIPT, raster, how], env=environment(), check=True)
    found = {c.value: c for c in read_legend(Path(raster)).classes}
    names = [found[code].name for code in (1, 2, 3, 4, 5)]
    if how == "names":
        assert names == ["Lake", "Wood", "Rock", "Class 4", "Town"]
    else:
        assert names == ["See", "Wood", "Rock", "Class 4", "Stadt"]
        assert (found[1].color, found[5].color) == ("#0033ff", "#ff0000")
