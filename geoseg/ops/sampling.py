"""Stratified random points of a raster of any size: the same for any blocks, by a seed.

Every pixel draws a random number from the seed and its place on the whole raster; a stratum's
sample are the pixels with the lowest numbers per area. So blocks know nothing of one another, keep
no more than the sample, and add up. With pixels of equal areas this is simple random sampling
within strata; where areas differ (degrees), chances are in proportion to them, as the estimator of
areas wants it. Source: Ohlsson 1998, "Sequential Poisson sampling", J. Official Statistics 14(2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.metric import Metric

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_BANDS = 256  # rows looked at at once: hashes are eight times as large as codes


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The pixels of one stratum that would be sampled; sorted by ``key``, then ``place``.

    Attributes:
        key: ``(point,)`` random number over the pixel's area; the lowest win.
        place: ``(point,)`` int64 number of the pixel, row by row over the whole raster.
    """

    key: NDArray[np.float64]
    place: NDArray[np.int64]

    def lowest(self, other: Drawn, wanted: int) -> Drawn:
        """The ``wanted`` lowest of both."""
        key = np.concatenate([self.key, other.key])
        place = np.concatenate([self.place, other.place])
        return _lowest(key, place, wanted)


NOTHING = Drawn(np.empty(0), np.empty(0, np.int64))


def draw(
    strata: NDArray[Any],
    window: Window,
    metric: Metric,
    wanted: Mapping[int, int],
    seed: int,
) -> dict[int, Drawn]:
    """The pixels of a block that may be in the sample.

    Args:
        strata: Stratum of each pixel ``(y, x)``; those that are not in ``wanted`` are left out.
        window: Where they lie.
        metric: Ground areas of the whole raster's pixels.
        wanted: Number of points by stratum.
        seed: The same seed, the same points.
    """
    found = dict.fromkeys(wanted, NOTHING)
    columns = np.arange(window.x0, window.x1, dtype=np.int64)
    for top in range(0, window.shape[0], _BANDS):
        rows = np.arange(top, min(top + _BANDS, window.shape[0]), dtype=np.int64) + window.y0
        place = (rows[:, None] * metric.shape[1] + columns).ravel()
        area = pixel_areas(metric, Window(int(rows[0]), window.x0, int(rows[-1]) + 1, window.x1))
        key = uniform(place, seed) / area.ravel()
        here = strata[top : top + _BANDS].ravel()
        for stratum, count in wanted.items():
            mine = here == stratum
            if mine.any():
                some = _lowest(key[mine], place[mine], count)
                found[stratum] = found[stratum].lowest(some, count)
    return {stratum: drawn for stratum, drawn in found.items() if drawn.key.size}


def merge(
    one: Mapping[int, Drawn], other: Mapping[int, Drawn], wanted: Mapping[int, int]
) -> dict[int, Drawn]:
    """What of two blocks may be in the sample."""
    both = [*one, *(stratum for stratum in other if stratum not in one)]
    return {s: one.get(s, NOTHING).lowest(other.get(s, NOTHING), wanted[s]) for s in both}


def shuffled(place: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """A random order of pixels that has nothing to do with how they were drawn."""
    return np.lexsort((place, uniform(place, seed + 1)))


def uniform(place: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A random number in 0..1 for each place: splitmix64 (Steele et al. 2014) of seed and place."""
    with np.errstate(over="ignore"):
        start = mixed_bits(np.array([seed], np.int64).astype(np.uint64) * _GOLDEN)
        bits = mixed_bits(start + (place.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pixel_areas(metric: Metric, window: Window) -> NDArray[np.float64]:
    """Ground area ``(y, x)`` of each pixel, in counts of ``metric.unit``."""
    at = (np.arange(window.x0, window.x1) + 0.5) / metric.spacing[1]
    node = np.minimum(at.astype(np.int64), metric.density.shape[1] - 2)
    part = at - node
    rows = metric.row_density(window.y0, window.y1)
    areas: NDArray[np.float64] = rows[:, node] * (1 - part) + rows[:, node + 1] * part
    return areas


def _lowest(key: NDArray[np.float64], place: NDArray[np.int64], wanted: int) -> Drawn:
    if wanted < len(key):
        # All that are as low as the last one: which of equals wins is told by their place.
        limit = np.partition(key, wanted - 1)[wanted - 1] if wanted > 0 else -1.0
        few = key <= limit
        key, place = key[few], place[few]
    order = np.lexsort((place, key))[:wanted]
    return Drawn(key[order], place[order])


def mixed_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: scatters numbers, one to one."""
    for shift, factor in _MIXES:
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))
