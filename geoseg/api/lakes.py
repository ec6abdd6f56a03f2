"""Areas of lakes and reservoirs over time: given as polygons, or found by where there is water."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from odc.geo.crs import CRS

from geoseg.api.map_rasters import MapRasters
from geoseg.api.outlines import Beside, outline
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.atomic import write_bytes
from geoseg.io.base import RasterReader
from geoseg.io.charts import Interval, intervals_chart
from geoseg.io.cog import write_class_cog
from geoseg.io.label_vectors import read_table
from geoseg.io.qml import outline_style, polygon_document
from geoseg.io.tables import Layer, write_polygon_tables, write_tables
from geoseg.io.zones import Zones
from geoseg.legend import LandClass, Legend
from geoseg.ops.lake_area import BINS, LakeArea, lake_area
from geoseg.ops.metric import Metric
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.water import (
    STATES,
    BodiesBlock,
    LakesBlock,
    PermanentBlock,
    PermanentWater,
    WaterMaps,
)
from geoseg.workflow.vector import vector_of
from geoseg.workflow.water import Water

MOST_DRAWN = 6
"""Lakes in the chart, largest first."""

_BODIES = Legend("bodies", (LandClass(1, "Water", "#1a5bab"),), 0)
_SERIES = pa.schema(
    [
        ("lake", pa.string()),
        ("date", pa.string()),
        ("area_ha", pa.float64()),
        ("low_ha", pa.float64()),
        ("high_ha", pa.float64()),
        ("seen_ha", pa.float64()),
        ("filled_ha", pa.float64()),
        ("observed_percent", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Lakes:
    """Lakes and their areas.

    Attributes:
        zones: The polygons.
        series: A row for each lake and day, see ``docs/water.md``.
    """

    zones: Zones
    series: pa.Table


def known_lakes(water: Water, grid: GeoBox) -> Zones | None:
    """The lakes of the file, where there is one.

    Raises:
        InputError: It cannot be used.
    """
    if water.lakes is None:
        return None
    return Zones.read(Path(water.lakes), grid, name=water.lake_name)


def found_lakes(
    rasters: MapRasters,
    occurrence: RasterReader,
    permanent: PermanentWater,
    water: Water,
    metric: Metric,
    reporter: Reporter,
) -> Zones | None:
    """Bodies of water with permanent water in them; None where there is none.

    They reach as far as there is water often enough (``lake_from``): what only floods belongs to
    them, and what is permanent is not all of them.
    """
    store = rasters.store("bodies", fill=0)
    block = BodiesBlock(occurrence, water.lake_from, store)
    for _ in each_block(block, rasters.windows, name="bodies", reporter=reporter):
        pass
    raster, file = rasters.room / "bodies.tif", rasters.room / "bodies.gpkg"
    write_class_cog(store, rasters.grid, _BODIES, raster, tags={})
    settings: dict[str, Any] = {"min_area": str(water.min_lake), "small": "drop", "connectivity": 8}
    vector = vector_of(settings)  # type: ignore[arg-type]  # its keys
    outline(str(raster), file, beside=Beside(), vector=vector, workers=None, reporter=Silent())
    frame = read_table(file, None)
    if not len(frame):
        return None
    names = [str(name) for name in frame["polygon_id"]]
    shapes = np.asarray(frame.geometry.values)
    zones = Zones.of(file, names, shapes, CRS(frame.crs.to_wkt()), rasters.grid)
    counts = np.zeros(len(zones.names), np.int64)
    census = PermanentBlock(zones, permanent, metric)
    for found in each_block(census, rasters.windows, name="lakes", reporter=reporter):
        for zone, count in found.items():
            counts[zone] += count
    return zones.chosen(np.flatnonzero(counts)) if counts.any() else None


def lake_series(
    rasters: MapRasters,
    maps: WaterMaps,
    zones: Zones,
    occurrence: RasterReader,
    *,
    metric: Metric,
    least_observed: float,
    reporter: Reporter,
) -> Lakes:
    """The area of each lake at each day.

    What is held at a time are the lakes that blocks in hand have begun, and not ended.
    """
    windows = [w for w in rasters.windows if len(zones.within(w))]
    left = _blocks_of(zones, windows)
    open_: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    rows: dict[int, list[LakeArea]] = {}
    block = LakesBlock(maps, zones, occurrence, metric)
    done = each_block(block, windows, name="lake areas", reporter=reporter)
    for window, sums in zip(windows, done, strict=True):
        for zone, found in sums.items():
            held = open_.get(zone)
            open_[zone] = found if held is None else (held[0] + found[0], held[1] + found[1])
        for zone in map(int, zones.within(window)):
            left[zone] -= 1
            if not left[zone]:
                rows[zone] = _areas(open_.pop(zone, None), len(maps.days), least_observed)
    return Lakes(zones, _table(zones, maps.days, rows, metric.unit / 1e4))


def _blocks_of(zones: Zones, windows: list[Window]) -> NDArray[np.int64]:
    left = np.zeros(len(zones.names), np.int64)
    for window in windows:
        left[zones.within(window)] += 1
    return left


def _areas(
    held: tuple[NDArray[np.int64], NDArray[np.int64]] | None, days: int, least: float
) -> list[LakeArea]:
    if held is None:
        held = np.zeros((days, BINS, STATES), np.int64), np.zeros((days, 2), np.int64)
    return [lake_area(*of_day, least_observed=least) for of_day in zip(*held, strict=True)]


def _table(
    zones: Zones, days: tuple[date, ...], rows: Mapping[int, list[LakeArea]], hectares: float
) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in _SERIES.names}
    for zone, name in enumerate(zones.names):
        for day, found in zip(days, rows[zone], strict=True):
            columns["lake"].append(name)
            columns["date"].append(day.isoformat())
            for column, counts in (
                ("area_ha", found.area),
                ("low_ha", found.low),
                ("high_ha", found.high),
                ("seen_ha", found.seen),
                ("filled_ha", found.filled),
            ):
                value = None if np.isnan(counts) else round(counts * hectares, 4)
                columns[column].append(value)
            columns["observed_percent"].append(round(100 * found.observed, 2))
    return pa.table(columns, _SERIES)


def write_lakes(folder: Path, lakes: Lakes, origin: Mapping[str, object]) -> dict[str, Path]:
    """The series as tables, the lakes with them as a GeoPackage, and a chart; paths by role.

    ``origin`` is what they say of where they come from.
    """
    made = write_tables(folder, {"lake_areas": lakes.series}, origin)
    if lakes.zones.crs is None:
        raise InputError("lakes are polygons")  # never everything: callers give polygons
    path, summary = folder / "lakes.gpkg", _summary(lakes)
    style = outline_style(_BODIES.classes[0].rgb, summary.column_names, name="lake")
    write_polygon_tables(
        path,
        Layer("lakes", "Lakes and reservoirs", polygon_document(style)),
        lakes.zones.shapes,
        summary,
        {"lake_areas": lakes.series},
        crs=str(lakes.zones.crs.proj.to_wkt()),
        tags=origin,
    )
    chart = folder / "lake_areas.svg"
    write_bytes(chart, intervals_chart(_panels(lakes), y_label="ha"))
    return made | {"lakes": path, "lake_chart": chart}


def _of_lake(lakes: Lakes, zone: int) -> dict[str, list[Any]]:
    days = lakes.series.num_rows // len(lakes.zones.names)
    return dict(lakes.series.slice(zone * days, days).to_pydict())


def _summary(lakes: Lakes) -> pa.Table:
    """A row for each lake: how large it was, at least, at most, on average, and last."""
    columns: dict[str, list[Any]] = {
        key: [] for key in ("lake", "days", "min_ha", "max_ha", "mean_ha", "last_ha", "last_date")
    }
    for zone, name in enumerate(lakes.zones.names):
        rows = _of_lake(lakes, zone)
        known = [
            (d, a) for d, a in zip(rows["date"], rows["area_ha"], strict=True) if a is not None
        ]
        areas = [area for _, area in known]
        columns["lake"].append(name)
        columns["days"].append(len(known))
        columns["min_ha"].append(min(areas, default=None))
        columns["max_ha"].append(max(areas, default=None))
        columns["mean_ha"].append(round(sum(areas) / len(areas), 4) if areas else None)
        columns["last_ha"].append(areas[-1] if areas else None)
        columns["last_date"].append(known[-1][0] if known else None)
    number, text = pa.float64(), pa.string()
    kinds = [text, pa.int64(), number, number, number, number, text]
    return pa.table(columns, pa.schema(list(zip(columns, kinds, strict=True))))


def _panels(lakes: Lakes) -> dict[str, Interval]:
    size = _summary(lakes)["max_ha"].to_pylist()
    order = sorted(range(len(size)), key=lambda i: (-(size[i] or 0.0), i))
    panels = {}
    for zone in order[:MOST_DRAWN]:
        rows = _of_lake(lakes, zone)
        panels[lakes.zones.names[zone]] = Interval(
            [date.fromisoformat(day) for day in rows["date"]],
            [float("nan") if area is None else area for area in rows["area_ha"]],
            rows["low_ha"],
            rows["high_ha"],
        )
    return panels
