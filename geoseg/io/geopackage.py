"""Polygons as a GeoPackage 1.3 that brings its own styles, aliases and provenance.

Version 1.3, since 1.4 is refused by readers built on GDAL up to 3.6.
Source: OGC 12-128r17; https://docs.qgis.org/latest/en/docs/user_manual/ (layer_styles)
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import replacing
from geoseg.io.columns import GEOMETRY, KNOWN, SCHEMA, geometry_type, regroup

Batches = Iterable[pa.RecordBatch]

_FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, pa.ArrowException)
_ROWS = 16_384  # polygons held in memory and written at once
_SETTINGS = threading.Lock()  # GDAL's settings belong to the process

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


def write_geopackage(
    path: str | Path,
    layers: Mapping[str, Batches],
    *,
    grid_crs: GeoBox | str,
    styles: Mapping[str, str],
    tags: Mapping[str, object],
    titles: Mapping[str, str] | None = None,
    changed: str = "1970-01-01T00:00:00.000Z",
) -> dict[str, int]:
    """Write polygons, layer by layer, without ever holding more than a batch.

    Args:
        path: The ``.gpkg``; replaced only when the new one is complete.
        layers: Record batches by layer name; each has a WKB column ``geometry`` and any attributes.
        grid_crs: The CRS of the geometries: the grid they come from, or WKT or ``EPSG:n``.
        styles: QML by layer name, applied by QGIS when the layer is added.
        tags: Provenance, JSON-able; kept as a metadata row of the whole file.
        titles: What a layer shows, by layer name; shown as its description.
        changed: Time of last change to store (ISO, UTC). Not the clock: the same input gives the
            same bytes.

    Returns:
        Number of polygons by layer name.

    Raises:
        ProductError: A layer cannot be written, or a style belongs to no layer.
    """
    stray = set(styles) - set(layers)
    if stray or not layers:
        raise ProductError(f"{path}: styles without a layer: {sorted(stray)}; layers: {[*layers]}")
    crs = crs_text(grid_crs)
    with replacing(path) as made:
        with _gdal_settings({"OGR_CURRENT_DATE": changed, "OGR_SQLITE_SYNCHRONOUS": "OFF"}):
            counts = {
                name: _write_layer(made, path, name, batches, crs, (titles or {}).get(name, name))
                for name, batches in layers.items()
            }
        try:
            _add_tables(made, layers, styles, tags, changed)
        except sqlite3.Error as error:
            raise ProductError(f"{path}: cannot be written: {error}") from error
    return counts


def read_polygons(path: str | Path, layer: str) -> Iterator[pa.RecordBatch]:
    """The polygons of a layer again, batch by batch, with the columns they were written with.

    Raises:
        ProductError: The file or the layer cannot be read.
    """
    try:
        with pyogrio.open_arrow(path, layer=layer, use_pyarrow=True) as (meta, reader):
            geometry = meta["geometry_name"] or "wkb_geometry"
            names = [GEOMETRY if n == geometry else n for n in reader.schema.names]
            order = [names.index(GEOMETRY), *(i for i, n in enumerate(names) if n != GEOMETRY)]
            for batch in reader:
                yield pa.RecordBatch.from_arrays(
                    [batch.column(i) for i in order], names=[names[i] for i in order]
                )
    except _FAILURES as error:
        raise ProductError(f"{path}: layer {layer!r} cannot be read: {error}") from error


def crs_text(crs: GeoBox | str) -> str:
    """``EPSG:n`` where there is such a code, else WKT.

    Raises:
        ProductError: The grid has no CRS.
    """
    if isinstance(crs, str):
        return crs
    if crs.crs is None:
        raise ProductError("polygons need a grid with a CRS; this one has none")
    return f"EPSG:{crs.crs.epsg}" if crs.crs.epsg is not None else str(crs.crs.wkt)


def _write_layer(
    made: Path, path: str | Path, name: str, batches: Batches, crs: str, title: str
) -> int:
    stream = _Stream(batches)
    try:
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(stream.schema, stream),
            made,
            layer=name,
            driver="GPKG",
            geometry_name=GEOMETRY,
            geometry_type=stream.geometry_type,
            crs=crs,
            dataset_options={} if made.exists() else {"VERSION": "1.3", "METADATA_TABLES": "YES"},
            layer_options={"IDENTIFIER": name, "DESCRIPTION": title, "GEOMETRY_NAME": "geom"},
        )
    except _FAILURES as error:
        # Arrow turns what goes wrong while it asks for a batch into words of its own.
        if stream.failure is not None:
            raise stream.failure from error
        raise ProductError(f"{path}: layer {name!r} cannot be written: {error}") from error
    return stream.rows


class _Stream:
    """Batches as Arrow wants them: of one schema that is known before the first one."""

    def __init__(self, batches: Batches) -> None:
        iterator = regroup(batches, _ROWS)
        first = next(iterator, None)
        head = () if first is None else (first,)
        self.schema = getattr(batches, "schema", SCHEMA) if first is None else first.schema
        self.geometry_type = geometry_type(self.schema)
        self.rows = 0
        self.failure: Exception | None = None
        self._batches = chain(head, iterator)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except Exception as error:
            self.failure = error
            raise


@contextmanager
def _gdal_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Set options of pyogrio's GDAL (not rasterio's) for a while, one writer at a time."""
    with _SETTINGS:
        before = {key: pyogrio.get_gdal_config_option(key) for key in settings}
        pyogrio.set_gdal_config_options(dict(settings))
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


def _add_tables(
    made: Path,
    layers: Iterable[str],
    styles: Mapping[str, str],
    tags: Mapping[str, object],
    changed: str,
) -> None:
    """What OGR cannot write: titles of columns, styles, provenance."""
    with closing(sqlite3.connect(made)) as connection, connection:
        _add_columns(connection, layers)
        _add_styles(connection, styles, changed)
        _add_provenance(connection, tags, changed)


def _add_columns(connection: sqlite3.Connection, layers: Iterable[str]) -> None:
    connection.execute(_DATA_COLUMNS)
    connection.execute(_DATA_COLUMN_CONSTRAINTS)
    for table in ("gpkg_data_columns", "gpkg_data_column_constraints"):
        connection.execute(
            "INSERT OR IGNORE INTO gpkg_extensions VALUES (?, NULL, 'gpkg_schema', ?, 'read-write')",
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


def _add_styles(connection: sqlite3.Connection, styles: Mapping[str, str], changed: str) -> None:
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


def _add_provenance(
    connection: sqlite3.Connection, tags: Mapping[str, object], changed: str
) -> None:
    """One metadata row for the whole file, in the tables that GDAL has made."""
    text = json.dumps(tags, sort_keys=True, ensure_ascii=False)
    row = connection.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) "
        "VALUES ('dataset', 'http://www.opengis.net/doc/IS/geopackage/1.3', "
        "'application/json', ?)",
        (text,),
    )
    connection.execute(
        "INSERT INTO gpkg_metadata_reference (reference_scope, timestamp, md_file_id) "
        "VALUES ('geopackage', ?, ?)",
        (changed, row.lastrowid),
    )
