"""How well the edges of a map lie on the edges of the truth: Boundary F1, block by block.

Source: Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?", BMVC,
doi:10.5244/C.27.32. A pixel is on the boundary of its class where one of its four neighbours is
of another class; the rim of the raster and of what has no label is no boundary, for nobody knows
what lies beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.accuracy import UNJUDGED, Floats, mean, ratio

_SLACK = 1e-9  # 30 m are three pixels of 10 m, whatever the last bit says
_BITS = ((8, np.uint8), (16, np.uint16), (32, np.uint32), (64, np.uint64))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two boundary pixels may lie to be taken for the same.

    Attributes:
        metres: The largest distance between their centres.
        sides: Length of a pixel's sides in metres, ``(y, x)``.
    """

    metres: float
    sides: tuple[float, float]

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels down and across that the tolerance spans."""
        down, across = (floor(self.metres / side * (1 + _SLACK)) for side in self.sides)
        return down, across

    @property
    def halo(self) -> int:
        """Pixels around a block that decide about its boundaries and their partners."""
        return max(self.reach) + 1

    def half_width(self, dy: int) -> int:
        """Pixels to either side that are near enough, ``dy`` rows away."""
        left = self.metres**2 * (1 + _SLACK) - (dy * self.sides[0]) ** 2
        return floor(sqrt(max(left, 0.0)) / self.sides[1] * (1 + _SLACK))


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryCounts:
    """Boundary pixels by class, all ``(class,)`` int64; states of disjoint blocks add up.

    Attributes:
        true: On boundaries of the truth.
        true_met: Of these, near a boundary of the map of the same class.
        mapped: On boundaries of the map.
        mapped_met: Of these, near a boundary of the truth of the same class.
    """

    true: NDArray[np.int64]
    true_met: NDArray[np.int64]
    mapped: NDArray[np.int64]
    mapped_met: NDArray[np.int64]

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Nothing counted yet."""
        return cls(*(np.zeros(classes, np.int64) for _ in range(4)))

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(
            self.true + other.true,
            self.true_met + other.true_met,
            self.mapped + other.mapped,
            self.mapped_met + other.mapped_met,
        )

    def select(self, classes: NDArray[np.intp]) -> BoundaryCounts:
        """Those of some classes, in the order asked for."""
        return BoundaryCounts(
            self.true[classes],
            self.true_met[classes],
            self.mapped[classes],
            self.mapped_met[classes],
        )


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryScores:
    """Boundary F1; ``mean_f1`` is over classes that have a boundary in the truth or the map.

    ``precision``, ``recall`` and ``f1`` are ``(class,)``, NaN where there is no boundary.
    """

    mean_f1: float
    f1: Floats
    precision: Floats
    recall: Floats


def count_boundaries(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    classes: int,
    tolerance: Tolerance,
    core: Window | None = None,
) -> BoundaryCounts:
    """Count the boundary pixels of a block.

    Args:
        truth: Class indices ``(y, x)`` of the block and ``tolerance.halo`` pixels around it, less
            where the raster ends; :data:`~geoseg.ops.accuracy.UNJUDGED` has no label.
        predicted: The same of the map.
        classes: How many classes there are.
        tolerance: How near is near.
        core: The block itself within the arrays; without it, all.

    Returns:
        Counts of pixels that have both a label and a prediction. Boundaries beyond these are
        still there to be met.
    """
    at = (slice(None), slice(None)) if core is None else core.slices
    judged = ((truth != UNJUDGED) & (predicted != UNJUDGED))[at]
    edges = [(values, boundary(values)) for values in (truth, predicted)]
    counts = BoundaryCounts.empty(classes)
    present = np.union1d(*(np.unique(values[edge]) for values, edge in edges))
    for first in range(0, len(present), 64):
        bits = _bits(present[first : first + 64], classes)
        true, mapped = (np.where(edge, bits[values], 0) for values, edge in edges)
        near_true, near_mapped = (spread(sets, tolerance)[at] for sets in (true, mapped))
        counts += BoundaryCounts(
            *_count(truth[at], np.where(judged, true[at], 0), near_mapped, classes),
            *_count(predicted[at], np.where(judged, mapped[at], 0), near_true, classes),
        )
    return counts


def _count(
    values: NDArray[Any], sets: NDArray[Any], near: NDArray[Any], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels by class whose set has something, and those of which ``near`` has it, too."""
    of, met = (
        np.bincount(values[found != 0].astype(np.int64), minlength=classes)
        for found in (sets, sets & near)
    )
    return of, met


def boundary(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Labelled pixels ``(y, x)`` with a neighbour (of four) that has another label."""
    found = np.zeros(values.shape, np.bool_)
    known = values != UNJUDGED
    for axis in (0, 1):
        one, two = (np.moveaxis(a, axis, 0) for a in (values, known))
        edge = (one[1:] != one[:-1]) & two[1:] & two[:-1]
        along = np.moveaxis(found, axis, 0)
        along[1:] |= edge
        along[:-1] |= edge
    return found


def spread(sets: NDArray[Any], tolerance: Tolerance) -> NDArray[Any]:
    """Each pixel's union of the sets (bits of ``(y, x)``) that lie within the tolerance.

    Rows of growing width are united as they grow, so that it takes steps in proportion to the
    tolerance, not to its square, for all classes at once.
    """
    height = sets.shape[0]
    out = np.zeros_like(sets)
    wide, width = sets.copy(), 0
    for dy in range(min(tolerance.reach[0], height - 1), -1, -1):
        for step in range(width + 1, min(tolerance.half_width(dy), sets.shape[1] - 1) + 1):
            wide[:, step:] |= sets[:, :-step]
            wide[:, :-step] |= sets[:, step:]
            width = step
        out[dy:] |= wide[: height - dy]
        out[: height - dy] |= wide[dy:]
    return out


def score_boundaries(counts: BoundaryCounts) -> BoundaryScores:
    """Boundary precision, recall and F1. A class whose boundary only one side has gets F1 0."""
    precision = ratio(counts.mapped_met.astype(np.float64), counts.mapped.astype(np.float64))
    recall = ratio(counts.true_met.astype(np.float64), counts.true.astype(np.float64))
    p, r = np.nan_to_num(precision), np.nan_to_num(recall)
    f1 = np.where(p + r > 0, 2 * p * r / np.maximum(p + r, 1e-300), 0.0)
    f1[(counts.mapped == 0) & (counts.true == 0)] = np.nan
    return BoundaryScores(mean(f1), f1, precision, recall)


def _bits(present: NDArray[Any], classes: int) -> NDArray[Any]:
    """A set by class index: one bit for each of ``present``; UNJUDGED (-1) is the last entry."""
    kind = next(kind for bits, kind in _BITS if len(present) <= bits)
    table = np.zeros(classes + 1, kind)
    table[present.astype(np.int64)] = np.left_shift(1, np.arange(len(present), dtype=kind))
    return table
