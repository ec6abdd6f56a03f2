"""Opening and closing of classes: thin parts go, narrow gaps are filled.

Source: Serra 1982, Image Analysis and Mathematical Morphology; the structuring element is a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.refine.base import View
from geoseg.ops.refine.boxes import count_box


@dataclass(frozen=True, slots=True)
class Morphology:
    """Opens or closes each of ``codes``, one after the other, by a square of ``size`` pixels.

    ``close`` gives a class the pixels of its gaps that the square does not fit into. ``open``
    takes from it what the square does not fit into; those pixels become the most frequent other
    class of the square around them. What has no class stands in neither's way.
    """

    kind: Literal["open", "close"]
    codes: tuple[int, ...]
    size: int

    @property
    def halo(self) -> int:
        """Twice half the square, for each class."""
        return 2 * (self.size // 2) * len(self.codes)

    @property
    def bytes_per_pixel(self) -> int:
        """Counts, their running sums, and two masks."""
        return 24

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``."""
        classes, valid, radius = view.classes.copy(), view.valid, self.size // 2
        for code in self.codes:
            mask = classes == code
            if self.kind == "close":
                near = count_box(mask, radius) > 0
                closed = count_box(~near, radius) == 0
                classes[closed & valid] = code
            else:
                fits = count_box(valid & ~mask, radius) == 0
                opened = count_box(fits, radius) > 0
                _give_away(classes, mask & ~opened, valid & ~mask, radius)
        return classes


def _give_away(
    classes: NDArray[np.uint8],
    lost: NDArray[np.bool_],
    takers: NDArray[np.bool_],
    radius: int,
) -> None:
    """Make ``lost`` pixels the most frequent class among ``takers`` around them, in place.

    There always is one: a square that does not fit has a pixel of another class.
    """
    if not lost.any():
        return
    best = np.zeros(classes.shape, np.int32)
    new = classes.copy()
    for code in np.unique(classes[takers]):
        count = count_box(takers & (classes == code), radius)
        better = lost & (count > best)
        new[better] = code
        best[better] = count[better]
    classes[lost] = new[lost]
