"""Water of many dates in one block: its history, a flood against permanent water, lakes by date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.base import RasterReader, RasterStore
from geoseg.io.class_raster import NO_CLASS
from geoseg.io.map_series import MapSeries, OpenMaps
from geoseg.io.zones import Zones
from geoseg.legend import Legend
from geoseg.ops.lake_area import BINS, DRY, UNSEEN, WATER, occurrence_bins
from geoseg.ops.metric import Metric
from geoseg.ops.months import Month, Span
from geoseg.ops.water import Constancy, WaterHistory, flood_codes
from geoseg.ops.zonal import pixel_counts

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

STATES = 3
"""Land, water, not seen."""

HISTORY = ("occurrence", "seasonality", "recurrence", "observations")
"""Rasters of a history; ``transition`` where spans are given."""


class WaterMaps:
    """Water of each day of a series, window by window.

    Where maps of one day lie over each other, a pixel is water where at least half of those that
    see it say so.

    Args:
        series: The maps.
        codes: ``(map,)`` of the codes that are water in it.

    Attributes:
        days: That have a map, in their order.
    """

    def __init__(self, series: MapSeries, codes: Sequence[frozenset[int]]) -> None:
        self.days: tuple[date, ...] = tuple(dict.fromkeys(series.days))
        self._of_day = [
            [index for index, of in enumerate(series.days) if of == day] for day in self.days
        ]
        self._maps = OpenMaps(series)
        self._water = np.zeros((len(codes), 256), np.bool_)
        for index, of in enumerate(codes):
            self._water[index, list(of)] = True

    def read(self, index: int, window: Window) -> tuple[Bools, Bools]:
        """Where day ``index`` has water, and where it has anything, ``(y, x)`` each."""
        first, *others = (self._of_map(i, window) for i in self._of_day[index])
        return _together([first, *others]) if others else first

    def doubt(self, index: int, window: Window, water: Bools) -> Bytes:
        """How unsure the day's maps are of ``water``, in percent; 0 where they say nothing.

        Of maps that lie over each other the first one that says ``water`` is asked.
        """
        doubt = np.zeros(window.shape, np.uint8)
        open_ = np.ones(window.shape, np.bool_)
        for i in self._of_day[index]:
            with self._maps.reader(i) as reader:
                sure = reader.confidence(window)
                if sure is None:
                    continue
                wet, seen = self._split(i, reader.classes(window))
            here = open_ & seen & (wet == water) & (sure <= 100)
            doubt[here] = 100 - sure[here]
            open_ &= ~here
        return doubt

    def _of_map(self, index: int, window: Window) -> tuple[Bools, Bools]:
        with self._maps.reader(index) as reader:
            return self._split(index, reader.classes(window))

    def _split(self, index: int, classes: NDArray[np.int16]) -> tuple[Bools, Bools]:
        seen = classes != NO_CLASS
        return self._water[index][np.where(seen, classes, 0)] & seen, seen

    def close(self) -> None:
        """Close all files."""
        self._maps.close()


def _together(maps: Sequence[tuple[Bools, Bools]]) -> tuple[Bools, Bools]:
    wet, count = (np.sum(part, axis=0, dtype=np.uint16) for part in zip(*maps, strict=True))
    seen: Bools = np.asarray(count > 0)
    return np.asarray(seen & (2 * wet >= count)), seen


@dataclass(frozen=True, slots=True)
class HistoryBlock:
    """The history of one block of a series, written to stores.

    Attributes:
        maps: Of all dates, in their order.
        span: From the month of the first to that of the last.
        stores: For each of :data:`HISTORY`, and ``transition`` where ``spans`` are given.
        metric: Of the grid.
        year: Whose months with water are counted.
        spans: Transitions are from the first to the second.
        constancy: What is permanent.
    """

    maps: WaterMaps
    span: Span
    stores: Mapping[str, RasterStore]
    metric: Metric
    year: int
    spans: tuple[Span, Span] | None
    constancy: Constancy

    def __call__(self, window: Window) -> Counts:
        """Do a block.

        Returns:
            ``(day, state)`` ground of land, water and what was not seen, in counts.
        """
        history = WaterHistory(window.shape, self.span)
        counts = pixel_counts(window, self.metric)
        total = int(counts.sum())
        found = np.zeros((len(self.maps.days), STATES), np.int64)
        for index, day in enumerate(self.maps.days):
            water, seen = self.maps.read(index, window)
            history.add(Month(day.year, day.month), water, seen)
            wet, known = int(counts[water].sum()), int(counts[seen].sum())
            found[index] = known - wet, wet, total - known
        for name, values in self._results(history).items():
            self.stores[name].write(window, values)
        return found

    def _results(self, history: WaterHistory) -> dict[str, Bytes]:
        results = {
            "occurrence": history.occurrence(),
            "seasonality": history.seasonality(self.year),
            "recurrence": history.recurrence(),
            "observations": history.observations(),
        }
        if self.spans is not None:
            results["transition"] = history.transition(*self.spans, self.constancy)
        return results


class PermanentWater:
    """Where water is permanent, by a raster of occurrence in percent or of classes.

    Args:
        read: Gives ``(y, x)`` of a window.
        least: Occurrence from which on it is permanent; None: ``codes`` are classes.
        codes: Classes that are permanent water.
    """

    def __init__(self, read: RasterReader, *, least: int | None, codes: frozenset[int]) -> None:
        self._raster, self._least = read, least
        self._codes = np.array(sorted(codes), np.int64)

    def read(self, window: Window) -> Bools:
        """Whether each pixel is permanent water."""
        values = self._raster.read(window)
        if self._least is None:
            return np.isin(values, self._codes)
        return (values >= self._least) & (values <= 100)


@dataclass(frozen=True, slots=True)
class FloodBlock:
    """The water of one day against permanent water, written to a store.

    Attributes:
        maps: The series.
        day: One of the series.
        permanent: Where water is permanent.
        store: Takes codes of :data:`geoseg.ops.water.FLOOD`.
        metric: Of the grid.
    """

    maps: WaterMaps
    day: date
    permanent: PermanentWater
    store: RasterStore
    metric: Metric

    def __call__(self, window: Window) -> Counts:
        """Do a block.

        Returns:
            ``(code,)`` ground of each code 0 to 3, in counts.
        """
        water, seen = self.maps.read(self.maps.days.index(self.day), window)
        codes = flood_codes(water, seen, self.permanent.read(window))
        self.store.write(window, codes)
        counts = pixel_counts(window, self.metric)
        return np.array([counts[codes == code].sum() for code in range(4)], np.int64)


@dataclass(frozen=True, slots=True)
class LakesBlock:
    """Ground of lakes in one block: by date, by how often there is water, and by what is seen.

    Attributes:
        maps: The series.
        zones: The lakes.
        occurrence: In percent.
        metric: Of the grid.
    """

    maps: WaterMaps
    zones: Zones
    occurrence: RasterReader
    metric: Metric

    def __call__(self, window: Window) -> dict[int, tuple[Counts, Counts]]:
        """Do a block.

        Returns:
            By number of the lake: ``(day, bin, state)`` and, weighted by doubt,
            ``(day, state)`` of land and water, in counts.
        """
        cover = self.zones.cover(window, self.metric)
        if not len(cover.pixel):
            return {}
        bins = occurrence_bins(self.occurrence.read(window)).astype(np.int64)
        dates = len(self.maps.days)
        sums = np.zeros((len(cover.zones), dates, BINS, STATES), np.int64)
        doubts = np.zeros((len(cover.zones), dates, 2), np.int64)
        for index in range(dates):
            water, seen = self.maps.read(index, window)
            state = np.where(seen, np.where(water, WATER, DRY), UNSEEN)
            keys = bins * STATES + state
            sums[:, index] = cover.sums(keys, BINS * STATES).reshape(-1, BINS, STATES)
            doubt = self.maps.doubt(index, window, water)
            doubts[:, index] = cover.weighted(state, STATES, doubt)[:, :2]
        return {int(z): (sums[i], doubts[i]) for i, z in enumerate(cover.zones)}


@dataclass(frozen=True, slots=True)
class BodiesBlock:
    """Where there is water often, written to a store as 1; 0 elsewhere."""

    occurrence: RasterReader
    least: int
    store: RasterStore

    def __call__(self, window: Window) -> None:
        """Do a block."""
        share = self.occurrence.read(window)
        self.store.write(window, ((share >= self.least) & (share <= 100)).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class PermanentBlock:
    """How much permanent water zones have in one block."""

    zones: Zones
    permanent: PermanentWater
    metric: Metric

    def __call__(self, window: Window) -> dict[int, int]:
        """Do a block; counts by number of the zone."""
        cover = self.zones.cover(window, self.metric)
        if not len(cover.pixel):
            return {}
        sums = cover.sums(self.permanent.read(window).astype(np.int64), 2)
        return {int(zone): int(sums[i, 1]) for i, zone in enumerate(cover.zones)}


def water_codes(legend: Legend, names: Sequence[str]) -> frozenset[int]:
    """Codes of the classes called ``names`` (any case), of those with "water" in theirs without."""
    wanted = {name.casefold() for name in names}
    return frozenset(
        c.value
        for c in legend.classes
        if (c.name.casefold() in wanted if wanted else "water" in c.name.casefold())
    )
