"""Reports of runs as one HTML file each: what they tell, and the templates that draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2

import geoseg
from geoseg.io.report_chart import Chart
from geoseg.io.report_pictures import Embedded
from geoseg.io.report_place import Place

Facts = Sequence[tuple[str, str]]
"""Pairs of a word and what it is."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row says what the row is about.

    ``words`` are set to the left, numbers to the right. ``bars`` are drawn beside the rows, so
    many percent long.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False
    bars: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class in the table of areas; ``width`` is the length of its bar in percent.

    ``swatch`` is the address of the picture of its pattern.
    """

    name: str
    color: str
    swatch: str
    area: str
    share: str
    width: str
    pixels: str
    interval: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Areas:
    """The table of areas by class, ``head`` over the intervals, and what is said about it."""

    rows: Sequence[ClassRow]
    caption: str = ""
    warning: str = ""
    adjusted: str = ""
    head: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """What the products were made from: tables of inputs and software, settings (YAML), versions."""

    tables: Sequence[Table]
    settings: str
    fingerprint: str
    version: str


@dataclass(frozen=True, slots=True)
class ProductFile:
    """A file beside the page."""

    name: str
    what: str
    size: str


@dataclass(frozen=True, slots=True, eq=False)
class SceneReport:
    """What the report of one mapped scene tells; texts are escaped where they are drawn.

    Attributes:
        title, description, lead, state: Above all.
        figures: The numbers that matter most, each with what it is.
        warnings: What must not be overlooked.
        place: Where the map lies.
        scene: A picture of it; without, ``no_scene`` says why.
        plain, patterned: The class map in colours, and in patterns where there are not too many.
        map_words: What the map shows, for those who do not see it.
        holes: Blocks that failed: left, top, width and height in pixels of the map.
        areas: Of the classes that occur; ``absent`` names the others.
        polygons: How many there are.
        trust, trust_tables: How good model and map are.
        confidence, ramp, confidence_tables: How sure the model was; None where that was not kept.
        where, seen_tables: Place and time, and which pixels count.
        run_tables, machine: Times, memory, failures.
        origin: What it was made from.
        files: Which lie beside the page.
    """

    title: str
    description: str
    lead: str
    state: str
    figures: Facts
    warnings: Sequence[str]
    place: Place
    scene: Embedded | None
    no_scene: str
    plain: Embedded
    patterned: Embedded | None
    map_words: str
    holes: Sequence[tuple[int, int, int, int]]
    areas: Areas
    absent: str
    polygons: str
    origin: Origin
    trust: Facts = ()
    trust_tables: Sequence[Table] = ()
    confidence: Embedded | None = None
    ramp: str = ""
    confidence_tables: Sequence[Table] = ()
    where: Facts = ()
    seen_tables: Sequence[Table] = ()
    run_tables: Sequence[Table] = ()
    machine: Facts = ()
    files: Sequence[ProductFile] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class ChangeReport:
    """What the report of two maps that were compared tells.

    Attributes:
        title, lead, figures, warnings: Above all.
        picture, picture_words: The quicklook, and what it shows.
        area_warning, change_tables: How large what changed is.
        trust, trust_tables: What was left out, and how the maps lie to each other.
        origin: What it was made from.
        files: Which lie beside the page.
    """

    title: str
    lead: str
    figures: Facts
    warnings: Sequence[str]
    picture: Embedded | None
    picture_words: str
    area_warning: str
    change_tables: Sequence[Table]
    trust: Facts
    trust_tables: Sequence[Table]
    origin: Origin
    files: Sequence[ProductFile]


def change_page(report: ChangeReport) -> bytes:
    """The page of two maps that were compared."""
    return _drawn("change.html", title=report.title, r=report)


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour of a map means; ``swatch`` is the address of the picture of its pattern."""

    name: str
    color: str
    swatch: str


@dataclass(frozen=True, slots=True)
class MapFigure:
    """A map with what explains it.

    Attributes:
        title, caption: Below it.
        words: What it shows, for those who do not see it.
        plain, patterned: The map in colours, and in patterns where it has classes.
        key: Colours of its classes; else ``ramp``, a CSS gradient, with what its ``ends`` mean.
        bar: Scale bar: a length, and its share of the width.
    """

    title: str
    caption: str
    words: str
    plain: Embedded
    patterned: Embedded | None = None
    key: Sequence[Key] = ()
    ramp: str = ""
    ends: Sequence[str] = ()
    bar: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class ChartFigure:
    """A chart of a report: lines, or a drawing with ``words`` on what it shows."""

    title: str
    lines: Chart | None = None
    drawing: Embedded | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesReport:
    """What the report on products of many dates tells: alerts, water, land use.

    Attributes:
        title, lead, figures, warnings: Above all.
        maps, up: What was found, and how the maps lie.
        areas: Of one map, by class.
        charts, tables: Areas over time, and whatever else is counted.
        trust, trust_maps, trust_tables: Rules, confidence, and what was not seen.
        origin: What it was made from.
        files: Which lie beside the page.
    """

    title: str
    lead: str
    figures: Facts
    warnings: Sequence[str]
    maps: Sequence[MapFigure]
    up: str
    areas: Areas
    charts: Sequence[ChartFigure]
    tables: Sequence[Table]
    trust: Facts
    trust_maps: Sequence[MapFigure]
    trust_tables: Sequence[Table]
    origin: Origin
    files: Sequence[ProductFile]


def series_page(report: SeriesReport) -> bytes:
    """The page of products of many dates."""
    return _drawn("series.html", title=report.title, r=report)


@dataclass(frozen=True, slots=True)
class Page:
    """Another page, and where it lies."""

    name: str
    href: str


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small map that leads to its report."""

    name: str
    href: str
    picture: Embedded


@dataclass(frozen=True, slots=True)
class HistoryScene:
    """A scene in the table of a history; ``href`` is None where its products are gone."""

    date: str
    name: str
    href: str | None
    note: str
    areas: Sequence[str]
    seen: str
    confidence: str


@dataclass(frozen=True, slots=True, eq=False)
class HistoryPart:
    """What one workflow has done.

    Attributes:
        name, state, bad, warnings, figures: Above all; ``bad`` is whether somebody should look.
        thumbs, key: The latest maps, and the colours of classes.
        chart, area_warning: Areas over time; None where there are not two dates.
        classes, scenes, more_scenes: The table of scenes.
        tables: Runs and failures.
    """

    name: str
    state: str
    bad: bool
    warnings: Sequence[str]
    figures: Facts
    thumbs: Sequence[Thumb]
    key: Facts
    chart: Chart | None
    area_warning: str
    classes: Sequence[str]
    scenes: Sequence[HistoryScene]
    more_scenes: str
    tables: Sequence[Table]


@dataclass(frozen=True, slots=True, eq=False)
class HistoryReport:
    """What the report on a folder of many runs tells; ``others`` are pages made of all dates."""

    title: str
    lead: str
    parts: Sequence[HistoryPart]
    others: Sequence[Page] = ()
    version: str = geoseg.__version__


def history_page(report: HistoryReport) -> bytes:
    """The page of all that workflows have done in a folder."""
    return _drawn("history.html", title=report.title, r=report)


def scene_page(report: SceneReport) -> bytes:
    """The page of one mapped scene."""
    return _drawn("run.html", title=report.title, r=report)


@cache
def _templates() -> jinja2.Environment:
    """Kept, as compiling templates takes longer than drawing them."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("geoseg.io"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _drawn(template: str, **values: Any) -> bytes:
    """A template with these values, all of which are escaped; what it lacks is an error."""
    return _templates().get_template(template).render(values).encode("utf-8", "replace")
