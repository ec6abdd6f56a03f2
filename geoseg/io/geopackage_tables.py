"""Tables of a GeoPackage that OGR does not write: styles, titles of columns, provenance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.io.columns import KNOWN
from geoseg.io.provenance import STANDARD, text_of
from geoseg.io.qml import VERSION

_LAYER_STYLES = """
CREATE TABLE IF NOT EXISTS layer_styles (
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


class OwnStyle(NamedTuple):
    """A style that somebody has saved with QGIS: layer, name, QML and SLD, and whether it rules."""

    layer: str
    name: str
    qml: str
    sld: str
    default: bool
    description: str
    time: str


def own_styles(path: Path) -> list[OwnStyle]:
    """Styles in a GeoPackage that are somebody's work: QGIS names its own version in them.

    None where there is no such file, or it cannot be read now.
    """
    if not path.is_file():
        return []
    with suppress(sqlite3.Error), closing(_read_only(path)) as connection:
        rows = connection.execute(
            "SELECT f_table_name, styleName, styleQML, styleSLD, useAsDefault, description, "
            "update_time FROM layer_styles ORDER BY id"
        ).fetchall()
        found = [OwnStyle._make("" if cell is None else cell for cell in row) for row in rows]
        return [style for style in found if not ours(style.qml)]
    return []


def ours(qml: str) -> bool:
    """Whether a style was written by geoseg, and not by QGIS."""
    return f'version="{VERSION}"' in str(qml)[:400]


def add_styles(
    connection: sqlite3.Connection,
    styles: Mapping[str, str],
    changed: str,
    own: Iterable[OwnStyle] = (),
) -> None:
    """QML by layer name, in the table where QGIS looks for it.

    Args:
        connection: To a GeoPackage.
        styles: By layer; they take the place of those that geoseg has written before.
        changed: Time of last change, ISO.
        own: Styles of somebody that are to stay; a layer that has one as its default keeps it.
    """
    connection.execute(_LAYER_STYLES)
    connection.execute(
        "INSERT OR IGNORE INTO gpkg_contents "
        "(table_name, data_type, identifier, description, last_change) "
        "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
        (changed,),
    )
    there = {row[0] for row in connection.execute("SELECT table_name FROM gpkg_geometry_columns")}
    kept = [style for style in own if style.layer in there]
    ruled = {style.layer for style in kept if style.default}
    for layer, qml in styles.items():
        told = (f"Default style of {layer}", changed)
        _insert(connection, layer, (layer[:30], qml, "", int(layer not in ruled), *told))
    for style in kept:
        _insert(connection, style.layer, style[1:])


def replace_style(connection: sqlite3.Connection, layer: str, qml: str, changed: str) -> None:
    """Make ``qml`` the style of a layer in a GeoPackage of anyone's; others stay on offer.

    What geoseg has written before goes. ``changed`` is the time of last change, ISO.
    """
    connection.execute(_LAYER_STYLES)
    held = connection.execute(
        "SELECT id, styleQML FROM layer_styles WHERE f_table_name = ?", (layer,)
    ).fetchall()
    for number, text in held:
        if ours(text or ""):
            connection.execute("DELETE FROM layer_styles WHERE id = ?", (number,))
    connection.execute("UPDATE layer_styles SET useAsDefault = 0 WHERE f_table_name = ?", (layer,))
    add_styles(connection, {layer: qml}, changed)


def _insert(connection: sqlite3.Connection, layer: str, row: tuple[Any, ...]) -> None:
    """Name, QML, SLD, whether it rules, description, time."""
    column = connection.execute(
        "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
    ).fetchone()
    connection.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, owner, f_table_name, "
        "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, "
        "update_time) VALUES ('', '', '', ?, ?, ?, ?, ?, ?, ?, ?)",
        (layer, "geom" if column is None else column[0], *row),
    )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)


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
