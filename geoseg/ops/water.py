"""The history of water in a block, month by month, and what JRC's Global Surface Water says of it.

Definitions: Pekel et al. 2016, doi:10.1038/nature20584, and the Data Users Guide of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import LandClass, Legend
from geoseg.ops.months import Month, Span, years_between

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Months = NDArray[np.uint16]

NOT_SEEN: Final = 255
"""In all results: never observed."""

DRY, SEASONAL, PERMANENT = 0, 1, 2
"""What a pixel is over a span of months."""

TRANSITIONS: Final = Legend(
    "jrc-transitions",
    (
        LandClass(0, "No change", "#ffffff"),
        LandClass(1, "Permanent", "#0000ff"),
        LandClass(2, "New permanent", "#22b14c"),
        LandClass(3, "Lost permanent", "#d1102d"),
        LandClass(4, "Seasonal", "#99d9ea"),
        LandClass(5, "New seasonal", "#b5e61d"),
        LandClass(6, "Lost seasonal", "#e6a1aa"),
        LandClass(7, "Seasonal to permanent", "#ff7f27"),
        LandClass(8, "Permanent to seasonal", "#ffc90e"),
        LandClass(9, "Ephemeral permanent", "#7f7f7f"),
        LandClass(10, "Ephemeral seasonal", "#c3c3c3"),
    ),
    NOT_SEEN,
)
"""Codes, names and colours of the transition classes of JRC's Global Surface Water."""

FLOOD: Final = Legend(
    "flood",
    (
        LandClass(0, "Land", "#e8e4d8"),
        LandClass(1, "Flooded", "#e0218a"),
        LandClass(2, "Permanent water", "#1a5bab"),
        LandClass(3, "Fallen dry", "#d9b365"),
    ),
    NOT_SEEN,
)
"""Water of one date against permanent water."""

# Rows: what it was first; columns: what it was last (dry, seasonal, permanent).
_CHANGED: Final = np.array([[0, 5, 2], [6, 4, 7], [3, 8, 1]], np.uint8)
_EPHEMERAL: Final = np.array([0, 10, 9], np.uint8)

_BITS: Final = np.array([number.bit_count() for number in range(1 << 12)], np.uint8)


@dataclass(frozen=True, slots=True)
class Constancy:
    """When water is called permanent, and when it is called water at all.

    Attributes:
        permanent: Least share of the observed months that have water where it is permanent.
        dry: Largest share of them that have water where it is land.
    """

    permanent: float = 1.0
    dry: float = 0.0


