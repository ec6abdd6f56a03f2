"""Sums of ground by zone and class: whole counts, so that they are the same in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.areas import pixel_areas
from geoseg.ops.kernels import entry
from geoseg.ops.metric import Metric

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of which pixels each zone covers in a block; zones may overlap.

    Attributes:
        zones: ``(zone,)`` numbers of the zones that reach into the block, increasing.
        zone: ``(entry,)`` index into ``zones``.
        pixel: ``(entry,)`` index into the flattened block.
        weight: ``(entry,)`` ground that the zone covers there, in counts of the metric's unit.
    """

    zones: NDArray[np.int64]
    zone: NDArray[np.int64]
    pixel: NDArray[np.int64]
    weight: Counts

    def sums(self, keys: NDArray[np.integer], kinds: int) -> Counts:
        """Ground of each kind in each zone, ``(zone, kind)`` counts.

        Args:
            keys: ``(y, x)`` or flat, the kind of each pixel, 0 to ``kinds`` - 1.
            kinds: How many there are.
        """
        found = np.zeros(len(self.zones) * kinds, np.int64)
        _add(found, self.zone * kinds + keys.ravel()[self.pixel], self.weight)
        return found.reshape(len(self.zones), kinds)

    def weighted(self, keys: NDArray[np.integer], kinds: int, share: NDArray[np.uint8]) -> Counts:
        """As :meth:`sums`, of as much of each pixel as ``share`` says, in percent."""
        found = np.zeros(len(self.zones) * kinds, np.int64)
        percent = share.ravel()[self.pixel].astype(np.float64)
        part = np.rint(self.weight * (percent / 100)).astype(np.int64)
        _add(found, self.zone * kinds + keys.ravel()[self.pixel], part)
        return found.reshape(len(self.zones), kinds)


def whole(window: Window, metric: Metric) -> Coverage:
    """The coverage of one zone, number 0, that is everywhere."""
    weight = pixel_counts(window, metric).ravel()
    none = np.zeros(weight.size, np.int64)
    return Coverage(np.zeros(1, np.int64), none, np.arange(weight.size), weight)


def pixel_counts(window: Window, metric: Metric) -> Counts:
    """Ground that pixels cover, ``(y, x)`` in counts of the metric's unit."""
    return np.rint(pixel_areas(window, metric) / metric.unit).astype(np.int64)


@entry
def _add(sums: Any, keys: Any, weights: Any) -> None:
    for i in range(len(keys)):
        sums[keys[i]] += weights[i]
