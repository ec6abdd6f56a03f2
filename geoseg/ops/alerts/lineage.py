"""Regions of alerts over a whole raster, and which one grew out of which.

All is told from the pixels alone, whatever was exported before: the alert that began first in a
region, at its first pixel, names it. So a region keeps its name while it grows, and the older name
stays where two merge. Where a region falls apart since alerts between its parts were dropped, the
part that began first keeps the name; the others are named by their own first alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.alerts.rules import to_date
from geoseg.ops.alerts.zones import BOTH_STAND, SAME, STANDS, ZONE, BlockZones, seam_edges, unite

_SHIFT = 44  # bits of a pixel's place in a key; days come above

REGION = np.dtype(
    [
        ("pixel", np.int64),  # first pixel in row-major order
        ("key", np.int64),  # day and place of its first alert
        ("name", np.int64),  # the key that names it
        ("split_from", np.int64),  # the key of what it was part of, 0 if it was of nothing
        ("first", np.uint16),
        ("before", np.uint16),
        ("last", np.uint16),
        ("state", np.uint8),
        ("detections", np.uint16),
        ("confirmed", np.int64),
    ],
    align=True,
)


@dataclass(frozen=True, slots=True)
class Regions:
    """All 8-connected regions of alerts, by their first pixels.

    Attributes:
        table: ``(n,)`` of :data:`REGION`.
        merged: For each the keys of others that it has swallowed, oldest first.
        width: Of the raster.
    """

    table: NDArray[np.void]
    merged: tuple[tuple[int, ...], ...]
    width: int

    def name(self, key: int) -> str:
        """Day, row and column of a key, as text; "" for 0."""
        if not key:
            return ""
        day, place = key >> _SHIFT, key & ((1 << _SHIFT) - 1)
        return f"{to_date(day):%Y%m%d}-{place // self.width}-{place % self.width}"


class Tracker:
    """Takes the zones of blocks, row by row, and tells the regions in the end.

    Memory holds one record for each zone that stands, is beside one that does, or lies on the rim
    of a block; no pixel.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._zones: list[NDArray[np.void]] = []
        self._edges: list[NDArray[np.int64]] = []
        self._count = 0
        nothing = np.zeros((shape[1], 3), np.int64)
        nothing[:, 0] = -1
        self._above, self._top, self._bottom = (nothing.copy() for _ in range(3))
        self._left: NDArray[np.int64] | None = None

    def add(self, window: Window, block: BlockZones) -> None:
        """Take the next block, in row-major order."""
        moved = [side.copy() for side in block.rim]
        for side in moved:
            side[side[:, 0] >= 0, 0] += self._count
        edges = block.edges + np.array([self._count, self._count, 0])
        self._zones.append(block.zones)
        self._edges.append(edges)
        self._count += len(block.zones)
        top, bottom, left, right = moved
        across = slice(window.x0, window.x1)
        self._top[across], self._bottom[across] = top, bottom
        if self._left is not None:
            self._edges.append(seam_edges(self._left, left))
        self._left = right
        if window.x1 == self._shape[1]:
            self._edges.append(seam_edges(self._above, self._top))
            self._above, self._bottom = self._bottom, self._above
            self._left = None

    def regions(self) -> Regions:
        """All regions; call it after the last block."""
        zones = np.concatenate([*self._zones, np.zeros(0, ZONE)])
        edges = np.concatenate([*self._edges, np.zeros((0, 3), np.int64)])
        same = unite(len(zones), edges[edges[:, 2] == SAME, :2].copy())
        edges[:, :2] = same[edges[:, :2]]
        both = edges[edges[:, 2] == BOTH_STAND, :2].copy()
        region = unite(len(zones), both)[same]
        group = unite(len(zones), edges[:, :2].copy())[same]
        key = (zones["first"].astype(np.int64) << _SHIFT) | zones["pixel"]
        stands = zones["until"] == STANDS
        table, at = _gather(zones, key, region, stands)
        _name(table, _least(key, group)[region[stands][_first_of(at)]] if len(table) else key[:0])
        merged = _swallowed(table, at, key, same, stands, both, zones["first"])
        return Regions(table, merged, self._shape[1])


def _least(key: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least key of each one's group."""
    least = np.full(len(key), np.iinfo(np.int64).max)
    np.minimum.at(least, group, key)
    return least[group]


def _first_of(at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each number ``0..n`` comes first."""
    return np.unique(at, return_index=True)[1]


def _gather(
    zones: NDArray[np.void], key: NDArray[np.int64], region: Any, stands: NDArray[np.bool_]
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """The table of regions, in order of their first pixels, and for each standing zone its row."""
    chosen, keys = zones[stands], key[stands]
    _, at = np.unique(region[stands], return_inverse=True)
    count = int(at.max()) + 1 if len(at) else 0
    table = np.zeros(count, REGION)
    for name in ("pixel", "key", "first"):
        table[name] = np.iinfo(table[name].dtype).max
    np.minimum.at(table["pixel"], at, chosen["pixel"])
    np.minimum.at(table["key"], at, keys)
    np.minimum.at(table["first"], at, chosen["first"])
    for name in ("last", "state", "detections"):
        np.maximum.at(table[name], at, chosen[name])
    np.add.at(table["confirmed"], at, chosen["confirmed"])
    oldest = keys == table["key"][at]
    table["before"][at[oldest]] = chosen["before"][oldest]
    order = np.argsort(table["pixel"], kind="stable")
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    return table[order], place[at]


def _name(table: NDArray[np.void], oldest: NDArray[np.int64]) -> None:
    """Name regions; ``oldest`` is the least key of all that each was ever one with."""
    keeper = np.lexsort((table["key"], oldest))
    first = np.ones(len(table), np.bool_)
    first[1:] = oldest[keeper][1:] != oldest[keeper][:-1]
    keeps = np.zeros(len(table), np.bool_)
    keeps[keeper[first]] = True
    table["name"] = np.where(keeps, oldest, table["key"])
    table["split_from"] = np.where(keeps, 0, oldest)


def _swallowed(
    table: NDArray[np.void],
    at: NDArray[np.int64],
    key: NDArray[np.int64],
    same: NDArray[np.int64],
    stands: NDArray[np.bool_],
    both: NDArray[np.int64],
    first: NDArray[np.uint16],
) -> tuple[tuple[int, ...], ...]:
    """Keys of other beginnings in each region: zones that no older one was beside when they began."""
    later = np.where(first[both[:, 0]] > first[both[:, 1]], both[:, 0], both[:, 1])
    grown = np.zeros(len(key), np.bool_)
    grown[later] = True
    least = _least(key, same)
    begins = (stands & ~grown[same])[stands]
    found: list[list[int]] = [[] for _ in range(len(table))]
    pairs = {(int(r), int(k)) for r, k in zip(at[begins], least[stands][begins], strict=True)}
    for row, begun in sorted(pairs):
        if begun != table["key"][row]:
            found[row].append(begun)
    return tuple(tuple(keys) for keys in found)
