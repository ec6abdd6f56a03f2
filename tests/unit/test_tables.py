"""Tables as CSV, Parquet and in GeoPackages: what was put in comes out, the same bytes each time."""

import csv
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from judges import check_by_gdal

from geoseg.errors import ProductError
from geoseg.io.tables import Layer, write_polygon_tables, write_tables

TABLE = pa.table(
    {
        "zone": ["Ahorn, Süd", 'the "old" one', None],
        "class_code": pa.array([1, None, 3], pa.int64()),
        "area_ha": [1.25, 1e9, None],
        "found": [True, False, None],
    }
)
SHAPES = np.array([shapely.box(0, 0, 2, 1), shapely.MultiPolygon([shapely.box(5, 5, 6, 6)])])


def test_texts_and_nulls_survive(tmp_path):
    made = write_tables(tmp_path / "new", {"areas": TABLE})
    assert pq.read_table(made["areas_parquet"]).equals(TABLE)
    with made["areas_csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["zone"] for row in rows] == ["Ahorn, Süd", 'the "old" one', ""]
    assert [row["area_ha"] for row in rows] == ["1.25", "1000000000.0", ""]


def geopackage(path):
    attributes = pa.table({"zone": ["a", "b"]})
    write_polygon_tables(
        path, Layer("zones", "Units"), SHAPES, attributes, {"areas": TABLE}, crs="EPSG:32629"
    )
    return path


def test_a_geopackage_has_polygons_and_tables_that_gdal_reads(tmp_path):
    path = geopackage(tmp_path / "units.gpkg")
    check_by_gdal(path)
    assert dict(pyogrio.list_layers(path)) == {
        "zones": "MultiPolygon", "areas": None, "layer_styles": None,
    }  # fmt: skip
    zones = pyogrio.read_dataframe(path, layer="zones")
    assert zones.zone.tolist() == ["a", "b"]
    assert zones.geometry.area.tolist() == [2, 1]
    assert zones.crs.to_epsg() == 32629
    table = pyogrio.read_dataframe(path, layer="areas")
    assert table.zone.tolist()[:2] == TABLE.column("zone").to_pylist()[:2]
    assert table.area_ha.tolist()[:2] == [1.25, 1e9]
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        titles = file.execute(
            "SELECT title FROM gpkg_data_columns WHERE table_name = 'areas'"
        ).fetchall()
    assert ("Area (ha)",) in titles


def test_the_same_rows_give_the_same_bytes(tmp_path):
    one, other = (geopackage(tmp_path / name / "units.gpkg") for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ProductError, match="taken"):
        write_tables(tmp_path / "taken", {"areas": TABLE})
