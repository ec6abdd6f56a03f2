"""How well a map agrees with the truth: confusion counts that add up, and what follows from them.

Sources: Congalton 1991, doi:10.1016/0034-4257(91)90048-B (user's and producer's accuracy);
Cohen 1960, doi:10.1177/001316446002000104 (kappa); Long et al. 2015, arXiv:1411.4038 (IoU, mIoU and
frequency-weighted IoU).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

UNJUDGED = -1
"""Class index of pixels that say nothing: no label, no prediction, or to be left out."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Pixels by true and by predicted class; states of disjoint blocks add up to the whole.

    Attributes:
        counts: ``(true class, predicted class)`` int64.
        unmapped: ``(true class,)`` int64; labelled pixels without a prediction.
    """

    counts: NDArray[np.int64]
    unmapped: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> Self:
        """Count pixels.

        Args:
            truth: Class indices of any shape and integer dtype; :data:`UNJUDGED` has no label.
            predicted: Of the same shape; :data:`UNJUDGED` was not mapped.
            classes: How many classes there are.
        """
        labelled = truth != UNJUDGED
        true = truth[labelled].astype(np.int64)
        found = predicted[labelled].astype(np.int64)
        # A column more, for what was not mapped.
        found[found == UNJUDGED] = classes
        pairs = np.bincount(true * (classes + 1) + found, minlength=classes * (classes + 1))
        table = pairs.reshape(classes, classes + 1)
        return cls(table[:, :classes].copy(), table[:, classes].copy())

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Nothing counted yet."""
        return cls(np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts, self.unmapped + other.unmapped)

    @property
    def pixels(self) -> int:
        """How many pixels were judged."""
        return int(self.counts.sum())

    @property
    def occurring(self) -> NDArray[np.bool_]:
        """``(class,)``: those that the truth or the map has anywhere."""
        found: NDArray[np.bool_]
        found = (self.counts.sum(axis=0) + self.counts.sum(axis=1) + self.unmapped) > 0
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What confusion counts say. NaN where there is nothing to divide by.

    The means are over classes that the truth or the map has: one that is only predicted counts
    with 0, one that occurs nowhere does not count.

    Attributes:
        accuracy: Share of pixels that are right (overall accuracy).
        kappa: Cohen's kappa: agreement beyond that of chance.
        mean_iou: Mean of ``iou``.
        weighted_iou: Mean of ``iou``, weighted by pixels of the true class.
        mean_f1: Mean of ``f1``.
        iou: ``(class,)`` intersection over union (Jaccard).
        f1: ``(class,)`` F1, which is Dice.
        precision: ``(class,)`` share of what was mapped so that is so (user's accuracy).
        recall: ``(class,)`` share of what is so that was mapped so (producer's accuracy).
    """

    accuracy: float
    kappa: float
    mean_iou: float
    weighted_iou: float
    mean_f1: float
    iou: Floats
    f1: Floats
    precision: Floats
    recall: Floats


def score(counts: NDArray[np.int64]) -> Scores:
    """Scores from counts ``(true class, predicted class)``."""
    hits = np.diagonal(counts).astype(np.float64)
    true, mapped = (counts.sum(axis=axis).astype(np.float64) for axis in (1, 0))
    total = float(true.sum())
    iou = ratio(hits, true + mapped - hits)
    f1 = ratio(2 * hits, true + mapped)
    accuracy = float(ratio(hits.sum(), total))
    # Shares, not counts: products of counts of large rasters do not fit into 53 bits.
    chance = float((ratio(true, total) * ratio(mapped, total)).sum())
    return Scores(
        accuracy=accuracy,
        kappa=float(ratio(accuracy - chance, 1 - chance)),
        mean_iou=mean(iou),
        weighted_iou=float(ratio(np.nansum(iou * true), total)),
        mean_f1=mean(f1),
        iou=iou,
        f1=f1,
        precision=ratio(hits, mapped),
        recall=ratio(hits, true),
    )


def ratio(part: Floats | float, whole: Floats | float) -> Floats:
    """``part / whole``, NaN where ``whole`` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole != 0)
    return out


def mean(values: Floats) -> float:
    """The mean of those that are not NaN; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
