"""Zones of one block: pixels side by side whose alerts began, and were dropped, on the same days."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper

STANDS: Final = 65535
"""In place of the last day of an alert that has not been dropped."""

SAME, BOTH_STAND, MET = 0, 1, 2
"""How two neighbours are related: of one zone, both standing, or once standing at the same time."""

ZONE = np.dtype(
    [
        ("first", np.uint16),  # day of the first detection
        ("until", np.uint16),  # last day on which it stood, or STANDS
        ("pixel", np.int64),  # first pixel in row-major order, as row * width + col
        ("before", np.uint16),  # last clear day before the first detection, at that pixel
        ("last", np.uint16),  # latest detection
        ("state", np.uint8),  # state of the pixel that is farthest
        ("detections", np.uint16),  # most of a pixel
        ("confirmed", np.int64),  # pixels that are confirmed or finished
    ],
    align=True,
)


class Seen(NamedTuple):
    """What is known of the pixels of a block, each ``(y, x)``; alerts that stand or once stood."""

    first: NDArray[np.uint16]  # 0 where there never was an alert
    until: NDArray[np.uint16]  # STANDS, or the last day on which it stood
    before: NDArray[np.uint16]
    last: NDArray[np.uint16]
    state: NDArray[np.uint8]
    detections: NDArray[np.uint16]


class BlockZones(NamedTuple):
    """The zones of a block, and what touches.

    Labels count zones from 0; -1 is none. ``rim`` has label, first and until of the pixels in the
    first and last row and the first and last column.
    """

    zones: NDArray[np.void]  # (n,) of ZONE
    edges: NDArray[np.int64]  # (m, 3) two labels, and how they are related
    rim: tuple[NDArray[np.int64], ...]  # four of (k, 3)


@helper
def root_of(parent: Any, label: int) -> int:
    """The label that stands for all that ``label`` is joined with."""
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@entry
def unite(count: int, pairs: Any) -> Any:
    """For each of ``count`` labels the least label that it is joined with by ``pairs`` ``(n, 2)``."""
    parent = np.arange(count)
    for k in range(len(pairs)):
        a, b = root_of(parent, pairs[k, 0]), root_of(parent, pairs[k, 1])
        parent[max(a, b)] = min(a, b)
    for k in range(count):
        parent[k] = root_of(parent, k)
    return parent


@helper
def _relation(first_a: int, until_a: int, first_b: int, until_b: int) -> int:
    """How two neighbours are related, -1 if they are not."""
    if first_a == 0 or first_b == 0:
        return -1
    if first_a == first_b and until_a == until_b:
        return SAME
    if until_a == STANDS and until_b == STANDS:
        return BOTH_STAND
    return MET if first_a <= until_b and first_b <= until_a else -1


@entry
def label_zones(first: Any, until: Any) -> tuple[Any, int]:
    """8-connected zones ``(y, x)`` int64, numbered from 0 by their first pixels, and how many."""
    height, width = first.shape
    parent = np.arange(height * width)
    for i in range(height):
        for j in range(width):
            for di, dj in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                y, x = i + di, j + dj
                if y < 0 or x < 0 or x >= width:
                    continue
                if _relation(first[i, j], until[i, j], first[y, x], until[y, x]) == SAME:
                    a, b = root_of(parent, i * width + j), root_of(parent, y * width + x)
                    parent[max(a, b)] = min(a, b)
    labels = np.full((height, width), -1, np.int64)
    count = 0
    for i in range(height):
        for j in range(width):
            if first[i, j] == 0:
                continue
            root = root_of(parent, i * width + j)
            if root == i * width + j:
                labels[i, j] = count
                count += 1
            else:
                labels[i, j] = labels[root // width, root % width]
    return labels, count


@entry
def measure_zones(labels: Any, seen: Any, at: Any, zones: Any) -> None:
    """Fill ``zones`` (zeros of :data:`ZONE`); ``at`` is first row and column, and the width."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            if labels[i, j] < 0:
                continue
            zone = zones[labels[i, j]]
            if zone.first == 0:
                zone.first, zone.until = seen.first[i, j], seen.until[i, j]
                zone.pixel = (at[0] + i) * at[2] + at[1] + j
                zone.before = seen.before[i, j]
            if zone.until == STANDS:
                state = seen.state[i, j]
                zone.last = max(zone.last, seen.last[i, j])
                zone.state = max(zone.state, state)
                zone.detections = max(zone.detections, seen.detections[i, j])
                zone.confirmed += state in (3, 6, 7, 8)


@entry
def find_edges(labels: Any, first: Any, until: Any, fill: Any) -> int:
    """Write pairs of zones that touch to ``fill`` ``(m, 3)``, if there is room; says how many."""
    height, width = labels.shape
    count = 0
    for i in range(height):
        for j in range(width):
            if labels[i, j] < 0:
                continue
            for di, dj in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                y, x = i + di, j + dj
                if y < 0 or x < 0 or x >= width or labels[y, x] < 0:
                    continue
                kind = _relation(first[i, j], until[i, j], first[y, x], until[y, x])
                if kind > SAME:
                    if count < len(fill):
                        fill[count, 0] = min(labels[i, j], labels[y, x])
                        fill[count, 1] = max(labels[i, j], labels[y, x])
                        fill[count, 2] = kind
                    count += 1
    return count


@entry
def seam_edges(ours: Any, theirs: Any) -> Any:
    """Pairs ``(m, 3)`` across a seam; both sides ``(k, 3)`` of label, first and until."""
    found = np.empty((3 * len(ours), 3), np.int64)
    count = 0
    for k in range(len(ours)):
        for other in range(max(0, k - 1), min(len(theirs), k + 2)):
            a, b = ours[k], theirs[other]
            kind = _relation(a[1], a[2], b[1], b[2])
            if kind >= 0 and a[0] >= 0 and b[0] >= 0:
                found[count, 0], found[count, 1], found[count, 2] = a[0], b[0], kind
                count += 1
    return found[:count].copy()


def find_zones(seen: Seen, at: tuple[int, int, int]) -> BlockZones:
    """The zones of a block; those that can tell nothing about alerts that stand are left out.

    Args:
        seen: The pixels.
        at: First row and column of the block, and the width of the raster.
    """
    labels, count = label_zones(seen.first, seen.until)
    zones = np.zeros(count, ZONE)
    measure_zones(labels, seen, np.array(at), zones)
    count = find_edges(labels, seen.first, seen.until, np.empty((0, 3), np.int64))
    edges = np.empty((count, 3), np.int64)
    find_edges(labels, seen.first, seen.until, edges)
    edges = np.unique(edges, axis=0)
    return _prune(labels, seen, zones, edges)


def _prune(
    labels: NDArray[np.int64], seen: Seen, zones: NDArray[np.void], edges: NDArray[np.int64]
) -> BlockZones:
    """Without dropped zones that neither touch the rim, directly or over others, nor what stands."""
    group = unite(len(zones), edges[:, :2].copy())
    useful = np.zeros(len(zones), np.bool_)
    useful[group[zones["until"] == STANDS]] = True
    sides = (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
    for side in sides:
        on_rim = labels[side]
        useful[group[on_rim[on_rim >= 0]]] = True
    kept = useful[group]
    number = np.append(np.cumsum(kept) - 1, -1)  # -1 stays -1
    rim = tuple(
        np.stack([number[labels[s]], seen.first[s].astype(np.int64), seen.until[s]], axis=-1)
        for s in sides
    )
    left = edges[kept[edges[:, 0]]]
    left[:, :2] = number[left[:, :2]]
    return BlockZones(zones[kept], left, rim)
