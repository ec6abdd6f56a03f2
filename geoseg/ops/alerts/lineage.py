"""Regions of alerts over a whole raster, and which one grew out of which.

All is told from the pixels alone, whatever was exported before, by going through the days on which
alerts began or were dropped. A region is named by its first alert, and keeps the name while it
grows; where two merge, the older name stays. Where one falls apart, since alerts between its parts
were dropped, the part with the oldest alert keeps the name; others get that of their own oldest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.alerts.naming import trace_names
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
        key = (zones["first"].astype(np.int64) << _SHIFT) | zones["pixel"]
        stands = zones["until"] == STANDS
        table, at = _gather(zones, key, region, stands)
        names, came_from, into = trace_names(
            zones["first"].astype(np.int64),
            zones["until"].astype(np.int64),
            _least(key, same),
            same,
            edges[edges[:, 2] != SAME, :2].copy(),
            _events(zones),
        )
        named = names[same[stands]]
        table["name"][at] = key_of(named, key, same)
        table["split_from"][at] = key_of(came_from[named], key, same)
        return Regions(table, _swallowed(table, at, named, into, _least(key, same)), self._shape[1])


def _events(zones: NDArray[np.void]) -> NDArray[np.int64]:
    """Days on which alerts began, or did not stand any more."""
    dropped = zones["until"][zones["until"] != STANDS].astype(np.int64) + 1
    return np.unique(np.concatenate([zones["first"].astype(np.int64), dropped]))


def key_of(
    labels: NDArray[np.int64], key: NDArray[np.int64], same: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Keys of zones, 0 for the label -1."""
    least = np.append(_least(key, same), 0)
    return least[labels]


def _least(key: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least key of each one's group."""
    least = np.full(len(key), np.iinfo(np.int64).max)
    np.minimum.at(least, group, key)
    return least[group]


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


def _swallowed(
    table: NDArray[np.void],
    at: NDArray[np.int64],
    named: NDArray[np.int64],
    into: NDArray[np.int64],
    key: NDArray[np.int64],
) -> tuple[tuple[int, ...], ...]:
    """Keys of all names that went into that of each region, directly or over others."""
    row_of = {int(name): int(row) for name, row in zip(named, at, strict=True)}
    found: list[list[int]] = [[] for _ in range(len(table))]
    for gone in np.flatnonzero(into >= 0):
        name = int(gone)
        while into[name] >= 0:
            name = int(into[name])
        if name in row_of:
            found[row_of[name]].append(int(key[gone]))
    return tuple(tuple(sorted(keys)) for keys in found)
