"""Majority filter: each pixel becomes what most of its neighbourhood is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.refine.base import View
from geoseg.ops.refine.boxes import count_box


@dataclass(frozen=True, slots=True)
class Majority:
    """The most frequent class of ``size`` x ``size`` pixels; only pixels with a class vote.

    Of equally frequent ones a pixel's own class wins, else the lowest code. It rounds corners and
    eats lines narrower than half of its size.
    """

    size: int

    @property
    def halo(self) -> int:
        """Half the window."""
        return self.size // 2

    @property
    def bytes_per_pixel(self) -> int:
        """Counts of one class, their running sums, and the highest so far."""
        return 24

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``."""
        return most_frequent(view.classes, view.valid, self.halo)


def most_frequent(
    classes: NDArray[np.uint8], votes: NDArray[np.bool_], radius: int
) -> NDArray[np.uint8]:
    """The most frequent code around each pixel that has a vote; others stay what they are.

    Ties go to the pixel's own code, else to the lowest.
    """
    best = np.zeros(classes.shape, np.int32)
    out = classes.copy()
    for code in np.unique(classes[votes]):
        # Doubled, and one more for the own class: it wins ties, and only these.
        count = 2 * count_box(votes & (classes == code), radius) + (classes == code)
        better = (count > best) & votes
        out[better] = code
        best[better] = count[better]
    return out
