"""QGIS projects of what was made of many dates: styled, in groups, with a slider over the dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from geoseg.grid import GeoBox
from geoseg.io.dated_map import DatedMap
from geoseg.io.periods import period_at
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import class_style
from geoseg.io.qml_reading import style_beside, style_within
from geoseg.io.qml_time import Shown, one_after_other, shown_on
from geoseg.ops.water import FLOOD

PROJECT: Final = "project.qgz"
DATES: Final = "Maps by date"
SHOWN_MAPS: Final = 60
"""More maps than that, the latest ones, make a project slow to open."""

_PERIOD: Final = {"month": 32, "quarter": 93, "year": 367}
"""Days from the first moment of a period that always lie in the next one."""

_WATER: Final = {
    "transition": "Transitions",
    "seasonality": "Months with water",
    "recurrence": "Years with water",
    "occurrence": "How often",
    "observations": "Observations",
}


def write_alert_project(
    folder: Path, paths: Mapping[str, Path], grid: GeoBox, days: tuple[date, date], table: str
) -> Path:
    """Alerts over their states; the slider runs from the first to the last day of observations.

    Args:
        folder: Of the products.
        paths: Products by role.
        grid: Of the rasters.
        days: First and last.
        table: Layer of the GeoPackage.
    """
    whole = shown_on(days[0], days[1] + timedelta(days=1))
    alerts = style_within(paths["alerts"], table)
    layers = [ProjectLayer("Alerts", str(paths["alerts"]), alerts, table, "Alerts", shown=whole)]
    names = {
        "state": "State",
        "gfw": "Confidence as GFW has it",
        "dates": "First detection",
        "counts": "Detections",
        "confidence": "Confidence",
    }
    layers += [
        raster_layer(name, paths[role], "Evidence", checked=role == "state")
        for role, name in names.items()
        if role in paths
    ]
    title = f"Alerts {days[0]} to {days[1]}"
    return _write(folder, layers, grid, title)


def write_water_project(
    folder: Path, products: Mapping[str, Path], maps: Sequence[DatedMap], grid: GeoBox
) -> Path:
    """Lakes, floods by day, water over time, and the maps that all was made of, by their dates."""
    layers = []
    if "lakes" in products:
        style = style_within(products["lakes"], "lakes")
        layers.append(ProjectLayer("Lakes", str(products["lakes"]), style, "lakes", "Lakes"))
    for day in reversed([role[6:16] for role in products if role.endswith("_polygons")]):
        layers += _flood(products, day)
    dates = map_layers(maps, grid)
    layers += dates
    layers += [
        raster_layer(name, products[role], "Water over time", checked=role == "occurrence")
        for role, name in _WATER.items()
        if role in products
    ]
    first, last = (day.day() for day in (maps[0], maps[-1]))
    return _write(folder, layers, grid, f"Water {first} to {last}", folded=[DATES])


def write_land_use_project(
    folder: Path,
    periods: Sequence[tuple[str, datetime]],
    by: Literal["year", "quarter", "month"],
    grid: GeoBox,
) -> Path:
    """The map of each period, the latest on top; the slider shows one after the other.

    Args:
        folder: Of the products, with a folder for each period.
        periods: Name and first moment of each, oldest first.
        by: How long they are.
        grid: Of the maps.
    """
    layers: list[ProjectLayer] = []
    groups = {"Land use": "classes.tif", "Confidence": "confidence.tif"}
    for group, name in groups.items():
        for period, start in reversed(periods):
            shown = shown_on(start, period_at(start + timedelta(days=_PERIOD[by]), by)[1])
            path = folder / period / name
            label = period if group == "Land use" else f"Confidence {period}"
            layers.append(replace(raster_layer(label, path, group), shown=shown))
    title = f"Land use {periods[0][0]} to {periods[-1][0]}"
    return _write(folder, layers, grid, title, folded=["Confidence"])


def map_layers(maps: Sequence[DatedMap], grid: GeoBox) -> list[ProjectLayer]:
    """Maps of classes, the latest first; each is shown from its day until that of the next one."""
    times = one_after_other([one.day() for one in maps])
    latest = list(zip(maps, times, strict=True))[-SHOWN_MAPS:]
    return [
        ProjectLayer(
            f"{one.day()}",
            str(one.classes),
            class_style(one.legend),
            group=DATES,
            grid=None if one.grid.crs == grid.crs else one.grid,
            shown=shown,
        )
        for one, shown in reversed(latest)
    ]


def raster_layer(name: str, path: Path, group: str, *, checked: bool = True) -> ProjectLayer:
    """A raster in the style that lies beside it."""
    return ProjectLayer(name, str(path), style_beside(path), group=group, checked=checked)


def _flood(products: Mapping[str, Path], day: str) -> list[ProjectLayer]:
    shown: Shown | None = shown_on(date.fromisoformat(day))
    file = products[f"flood_{day}_polygons"]
    style = style_within(file, "flood")
    raster = str(products[f"flood_{day}"])
    return [
        ProjectLayer(f"Flooded {day}", str(file), style, "flood", "Floods", shown=shown),
        ProjectLayer(
            f"Water {day}", raster, class_style(FLOOD), "", "Floods", checked=False, shown=shown
        ),
    ]


def _write(
    folder: Path,
    layers: Sequence[ProjectLayer],
    grid: GeoBox,
    title: str,
    folded: Sequence[str] = (),
) -> Path:
    path = folder / PROJECT
    write_project(path, layers, grid=grid, title=title, folded=folded)
    return path
