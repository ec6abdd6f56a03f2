"""Tables as CSV, Parquet, and beside polygons in a GeoPackage: the same rows give the same bytes."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.io.atomic import replacing, write_bytes
from geoseg.io.columns import GEOMETRY
from geoseg.io.geopackage import write_geopackage
from geoseg.io.geopackage_tables import add_columns
from geoseg.io.provenance import with_document

_CHANGED = "1970-01-01T00:00:00.000Z"  # not the clock: the same input gives the same bytes
_KINDS = {"int64": "INTEGER", "double": "REAL", "string": "TEXT", "bool": "BOOLEAN"}


def write_csv(path: str | Path, table: pa.Table) -> None:
    """UTF-8 with a head; what is null is empty.

    Raises:
        ProductError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    write_bytes(path, text.getvalue().encode())


def write_parquet(
    path: str | Path, table: pa.Table, origin: Mapping[str, object] | None = None
) -> None:
    """Parquet, zstd; ``origin`` says where it comes from, see :mod:`geoseg.io.provenance`.

    Raises:
        ProductError: It cannot be written.
    """
    if origin is not None:
        table = table.cast(with_document(table.schema, origin))
    with replacing(path) as made:
        pq.write_table(table, made, compression="zstd")


def write_tables(
    path: str | Path, tables: Mapping[str, pa.Table], origin: Mapping[str, object] | None = None
) -> dict[str, Path]:
    """Each table as ``name.csv`` and ``name.parquet`` in a folder; their paths by name and form.

    ``origin`` says where they come from; CSV has no place for it.
    """
    made = {}
    for name, table in tables.items():
        made[f"{name}_csv"] = Path(path) / f"{name}.csv"
        write_csv(made[f"{name}_csv"], table)
        made[f"{name}_parquet"] = Path(path) / f"{name}.parquet"
        write_parquet(made[f"{name}_parquet"], table, origin)
    return made


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet table.

    Raises:
        ProductError: It cannot be read.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ProductError(f"{path}: cannot be read: {error}") from error
    return rows


class Layer(NamedTuple):
    """A layer of a GeoPackage: its name, what it shows, and QML that QGIS applies to it.

    A style that somebody has saved there stays.
    """

    name: str
    title: str
    style: str = ""


def write_polygon_tables(
    path: str | Path,
    layer: Layer,
    shapes: NDArray[np.object_],
    attributes: pa.Table,
    tables: Mapping[str, pa.Table],
    *,
    crs: str,
    tags: Mapping[str, object] | None = None,
) -> None:
    """A GeoPackage of one layer of polygons, and tables that belong to it.

    Args:
        path: The ``.gpkg``; replaced only when the new one is complete.
        layer: What it is called.
        shapes: ``(row,)`` polygons.
        attributes: A row for each of them.
        tables: By name; ints, floats, texts and booleans.
        crs: WKT or ``EPSG:n``.
        tags: Provenance, JSON-able.

    Raises:
        ProductError: It cannot be written.
    """
    wkb = shapely.to_wkb([_multi(shape) for shape in shapes])
    columns = {GEOMETRY: pa.array(list(wkb), pa.binary())}
    columns |= dict(zip(attributes.column_names, attributes.columns, strict=True))
    table = pa.table(columns).replace_schema_metadata({"geometry_type": "MultiPolygon"})
    with replacing(path) as made:
        write_geopackage(
            made,
            {layer.name: table.combine_chunks().to_batches()},
            grid_crs=crs,
            styles={layer.name: layer.style} if layer.style else {},
            tags=tags or {},
            titles={layer.name: layer.title},
            before=Path(path),
        )
        _add_all(path, made, tables)


def _multi(shape: Any) -> Any:
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(parts)


def _add_all(path: str | Path, made: Path, tables: Mapping[str, pa.Table]) -> None:
    try:
        with closing(sqlite3.connect(made)) as connection, connection:
            for name, rows in tables.items():
                _add(connection, name, rows)
            add_columns(connection, tables)
    except sqlite3.Error as error:
        raise ProductError(f"{path}: cannot be written: {error}") from error


def _add(connection: sqlite3.Connection, name: str, table: pa.Table) -> None:
    """A table of attributes, as OGC 12-128r17, 2.4 has it."""
    kinds = ", ".join(f"{_quoted(field.name)} {_KINDS[str(field.type)]}" for field in table.schema)
    connection.execute(
        f"CREATE TABLE {_quoted(name)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {kinds})"
    )
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
        "VALUES (?, 'attributes', ?, '', ?)",
        (name, name, _CHANGED),
    )
    named = ", ".join(map(_quoted, table.column_names))
    marks = ", ".join("?" * table.num_columns)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    connection.executemany(f"INSERT INTO {_quoted(name)} ({named}) VALUES ({marks})", rows)  # noqa: S608 (names are quoted)


def _quoted(name: str) -> str:
    """``name`` as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
