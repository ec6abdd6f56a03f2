"""GeoPackages with layers that hold nothing yet: all tables and triggers, as OGR makes them.

Made here, and not by OGR, as loading and asking it takes longer than many a raster's polygons.
Sources: OGC 12-128r17; https://gdal.org/drivers/vector/gpkg.html (tables and triggers of OGR's own)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
from pyproj import CRS
from pyproj.enums import WktVersion
from pyproj.exceptions import CRSError

from geoseg.errors import ProductError
from geoseg.io.columns import GEOMETRY, geometry_type
from geoseg.io.table_rows import plain_type
from geoseg.ops.sqlite_pages import PAGE

GEOM = "geom"
_APPLICATION, _VERSION = 0x47504B47, 10300  # "GPKG", 1.3
_NO_CODE = 100_000  # identifier of a CRS that no authority has numbered
_SPEC = "http://www.geopackage.org/spec120/#extension_"
_ATTRIBUTE_TYPES: Mapping[pa.DataType, str] = {
    pa.int8(): "SMALLINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "MEDIUMINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "MEDIUMINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "REAL",
    pa.bool_(): "BOOLEAN",
}
_TEMPLATES = Path(__file__).with_name("templates")


def make_empty(
    path: Path,
    schemas: Mapping[str, pa.Schema],
    *,
    crs: str,
    titles: Mapping[str, str],
    changed: str,
) -> None:
    """Make a GeoPackage 1.3 whose layers have no polygons.

    Args:
        path: Where nothing is yet.
        schemas: Of the batches that will come, by layer name.
        crs: ``EPSG:n`` or WKT, of all layers.
        titles: What layers show, by name; their names without it.
        changed: Time of last change, ISO.

    Raises:
        ProductError: The CRS is unknown, or a column has a type that GeoPackage does not know.
        sqlite3.Error: The file or a layer cannot be made.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in (
            f"page_size = {PAGE}",
            "encoding = 'UTF-8'",
            f"application_id = {_APPLICATION}",
            f"user_version = {_VERSION}",
            # Nobody else sees the file yet; if anything fails it is thrown away.
            "journal_mode = OFF",
            "synchronous = OFF",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        srs = _make_fixed(connection, _reference_of(crs))
        for name, schema in schemas.items():
            _make_layer(connection, name, schema, srs)
            connection.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, "
                "last_change, srs_id) VALUES (?, 'features', ?, ?, ?, ?)",
                (name, name, titles.get(name, name), changed, srs),
            )


_Reference = tuple[str, int, str, int, str, str | None, str]
"""A row of ``gpkg_spatial_ref_sys``, with WKT 2 at its end."""


def _reference_of(crs: str) -> _Reference:
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise ProductError(f"layers cannot have the CRS {crs}: {error}") from error
    identity = known.to_json_dict().get("id", {})
    code = str(identity.get("code", ""))
    authority, number = (
        (str(identity["authority"]), int(code)) if code.isdigit() else ("NONE", _NO_CODE)
    )
    try:
        wkt = known.to_wkt(WktVersion.WKT1_GDAL, output_axis_rule=True)
    except CRSError:  # some have no form in version 1 of WKT
        wkt = None
    return (
        known.name,
        number,
        authority,
        number,
        wkt or "undefined",
        None,
        known.to_wkt("WKT2_2015"),
    )


def _make_fixed(connection: sqlite3.Connection, reference: _Reference) -> int:
    """Tables that any GeoPackage has; returns the identifier of the CRS."""
    wgs84 = ("WGS 84 geodetic", *_reference_of("EPSG:4326")[1:])
    note = "longitude/latitude coordinates in decimal degrees on the WGS 84 spheroid"
    rows: list[_Reference] = [
        (*wgs84[:5], note, wgs84[6]),
        ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined",
         "undefined Cartesian coordinate reference system", "undefined"),
        ("Undefined geographic SRS", 0, "NONE", 0, "undefined",
         "undefined geographic coordinate reference system", "undefined"),
    ]  # fmt: skip
    if reference[1] != wgs84[1]:
        rows.append(reference)
    wide = reference[4] == "undefined"
    width = 7 if wide else 6
    _run(connection, "geopackage.sql", more=", definition_12_063 TEXT NOT NULL" if wide else "")
    connection.executemany(
        f"INSERT INTO gpkg_spatial_ref_sys VALUES ({', '.join('?' * width)})",  # noqa: S608 (placeholders only)
        [row[:width] for row in rows],
    )
    extensions: list[tuple[str, str | None, str, str, str]] = [
        ("gpkg_metadata", None, "gpkg_metadata", f"{_SPEC}metadata", "read-write"),
        ("gpkg_metadata_reference", None, "gpkg_metadata", f"{_SPEC}metadata", "read-write"),
    ]
    if wide:
        extensions.append(
            ("gpkg_spatial_ref_sys", "definition_12_063", "gpkg_crs_wkt", f"{_SPEC}crs_wkt",
             "read-write")
        )  # fmt: skip
    connection.executemany("INSERT INTO gpkg_extensions VALUES (?, ?, ?, ?, ?)", extensions)
    return reference[1]


def _make_layer(connection: sqlite3.Connection, name: str, schema: pa.Schema, srs: int) -> None:
    kind = geometry_type(schema).upper().replace("UNKNOWN", "GEOMETRY")
    columns = ['"fid" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL', f'"{GEOM}" {kind}']
    columns += [
        f'"{_quoted(field.name)}" {_attribute_type(field)}{"" if field.nullable else " NOT NULL"}'
        for field in schema
        if field.name != GEOMETRY
    ]
    table = _quoted(name)
    _run(
        connection,
        "geopackage_layer.sql",
        table=table,
        text=name.replace("'", "''"),
        columns=", ".join(columns),
    )
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, 0, 0)", (name, GEOM, kind, srs)
    )
    connection.execute(
        "INSERT INTO gpkg_extensions VALUES (?, ?, 'gpkg_rtree_index', ?, 'write-only')",
        (name, GEOM, f"{_SPEC}rtree"),
    )
    connection.execute("INSERT INTO gpkg_ogr_contents VALUES (?, 0)", (name,))


def _run(connection: sqlite3.Connection, template: str, **words: str) -> None:
    """Run the statements of a file whose ``{words}`` are filled in."""
    script = (_TEMPLATES / template).read_text(encoding="utf-8")
    connection.executescript(script.format(**words))


def _attribute_type(field: pa.Field) -> str:
    """What GeoPackage calls the type of a column (table 1), and OGR chooses."""
    kind = plain_type(field.name, field.type)
    if pa.types.is_timestamp(kind):
        return "DATETIME"
    if pa.types.is_date(kind):
        return "DATE"
    if pa.types.is_integer(kind):
        return _ATTRIBUTE_TYPES.get(kind, "INTEGER")
    return _ATTRIBUTE_TYPES.get(kind, "TEXT")


def _quoted(name: str) -> str:
    return name.replace('"', '""')
