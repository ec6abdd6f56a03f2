"""The report on land use over time, made from nothing but the folder of the products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from geoseg.api.land_tables import UNSEEN
from geoseg.api.report_areas import Adjusted
from geoseg.api.report_facts import confidence_tables
from geoseg.api.scene_report import sized
from geoseg.api.series_report import (
    Counted,
    class_figure,
    counted,
    made_from,
    origin_in,
    percent_figure,
    place_in,
    seen_share,
    write_series_report,
)
from geoseg.io.report_chart import lines_chart
from geoseg.io.report_confidence import read_sureness
from geoseg.io.report_page import ChartFigure, Facts, MapFigure, SeriesReport, Table
from geoseg.io.report_words import count, hectares
from geoseg.io.tables import read_rows
from geoseg.legend import LandClass

_TABLE: Final = "accounts.parquet"
_MAPS: Final = 4
"""Periods that are shown: the first one and the last ones."""

_MOST_ZONES, _MOST_LINES, _MOST_CHANGES = 40, 12, 20
_MONTHS: Final = {"Q1": 1, "Q2": 4, "Q3": 7, "Q4": 10}
Rows = Sequence[Mapping[str, Any]]

_FILES: Final = {
    "land_use.gpkg": "all tables, and the units that areas are counted in",
    "areas.csv": "areas by period, unit and class",
    "accounts.csv": "what each class had, won, lost and has",
    "changes.csv": "what became of what",
    "project.qgz": "all maps as a QGIS project with a time slider",
    "collection.json": "the maps as a STAC collection",
}


def write_land_use_report(folder: Path, *, adjusted: Adjusted | None = None) -> Path:
    """Make ``report.html`` from what ``geoseg land-use`` wrote; the same folder, the same page.

    Args:
        folder: Of the products.
        adjusted: Of the map of the last period.

    Raises:
        InputError: A product does not say where it comes from, or ``adjusted`` is of another map.
        ProductError: A product cannot be read, or the page not be written.
    """
    areas, accounts = read_rows(folder / "areas.parquet"), read_rows(folder / _TABLE)
    periods = list(dict.fromkeys(str(row["period"]) for row in areas))
    raster = folder / periods[-1] / "classes.tif"
    origin, found = origin_in(raster), counted(raster)
    classes = _classes(found, areas)
    report = SeriesReport(
        title=f"Land use from {periods[0]} to {periods[-1]}",
        lead=" · ".join((_periods(periods), place_in(raster).extent)),
        figures=_figures(periods, found, accounts),
        warnings=[],
        maps=_maps(folder, periods, classes),
        up=place_in(raster).up,
        areas=found.areas(f"By class in {periods[-1]}", adjusted),
        charts=_charts(periods, areas, classes),
        tables=_tables(folder, periods, accounts, areas),
        trust=_trust(origin, found),
        **_sureness(folder / periods[-1], found),
        origin=made_from(origin),
        files=sized(folder, _FILES | _map_files(periods)),
    )  # fmt: skip
    return write_series_report(folder, report)


def _sureness(place: Path, found: Counted) -> dict[str, Any]:
    """The part on the confidence of a period's map."""
    sure = place / "confidence.tif"
    caption, ends = f"Of the map of {place.name}.", ("0 % sure", "100 % sure")
    counts = read_sureness(place / "classes.tif", sure)
    return {
        "trust_maps": [percent_figure(sure, "Confidence", caption, ends)],
        "trust_tables": confidence_tables(counts, found.classes),
    }


def _periods(periods: Sequence[str]) -> str:
    return f"{len(periods)} periods" if len(periods) > 1 else "one period"


def _map_files(periods: Sequence[str]) -> dict[str, str]:
    return {f"{name}/classes.tif": f"the map of {name}" for name in periods[-12:]}


def _classes(found: Counted, areas: Rows) -> list[LandClass]:
    """Those that occur in any period, with the colours of the last map where it has them."""
    colors = {c.name: c for c in found.classes}
    names = {
        str(row["class_name"]): int(row["class_code"])
        for row in areas
        if row["class_code"] is not None and row["area_ha"] > 0
    }
    return [
        colors.get(name, LandClass(code, name, "#808080"))
        for name, code in sorted(names.items(), key=lambda pair: pair[1])
    ]


def _figures(periods: Sequence[str], found: Counted, accounts: Rows) -> Facts:
    whole = [row for row in accounts if _spans(row, periods[0], periods[-1])]
    known = [row for row in whole if row["class_name"] != UNSEEN]
    told = [
        (hectares(sum(float(r["area_ha"]) for r in found.rows), unit=True), "mapped"),
        (count(len(periods)), "periods"),
        (count(len(found.classes)), f"classes in {periods[-1]}"),
        (seen_share(found), f"of the pixels have a class in {periods[-1]}"),
    ]
    if len(periods) > 1:
        lost = sum(float(row["reductions_ha"]) for row in known)
        told.append((hectares(lost, unit=True), f"another class than in {periods[0]}"))
    return told


