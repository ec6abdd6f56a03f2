"""The report on alerts of forest loss, made from nothing but the folder of the products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from geoseg.api.report_areas import Adjusted
from geoseg.api.report_facts import long_table
from geoseg.api.scene_report import sized
from geoseg.api.series_report import (
    Counted,
    class_figure,
    counted,
    made_from,
    origin_in,
    percent_figure,
    place_in,
    spread_figure,
    write_series_report,
)
from geoseg.io.alert_rows import AlertSums, DaySum, read_alert_sums
from geoseg.io.report_chart import lines_chart
from geoseg.io.report_page import ChartFigure, Facts, MapFigure, SeriesReport, Table
from geoseg.io.report_words import NOTHING, count, decimal, hectares, percent

_RASTER: Final = "state.tif"
_MOST_ALERTS, _MOST_DAYS = 25, 120
_EPOCH: Final = date(1970, 1, 1)
_COLORS: Final = {
    "Low confidence": "#c4658a",
    "High confidence": "#b03a6f",
    "Highest confidence": "#7d0034",
}
"""As in the GeoPackage, but dark enough for a line on white."""

_FILES: Final = {
    "alerts.gpkg": "the alerts as polygons, with a style that QGIS applies by itself",
    "state.tif": "the state of each pixel: a cloud-optimized GeoTIFF with its legend",
    "alerts.tif": "date and confidence as Global Forest Watch writes them",
    "dates.tif": "first detection, last clear day before it, last detection",
    "counts.tif": "detections, and days from the first to the last one",
    "confidence.tif": "how sure it is, in percent",
    "project.qgz": "all layers as a QGIS project",
    "item.json": "the products as a STAC item",
}


def write_alert_report(folder: Path, *, adjusted: Adjusted | None = None) -> Path:
    """Make ``report.html`` from what ``geoseg alerts export`` wrote; the same folder, the same page.

    Raises:
        InputError: A product does not say where it comes from, or ``adjusted`` is of another map.
        ProductError: A product cannot be read, or the page not be written.
    """
    raster = folder / _RASTER
    origin, found = origin_in(raster), counted(raster)
    sums = read_alert_sums(folder / "alerts.gpkg", most=_MOST_ALERTS)
    days = sorted(str(one["date"]) for one in origin["inputs"])
    report = SeriesReport(
        title=f"Alerts of forest loss to {days[-1]}",
        lead=" · ".join((f"{days[0]} to {days[-1]}", place_in(raster).extent, _rule(origin))),
        figures=_figures(sums, found, days),
        warnings=[],
        maps=_maps(folder, found, sums),
        up=place_in(raster).up,
        areas=found.areas(f"By state, seen from {days[-1]}", adjusted),
        charts=_charts(sums, days),
        tables=[_by_day(sums), _largest(sums)],
        trust=_trust(origin, sums),
        trust_maps=_trust_maps(folder),
        trust_tables=[],
        origin=made_from(origin),
        files=sized(folder, _FILES),
    )
    return write_series_report(folder, report)


def _rule(origin: Mapping[str, Any]) -> str:
    rule = origin["settings"]["rule"]
    if "chi" in rule:
        return f"Bayesian updating, confirmed at a probability of {rule['chi']:g}"
    return f"confirmed by {rule['k']} of {rule['n']} clear observations"


def _figures(sums: AlertSums, found: Counted, days: Sequence[str]) -> Facts:
    last = [one for one in sums.days if one.day == days[-1]]
    sure = [one for one in sums.days if one.level != "Low confidence"]
    return [
        (count(sum(one.count for one in sums.days)), "alerts"),
        (hectares(sum(one.hectares for one in sums.days), unit=True), "under alert"),
        (hectares(sum(one.hectares for one in sure), unit=True), "of it with high confidence"),
        (hectares(sum(one.hectares for one in last), unit=True), f"first seen on {days[-1]}"),
        (count(len(days)), "scenes observed"),
        (percent(found.seen / max(1, found.pixels)), "of the pixels are watched"),
    ]


def _maps(folder: Path, found: Counted, sums: AlertSums) -> list[MapFigure]:
    maps = [
        class_figure(
            folder / _RASTER,
            found.classes,
            "State of each pixel",
            "Alerts are pink, confirmed red.",
        )
    ]
    first, last = _span(sums)
    if first is None or last is None:
        return maps
    whole = ((first - _EPOCH).days, (last - _EPOCH).days)
    figure = spread_figure(
        folder / "dates.tif", whole, "First detection", "When loss was seen first.",
        tuple(dict.fromkeys((str(first), str(last)))),
    )  # fmt: skip
    return [*maps, figure]


def _span(sums: AlertSums) -> tuple[date | None, date | None]:
    if not sums.days:
        return None, None
    return date.fromisoformat(sums.days[0].day), date.fromisoformat(sums.days[-1].day)


def _charts(sums: AlertSums, days: Sequence[str]) -> list[ChartFigure]:
    """Hectares under alert by the day that they were first seen, added up."""
    when = sorted({*days, *(one.day for one in sums.days)})
    levels = [level for level in _COLORS if any(one.level == level for one in sums.days)]
    values = {level: _added_up(sums.days, level, when) for level in levels}
    lines = lines_chart([date.fromisoformat(day) for day in when], values, _COLORS, "ha")
    if lines is None or not levels:
        return []
    return [ChartFigure("Area under alert by first detection, added up, in ha", lines)]


def _added_up(sums: Sequence[DaySum], level: str, days: Sequence[str]) -> list[float]:
    by_day = {one.day: one.hectares for one in sums if one.level == level}
    total, row = 0.0, []
    for day in days:
        total += by_day.get(day, 0.0)
        row.append(total)
    return row


def _by_day(sums: AlertSums) -> Table:
    rows = [(one.day, one.level, count(one.count), hectares(one.hectares)) for one in sums.days]
    more = len(rows) - _MOST_DAYS
    note = f"{more:,} earlier rows are in alerts.gpkg." if more > 0 else ""
    head = ("First seen", "Confidence", "Alerts", "Area (ha)")
    return Table("Alerts by the day that they were first seen, the latest first", head,
                 rows[::-1][:_MOST_DAYS], note)  # fmt: skip


def _largest(sums: AlertSums) -> Table:
    rows = [
        (
            one.name,
            hectares(one.hectares),
            one.level,
            one.start,
            one.end,
            NOTHING if one.confidence is None else f"{one.confidence:.0f} %",
            f"{decimal(one.place[1], 5)}, {decimal(one.place[0], 5)}",
        )
        for one in sums.largest
    ]
    head = ("Alert", "Area (ha)", "Level", "First seen", "Last seen", "Confidence", "Lat, lon")
    note = "geoseg view shows each of them on a map, takes reviews, and makes labels of them."
    return long_table("The largest alerts", head, rows, note)


def _trust(origin: Mapping[str, Any], sums: AlertSums) -> Facts:
    settings = origin["settings"]
    watch = settings["watch"]
    alerts = sum(one.count for one in sums.days)
    told = [
        ("Rule", f"{_rule(origin)}, within {settings['rule']['within']} days"),
        ("Forest is", ", ".join(watch["forest"])),
        ("Watched", "what a map of forest had at the beginning" if watch["baseline"]
         else "every pixel: what never was forest may be an alert, too"),
    ]  # fmt: skip
    if watch["ignore"]:
        told.append(("Says nothing of a pixel", ", ".join(watch["ignore"])))
    said = ", ".join(f"{number:,} {verdict}" for verdict, number in sums.verdicts.items())
    reviewed = sum(sums.verdicts.values())
    text = f"{reviewed:,} of {alerts:,}: {said}" if reviewed else "none yet (geoseg view)"
    return [*told, ("Alerts reviewed by people", text)]


def _trust_maps(folder: Path) -> list[MapFigure]:
    caption = "Of pixels with an alert: how sure the maps are of the loss."
    path = folder / "confidence.tif"
    return [percent_figure(path, "Confidence", caption, ("0 % sure", "100 % sure"))]
