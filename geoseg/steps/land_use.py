"""Land use over time in one block: a map for each period, and the ground of classes and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, blocks
from geoseg.io.base import RasterStore
from geoseg.io.dated_map import MapReader
from geoseg.io.map_series import OpenMaps
from geoseg.io.zones import Zones
from geoseg.legend import Legend
from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.metric import Metric
from geoseg.ops.temporal import (
    NO_INDEX,
    Dynamics,
    decode,
    median_shares,
    most_likely,
    shares_of_classes,
)
from geoseg.ops.zonal import pixel_counts

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]
Pair = tuple[int, int]

BUDGET = 64 * 2**20
"""Bytes that the probabilities in hand may take: with more dates pieces get smaller."""


@dataclass(frozen=True, slots=True)
class PeriodMaps:
    """Probabilities of all maps, by period, in the order of one legend.

    Attributes:
        maps: The series.
        periods: Places of the maps of each period.
        orders: For each map: which class of the legend each class of its own is.
        codes: For each map: the codes of its own classes.
        classes: How many the legend has.
        assumed: Percent, where a map does not say how sure it is.
    """

    maps: OpenMaps
    periods: tuple[tuple[int, ...], ...]
    orders: tuple[tuple[int, ...], ...]
    codes: tuple[tuple[int, ...], ...]
    classes: int
    assumed: int

    def shares(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """The median of each period, ``(period, class, y, x)``, and of how many dates.

        0 where none of its maps has any.
        """
        dates = np.zeros((len(self.periods), *window.shape), np.uint16)
        found = np.zeros((len(self.periods), self.classes, *window.shape), np.float32)
        for number, members in enumerate(self.periods):
            percents = np.empty((len(members), self.classes, *window.shape), np.uint8)
            for place, index in enumerate(members):
                with self.maps.reader(index) as reader:
                    percents[place] = self._percents(index, reader, window)
            found[number], dates[number] = median_shares(percents)
        return found, dates

    def _percents(self, index: int, reader: MapReader, window: Window) -> Bytes:
        order = np.array(self.orders[index], np.int64)
        own = reader.probabilities(window)
        if own is not None:
            found = np.zeros((self.classes, *window.shape), np.uint8)
            found[order] = own
            found[:, (own == NO_PERCENT).any(axis=0)] = NO_PERCENT
            return found
        place = np.full(257, -1, np.int64)  # the last one stands for what is no class
        place[np.array(self.codes[index], np.int64)] = order
        at = place[reader.classes(window)]
        return shares_of_classes(at, reader.confidence(window), self.classes, self.assumed)

    def pieces(self, window: Window) -> list[Window]:
        """Parts of a window, so small that their probabilities fit into :data:`BUDGET`."""
        most = max(len(members) for members in self.periods)
        each = self.classes * (most + 8 * len(self.periods)) + 8 * len(self.periods)
        side = max(16, min(isqrt(BUDGET // each), *window.shape, 512))
        return [
            Window(window.y0 + w.y0, window.x0 + w.x0, window.y0 + w.y1, window.x0 + w.x1)
            for w in blocks(window.shape, side)
        ]


@dataclass(frozen=True, slots=True)
class Tally:
    """Ground in counts, by number of the zone.

    Attributes:
        areas: ``(period, class)`` of each zone; the last class is what was not observed.
        matrices: ``(pair, from, to)`` of each zone.
        changes: Ground that changes its class from a period to the next, as the medians say and
            as the rule says, where both were observed.
        filled: Ground that a period did not see, and that was filled, summed over periods.
    """

    areas: dict[int, Counts]
    matrices: dict[int, Counts]
    changes: tuple[int, int]
    filled: int


@dataclass(frozen=True, slots=True)
class LandUseBlock:
    """The maps of all periods in one block, written to stores.

    Attributes:
        maps: What they are made of.
        legend: Of the maps.
        stores: Of classes and confidence, for each period.
        dynamics: How classes follow each other; None: each period by itself.
        fill: Whether what a period did not see is filled.
        pairs: Periods between which changes are counted.
        zones: Where areas are counted.
        metric: Of the grid.
    """

    maps: PeriodMaps
    legend: Legend
    stores: Sequence[tuple[RasterStore, RasterStore]]
    dynamics: Dynamics | None
    fill: bool
    pairs: tuple[Pair, ...]
    zones: Zones
    metric: Metric

    def __call__(self, window: Window) -> Tally:
        """Do a block."""
        periods = len(self.stores)
        index = np.empty((periods, *window.shape), np.uint8)
        percent = np.empty_like(index)
        plain = np.empty_like(index)
        for piece in self.maps.pieces(window):
            at = (slice(None), *piece.within(window).slices)
            index[at], percent[at], plain[at] = self._decide(*self.maps.shares(piece))
        codes = np.full(256, self.legend.nodata, np.uint8)
        codes[: len(self.legend.values)] = self.legend.values
        for number, (classes, confidence) in enumerate(self.stores):
            classes.write(window, codes[index[number]])
            confidence.write(window, percent[number])
        return self._tally(window, index, plain)

    def _decide(
        self, shares: NDArray[np.float32], dates: NDArray[np.uint16]
    ) -> tuple[Bytes, Bytes, Bytes]:
        """Index and percent by the rule, and the index that each period says by itself."""
        each = [most_likely(of_period) for of_period in shares]
        plain, percent = (np.stack(part) for part in zip(*each, strict=True))
        if self.dynamics is None:
            return plain, percent, plain
        index, percent = decode(shares, dates, self.dynamics)
        if not self.fill:
            index[plain == NO_INDEX], percent[plain == NO_INDEX] = NO_INDEX, NO_PERCENT
        return index, percent, plain

    def _tally(self, window: Window, index: Bytes, plain: Bytes) -> Tally:
        kinds = len(self.legend.values) + 1
        keys = np.minimum(index, kinds - 1).astype(np.int64)
        cover = self.zones.cover(window, self.metric)
        areas = np.zeros((len(cover.zones), len(index), kinds), np.int64)
        for number in range(len(index)):
            areas[:, number] = cover.sums(keys[number], kinds)
        matrices = np.zeros((len(cover.zones), len(self.pairs), kinds, kinds), np.int64)
        for number, (before, after) in enumerate(self.pairs):
            sums = cover.sums(keys[before] * kinds + keys[after], kinds * kinds)
            matrices[:, number] = sums.reshape(-1, kinds, kinds)
        ground = pixel_counts(window, self.metric)
        filled = sum(int(ground[(p == NO_INDEX) & (i != NO_INDEX)].sum())
                     for p, i in zip(plain, index, strict=True))  # fmt: skip
        return Tally(
            {int(zone): areas[i] for i, zone in enumerate(cover.zones)},
            {int(zone): matrices[i] for i, zone in enumerate(cover.zones)},
            (_changed(plain, plain, ground), _changed(index, plain, ground)),
            filled,
        )


def _changed(index: Bytes, seen: Bytes, ground: Counts) -> int:
    """Ground whose class changes between neighbouring periods that both saw it."""
    total = 0
    for number in range(1, len(index)):
        both = (seen[number] != NO_INDEX) & (seen[number - 1] != NO_INDEX)
        total += int(ground[both & (index[number] != index[number - 1])].sum())
    return total