class WaterHistory:
    """Which months had water, pixel by pixel; its size is set by the years, not by the dates.

    A month has water where at least half of its observations have. Dates are added in their
    order: the month in hand is the only one that is counted.

    Args:
        shape: Of the block.
        span: All months that dates will come from.
    """

    def __init__(self, shape: tuple[int, int], span: Span) -> None:
        self.span = span
        years = span.last.year - span.first.year + 1
        self._seen: Months = np.zeros((12, *shape), np.uint16)
        self._water: Months = np.zeros((12, *shape), np.uint16)
        self._months_seen: Months = np.zeros((years, *shape), np.uint16)
        self._months_water: Months = np.zeros((years, *shape), np.uint16)
        self._month: Month | None = None
        self._now_seen: Months = np.zeros(shape, np.uint16)
        self._now_water: Months = np.zeros(shape, np.uint16)

    def add(self, month: Month, water: Bools, seen: Bools) -> None:
        """Take the map of a date; ``water`` means nothing where ``seen`` is false.

        Raises:
            ValueError: The month is before that of an earlier map, or outside of the span.
        """
        if not self.span.first <= month <= self.span.last:
            raise ValueError(f"{month} is outside of {self.span}")
        if self._month is not None and month < self._month:
            raise ValueError(f"{month} comes after {self._month}: dates are added in their order")
        if month != self._month:
            self._end_month()
            self._month = month
        self._now_seen += seen
        self._now_water += water & seen

    def _end_month(self) -> None:
        if self._month is None:
            return
        year, bit = self._month.year - self.span.first.year, self._month.month - 1
        self._seen[bit] += self._now_seen
        self._water[bit] += self._now_water
        seen = self._now_seen > 0
        water = seen & (2 * self._now_water.astype(np.uint32) >= self._now_seen)
        self._months_seen[year] |= (seen.astype(np.uint16) << bit).astype(np.uint16)
        self._months_water[year] |= (water.astype(np.uint16) << bit).astype(np.uint16)
        self._now_seen[:] = 0
        self._now_water[:] = 0
        self._month = None

    def observations(self) -> Bytes:
        """How often each pixel was seen; 255 is also more."""
        self._end_month()
        count: Bytes = np.minimum(self._seen.sum(axis=0, dtype=np.uint32), 255).astype(np.uint8)
        return count

    def occurrence(self) -> Bytes:
        """How often there was water, in percent of the observations.

        The mean of the shares of the twelve months of the year, as far as they were observed, so
        that a season with more clear skies weighs no more. Where there was water it is 1 at least.
        """
        self._end_month()
        shape = self._seen.shape[1:]
        total, months = np.zeros(shape), np.zeros(shape, np.uint8)
        for seen, water in zip(self._seen, self._water, strict=True):
            some = seen > 0
            total[some] += water[some] / seen[some]
            months += some
        share = np.divide(total, months, out=np.zeros(shape), where=months > 0)
        percent: Bytes = _percent(share)
        percent[(percent == 0) & self._water.any(axis=0)] = 1
        percent[months == 0] = NOT_SEEN
        return percent

    def seasonality(self, year: int) -> Bytes:
        """Months with water in a year, 0 to 12; :data:`NOT_SEEN` where it was not seen then."""
        self._end_month()
        at = year - self.span.first.year
        months: Bytes = _BITS[self._months_water[at]]
        months[self._months_seen[at] == 0] = NOT_SEEN
        return months

    def recurrence(self) -> Bytes:
        """In how many years the water came back, in percent.

        Of the years that were observed in the months in which there ever was water, those that
        had water; 0 where there never was.
        """
        self._end_month()
        season = np.bitwise_or.reduce(self._months_water, axis=0)
        shape = season.shape
        wet, seen = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
        for water, observed in zip(self._months_water, self._months_seen, strict=True):
            wet += water > 0
            seen += (observed & season) > 0
        share = np.divide(wet, seen, out=np.zeros(shape), where=seen > 0)
        percent = _percent(share)
        percent[~self._months_seen.any(axis=0)] = NOT_SEEN
        return percent

    def state(self, span: Span, constancy: Constancy) -> Bytes:
        """What each pixel is over a span: dry, seasonal or permanent water.

        Permanent is what has water in all months that were observed, or in as many as
        ``constancy`` says; :data:`NOT_SEEN` where none was.
        """
        self._end_month()
        shape = self._seen.shape[1:]
        wet, seen = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
        for year, mask in self._masks(span):
            wet += _BITS[self._months_water[year] & mask]
            seen += _BITS[self._months_seen[year] & mask]
        state = np.full(shape, SEASONAL, np.uint8)
        state[wet <= constancy.dry * seen] = DRY
        # What is both (nothing but where the shares meet) is what it is called more seldom.
        state[(wet >= constancy.permanent * seen) & (wet > 0)] = PERMANENT
        state[seen == 0] = NOT_SEEN
        return state

    def transition(self, first: Span, last: Span, constancy: Constancy) -> Bytes:
        """What water became of water, as codes of :data:`TRANSITIONS`.

        Ephemeral is what was dry in both spans, but not in a year (or a part of one) in between.
        :data:`NOT_SEEN` where one of both spans was not observed.
        """
        before, after = self.state(first, constancy), self.state(last, constancy)
        known = (before != NOT_SEEN) & (after != NOT_SEEN)
        codes = np.full(before.shape, NOT_SEEN, np.uint8)
        codes[known] = _CHANGED[before[known], after[known]]
        highest = np.zeros(before.shape, np.uint8)
        for part in years_between(first, last):
            state = self.state(part, constancy)
            state[state == NOT_SEEN] = DRY
            np.maximum(highest, state, out=highest)
        dry = known & (before == DRY) & (after == DRY)
        codes[dry] = _EPHEMERAL[highest[dry]]
        return codes

    def _masks(self, span: Span) -> list[tuple[int, np.uint16]]:
        """The months of a span: index of the year, and a bit for each month."""
        masks = []
        for index, year in enumerate(range(self.span.first.year, self.span.last.year + 1)):
            inside = [m for m in range(12) if span.first <= Month(year, m + 1) <= span.last]
            if inside:
                masks.append((index, np.uint16(sum(1 << m for m in inside))))
        return masks


def flood_codes(water: Bools, seen: Bools, permanent: Bools) -> Bytes:
    """Water of a date against permanent water, as codes of :data:`FLOOD`."""
    codes = np.where(permanent, np.where(water, 2, 3), np.where(water, 1, 0)).astype(np.uint8)
    codes[~seen] = NOT_SEEN
    return codes


def _percent(share: NDArray[np.float64]) -> Bytes:
    percent: Bytes = np.floor(100 * share + 0.5).astype(np.uint8)
    return percent
