"""The water of a day against permanent water: rasters, polygons of what is flooded, and areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.api.map_rasters import MapRasters
from geoseg.api.outlines import Beside, outline
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.base import RasterReader
from geoseg.io.class_raster import read_legend
from geoseg.io.on_grid import OnGrid
from geoseg.io.product_item import ItemAsset
from geoseg.io.tables import write_tables
from geoseg.ops.metric import Metric
from geoseg.ops.water import FLOOD
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.water import FloodBlock, PermanentWater, WaterMaps, water_codes
from geoseg.workflow.vector import vector_of
from geoseg.workflow.water import Water

FEWEST_DAYS = 3
"""With fewer days there is no history that could say what is permanent."""

_NO_SHARE = 255


class GivenRaster:
    """The first band of a raster on another grid. Implements :class:`io.base.RasterReader`."""

    def __init__(self, path: Path, grid: GeoBox) -> None:
        self._raster = OnGrid(path, grid)

    def read(self, window: Window) -> NDArray[np.int64]:
        """Values, 255 where there is none."""
        (values,), there = self._raster.read(window, [1], fill=_NO_SHARE)
        return np.where(there, values, _NO_SHARE).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Flooded:
    """What was made: assets of the item, products by role, and what was left out."""

    assets: dict[str, ItemAsset] = field(default_factory=dict)
    products: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Floods:
    """The days to compare with permanent water, and what that is; checked before all work.

    Args:
        asked: Settings.
        grid: Of the products.
        maps: The series.

    Raises:
        InputError: A day has no map, or the raster of permanent water cannot be used.
    """

    def __init__(self, asked: Water, grid: GeoBox, maps: WaterMaps) -> None:
        self._asked, self._maps = asked, maps
        self._days = _days(asked.flood, maps.days)
        self._given: GivenRaster | None = None
        self._codes: frozenset[int] = frozenset()
        if asked.permanent is not None:
            path = Path(asked.permanent)
            check_permanent(path)
            self._given = GivenRaster(path, grid)
            self._codes = water_codes(read_legend(path), asked.classes)

    def permanent(self, occurrence: RasterReader) -> PermanentWater:
        """Where water is permanent."""
        least = self._asked.permanent_from
        if self._given is None:
            return PermanentWater(occurrence, least=least, codes=frozenset())
        least_or_codes = None if self._codes else least
        return PermanentWater(self._given, least=least_or_codes, codes=self._codes)

    def make(
        self, rasters: MapRasters, occurrence: RasterReader, metric: Metric, reporter: Reporter
    ) -> Flooded:
        """Make the products of all days that are asked for."""
        made = Flooded()
        if self._given is None and len(self._maps.days) < FEWEST_DAYS:
            if self._days:
                made.notes.append(
                    f"no flood: {len(self._maps.days)} days say nothing of what is permanent; give "
                    f"'permanent', or {FEWEST_DAYS} days at least"
                )
            return made
        permanent = self.permanent(occurrence)
        rows = [self._areas(day, rasters, permanent, metric, reporter) for day in self._days]
        for day in self._days:
            name = f"flood_{day}"
            made.assets[name] = rasters.classes(rasters.store(name), name, FLOOD)
            made.products[name] = rasters.path(name)
            made.products[f"{name}_polygons"] = _outlined(rasters.path(name))
        if rows:
            table = _table(self._days, rows, metric.unit / 1e4)
            made.products.update(
                write_tables(rasters.folder, {"floods": table}, rasters.origin.document())
            )
            if not sum(int(row[2] + row[3]) for row in rows):
                made.notes.append(self._nothing_permanent())
        return made

    def _nothing_permanent(self) -> str:
        least = self._asked.permanent_from
        if self._given is None or not self._codes:
            hint = "" if self._given is None else "; a raster of classes names its class 'water'"
            return f"no pixel has water in {least} % of the time or more{hint}"
        return f"{self._asked.permanent}: no pixel seen has permanent water"

    def _areas(
        self,
        day: date,
        rasters: MapRasters,
        permanent: PermanentWater,
        metric: Metric,
        reporter: Reporter,
    ) -> NDArray[np.int64]:
        """Fill the store of a day; ground of each code, in counts."""
        store = rasters.store(f"flood_{day}")
        block = FloodBlock(self._maps, day, permanent, store, metric)
        found = each_block(block, rasters.windows, name=f"flood {day}", reporter=reporter)
        areas: NDArray[np.int64] = np.sum(list(found), axis=0, dtype=np.int64)
        return areas


def check_permanent(path: Path) -> None:
    """Refuse a raster of permanent water that is not there.

    Raises:
        InputError: It is not there.
    """
    if not path.is_file():
        raise InputError(f"permanent: {path}: no such file")


def _outlined(raster: Path) -> Path:
    """Polygons of what is flooded, beside the raster."""
    path = raster.with_suffix(".gpkg")
    vector = vector_of({"classes": ["Flooded"], "layers": {"flood": ("Flooded",)}})
    outline(str(raster), path, beside=Beside(), vector=vector, workers=None, reporter=Silent())
    return path


def _table(days: Sequence[date], rows: Sequence[NDArray[np.int64]], hectares: float) -> pa.Table:
    columns: dict[str, list[object]] = {"date": [day.isoformat() for day in days]}
    codes = {"flooded_ha": 1, "permanent_ha": 2, "fallen_dry_ha": 3, "land_ha": 0}
    for name, code in codes.items():
        columns[name] = [round(float(row[code]) * hectares, 4) for row in rows]
    return pa.table(columns)


def _days(asked: Sequence[str], days: Sequence[date]) -> list[date]:
    if "none" in asked:
        return []
    if "all" in asked:
        return list(days)
    found = set()
    for text in asked:
        day = days[-1] if text == "last" else date.fromisoformat(text)
        if day not in days:
            raise InputError(
                f"flood: there is no map of {day}; there are "
                f"{', '.join(str(d) for d in days[:5])}{', ...' if len(days) > 5 else ''}"
            )
        found.add(day)
    return sorted(found)
