"""The report on water over time, made from nothing but the folder of the products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from geoseg.api.map_rasters import WATER_RAMP
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
    write_series_report,
)
from geoseg.io.report_chart import lines_chart
from geoseg.io.report_page import Areas, ChartFigure, Facts, MapFigure, SeriesReport, Table
from geoseg.io.report_pictures import Embedded
from geoseg.io.report_words import NOTHING, count, decimal, hectares
from geoseg.io.tables import read_rows

_RASTER: Final = "occurrence.tif"
_FEW_SEEN: Final = 80
"""Percent; a day on which less was seen does not tell the area of water."""

_WATER: Final = "#0a55c4"
_FLOODS: Final = 6
Rows = Sequence[Mapping[str, Any]]

_FILES: Final = {
    "occurrence.tif": "how often there is water, in percent",
    "seasonality.tif": "in how many months of a year there is water",
    "recurrence.tif": "in how many of the years water came back, in percent",
    "transition.tif": "what became of water and land",
    "observations.tif": "how often each pixel was seen",
    "extents.csv": "areas of water, land and what was not seen, by day",
    "lakes.gpkg": "lakes and reservoirs as polygons, with their areas",
    "lake_areas.csv": "areas of lakes by day, with intervals",
    "floods.csv": "areas that were flooded, by day",
    "project.qgz": "all layers as a QGIS project",
    "item.json": "the products as a STAC item",
}


def write_water_report(folder: Path, *, adjusted: Adjusted | None = None) -> Path:
    """Make ``report.html`` from what ``geoseg water`` wrote; the same folder, the same page.

    Raises:
        InputError: A product does not say where it comes from, or ``adjusted`` is of another map.
        ProductError: A product cannot be read, or the page not be written.
    """
    raster = folder / _RASTER
    origin, days = origin_in(raster), read_rows(folder / "extents.parquet")
    lakes = _rows(folder, "lake_areas")
    change = folder / "transition.tif"
    found = counted(change) if change.exists() else None
    first, last = str(days[0]["date"]), str(days[-1]["date"])
    report = SeriesReport(
        title=f"Water from {first} to {last}",
        lead=" · ".join((f"{len(days)} days", place_in(raster).extent)),
        figures=_figures(days, lakes),
        warnings=_warnings(days),
        maps=_maps(folder, found),
        up=place_in(raster).up,
        areas=_areas(found, adjusted),
        charts=_charts(folder, days),
        tables=_tables(days, lakes, _rows(folder, "floods")),
        trust=_trust(origin, days),
        trust_maps=[],
        trust_tables=[],
        origin=made_from(origin),
        files=sized(folder, _FILES | _flood_files(folder)),
    )
    return write_series_report(folder, report)


def _areas(change: Counted | None, adjusted: Adjusted | None) -> Areas:
    """Of transitions; only a warning where there is no map of them, or it has an interval."""
    found = Areas(())
    if change is not None:
        found = change.areas("What became of water, from the first to the last span", adjusted)
    told = "Areas are counted from pixels: they carry the errors of the maps along."
    return replace(found, warning=found.warning or told)


def _rows(folder: Path, name: str) -> Rows:
    """The rows of a table, none where there is no such table."""
    path = folder / f"{name}.parquet"
    return read_rows(path) if path.exists() else []


def _figures(days: Rows, lakes: Rows) -> Facts:
    clear = [day for day in days if day["observed_percent"] >= _FEW_SEEN] or days
    least, most = (pick(clear, key=lambda day: day["water_ha"]) for pick in (min, max))
    last = clear[-1]
    told = [
        (hectares(last["water_ha"], unit=True), f"water on {last['date']}"),
        (hectares(most["water_ha"], unit=True), f"at most, on {most['date']}"),
        (hectares(least["water_ha"], unit=True), f"at least, on {least['date']}"),
        (count(len(days)), "days"),
    ]
    names = {row["lake"] for row in lakes}
    return [*told, (count(len(names)), "lakes and reservoirs")] if names else told


def _warnings(days: Rows) -> list[str]:
    few = [str(day["date"]) for day in days if day["observed_percent"] < _FEW_SEEN]
    if not few:
        return []
    shown = ", ".join(few[:6]) + (", ..." if len(few) > 6 else "")
    return [
        (
            f"On {len(few)} of {len(days)} days less than {_FEW_SEEN} % was seen ({shown}): their areas "
            f"are too small by what clouds hid. Areas of lakes are filled, and have an interval."
        )
    ]


def _maps(folder: Path, change: Counted | None) -> list[MapFigure]:
    maps = [
        percent_figure(
            folder / _RASTER, "How often there is water", "Of all days on which a pixel was seen.",
            ("never", "always"), ramp=WATER_RAMP,
        )
    ]  # fmt: skip
    if change is not None:
        caption = "What became of water and land (classes of JRC's Global Surface Water)."
        maps.append(class_figure(folder / "transition.tif", change.classes, "Transitions", caption))
    for path in _floods(folder)[-1:]:
        day = path.stem.removeprefix("flood_")
        caption = "Against where water is permanent."
        maps.append(class_figure(path, counted(path).classes, f"Water of {day}", caption))
    seasons = counted(folder / "seasonality.tif").classes
    caption = "In how many months of the year there is water."
    return [*maps, class_figure(folder / "seasonality.tif", seasons, "Seasons", caption)]


def _floods(folder: Path) -> list[Path]:
    return sorted(folder.glob("flood_*.tif"))


def _flood_files(folder: Path) -> dict[str, str]:
    told = {}
    for path in _floods(folder)[-_FLOODS:]:
        day = path.stem.removeprefix("flood_")
        told[path.name] = f"water of {day} against permanent water"
        told[f"{path.stem}.gpkg"] = f"what was flooded on {day}, as polygons"
    return told


def _charts(folder: Path, days: Rows) -> list[ChartFigure]:
    charts = []
    when = [date.fromisoformat(str(day["date"])) for day in days]
    values = {"Water": [float(day["water_ha"]) for day in days]}
    lines = lines_chart(when, values, {"Water": _WATER}, "ha")
    if lines is not None:
        charts.append(ChartFigure("Water that was seen, in ha", lines))
    drawing = folder / "lake_areas.svg"
    if drawing.exists():
        words = "Areas of the largest lakes with their intervals; the numbers are in the tables."
        picture = Embedded(drawing.read_bytes(), "svg+xml")
        charts.append(ChartFigure("Lakes and reservoirs, in ha", drawing=picture, words=words))
    return charts


def _tables(days: Rows, lakes: Rows, floods: Rows) -> list[Table]:
    rows = [
        (
            str(day["date"]),
            *(hectares(day[key]) for key in ("water_ha", "land_ha", "unseen_ha")),
            f"{day['observed_percent']:.0f} %",
        )
        for day in days
    ]
    head = ("Day", "Water", "Land", "Not seen", "Seen")
    tables = [_numbers("By day, in ha, the latest first", head, rows[::-1])]
    if lakes:
        tables.append(_lakes(lakes))
    if floods:
        keys = ("flooded_ha", "permanent_ha", "fallen_dry_ha")
        flooded = [(str(r["date"]), *(hectares(r[key]) for key in keys)) for r in floods]
        titles = ("Day", "Flooded", "Permanent water", "Fallen dry")
        tables.append(_numbers("Floods against permanent water, in ha", titles, flooded[::-1]))
    return tables


def _numbers(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of numbers, cut where nobody reads on."""
    cut = long_table(caption, head, rows)
    note = cut.note.replace("run.json", "the tables beside this page")
    return Table(caption, head, cut.rows, note)


