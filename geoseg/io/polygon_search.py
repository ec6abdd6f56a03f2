"""Polygons of a layer that a map in a browser asks for: within a box, filtered, one by one."""

# ruff: noqa: S608 (names are quoted, values are parameters)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

from geoseg.errors import InputError
from geoseg.io.columns import describe
from geoseg.io.polygon_layers import Box, PolygonLayer, outlines_of, quoted, reading
from geoseg.io.polygon_shapes import drawn_shapes
from geoseg.io.reviews import LATEST, has_reviews

MOST_SHOWN = 4000
"""Polygons that are sent at once: the largest ones; more are noise, and slow."""

_ONLY = ',"only":"{}"'
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which polygons to show; what is None, or 0, leaves none out.

    Attributes:
        classes: Codes.
        area: Least hectares.
        confidence: Least percent; polygons without one are left out above 0.
        first: Day (ISO); polygons that ended before it are left out.
        last: Day (ISO); polygons that began after it are left out.
        verdicts: Verdicts of reviews, "" for none yet.
    """

    classes: frozenset[int] | None = None
    area: float = 0.0
    confidence: float = 0.0
    first: str = ""
    last: str = ""
    verdicts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """Polygons for a map.

    Attributes:
        features: GeoJSON as texts; a polygon with many holes has several, see ``Drawn``.
        sent: Polygons that they are of.
        count: Polygons in all.
        hectares: Of all of them.
    """

    features: list[str]
    sent: int
    count: int
    hectares: float | None


@dataclass(frozen=True, slots=True)
class _Query:
    """The part of a statement behind FROM, and its parameters."""

    text: str
    values: list[Any] = field(default_factory=list)


def shown_polygons(layer: PolygonLayer, wanted: Wanted, *, box: Box, pixel: float) -> Shown:
    """Those of a layer that lie in a box, the largest first, as simple as a screen shows them.

    Args:
        layer: From :func:`read_layers`.
        wanted: Which.
        box: West, south, east and north in degrees.
        pixel: Degrees that a pixel of the screen is high.

    Raises:
        InputError: The file cannot be read.
    """
    with reading(layer.path) as connection:
        query = _query(connection, layer, wanted, box)
        area = "NULL" if layer.area is None else f"sum(t.{quoted(layer.area)})"
        count, hectares = connection.execute(
            f"SELECT count(*), {area} {query.text}", query.values
        ).fetchone()
        code = "NULL" if layer.by is None else f"t.{quoted(layer.by[0])}"
        rows = connection.execute(
            f"SELECT t.{quoted(layer.key)}, t.{quoted(layer.geometry)}, {code}, v.verdict "
            f"{query.text} {_largest_first(layer)} LIMIT {MOST_SHOWN}",
            query.values,
        ).fetchall()
    rows = [row for row in rows if row[1] is not None]
    shapes = drawn_shapes(
        layer, [row[1] for row in rows], box=_from_degrees(layer.crs, box), pixel=pixel
    )
    features = [
        f'{{"type":"Feature","id":{key},"properties":{{"code":{json.dumps(code)},'
        f'"verdict":"{verdict or ""}"{_ONLY.format(one.only) if one.only else ""}}},"geometry":{one.geometry}}}'
        for (key, _, code, verdict), drawn in zip(rows, shapes, strict=True)
        for one in drawn
    ]
    return Shown(features, sum(map(bool, shapes)), count, hectares)


def polygon_list(layer: PolygonLayer, wanted: Wanted, *, box: Box | None = None) -> list[int]:
    """Keys of polygons, the largest first, for going through them one by one.

    Raises:
        InputError: The file cannot be read.
    """
    with reading(layer.path) as connection:
        query = _query(connection, layer, wanted, box)
        rows = connection.execute(
            f"SELECT t.{quoted(layer.key)} {query.text} {_largest_first(layer)}", query.values
        )
        return [int(key) for (key,) in rows]


def polygon_at(layer: PolygonLayer, key: int) -> dict[str, Any]:
    """All that a layer says of one polygon: ``id``, ``box`` in degrees, ``rows`` to be read.

    Raises:
        InputError: There is none with that key, or the file cannot be read.
    """
    columns = ", ".join(quoted(n) for n in (layer.geometry, *layer.fields))
    with reading(layer.path) as connection:
        row = connection.execute(
            f"SELECT {columns} FROM {quoted(layer.name)} WHERE {quoted(layer.key)} = ?",
            (key,),
        ).fetchone()
    if row is None:
        raise InputError(f"{layer.path}: layer {layer.name} has no polygon {key}")
    values = dict(zip(layer.fields, row[1:], strict=True))
    outline = outlines_of(layer, [row[0]])[0] if row[0] is not None else None
    told = []
    for name, value in values.items():
        if value is None or isinstance(value, bytes) or name in _SIDES:
            continue
        column = describe(name)
        told.append(
            {
                "name": name,
                "title": column.alias,
                "value": value,
                "unit": column.unit,
                "what": column.description,
            }
        )
    return {
        "key": key,
        "id": str(values.get(layer.identity, key)),
        "box": None if outline is None else [float(n) for n in outline.bounds],
        "class": None if layer.by is None else values.get(layer.by[1]),
        "rows": told,
    }


def geometries(layer: PolygonLayer, ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
    """Name, class and geometry (as the GeoPackage has it) of polygons by their lasting names.

    Raises:
        InputError: The file cannot be read.
    """
    called = "NULL" if layer.by is None else quoted(layer.by[1])
    found = []
    with reading(layer.path) as connection:
        for name in ids:
            row = connection.execute(
                f"SELECT {called}, {quoted(layer.geometry)} FROM {quoted(layer.name)} "
                f"WHERE CAST({quoted(layer.identity)} AS TEXT) = ?",
                (name,),
            ).fetchone()
            if row is not None and row[1] is not None:
                found.append((name, str(row[0] or ""), bytes(row[1])))
    return found


def _query(
    connection: sqlite3.Connection, layer: PolygonLayer, wanted: Wanted, box: Box | None
) -> _Query:
    text, values = f"FROM {quoted(layer.name)} t", []
    if has_reviews(connection):
        text += (
            f" LEFT JOIN {LATEST} v ON v.layer = ? "
            f"AND v.feature = CAST(t.{quoted(layer.identity)} AS TEXT)"
        )
        values.append(layer.name)
    else:
        text += " LEFT JOIN (SELECT NULL AS verdict) v ON 0"
    conditions, more = _conditions(layer, wanted)
    if box is not None:
        west, south, east, north = _from_degrees(layer.crs, box)
        tree = quoted(f"rtree_{layer.name}_{layer.geometry}")
        text += f" JOIN {tree} r ON r.id = t.{quoted(layer.key)}"
        conditions.append("r.maxx >= ? AND r.minx <= ? AND r.maxy >= ? AND r.miny <= ?")
        more += [west, east, south, north]
    return _Query(f"{text} WHERE {' AND '.join(conditions or ['1'])}", values + more)


def _conditions(layer: PolygonLayer, wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if layer.by is not None and wanted.classes is not None:
        marks = ", ".join("?" * len(wanted.classes))
        conditions.append(f"t.{quoted(layer.by[0])} IN ({marks})")
        values += sorted(wanted.classes)
    for column, least in ((layer.area, wanted.area), (layer.confidence, wanted.confidence)):
        if column is not None and least > 0:
            conditions.append(f"t.{quoted(column)} >= ?")
            values.append(least)
    if layer.period is not None:
        for column, sign, day in zip(
            reversed(layer.period), (">=", "<="), (wanted.first, wanted.last), strict=True
        ):
            if day:
                conditions.append(f"date(t.{quoted(column)}) {sign} date(?)")
                values.append(day)
    if wanted.verdicts is not None:
        marks = ", ".join("?" * len(wanted.verdicts))
        conditions.append(f"coalesce(v.verdict, '') IN ({marks})")
        values += sorted(wanted.verdicts)
    return conditions, values


def _largest_first(layer: PolygonLayer) -> str:
    area = "" if layer.area is None else f"t.{quoted(layer.area)} DESC, "
    return f"ORDER BY {area}t.{quoted(layer.key)}"


def _from_degrees(crs: CRS, box: Box) -> Box:
    """A box in the CRS of a layer; all of it where the box has no place there."""
    west, south, east, north = (float(n) for n in box)
    box = max(west, -180.0), max(south, -89.9), min(east, 180.0), min(north, 89.9)
    found = Transformer.from_crs(4326, crs, always_xy=True).transform_bounds(*box)
    if not np.isfinite(found).all() or found[0] > found[2]:
        return -1e30, -1e30, 1e30, 1e30
    return found
