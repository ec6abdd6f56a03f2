"""Layers of polygons in GeoPackages: what they hold, and those that a map in a browser shows."""

# ruff: noqa: S608 (names are quoted, values are parameters)

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from geoseg.errors import InputError
from geoseg.io.class_raster import unnamed_class
from geoseg.io.columns import CLASS_CODE, CLASS_NAME
from geoseg.legend import LandClass

_IDS = ("alert_id", "polygon_id", "plot_id")
_AREAS = ("area_ha", "plot_ha")
_CONFIDENCES = ("confidence_mean",)
_CODES = ((CLASS_CODE, CLASS_NAME), ("risk_code", "risk"))
_PERIODS = (("start", "end"), ("date_from", "date_to"), ("date", "date"))
_MOST_CLASSES = 256
_ENVELOPE = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}  # bytes, by the flags of a GeoPackage's geometry

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PolygonLayer:
    """A layer of a GeoPackage.

    Attributes:
        path: The GeoPackage.
        name: Of the layer's table.
        title: What it shows.
        geometry: Column of the geometries.
        key: Column of the primary key.
        crs: Of the geometries.
        extent: West, south, east and north in degrees.
        fields: All other columns.
        identity: Column that names a polygon for good.
        by: Columns with code and name of each one's class; None where there are none.
        area: Column of hectares, if there is one.
        confidence: Column of percents, if there is one.
        period: Columns with first and last date, if there are any.
        classes: Those that occur, in the colours of the layer's style, with how many there are.
        span: Extremes of ``area``, ``confidence`` and ``date``, of those that there are.
        count: Polygons in all.
    """

    path: Path
    name: str
    title: str
    geometry: str
    key: str
    crs: CRS
    extent: Box
    fields: tuple[str, ...]
    identity: str
    by: tuple[str, str] | None
    area: str | None
    confidence: str | None
    period: tuple[str, str] | None
    classes: tuple[tuple[LandClass, int], ...]
    span: Mapping[str, tuple[Any, Any]]
    count: int

    @property
    def is_alerts(self) -> bool:
        """Whether its polygons are alerts."""
        return self.identity == "alert_id"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A GeoPackage that is only read.

    Raises:
        InputError: It cannot be.
    """
    try:
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read as a GeoPackage: {error}") from error


def read_layers(path: Path) -> list[PolygonLayer]:
    """All layers of polygons in a GeoPackage.

    Raises:
        InputError: It cannot be read, has no layer of polygons, or one without a spatial index.
    """
    with reading(path) as connection:
        rows = connection.execute(
            "SELECT c.table_name, coalesce(nullif(c.description, ''), c.identifier, c.table_name), "
            "g.column_name, g.srs_id FROM gpkg_contents c JOIN gpkg_geometry_columns g "
            "USING (table_name) WHERE c.data_type = 'features' AND upper(g.geometry_type_name) IN "
            "('POLYGON', 'MULTIPOLYGON', 'GEOMETRY') ORDER BY c.table_name"
        ).fetchall()
        if not rows:
            raise InputError(f"{path}: has no layer of polygons")
        return [_layer(connection, path, *row) for row in rows]


def _layer(
    connection: sqlite3.Connection, path: Path, table: str, title: str, geometry: str, srs: int
) -> PolygonLayer:
    info = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
    key = next((name for name, primary in info if primary), "rowid")
    fields = tuple(name for name, _ in info if name not in (key, geometry))
    tree = f"rtree_{table}_{geometry}"
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (tree,)).fetchone():
        raise InputError(
            f"{path}: layer {table} has no spatial index; write it anew: "
            f"ogr2ogr new.gpkg {path.name} {table}"
        )
    crs = _crs(connection, path, table, srs)
    extent = connection.execute(
        f"SELECT min(minx), min(miny), max(maxx), max(maxy), count(*) FROM {quoted(tree)}"
    ).fetchone()
    area, confidence = _first(fields, _AREAS), _first(fields, _CONFIDENCES)
    by = next((pair for pair in _CODES if set(pair) <= set(fields)), None)
    period = next((pair for pair in _PERIODS if set(pair) <= set(fields)), None)
    asked = {"area": (area, area), "confidence": (confidence,) * 2, "date": period or (None,) * 2}
    return PolygonLayer(
        path,
        table,
        title,
        geometry,
        key,
        crs,
        _in_degrees(crs, extent[:4]),
        fields,
        _first(fields, _IDS) or key,
        by,
        area,
        confidence,
        period,
        _classes(connection, table, by) if by else (),
        {what: found for what, pair in asked.items() if (found := _span(connection, table, pair))},
        int(extent[4]),
    )


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _crs(connection: sqlite3.Connection, path: Path, table: str, srs: int) -> CRS:
    row = connection.execute(
        "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys "
        "WHERE srs_id = ?",
        (srs,),
    ).fetchone()
    try:
        if row is not None and str(row[0]).lower() == "epsg":
            return CRS.from_epsg(int(row[1]))
        return CRS.from_user_input("" if row is None else str(row[2]))
    except CRSError as error:
        raise InputError(f"{path}: layer {table} has no CRS that is understood") from error


def _in_degrees(crs: CRS, extent: Sequence[float | None]) -> Box:
    left, low, right, top = (float("nan") if side is None else side for side in extent)
    if isnan(left):  # a layer without a polygon
        return (-180.0, -85.0, 180.0, 85.0)
    turn = Transformer.from_crs(crs, 4326, always_xy=True)
    west, south, east, north = turn.transform_bounds(left, low, right, top)
    return west, south, east if east >= west else east + 360, north


def _classes(
    connection: sqlite3.Connection, table: str, by: tuple[str, str]
) -> tuple[tuple[LandClass, int], ...]:
    code, name = (quoted(column) for column in by)
    rows = connection.execute(
        f"SELECT {code}, min({name}), count(*) FROM {quoted(table)} WHERE {code} IS NOT NULL "
        f"GROUP BY {code} ORDER BY {code} LIMIT {_MOST_CLASSES}"
    ).fetchall()
    colors = _style_colors(connection, table, by[0])
    found = []
    for number, called, count in rows:
        if isinstance(number, int) and 0 <= number <= 255:
            plain = unnamed_class(number)
            color = colors.get(number, plain.color)
            found.append((LandClass(number, str(called or plain.name), color), int(count)))
    return tuple(found)


def _style_colors(connection: sqlite3.Connection, table: str, column: str) -> dict[int, str]:
    """The fills of categories in the default style that the file brings for QGIS."""
    try:
        row = connection.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_name = ? "
            "ORDER BY useAsDefault DESC LIMIT 1",
            (table,),
        ).fetchone()
        renderer = ET.fromstring(row[0]).find("renderer-v2") if row else None  # noqa: S314 (no entities: expat refuses bombs)
    except (sqlite3.Error, ET.ParseError, TypeError):
        return {}
    if renderer is None or renderer.get("attr") != column:
        return {}
    fills = {
        symbol.get("name", ""): option.get("value", "")
        for symbol in renderer.findall("symbols/symbol")
        for option in symbol.findall(".//Option[@name='color']")[:1]
    }
    found = {}
    for category in renderer.findall("categories/category"):
        rgb = fills.get(category.get("symbol", ""), "").split(",")[:3]
        code = category.get("value", "")
        if code.isdecimal() and len(rgb) == 3 and all(n.strip().isdecimal() for n in rgb):
            found[int(code)] = "#" + "".join(f"{min(255, int(n)):02x}" for n in rgb)
    return found


def _span(
    connection: sqlite3.Connection, table: str, pair: tuple[str | None, str | None]
) -> tuple[Any, Any] | None:
    low, high = pair
    if low is None or high is None:
        return None
    least, most = connection.execute(
        f"SELECT min({quoted(low)}), max({quoted(high)}) FROM {quoted(table)}"
    ).fetchone()
    return None if least is None or most is None else (least, most)


def shapes_of(blobs: Sequence[bytes]) -> NDArray[np.object_]:
    """Shapes in the CRS of their layer, of geometries as a GeoPackage keeps them."""
    found: NDArray[np.object_] = shapely.from_wkb([wkb_of(b) for b in blobs], on_invalid="ignore")
    return found


def in_degrees(layer: PolygonLayer, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes of a layer in degrees."""
    turn = Transformer.from_crs(layer.crs, 4326, always_xy=True)
    turned: NDArray[np.object_] = shapely.transform(
        shapes, lambda xy: np.column_stack(turn.transform(xy[:, 0], xy[:, 1])).round(8)
    )
    return turned


def outlines_of(layer: PolygonLayer, blobs: Sequence[bytes]) -> NDArray[np.object_]:
    """Shapes in degrees of geometries as a GeoPackage keeps them."""
    return in_degrees(layer, shapes_of(blobs))


def wkb_of(blob: bytes) -> bytes:
    """What follows the header of a GeoPackage's geometry (OGC 12-128r17, 2.1.3)."""
    return blob[8 + _ENVELOPE.get(blob[3] >> 1 & 7, 0) :]


def quoted(name: str) -> str:
    """A name of a table or column, for SQL."""
    return '"' + name.replace('"', '""') + '"'
