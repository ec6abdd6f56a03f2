"""Whether a map that says 80 % is right in 80 % of cases: reliability bins that add up.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.accuracy import Floats, ratio

BINS = 10

_UNITS = 100 << 18
"""Confidence is summed as whole numbers of 1/26,214,400, finer than float32 between 0.5 and 1, of
which percents are multiples: sums of any blocks in any order are the same, up to 10^11 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Pixels by confidence, all ``(bin,)`` int64; states of disjoint blocks add up.

    Bin *k* of *n* is ``(k/n, (k+1)/n]``; the first one has 0 too.

    Attributes:
        count: Pixels.
        right: Those that are right.
        total: Sum of their confidences, in whole units.
    """

    count: NDArray[np.int64]
    right: NDArray[np.int64]
    total: NDArray[np.int64]

    @classmethod
    def of(cls, confidence: NDArray[Any], right: NDArray[np.bool_], bins: int = BINS) -> Self:
        """Count pixels.

        Args:
            confidence: In 0..1, of any shape.
            right: Whether the pixel's class is the true one; of the same shape.
            bins: How many bins.
        """
        units = np.rint(confidence.ravel().astype(np.float64) * _UNITS).astype(np.int64)
        at = np.maximum(units * bins - 1, 0) // _UNITS
        count = np.bincount(at, minlength=bins)
        hits = np.bincount(at[right.ravel()], minlength=bins)
        # Exact: sums of less than 2^53.
        total = np.bincount(at, weights=units, minlength=bins)
        return cls(count.astype(np.int64), hits.astype(np.int64), total.astype(np.int64))

    @classmethod
    def empty(cls, bins: int = BINS) -> Self:
        """Nothing counted yet."""
        return cls(*(np.zeros(bins, np.int64) for _ in range(3)))

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.count + other.count, self.right + other.right, self.total + other.total
        )


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How confidence and accuracy differ.

    Attributes:
        error: Expected calibration error: mean of ``|accuracy - confidence|`` over pixels.
        largest: The largest such difference of a bin.
        edges: ``(bin + 1,)``.
        count: ``(bin,)`` pixels.
        confidence: ``(bin,)`` mean confidence; NaN in empty bins.
        accuracy: ``(bin,)`` share that is right; NaN in empty bins.
    """

    error: float
    largest: float
    edges: Floats
    count: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def calibrate(bins: Reliability) -> Calibration:
    """Calibration from reliability bins; all NaN where nothing was counted."""
    count = bins.count.astype(np.float64)
    confidence = ratio(bins.total.astype(np.float64), count * _UNITS)
    accuracy = ratio(bins.right.astype(np.float64), count)
    gaps = np.abs(np.nan_to_num(accuracy) - np.nan_to_num(confidence))
    return Calibration(
        error=float(ratio((gaps * count).sum(), float(count.sum()))),
        largest=float(gaps.max()) if count.any() else float("nan"),
        edges=np.linspace(0, 1, len(count) + 1),
        count=bins.count,
        confidence=confidence,
        accuracy=accuracy,
    )
