"""Land use over time: a map for each year, areas by class and unit, and land accounts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoseg.api.land_tables import LandTables, write_land_tables
from geoseg.api.land_use_report import write_land_use_report
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
from geoseg.api.series_projects import write_land_use_project
from geoseg.api.stored import folder_of
from geoseg.api.time_legend import dynamics_of, legend_of, orders_of, relabelled
from geoseg.io.map_series import MapSeries, OpenMaps
from geoseg.io.periods import period_at
from geoseg.io.product_collection import write_collection
from geoseg.io.provenance import Provenance
from geoseg.io.staging import address
from geoseg.io.zones import Zones, check_zones
from geoseg.legend import Legend
from geoseg.ops.metric import measure_grid
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.land_use import LandUseBlock, PeriodMaps
from geoseg.workflow.land_use import LandUse
from geoseg.workflow.settings import section_of


@dataclass(frozen=True, slots=True)
class LandUseResult:
    """What was made.

    Attributes:
        directory: Of the products.
        periods: Names of the periods, oldest first; each has a folder with its map.
        products: Paths by role.
        areas: Hectares of each class by period and zone.
        accounts: What each class had, won, lost and has, by pair of periods and zone.
        matrix: What became of what, by pair of periods and zone.
        changed_ha: What changes its class from a period to the next, as the maps of single
            periods say, and as the rule says.
        filled_ha: What was not seen in a period, and filled, summed over periods.
    """

    directory: Path
    periods: tuple[str, ...]
    products: Mapping[str, Path]
    areas: pa.Table
    accounts: pa.Table
    matrix: pa.Table
    changed_ha: tuple[float, float]
    filled_ha: float


@dataclass(frozen=True, slots=True)
class Period:
    """One period: its name, first moment, and the maps that it has."""

    name: str
    start: datetime
    members: tuple[int, ...]


def land_use(
    maps: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
    block: int = BLOCK,
    **settings: Any,
) -> LandUseResult:
    """Maps of periods from maps of dates, with areas and accounts; see ``docs/land-use.md``.

    Args:
        maps: Rasters of classes with dates, or folders of products, in any order.
        out: Folder of the products.
        like: A raster whose grid is used; that of the oldest map without it.
        reporter: Told of progress; nobody is, without it.
        block: Side of a block, in pixels; changes no result.
        settings: The keys of :class:`geoseg.workflow.land_use.LandUse`.

    Raises:
        InputError: Maps, zones or settings do not fit; nothing was written.
        ProductError: A product cannot be written.
    """
    asked, folder = section_of(LandUse, settings), Path(out)
    grid_of = None if like is None else Path(like)
    series = series_for([Path(one) for one in maps], folder, like=grid_of)
    return make_land_use(series, folder, asked, reporter or Silent(), block=block)


def check(plan: RunPlan) -> None:
    """Refuse a section that cannot be done, before any scene is mapped.

    Raises:
        InputError: Zones or classes do not fit, a scene has no date, or nothing can be written.
    """
    section = plan.workflow.land_use
    if section is None:
        return
    check_section(plan, "land_use", section.directory)
    if section.zones is not None:
        check_zones(Path(section.zones), section.zone_name)
    dynamics_of(section, plan.committee.card.legend)


def follow(plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter) -> None:
    """Do what the section ``land_use`` of a workflow asks for, with all maps there are.

    Raises:
        GeosegError: As :func:`land_use`.
    """
    section = plan.workflow.land_use
    if section is None:
        return
    paths = [*maps_of(results), *earlier_maps(section.maps, section.directory, reporter)]
    if paths:
        asked = LandUse.model_validate(section.model_dump(exclude={"directory", "maps"}))
        folder = folder_of(section.directory)
        make_land_use(series_for(paths, folder, like=None), folder, asked, reporter)


def make_land_use(
    series: MapSeries, folder: Path, asked: LandUse, reporter: Reporter, *, block: int = BLOCK
) -> LandUseResult:
    """See :func:`land_use`."""
    series = replace(series, maps=relabelled(series.maps, asked.legend))
    legend = legend_of(series.maps)
    orders, dynamics = orders_of(series.maps, legend), dynamics_of(asked, legend)
    periods = _periods(series, asked)
    zones = _zones(series, asked)
    tables = LandTables(zones, legend, tuple(period.name for period in periods))
    rasters = MapRasters(folder, Path(), series.grid, block, _origin(series, asked))
    metric = measure_grid(series.grid)
    with closing(OpenMaps(series)) as opened, work_folder(folder) as room:
        (folder / "collection.json").unlink(missing_ok=True)
        rasters = replace(rasters, room=room)
        maps = PeriodMaps(
            opened,
            tuple(period.members for period in periods),
            orders,
            tuple(one.legend.values for one in series.maps),
            len(legend.classes),
            asked.assumed,
        )
        stores = [_stores(rasters, period, legend) for period in periods]
        step = LandUseBlock(maps, legend, stores, dynamics, asked.fill, tables.pairs, zones, metric)
        reporter.started(scenes=len(series.maps), blocks=len(rasters.windows), dashboard=None)
        for tally in each_block(step, rasters.windows, name="land use", reporter=reporter):
            tables.add(tally)
        products = _write_maps(rasters, periods, series, legend)
        named = [(period.name, period.start) for period in periods]
        products["project"] = write_land_use_project(folder, named, asked.by, series.grid)
        return _finish(rasters, tables, zones, products, metric.unit / 1e4, reporter)


def _finish(
    rasters: MapRasters,
    tables: LandTables,
    zones: Zones,
    products: dict[str, Path],
    hectares: float,
    reporter: Reporter,
) -> LandUseResult:
    """Write the tables and, last, the collection."""
    folder, found = rasters.folder, tables.finish(hectares)
    items = [path for role, path in products.items() if role.endswith("_item")]
    products |= write_land_tables(folder, found, rasters.grid, zones, rasters.origin.document())
    products["report"] = write_land_use_report(folder)
    products["collection"] = _write_collection(folder, items)
    reporter.done(f"{address(folder)}: land use of {len(tables.periods)} periods")
    before, after = (round(count * hectares, 4) for count in tables.changes)
    return LandUseResult(
        folder,
        tables.periods,
        products,
        found.areas,
        found.accounts,
        found.matrix,
        (before, after),
        round(tables.filled * hectares, 4),
    )


def _zones(series: MapSeries, asked: LandUse) -> Zones:
    if asked.zones is None:
        return Zones.everywhere(series.grid)
    return Zones.read(Path(asked.zones), series.grid, name=asked.zone_name)


def _origin(series: MapSeries, asked: LandUse) -> Provenance:
    sources = [*series.paths, *([] if asked.zones is None else [asked.zones])]
    return origin_of("land use", sources, asked.model_dump(mode="json"))


def _periods(series: MapSeries, asked: LandUse) -> list[Period]:
    found: dict[tuple[datetime, str], list[int]] = {}
    for index, one in enumerate(series.maps):
        assert one.when is not None  # noqa: S101 - a series has dates
        name, start = period_at(one.when, asked.by)
        found.setdefault((start, name), []).append(index)
    return [Period(name, start, tuple(of)) for (start, name), of in sorted(found.items())]


def _stores(rasters: MapRasters, period: Period, legend: Legend) -> tuple[Any, Any]:
    classes = rasters.store(f"classes-{period.name}", fill=legend.nodata)
    return classes, rasters.store(f"confidence-{period.name}")


def _write_maps(
    rasters: MapRasters, periods: Sequence[Period], series: MapSeries, legend: Legend
) -> dict[str, Path]:
    """The map of each period, in a folder of its own that other commands take as a map."""
    products = {}
    for period in periods:
        origin = replace(rasters.origin, about={"scene": period.name})
        more = {"ACQUISITIONDATETIME": f"{period.start:%Y-%m-%dT%H:%M:%SZ}"}
        folder = rasters.folder / period.name
        (folder / "item.json").unlink(missing_ok=True)
        here = replace(rasters, folder=folder, origin=origin, more=more)
        classes, confidence = _stores(rasters, period, legend)
        members = [series.maps[index] for index in period.members]
        times = [one.when for one in members if one.when is not None]
        item = write_map_item(
            here,
            f"land-use-{period.name}",
            {
                "classes": here.classes(classes, "classes", legend),
                "confidence": here.confidence(confidence),
            },
            (times[0], times[-1]),
            lineage=f"land use of {period.name} from {len(members)} maps",
            sources=[str(one.classes) for one in members],
        )
        products[f"{period.name}_classes"] = here.path("classes")
        products[f"{period.name}_confidence"] = here.path("confidence")
        products[f"{period.name}_item"] = item
    return products


def _write_collection(folder: Path, items: Sequence[Path]) -> Path:
    path = folder / "collection.json"
    write_collection(
        path,
        collection_id="land-use",
        title="Land use",
        description="Maps of land use by period.",
        items=items,
    )
    return path
