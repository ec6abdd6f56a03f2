"""Polygons of anyone's get the names and colours of a legend: what layers have, and where styles go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow as pa

from geoseg.errors import InputError, LockedError, ProductError
from geoseg.io.columns import GEOMETRY
from geoseg.io.geopackage_tables import replace_style

_PATIENCE = 5.0  # seconds that we wait for whoever writes
_MOST_CLASSES = 256


@dataclass(frozen=True, slots=True)
class PolygonLayer:
    """What a style needs to know of a layer.

    Attributes:
        name: Of the layer.
        fields: Its attributes, in order.
        column: That with codes, or texts, of classes.
        text: Whether these are texts.
        classes: Names by code, None where nothing says; texts are their own names, by their order.
        drawn: Names and colours by the code or text of a category, in the style that rules now.
        pixel: Side of the pixels that the polygons were made of, metres, where that is known.
    """

    name: str
    fields: tuple[str, ...]
    column: str
    text: bool
    classes: Mapping[int, str | None]
    drawn: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pixel: float | None = None


def polygon_layers(
    path: Path, column: str, name_column: str, *, layer: str | None = None
) -> list[PolygonLayer]:
    """The layers of a GeoPackage that have a column of classes.

    Args:
        path: The GeoPackage.
        column: With codes or texts.
        name_column: With names of codes, where there is one.
        layer: The only one; all without it.

    Raises:
        InputError: It is no GeoPackage, has no such layer, or none of its layers has the column.
    """
    with _reading(path) as connection:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY rowid"
            )
        ]
        if layer is not None and layer not in names:
            raise InputError(f"{path}: has no layer {layer!r}; it has {_listed(names)}")
        wanted = names if layer is None else [layer]
        fields = {name: _fields(connection, name) for name in wanted}
        found = [
            _layer(path, connection, name, fields[name], (column, name_column))
            for name in wanted
            if column in fields[name]
        ]
    if not found:
        told = "; ".join(f"{name} has {_listed(fields[name])}" for name in wanted)
        raise InputError(
            f"{path}: no layer has the column {column!r} with classes; "
            f"{told or 'it has no layers of features'}"
        )
    return found


def write_styles(path: Path, styles: Mapping[str, str]) -> None:
    """Put QML by layer into a GeoPackage, all or none, while others may read it.

    Raises:
        LockedError: Another program is writing to it.
        ProductError: It cannot be written to.
    """
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for layer, qml in styles.items():
                replace_style(connection, layer, qml, now)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise LockedError(
                f"{path}: another program is writing to it; "
                f"if that is QGIS, save or end the edits there, then try again"
            ) from error
        raise ProductError(f"{path}: styles cannot be written: {error}") from error


def categories_in(qml: str) -> dict[str, tuple[str, str]]:
    """Names and colours by value of a categorized style; empty where it is another."""
    try:
        root = ET.fromstring(qml[qml.index("<qgis") :])  # noqa: S314 (the user's own file; no entity is resolved)
    except (ValueError, ET.ParseError):
        return {}
    symbols = {s.get("name"): _fill(s) for s in root.iterfind("renderer-v2/symbols/symbol")}
    found = {}
    for category in root.iterfind("renderer-v2/categories/category"):
        value, color = category.get("value", ""), symbols.get(category.get("symbol"))
        if value and color is not None:
            found[value] = (category.get("label") or value, color)
    return found


def flat_layer(path: Path, column: str, name_column: str) -> PolygonLayer:
    """The same of a GeoParquet or FlatGeobuf file, which has one layer.

    Raises:
        InputError: It cannot be read, or lacks the column.
    """
    fields, rows = _rows_of(path, column, name_column)
    if column not in fields:
        raise InputError(f"{path}: has no column {column!r} with classes; it has {_listed(fields)}")
    classes, text = _classes(path, path.stem, column, rows)
    try:
        drawn = categories_in(path.with_suffix(".qml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        drawn = {}
    return PolygonLayer(path.stem, fields, column, text, classes, drawn)


def _rows_of(path: Path, *columns: str) -> tuple[tuple[str, ...], list[tuple[object, str | None]]]:
    """Attributes, and each value of the first of ``columns`` with one of the second."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415 (only for such files)

        try:
            fields = tuple(n for n in pq.read_schema(path).names if n not in {GEOMETRY, "bbox"})
            wanted = [name for name in columns if name in fields]
            frame = pq.read_table(path, columns=wanted).to_pandas()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as GeoParquet: {error}") from error
    else:
        from geoseg.io.label_vectors import read_table  # noqa: PLC0415 (brings geopandas)

        frame = read_table(path, None)
        fields = tuple(str(name) for name in frame.columns if name != frame.geometry.name)
        wanted = [name for name in columns if name in fields]
    if columns[0] not in wanted:
        return fields, []
    seen = frame[wanted].dropna(subset=[columns[0]]).drop_duplicates(columns[0])
    found = sorted(seen.itertuples(index=False, name=None))
    plain = [tuple(c.item() if hasattr(c, "item") else c for c in row) for row in found]
    return fields, [(row[0], str(row[1]) if len(row) > 1 else None) for row in plain]


