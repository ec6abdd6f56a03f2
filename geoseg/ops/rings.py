"""Rings of finished features: walked along their arcs and ordered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.joining import Tables, left_of
from geoseg.ops.kernels import entry, helper
from geoseg.ops.metric import Metric

RING = np.dtype(
    [
        ("feature", np.int32),  # place among the features that were walked
        ("region", np.int32),  # 4-connected region: rings of one are one polygon
        ("begin", np.int64),  # vertices; the first is not repeated at the end
        ("stop", np.int64),
        ("pivot", np.int64),  # the vertex that comes first in row-major order
        ("start", np.int64),  # that vertex as row * (width + 1) + col
    ],
    align=True,
)


@entry
def _half_arcs(tables: Any, features: Any) -> tuple[Any, Any]:
    """For each feature, how many half-arcs it has, and how many vertices they have together."""
    halves = np.zeros(len(features), np.int64)
    vertices = np.zeros(len(features), np.int64)
    for k in range(len(features)):
        half = tables.regions[features[k]].head
        while half >= 0:
            arc = tables.arcs[half >> 1]
            halves[k] += 1
            vertices[k] += arc.stop - arc.begin
            half = tables.links[half]
    return halves, vertices


@helper
def _after(tables: Any, half: int) -> int:
    """The half-arc that goes on around the same region.

    The next boundary edge on the left is taken, so that one stays with the pixel at hand. Only
    where four edges meet and the pixel across belongs to the same region does one turn right, to
    that pixel: then no ring touches itself, and what lies between becomes a hole that touches the
    ring in one point, as OGC wants it.
    """
    arc = tables.arcs[half >> 1]
    if arc.source < 0:
        return half
    if half & 1:
        node, heading = arc.source, arc.leaves ^ 2
    else:
        node, heading = arc.target, arc.arrives
    left = tables.nodes[node, (heading + 3) & 3]
    ahead = tables.nodes[node, heading]
    right = tables.nodes[node, (heading + 1) & 3]
    four = left != -1 and ahead != -1 and right >= 0
    if four and left_of(tables, right) == left_of(tables, half):
        return int(right)
    if left != -1:
        return int(left)
    return int(ahead if ahead != -1 else right)


@helper
def _append(out: Any, begin: int, used: int, row: int, col: int) -> int:
    """Add a vertex to the ring that began at ``begin``; the last one goes if all are in line."""
    if used - begin >= 2 and (
        (out[used - 1, 0] == row and out[used - 2, 0] == row)
        or (out[used - 1, 1] == col and out[used - 2, 1] == col)
    ):
        used -= 1
    out[used, 0], out[used, 1] = row, col
    return used + 1


@helper
def _walk_ring(tables: Any, first: int, out: Any, begin: int) -> int:
    """Write the vertices of the ring that ``first`` belongs to; returns where they end."""
    used, half = begin, first
    while True:
        arc = tables.arcs[half >> 1]
        arc.done |= 1 << (half & 1)
        for k in range(arc.stop - arc.begin - 1):
            at = arc.stop - 1 - k if half & 1 else arc.begin + k
            used = _append(out, begin, used, tables.vertices[at, 0], tables.vertices[at, 1])
        half = _after(tables, half)
        if half == first:
            break
    # Once more around the corner: the ring may have begun on a straight line.
    if _append(out, begin, used, out[begin, 0], out[begin, 1]) == used:
        used -= 1
    return used


@helper
def _copy_ring(tables: Any, first: int, out: Any, begin: int) -> tuple[int, Any]:
    """Write the vertices of a ring of shaped arcs as they are.

    Returns:
        Where they end, and the first vertex that the ring had before it was shaped.
    """
    used, half = begin, first
    start = np.int64(1) << 62
    while True:
        arc = tables.arcs[half >> 1]
        arc.done |= 1 << (half & 1)
        start = min(start, tables.firsts[half >> 1])
        for k in range(arc.stop - arc.begin - 1):
            at = arc.stop - 1 - k if half & 1 else arc.begin + k
            out[used, 0], out[used, 1] = tables.vertices[at, 0], tables.vertices[at, 1]
            used += 1
        half = _after(tables, half)
        if half == first:
            return used, start


@helper
def _note_shaped(ring: Any, out: Any, begin: int, stop: int, start: int) -> None:
    """Say where a ring of shaped arcs is, and where it begins."""
    ring.begin, ring.stop, ring.pivot, ring.start = begin, stop, begin, start
    for at in range(begin + 1, stop):
        row, first = out[at, 0], out[ring.pivot, 0]
        if row < first or (row == first and out[at, 1] < out[ring.pivot, 1]):
            ring.pivot = at


@entry
def _walk_features(tables: Any, features: Any, width: int, rings: Any, out: Any) -> tuple[int, int]:
    """Walk all rings of ``features``; returns how many rings and vertices were written."""
    found = used = 0
    shaped = len(tables.firsts) > 0
    for k in range(len(features)):
        first = tables.regions[features[k]].head
        while first >= 0:
            if not tables.arcs[first >> 1].done & (1 << (first & 1)):
                ring = rings[found]
                ring.feature, ring.region = k, left_of(tables, first)
                if shaped:
                    stop, start = _copy_ring(tables, first, out, used)
                    _note_shaped(ring, out, used, stop, start)
                else:
                    stop = _walk_ring(tables, first, out, used)
                    _note_exact(ring, out, _drop_straight_start(out, used, stop), stop, width)
                used = stop
                found += 1
            first = tables.links[first]
    return found, used


@helper
def _note_exact(ring: Any, out: Any, begin: int, stop: int, width: int) -> None:
    """Say where a ring is, and where it begins."""
    ring.begin, ring.stop, ring.pivot = begin, stop, begin
    ring.start = np.int64(1) << 62
    for at in range(begin, stop):
        place = np.int64(out[at, 0]) * (width + 1) + np.int64(out[at, 1])
        if place < ring.start:
            ring.pivot, ring.start = at, place


@helper
def _drop_straight_start(out: Any, begin: int, stop: int) -> int:
    """Where a ring begins if its first vertex does not count when it is in line."""
    for axis in range(2):
        if out[begin, axis] == out[begin + 1, axis] == out[stop - 1, axis]:
            return begin + 1
    return begin


@entry
def _ring_lengths(rings: Any, vertices: Any, steps: Any, spacing: Any, out: Any) -> None:
    """Metres around each ring; each edge is measured at its middle."""
    last_row, last_col = steps.shape[0] - 2, steps.shape[1] - 2
    for k in range(len(rings)):
        ring = rings[k]
        count = ring.stop - ring.begin
        total = 0.0
        for n in range(count):
            a = ring.begin + (ring.pivot - ring.begin + n) % count
            b = ring.begin + (ring.pivot - ring.begin + n + 1) % count
            rows = abs(vertices[b, 0] - vertices[a, 0])
            cols = abs(vertices[b, 1] - vertices[a, 1])
            y = 0.5 * (vertices[a, 0] + vertices[b, 0]) / spacing[0]
            x = 0.5 * (vertices[a, 1] + vertices[b, 1]) / spacing[1]
            i, j = min(int(y), last_row), min(int(x), last_col)
            y, x = y - i, x - j
            axis = 0 if rows else 1
            upper = steps[i, j, axis] * (1 - x) + steps[i, j + 1, axis] * x
            lower = steps[i + 1, j, axis] * (1 - x) + steps[i + 1, j + 1, axis] * x
            total += (rows + cols) * (upper * (1 - y) + lower * y)
        out[k] = total


def count_half_arcs(
    tables: Tables, features: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half-arcs and vertices of each feature: the room that :func:`walk` takes at most."""
    halves, vertices = _half_arcs(tables, features)
    return halves, vertices