def _spans(row: Mapping[str, Any], first: str, last: str) -> bool:
    return (row["from_period"], row["to_period"]) == (first, last)


def _maps(
    folder: Path, periods: Sequence[str], classes: Sequence[LandClass]
) -> list[MapFigure]:  # fmt: skip
    shown = list(dict.fromkeys((periods[0], *periods[-(_MAPS - 1) :])))
    return [
        class_figure(folder / name / "classes.tif", classes, name, "Land use.") for name in shown
    ]


def _charts(periods: Sequence[str], areas: Rows, classes: Sequence[LandClass]) -> list[ChartFigure]:
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in areas:
        sums[str(row["class_name"]), str(row["period"])] += float(row["area_ha"])
    largest = sorted(classes, key=lambda c: -max(sums[c.name, period] for period in periods))
    names = [c.name for c in classes if c in largest[:_MOST_LINES]]
    values = {name: [sums[name, period] for period in periods] for name in names}
    colors = {c.name: c.color for c in classes}
    lines = lines_chart([_start(name) for name in periods], values, colors, "ha")
    return [] if lines is None else [ChartFigure("Classes over time, in ha", lines)]


def _start(period: str) -> date:
    """The first day of a period, by its name: 2024, 2024-Q2, 2024-06."""
    year, _, part = period.partition("-")
    return date(int(year), _MONTHS.get(part) or int(part or 1), 1)


def _tables(folder: Path, periods: Sequence[str], accounts: Rows, areas: Rows) -> list[Table]:
    tables = []
    if len(periods) > 1:
        tables = [_accounts(periods, accounts), _changes(folder, periods)]
    zones = list(dict.fromkeys(str(row["zone"]) for row in areas))
    if len(zones) > 1:
        tables.append(_by_zone(periods[-1], zones, areas))
    return tables


def _accounts(periods: Sequence[str], accounts: Rows) -> Table:
    keys = ("opening_ha", "additions_ha", "reductions_ha", "closing_ha", "stable_ha")
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(keys))
    for row in accounts:
        if _spans(row, periods[0], periods[-1]):
            for at, key in enumerate(keys):
                sums[str(row["class_name"])][at] += float(row[key])
    rows = [(name, *map(hectares, numbers)) for name, numbers in sums.items() if any(numbers)]
    head = ("Class", f"In {periods[0]}", "Won", "Lost", f"In {periods[-1]}", "Stayed")
    note = "Won and lost between the first and the last period; all pairs are in accounts.csv."
    return Table("Land account, in ha", head, rows, note)


def _changes(folder: Path, periods: Sequence[str]) -> Table:
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in read_rows(folder / "changes.parquet"):
        if _spans(row, periods[0], periods[-1]) and row["from_class"] != row["to_class"]:
            sums[str(row["from_class"]), str(row["to_class"])] += float(row["area_ha"])
    largest = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_CHANGES]
    most = max((area for _, area in largest), default=0.0) or 1.0
    rows = [(f"{a} to {b}", hectares(area)) for (a, b), area in largest]
    note = "The largest ones; all are in changes.csv." if len(sums) > _MOST_CHANGES else ""
    bars = [100 * area / most for _, area in largest]
    title = f"From class to class, {periods[0]} to {periods[-1]}"
    return Table(title, ("Change", "Area (ha)"), rows, note, bars=bars)


def _by_zone(period: str, zones: Sequence[str], areas: Rows) -> Table:
    now = [row for row in areas if row["period"] == period]
    names = list(dict.fromkeys(str(row["class_name"]) for row in now if row["area_ha"] > 0))
    found = {(str(r["zone"]), str(r["class_name"])): float(r["area_ha"]) for r in now}
    rows = [
        (zone, *(hectares(found.get((zone, name), 0.0)) for name in names))
        for zone in zones[:_MOST_ZONES]
    ]
    more = len(zones) - _MOST_ZONES
    note = f"{more:,} more units are in areas.csv." if more > 0 else ""
    return Table(f"By unit in {period}, in ha", ("Unit", *names), rows, note)


def _trust(origin: Mapping[str, Any], found: Counted) -> Facts:
    settings = origin["settings"]
    rules = {
        "median": "each period by itself, by the median of its dates",
        "hmm": "all periods together: a hidden Markov model of what changes to what",
    }
    told = [("How a period is decided", rules.get(str(settings["rule"]), str(settings["rule"])))]
    if settings["rule"] == "hmm":
        told.append(("A class stays with probability", str(settings["stay"])))
        filled = "is filled" if settings["fill"] else "stays without a class"
        told.append(("What was not seen in a period", filled))
    told.append(("Confidence of maps that say none", f"{settings['assumed']} %"))
    return [*told, ("Without a class in the last period", count(found.pixels - found.seen))]
