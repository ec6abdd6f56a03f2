"""Compare a block of a map with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window, full_window
from geoseg.ops.accuracy import UNJUDGED, Confusion
from geoseg.ops.boundaries import BoundaryCounts, Tolerance, count_boundaries
from geoseg.ops.calibration import Reliability
from geoseg.ops.matching import Matching


class Labels(Protocol):
    """Class codes on a grid; may be read from several threads."""

    @property
    def grid(self) -> GeoBox:
        """What windows refer to."""
        ...

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes 0..255 ``(y, x)``, -1 where there is none."""
        ...


class Confidences(Protocol):
    """How sure a model was, on the same grid; may be read from several threads."""

    def shares(self, window: Window) -> NDArray[np.float64]:
        """Confidence ``(y, x)`` in 0..1, NaN where there is none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Assessed:
    """What was counted; states of disjoint blocks add up to the whole."""

    confusion: Confusion
    boundaries: BoundaryCounts
    reliability: Reliability

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Nothing counted yet."""
        return cls(Confusion.empty(classes), BoundaryCounts.empty(classes), Reliability.empty())

    def __add__(self, other: Assessed) -> Assessed:
        return Assessed(
            self.confusion + other.confusion,
            self.boundaries + other.boundaries,
            self.reliability + other.reliability,
        )


@dataclass(frozen=True, slots=True)
class AssessBlock:
    """Counts agreement, boundaries (with a tolerance) and confidence of one block.

    Raises (when called):
        InputError: The truth holds a class that the prediction does not know.
    """

    prediction: Labels
    truth: Labels
    matching: Matching
    tolerance: Tolerance
    confidence: Confidences | None = None

    def __call__(self, core: Window) -> Assessed:
        """Count the pixels of ``core``; a halo of the tolerance around it is read, too."""
        classes, r = len(self.matching.classes), self.tolerance.halo
        wide = Window(core.y0 - r, core.x0 - r, core.y1 + r, core.x1 + r)
        wide &= full_window(self.prediction.grid)
        truth = self.matching.truth.apply(self.truth.codes(wide))
        at = core.within(wide)
        if (truth[at.slices] == UNJUDGED).all():
            return Assessed.empty(classes)
        predicted = self.matching.prediction.apply(self.prediction.codes(wide))
        found = count_boundaries(truth, predicted, classes, self.tolerance, at)
        truth, predicted = truth[at.slices], predicted[at.slices]
        reliability = Reliability.empty()
        if self.confidence is not None:
            reliability = rely(truth, predicted, self.confidence.shares(core))
        return Assessed(Confusion.of(truth, predicted, classes), found, reliability)


def rely(
    truth: NDArray[np.int16], predicted: NDArray[np.int16], confidence: NDArray[np.float64]
) -> Reliability:
    """Reliability of pixels that have a label, a prediction and a confidence; all of one shape."""
    judged = (truth != UNJUDGED) & (predicted != UNJUDGED) & np.isfinite(confidence)
    return Reliability.of(confidence[judged], truth[judged] == predicted[judged])