def walk(
    tables: Tables, features: NDArray[np.int32], room: tuple[int, int], width: int
) -> tuple[NDArray[np.void], NDArray[Any]]:
    """The rings of closed features; their half-arcs are done with afterwards.

    Rings come by feature, then by polygon, then by their first vertex in row-major order, which
    puts the exterior of each polygon first.

    Args:
        tables: What is in flight.
        features: Closed features.
        room: Half-arcs and vertices that they have, see :func:`count_half_arcs`.
        width: Columns of the raster.

    Returns:
        Rings ``(n,)`` of :data:`RING` and the vertices ``(v, 2)`` they refer to: int32, or
        float64 if arcs are shaped.
    """
    rings = np.empty(room[0], RING)
    vertices = np.empty((room[1] + 1, 2), tables.vertices.dtype)
    found, _ = _walk_features(tables, features, width, rings, vertices)
    rings = rings[:found]
    _, polygon = np.unique(rings["region"], return_inverse=True)
    starts = np.full(found, np.iinfo(np.int64).max)
    np.minimum.at(starts, polygon, rings["start"])
    order = np.lexsort((rings["start"], starts[polygon], rings["feature"]))
    return rings[order], vertices


def measure_perimeters(
    rings: NDArray[np.void], vertices: NDArray[np.int32], metric: Metric, features: int
) -> NDArray[np.float64]:
    """Metres on the ground around each feature, holes included, ``(features,)``."""
    lengths = np.empty(len(rings))
    _ring_lengths(rings, vertices, metric.steps, metric.spacing, lengths)
    return np.bincount(rings["feature"], lengths, features).astype(np.float64)
