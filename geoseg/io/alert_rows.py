"""What the polygons of alerts say together: by day, the largest ones, and what reviewers said."""

# ruff: noqa: S608 (names are quoted)

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely

from geoseg.errors import InputError
from geoseg.io.polygon_layers import PolygonLayer, outlines_of, quoted, read_layers, reading
from geoseg.io.reviews import LATEST, has_reviews


@dataclass(frozen=True, slots=True)
class DaySum:
    """Alerts of one level that were first seen on one day (ISO): how many, and hectares."""

    day: str
    level: str
    count: int
    hectares: float


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; ``place`` is longitude and latitude of a point in it."""

    name: str
    level: str
    start: str
    end: str
    hectares: float
    confidence: float | None
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class AlertSums:
    """What is told of the alerts of a GeoPackage.

    Attributes:
        days: Sums by day of the first detection and level, in this order.
        largest: The largest alerts.
        verdicts: Number of alerts by what was said of them last.
    """

    days: tuple[DaySum, ...]
    largest: tuple[Alert, ...]
    verdicts: dict[str, int]


def read_alert_sums(path: Path, *, most: int) -> AlertSums:
    """Sums of the alerts in a GeoPackage, and so many of the largest.

    Raises:
        InputError: It cannot be read, or has no alerts.
    """
    layer = next((one for one in read_layers(path) if one.is_alerts), None)
    if layer is None:
        raise InputError(f"{path}: has no layer of alerts")
    table = quoted(layer.name)
    with reading(path) as connection:
        sums = connection.execute(
            f"SELECT start, class_name, count(*), sum(area_ha) FROM {table} "
            "GROUP BY start, class_code ORDER BY start, class_code"
        ).fetchall()
        rows = connection.execute(
            f"SELECT alert_id, class_name, start, end, area_ha, confidence_mean, "
            f"{quoted(layer.geometry)} FROM {table} ORDER BY area_ha DESC, alert_id LIMIT ?",
            (most,),
        ).fetchall()
        verdicts = _verdicts(connection, layer)
    days = tuple(DaySum(str(day)[:10], str(level), int(n), float(ha)) for day, level, n, ha in sums)
    return AlertSums(days, _alerts(layer, rows), verdicts)


def _alerts(layer: PolygonLayer, rows: Sequence[tuple[object, ...]]) -> tuple[Alert, ...]:
    if not rows:
        return ()
    shapes = outlines_of(layer, [bytes(row[-1]) for row in rows])  # type: ignore[call-overload]  # a blob
    points = shapely.get_coordinates(shapely.point_on_surface(shapes))
    return tuple(
        Alert(
            str(name),
            str(level),
            str(start)[:10],
            str(end)[:10],
            float(area),  # type: ignore[arg-type]  # a number
            None if sure is None else float(sure),  # type: ignore[arg-type]  # a number
            (float(lon), float(lat)),
        )
        for (name, level, start, end, area, sure, _), (lon, lat) in zip(rows, points, strict=True)
    )


def _verdicts(connection: sqlite3.Connection, layer: PolygonLayer) -> dict[str, int]:
    if not has_reviews(connection):
        return {}
    rows = connection.execute(
        f"SELECT v.verdict, count(*) FROM {LATEST} v JOIN {quoted(layer.name)} t "
        f"ON v.feature = CAST(t.{quoted(layer.identity)} AS TEXT) "
        "WHERE v.layer = ? AND v.verdict <> 'open' GROUP BY v.verdict ORDER BY v.verdict",
        (layer.name,),
    )
    return {str(verdict): int(count) for verdict, count in rows}