def _fill(symbol: ET.Element) -> str | None:
    for option in symbol.iterfind("layer/Option/Option[@name='color']"):
        parts = option.get("value", "").split(",")[:3]
        if len(parts) == 3 and all(part.isdecimal() and int(part) < 256 for part in parts):
            return "#" + "".join(f"{int(part):02x}" for part in parts)
    return None


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            yield connection
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise LockedError(f"{path}: another program is writing to it; try again") from error
        raise InputError(f"{path}: cannot be read as a GeoPackage: {error}") from error


def _fields(connection: sqlite3.Connection, layer: str) -> tuple[str, ...]:
    """Without key and geometry."""
    shape = connection.execute(
        "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
    ).fetchone()
    rows = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (layer,)).fetchall()
    return tuple(name for name, key in rows if not key and (name,) != shape)


def _layer(
    path: Path,
    connection: sqlite3.Connection,
    layer: str,
    fields: tuple[str, ...],
    by: tuple[str, str],
) -> PolygonLayer:
    column, name_column = by
    table, code = _quoted(layer), _quoted(column)
    name = f"min({_quoted(name_column)})" if name_column in fields else "NULL"
    rows = connection.execute(
        f"SELECT {code}, {name} FROM {table} WHERE {code} IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT ?",  # noqa: S608 (names are quoted)
        (_MOST_CLASSES + 1,),
    ).fetchall()
    if len(rows) > _MOST_CLASSES:
        raise InputError(
            f"{path}: layer {layer}: column {column!r} has more than {_MOST_CLASSES} values, "
            f"which are no classes; choose another"
        )
    classes, text = _classes(path, layer, column, rows)
    return PolygonLayer(
        layer,
        fields,
        column,
        text,
        classes,
        _drawn(connection, layer),
        _pixel(connection, table, fields),
    )


def _classes(
    path: Path, layer: str, column: str, rows: list[tuple[object, str | None]]
) -> tuple[dict[int, str | None], bool]:
    if rows and all(isinstance(value, str) for value, _ in rows):
        return {index: str(value) for index, (value, _) in enumerate(rows)}, True
    wrong = [v for v, _ in rows if not _is_code(v)]
    if wrong:
        raise InputError(
            f"{path}: layer {layer}: column {column!r} holds {wrong[0]!r}; "
            f"wanted are codes 0 to 255, or texts"
        )
    return {int(float(str(value))): name for value, name in rows}, False


def _is_code(value: object) -> bool:
    """Some files keep whole numbers as floats."""
    return isinstance(value, int | float) and float(value).is_integer() and 0 <= value <= 255


def _drawn(connection: sqlite3.Connection, layer: str) -> dict[str, tuple[str, str]]:
    try:
        row = connection.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_name = ? "
            "ORDER BY useAsDefault DESC, id DESC",
            (layer,),
        ).fetchone()
    except sqlite3.Error:  # it has no styles
        return {}
    return {} if row is None else categories_in(row[0] or "")


def _pixel(connection: sqlite3.Connection, table: str, fields: tuple[str, ...]) -> float | None:
    if not {"area_m2", "pixels"} <= set(fields):
        return None
    row = connection.execute(f"SELECT sum(area_m2), sum(pixels) FROM {table}").fetchone()  # noqa: S608 (it is quoted)
    area, pixels = (float(cell or 0) for cell in row)
    return sqrt(area / pixels) if area > 0 and pixels > 0 else None


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
