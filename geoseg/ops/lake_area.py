"""The area of a lake at a date whose map has holes: estimate, and bounds that hold whatever they hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

DRY, WATER, UNSEEN = 0, 1, 2
"""States of a pixel at a date."""

BINS: Final = 21
"""Bins of occurrence: none, then 1-5 %, 6-10 % ... 96-100 %."""

_STEP = 5


def occurrence_bins(occurrence: Bytes) -> Bytes:
    """The bin of each pixel by how often there is water; what was never seen is in the first."""
    known = np.where(occurrence > 100, 0, occurrence)
    return ((known + _STEP - 1) // _STEP).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class LakeArea:
    """A lake at a date, in the unit of the sums.

    Attributes:
        area: Water seen, and what unseen pixels are thought to add; NaN where too little was seen.
        low: What is surely there: water seen, less what the map's confidence expects to be none.
        high: What may be there at most: water seen, all that was not seen, and what the map's
            confidence expects to have been missed.
        seen: Water that was seen.
        filled: What unseen pixels are thought to add.
        observed: Share of the lake that was seen.
    """

    area: float
    low: float
    high: float
    seen: float
    filled: float
    observed: float


def lake_area(sums: Counts, doubts: Counts, *, least_observed: float) -> LakeArea:
    """Estimate the water in a lake.

    A lake that falls dries where water is seldom first: the level of a date is the bin of
    occurrence that best parts water from land where the date was seen, and unseen pixels are
    water where their occurrence is at least that (after Zhao & Gao 2018,
    doi:10.1029/2018GL078343). Where several levels part them equally well, what the lowest and
    the highest of them add is averaged.

    Args:
        sums: ``(bin, state)`` ground by occurrence and what the date shows.
        doubts: Ground weighted by doubt (1 - confidence), ``(state,)`` of land and water.
        least_observed: Share that must be seen for an estimate.
    """
    dry, water, unseen = (sums[:, state].astype(np.float64) for state in (DRY, WATER, UNSEEN))
    total, seen = float(sums.sum()), float(water.sum())
    observed = (total - float(unseen.sum())) / total if total else 0.0
    filled = _filled(dry, water, unseen)
    known = observed > 0 and observed >= least_observed
    return LakeArea(
        area=seen + filled if known else float("nan"),
        low=seen - float(doubts[WATER]),
        high=seen + float(doubts[DRY]) + float(unseen.sum()),
        seen=seen,
        filled=filled if known else float("nan"),
        observed=observed,
    )


def _filled(
    dry: NDArray[np.float64], water: NDArray[np.float64], unseen: NDArray[np.float64]
) -> float:
    # Level t says: water in bins t and above. What never had water is not filled: t starts at 1.
    below = np.concatenate([[0.0], np.cumsum(water)])[1:]
    above = np.concatenate([np.cumsum(dry[::-1])[::-1], [0.0]])[1:]
    wrong = below + above
    levels = np.flatnonzero(wrong <= wrong.min())
    adds = np.concatenate([np.cumsum(unseen[::-1])[::-1], [0.0]])[1:]
    return float(adds[levels[0]] + adds[levels[-1]]) / 2
