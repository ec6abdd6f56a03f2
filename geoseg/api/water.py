"""Water over time: how often, when, what became of it; lakes and reservoirs; floods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.api.floods import Floods, check_permanent
from geoseg.api.lakes import found_lakes, known_lakes, lake_series, write_lakes
from geoseg.api.map_rasters import (
    BLOCK,
    MapRasters,
    check_section,
    earlier_maps,
    maps_of,
    origin_of,
    series_for,
    work_folder,
    write_map_item,
)
from geoseg.api.planning import RunPlan
from geoseg.api.results import SceneResult
from geoseg.api.series_projects import write_water_project
from geoseg.api.stored import folder_of
from geoseg.api.water_report import write_water_report
from geoseg.errors import InputError
from geoseg.io.class_raster import unnamed
from geoseg.io.dated_map import DatedMap
from geoseg.io.map_series import MapSeries
from geoseg.io.product_item import ItemAsset
from geoseg.io.staging import address
from geoseg.io.tables import write_tables
from geoseg.io.zarr_store import ZarrRaster
from geoseg.io.zones import check_zones
from geoseg.legend import LandClass, Legend
from geoseg.ops.metric import measure_grid
from geoseg.ops.months import Month, Span, halves
from geoseg.ops.water import NOT_SEEN, TRANSITIONS, Constancy
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.water import HISTORY, STATES, HistoryBlock, WaterMaps, water_codes
from geoseg.workflow.settings import section_of
from geoseg.workflow.water import Water, read_span

_BLUES = (
    "#ffffff", "#f7c8e6", "#e6b3e6", "#d69ee6", "#c58ae6", "#b575e6", "#a461e6", "#944ce6",
    "#8338e6", "#6a26e6", "#4717ec", "#240bf5", "#0000ff",
)  # fmt: skip

SEASONS = Legend(
    "seasonality",
    tuple(
        LandClass(months, f"{months} month{'s' * (months != 1)}", color)
        for months, color in enumerate(_BLUES)
    ),
)
"""Months of a year with water."""

_EXTENTS = pa.schema(
    [
        ("date", pa.string()),
        ("water_ha", pa.float64()),
        ("land_ha", pa.float64()),
        ("unseen_ha", pa.float64()),
        ("observed_percent", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class WaterResult:
    """What was made.

    Attributes:
        directory: Of the products.
        products: Paths by role; the STAC item is last.
        extents: A row for each day: hectares of water, of land, and of what was not seen.
        lakes: A row for each lake and day; None where there are no lakes.
        spans: What the transitions are between.
        warnings: What was left out, and why.
    """

    directory: Path
    products: Mapping[str, Path]
    extents: pa.Table
    lakes: pa.Table | None
    spans: tuple[str, str] | None
    warnings: tuple[str, ...] = field(default=())


def water(
    maps: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
    block: int = BLOCK,
    **settings: Any,
) -> WaterResult:
    """What maps of many dates say of water; see ``docs/water.md`` for the products.

    Args:
        maps: Rasters of classes with dates, or folders of products, in any order.
        out: Folder of the products.
        like: A raster whose grid is used; that of the oldest map without it.
        reporter: Told of progress; nobody is, without it.
        block: Side of a block, in pixels; changes no result.
        settings: The keys of :class:`geoseg.workflow.water.Water`.

    Raises:
        InputError: Maps, lakes or settings do not fit; nothing was written.
        ProductError: A product cannot be written.
    """
    asked = section_of(Water, settings)
    folder = Path(out)
    series = series_for(
        [Path(one) for one in maps], folder, like=None if like is None else Path(like)
    )
    return make_water(series, folder, asked, reporter or Silent(), block=block)


def check(plan: RunPlan) -> None:
    """Refuse a section that cannot be done, before any scene is mapped.

    Raises:
        InputError: A file or a class is missing, a scene has no date, or nothing can be written.
    """
    section = plan.workflow.water
    if section is None:
        return
    check_section(plan, "water", section.directory)
    if section.lakes is not None:
        check_zones(Path(section.lakes), section.lake_name)
    if section.permanent is not None:
        check_permanent(Path(section.permanent))
    legend = plan.committee.card.legend
    if not water_codes(legend, section.classes):
        wanted = ", ".join(section.classes) or "with 'water' in its name"
        has = ", ".join(legend.names)
        raise InputError(f"water: the model has no class {wanted}; it has {has}")


def follow(plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter) -> None:
    """Do what the section ``water`` of a workflow asks for, with all maps there are.

    Raises:
        GeosegError: As :func:`water`.
    """
    section = plan.workflow.water
    if section is None:
        return
    paths = [*maps_of(results), *earlier_maps(section.maps, section.directory, reporter)]
    if not paths:
        return
    asked = Water.model_validate(section.model_dump(mode="json", exclude={"directory", "maps"}))
    made = make_water(
        series_for(paths, folder_of(section.directory), like=None),
        folder_of(section.directory),
        asked,
        reporter,
    )
    for warning in made.warnings:
        reporter.warning(f"water: {warning}")


def make_water(
    series: MapSeries, folder: Path, asked: Water, reporter: Reporter, *, block: int = BLOCK
) -> WaterResult:
    """See :func:`water`."""
    codes = [_codes(one, asked) for one in series.maps]
    settings = asked.model_dump(mode="json")
    sources = [*series.paths, *(p for p in (asked.lakes, asked.permanent) if p is not None)]
    with closing(WaterMaps(series, codes)) as maps, ExitStack() as stack:
        # Nothing is written before all that is asked for has been looked at.
        origin = origin_of("water", sources, settings)
        rasters = MapRasters(folder, Path(), series.grid, block, origin)
        making = _Making(asked, rasters, maps, reporter)
        room = stack.enter_context(work_folder(folder))
        making.begin(room)
        making.history()
        making.floods()
        making.lakes()
        return making.finish(series)


class _Making:
    """The products of one series, one after the other; lakes and floods need the history."""

    def __init__(
        self, asked: Water, rasters: MapRasters, maps: WaterMaps, reporter: Reporter
    ) -> None:
        self._asked, self._maps, self._reporter = asked, maps, reporter
        self._rasters = rasters
        days = maps.days
        self._span = Span(*(Month(day.year, day.month) for day in (days[0], days[-1])))
        self._spans, self._notes = _spans(asked, self._span)
        self._year = _year(asked, self._span)
        self._metric = measure_grid(rasters.grid)
        self._known = known_lakes(asked, rasters.grid)
        self._floods = Floods(asked, rasters.grid, maps)
        self._assets: dict[str, ItemAsset] = {}
        self._products: dict[str, Path] = {}
        self._extents = _EXTENTS.empty_table()
        self._lakes: pa.Table | None = None
        self._occurrence: ZarrRaster | None = None

    def begin(self, room: Path) -> None:
        """Take a folder for work; an item that stands from an earlier run vouches no longer."""
        self._rasters = replace(self._rasters, room=room)
        (self._rasters.folder / "item.json").unlink(missing_ok=True)
        windows = self._rasters.windows
        days = len(self._maps.days)
        self._reporter.started(scenes=days, blocks=len(windows), dashboard=None)

    def history(self) -> None:
        """Occurrence, seasonality, recurrence, transitions, observations; areas of each day."""
        names = [*HISTORY, *(["transition"] if self._spans else [])]
        stores = {
            name: self._rasters.store(name, fill=0 if name == "observations" else NOT_SEEN)
            for name in names
        }
        constancy = Constancy(self._asked.permanent_months / 100, self._asked.dry_months / 100)
        step = HistoryBlock(
            self._maps, self._span, stores, self._metric, self._year, self._spans, constancy
        )
        windows = self._rasters.windows
        counts = np.zeros((len(self._maps.days), STATES), np.int64)
        for found in each_block(step, windows, name="water", reporter=self._reporter):
            counts += found
        self._extents = _extents(self._maps.days, counts, self._metric.unit / 1e4)
        self._products |= write_tables(
            self._rasters.folder, {"extents": self._extents}, self._rasters.origin.document()
        )
        made = self._rasters
        for name in ("occurrence", "recurrence"):
            self._assets[name] = made.percents(stores[name], name)
        self._assets["seasonality"] = made.classes(stores["seasonality"], "seasonality", SEASONS)
        self._assets["observations"] = made.counts(stores["observations"], "observations")
        if self._spans:
            store = stores["transition"]
            self._assets["transition"] = made.classes(store, "transition", TRANSITIONS)
        self._products |= {name: made.path(name) for name in names}
        self._occurrence = stores["occurrence"]

    def floods(self) -> None:
        """Days against permanent water."""
        assert self._occurrence is not None  # noqa: S101 - for the type checker
        made = self._floods.make(self._rasters, self._occurrence, self._metric, self._reporter)
        self._assets |= made.assets
        self._products |= made.products
        self._notes += made.notes

    def lakes(self) -> None:
        """Lakes that are given, or found."""
        occurrence = self._occurrence
        assert occurrence is not None  # noqa: S101 - for the type checker
        lakes = self._known
        if lakes is None and self._asked.find_lakes:
            permanent = self._floods.permanent(occurrence)
            lakes = found_lakes(
                self._rasters, occurrence, permanent, self._asked, self._metric, self._reporter
            )
            if lakes is None:
                least = self._asked.min_lake
                self._notes.append(f"no lakes: no water of {least} or more is permanent somewhere")
        if lakes is None:
            return
        found = lake_series(
            self._rasters,
            self._maps,
            lakes,
            occurrence,
            metric=self._metric,
            least_observed=self._asked.least_observed / 100,
            reporter=self._reporter,
        )
        self._products |= write_lakes(self._rasters.folder, found, self._rasters.origin.document())
        self._lakes = found.series

    def finish(self, series: MapSeries) -> WaterResult:
        """Write the item, which says that all is there."""
        folder, days = self._rasters.folder, self._maps.days
        others = {
            role: ItemAsset(path, _title(path), ("data",))
            for role, path in self._products.items()
            if role not in self._assets
        }
        project = write_water_project(folder, self._products, series.maps, self._rasters.grid)
        others["project"] = ItemAsset(project, "QGIS project", ("metadata",))
        self._products["project"] = project
        # No asset: it is made anew when areas are adjusted, and checksums in the item must hold.
        self._products["report"] = write_water_report(folder)
        item = write_map_item(
            self._rasters,
            f"water-{days[0]:%Y%m%d}-{days[-1]:%Y%m%d}",
            self._assets | others,
            series.moments,
            lineage=f"water of {len(series.maps)} maps, after Pekel et al. 2016",
            sources=[str(one.classes) for one in series.maps],
        )
        self._reporter.done(f"{address(folder)}: water of {len(days)} days")
        return WaterResult(
            folder,
            self._products | {"item": item},
            self._extents,
            self._lakes,
            None if self._spans is None else (str(self._spans[0]), str(self._spans[1])),
            tuple(self._notes),
        )


def _title(path: Path) -> str:
    return path.stem.replace("_", " ").capitalize()


def _codes(one: DatedMap, asked: Water) -> frozenset[int]:
    """Which codes of a map are water.

    Raises:
        InputError: None of its classes is.
    """
    codes = water_codes(one.legend, asked.classes)
    if not codes:
        named = [name for c in one.legend.classes if (name := c.name) != unnamed(c.value)]
        wanted = ", ".join(asked.classes) or "with 'water' in its name"
        has = f"it has {', '.join(named)}" if named else f"it names none; {unnamed(1)!r} is code 1"
        raise InputError(f"{one.classes}: has no class {wanted}; {has}")
    return codes


def _spans(asked: Water, span: Span) -> tuple[tuple[Span, Span] | None, list[str]]:
    """What transitions are between."""
    if asked.first is not None and asked.last is not None:
        first, last = read_span(asked.first), read_span(asked.last)
        for name, one in (("first", first), ("last", last)):
            if one.last < span.first or one.first > span.last:
                raise InputError(f"{name}: {one} has no map; there are maps of {span}")
        return (first, last), []
    found = halves(span)
    if found is None:
        note = "no transitions: all maps are of one year; say 'first' and 'last' to compare parts"
        return None, [note]
    return found, []


def _year(asked: Water, span: Span) -> int:
    """The year of the seasonality."""
    year = span.last.year if asked.season_year is None else asked.season_year
    if not span.first.year <= year <= span.last.year:
        raise InputError(f"season_year: {year} has no map; there are maps of {span}")
    return year


def _extents(days: Sequence[date], counts: NDArray[np.int64], hectares: float) -> pa.Table:
    rows = [
        (
            day.isoformat(),
            round(float(water) * hectares, 4),
            round(float(land) * hectares, 4),
            round(float(unseen) * hectares, 4),
            round(100 * float(land + water) / float(land + water + unseen), 2),
        )
        for day, (land, water, unseen) in zip(days, counts.tolist(), strict=True)
    ]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=_EXTENTS)
