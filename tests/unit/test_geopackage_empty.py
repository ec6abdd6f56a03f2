"""An empty GeoPackage has the tables, triggers and rows that OGR gives one."""

import sqlite3
from contextlib import closing

import pyarrow as pa
import pyogrio
import pytest

from geoseg.errors import ProductError
from geoseg.io.geopackage_empty import make_empty

CHANGED = "1970-01-01T00:00:00.000Z"
TYPES = {
    "tiny": pa.int8(), "small": pa.int16(), "whole": pa.int32(), "large": pa.int64(),
    "byte": pa.uint8(), "word": pa.uint16(), "long": pa.uint32(), "half": pa.float16(),
    "short": pa.float32(), "real": pa.float64(), "yes": pa.bool_(), "text": pa.string(),
    "wide": pa.large_string(), "day": pa.date32(), "time": pa.timestamp("ms"),
    "kind": pa.dictionary(pa.int32(), pa.string()),
}  # fmt: skip
ROTATED_POLE = (
    'GEOGCRS["rotated",BASEGEOGCRS["unknown",DATUM["unknown",ELLIPSOID["unknown",6371229,0,'
    'LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]]],'
    'DERIVINGCONVERSION["unknown",METHOD["PROJ ob_tran o_proj=longlat"],PARAMETER["lon_0",10,'
    'ANGLEUNIT["degree",0.0174532925199433]],PARAMETER["o_lat_p",40,ANGLEUNIT["degree",'
    '0.0174532925199433]],PARAMETER["o_lon_p",0,ANGLEUNIT["degree",0.0174532925199433]]],'
    'CS[ellipsoidal,2],AXIS["longitude",east,ORDER[1],ANGLEUNIT["degree",0.0174532925199433]],'
    'AXIS["latitude",north,ORDER[2],ANGLEUNIT["degree",0.0174532925199433]]]'
)
SINUSOIDAL = (
    'PROJCS["sinusoidal",GEOGCS["sphere",DATUM["unknown",SPHEROID["unknown",6371007.181,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
    'PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],PARAMETER["false_northing",0],'
    'UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)


def schema(geometry_type="Polygon", types=TYPES):
    fields = [pa.field("geometry", pa.binary()), pa.field("must", pa.int64(), nullable=False)]
    fields += [pa.field(name, kind) for name, kind in types.items()]
    return pa.schema(fields, {"geometry_type": geometry_type})


def made_by_ogr(path, schemas, crs):
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": CHANGED})
    try:
        for name, columns in schemas.items():
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(columns, []), path, layer=name, driver="GPKG",
                geometry_name="geometry", crs=crs,
                geometry_type=columns.metadata[b"geometry_type"].decode(),
                dataset_options={} if path.exists() else {
                    "VERSION": "1.3", "METADATA_TABLES": "YES",
                },
                layer_options={"IDENTIFIER": name, "DESCRIPTION": "title", "GEOMETRY_NAME": "geom"},
            )  # fmt: skip
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def content(path):
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
        ).fetchall()
        pragmas = ("application_id", "user_version", "page_size", "encoding", "auto_vacuum")
        settings = [db.execute(f"PRAGMA {name}").fetchone() for name in pragmas]
        rows = {
            name: db.execute("SELECT * FROM " + quoted(name)).fetchall()  # noqa: S608
            for kind, name, _, _ in tables
            if kind == "table"
        }
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return tables, settings, rows


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:32629", "EPSG:3035", "EPSG:5514", "ESRI:54009", SINUSOIDAL]
)
def test_tables_and_rows_are_those_of_ogr(tmp_path, crs):
    schemas = {
        "land_use": schema(), "water's \"edge\"": schema("MultiPolygon", {}),
        "points": schema("Point", {}), "any": schema("Unknown", {}),
    }  # fmt: skip
    ours, ogrs = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    make_empty(ours, schemas, crs=crs, titles=dict.fromkeys(schemas, "title"), changed=CHANGED)
    made_by_ogr(ogrs, schemas, crs)
    for found, wanted in zip(content(ours), content(ogrs), strict=True):
        assert found == wanted


@pytest.mark.parametrize("crs", [ROTATED_POLE, "EPSG:4979"])
def test_a_crs_that_the_old_wkt_cannot_say_is_said_in_the_new_one(tmp_path, crs):
    ours, ogrs = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    make_empty(ours, {"x": schema()}, crs=crs, titles={"x": "title"}, changed=CHANGED)
    made_by_ogr(ogrs, {"x": schema()}, crs)
    (_, _, found), (_, _, wanted) = content(ours), content(ogrs)
    assert found.keys() == wanted.keys()
    assert found["gpkg_extensions"] == wanted["gpkg_extensions"]
    crs_of = {path: pyogrio.read_info(path, layer="x")["crs"] for path in (ours, ogrs)}
    assert crs_of[ours] == crs_of[ogrs]


def test_a_crs_that_is_none_is_refused(tmp_path):
    with pytest.raises(ProductError, match="cannot have the CRS EPSG:102"):
        make_empty(tmp_path / "a.gpkg", {"x": schema()}, crs="EPSG:102", titles={}, changed=CHANGED)