def _lakes(lakes: Rows) -> Table:
    """A row for each lake, the largest first: least, mean, most, last with its interval."""
    rows: list[tuple[float, tuple[str, ...]]] = []
    for name, group in groupby(lakes, key=lambda row: row["lake"]):
        known = [row for row in group if row["area_ha"] is not None]
        if not known:
            rows.append((0.0, (str(name), "0", *(NOTHING,) * 5)))
            continue
        areas, last = [float(row["area_ha"]) for row in known], known[-1]
        interval = f"{hectares(last['low_ha'])} to {hectares(last['high_ha'])}"
        told = (hectares(n) for n in (min(areas), sum(areas) / len(areas), max(areas), areas[-1]))
        rows.append((max(areas), (str(name), count(len(known)), *told, interval)))
    rows.sort(key=lambda row: -row[0])
    head = ("Lake", "Days", "Least", "Mean", "Most", "Last", "Last, interval")
    return _numbers("Lakes and reservoirs, in ha", head, [row for _, row in rows])


def _trust(origin: Mapping[str, Any], days: Rows) -> Facts:
    settings = origin["settings"]
    seen = [float(day["observed_percent"]) for day in days]
    told = [
        ("Seen of an average day", f"{decimal(sum(seen) / len(seen), 0)} %"),
        ("Water is", ", ".join(settings["classes"]) or "each class with 'water' in its name"),
        ("Permanent is", f"what has water in {settings['permanent_from']} % of the time or more"
         if not settings.get("permanent") else str(Path(settings["permanent"]).name)),
    ]  # fmt: skip
    return [*told, ("Method", "Pekel et al. 2016 (doi:10.1038/nature20584); see docs/water.md")]
