"""Tables of a GeoPackage that OGR does not write: styles, titles of columns, provenance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from geoseg.io.columns import KNOWN
from geoseg.io.provenance import STANDARD, text_of

_LAYER_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
  f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
  styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
  owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
_DATA_COLUMNS = """
CREATE TABLE IF NOT EXISTS gpkg_data_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, description TEXT,
  mime_type TEXT, constraint_name TEXT,
  CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
  CONSTRAINT gdc_tn UNIQUE (table_name, name))
"""
_DATA_COLUMN_CONSTRAINTS = """
CREATE TABLE IF NOT EXISTS gpkg_data_column_constraints (
  constraint_name TEXT NOT NULL, constraint_type TEXT NOT NULL, value TEXT, min NUMERIC,
  min_is_inclusive BOOLEAN, max NUMERIC, max_is_inclusive BOOLEAN, description TEXT,
  CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value))
"""


def add_columns(connection: sqlite3.Connection, layers: Iterable[str]) -> None:
    """Titles and descriptions of the columns that have one."""
    connection.execute(_DATA_COLUMNS)
    connection.execute(_DATA_COLUMN_CONSTRAINTS)
    for table in ("gpkg_data_columns", "gpkg_data_column_constraints"):
        # Not by INSERT OR IGNORE: to SQLite no two rows with a NULL are the same.
        connection.execute(
            "INSERT INTO gpkg_extensions SELECT ?1, NULL, 'gpkg_schema', ?2, 'read-write' "
            "WHERE NOT EXISTS (SELECT 1 FROM gpkg_extensions WHERE table_name = ?1)",
            (table, "http://www.geopackage.org/spec130/#extension_schema"),
        )
    for layer in layers:
        for row in connection.execute("SELECT name FROM pragma_table_info(?)", (layer,)).fetchall():
            column = KNOWN.get(row[0])
            if column is not None:
                connection.execute(
                    "INSERT INTO gpkg_data_columns VALUES (?, ?, ?, ?, ?, NULL, NULL)",
                    (layer, row[0], column.label, column.label, column.description),
                )


def add_styles(connection: sqlite3.Connection, styles: Mapping[str, str], changed: str) -> None:
    """QML by layer name, in the table where QGIS looks for it."""
    connection.execute(_LAYER_STYLES)
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
        "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
        (changed,),
    )
    for layer, qml in styles.items():
        connection.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner, "
            "update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '', ?)",
            (layer, layer[:30], qml, f"Default style of {layer}", changed),
        )


def add_provenance(
    connection: sqlite3.Connection, tags: Mapping[str, object], changed: str
) -> None:
    """One metadata row for the whole file, in the tables that GDAL has made."""
    row = connection.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) "
        "VALUES ('dataset', ?, 'application/json', ?)",
        (STANDARD, text_of(tags)),
    )
    connection.execute(
        "INSERT INTO gpkg_metadata_reference (reference_scope, timestamp, md_file_id) "
        "VALUES ('geopackage', ?, ?)",
        (changed, row.lastrowid),
    )
