"""Rings of finished features: walked along their arcs and ordered."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.joining import Tables, left_of
from geoseg.ops.kernels import entry, helper

FAR = 1 << 62
"""More than any place in a raster, row by row."""

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


class Outlines(NamedTuple):
    """Rings of features.

    Those of a feature come by polygon, then by their first vertex in row-major order, which puts
    the exterior of each polygon first; polygons come by the first vertex of their exterior.
    """

    firsts: NDArray[np.int64]  # (features + 1,) where the rings of each begin
    rings: NDArray[np.void]  # of RING
    vertices: NDArray[Any]  # (v, 2) row, column; int32, or float64 where arcs are shaped


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
def _walk_ring(tables: Any, first: int, out: Any, ring: Any) -> None:
    """Write the corners of the ring that ``first`` belongs to from ``ring.begin`` on."""
    used, half, before = ring.begin, first, -1
    least = (np.int64(FAR), np.int64(0))
    while True:
        arc = tables.arcs[half >> 1]
        arc.done |= 1 << (half & 1)
        step = -1 if half & 1 else 1
        at = arc.stop - 1 if half & 1 else arc.begin
        # Only where arcs meet may edges be in line.
        straight = np.int64(before == (arc.arrives ^ 2 if half & 1 else arc.leaves))
        at += step * straight
        for _ in range(arc.stop - arc.begin - 1 - straight):
            row, col = np.int64(tables.vertices[at, 0]), np.int64(tables.vertices[at, 1])
            at += step
            out[used, 0], out[used, 1] = row, col
            if (row, col) < least:
                least = row, col
                ring.pivot = used
            used += 1
        before = -1 if arc.source < 0 else arc.leaves ^ 2 if half & 1 else arc.arrives
        half = _after(tables, half)
        if half == first:
            break
    # The ring may have begun on a straight line; nothing there comes first.
    arc = tables.arcs[first >> 1]
    ring.begin += np.int64(before == (arc.arrives ^ 2 if first & 1 else arc.leaves))
    ring.stop = used


@helper
def _copy_ring(tables: Any, first: int, out: Any, begin: int) -> tuple[int, Any]:
    """Write the vertices of a ring of shaped arcs as they are.

    Returns:
        Where they end, and the first vertex that the ring had before it was shaped.
    """
    used, half = begin, first
    start = np.int64(FAR)
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
def _walk_features(
    tables: Any, features: Any, width: int, firsts: Any, rings: Any, out: Any
) -> None:
    """Walk all rings of ``features``, and say where those of each begin."""
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
                    ring.begin = used
                    _walk_ring(tables, first, out, ring)
                    ring.start = np.int64(out[ring.pivot, 0]) * (width + 1)
                    ring.start += np.int64(out[ring.pivot, 1])
                used = ring.stop
                found += 1
            first = tables.links[first]
        firsts[k + 1] = found


def count_half_arcs(
    tables: Tables, features: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half-arcs and vertices of each feature: the room that :func:`walk` takes at most."""
    halves, vertices = _half_arcs(tables, features)
    return halves, vertices


def walk(
    tables: Tables, features: NDArray[np.int32], room: tuple[int, int], width: int
) -> Outlines:
    """The rings of closed features; their half-arcs are done with afterwards.

    Args:
        tables: What is in flight.
        features: Closed features.
        room: Half-arcs and vertices that they have, see :func:`count_half_arcs`.
        width: Columns of the raster.
    """
    rings = np.empty(room[0], RING)
    vertices = np.empty((room[1] + 1, 2), tables.vertices.dtype)
    firsts = np.zeros(len(features) + 1, np.int64)
    _walk_features(tables, features, width, firsts, rings, vertices)
    return Outlines(firsts, _in_order(rings[: firsts[-1]], firsts), vertices)


def _in_order(rings: NDArray[np.void], firsts: NDArray[np.int64]) -> NDArray[np.void]:
    """Put the rings of each feature in the order of :class:`Outlines`, in place; returns them."""
    counts = np.diff(firsts)
    several = np.flatnonzero(np.repeat(counts > 1, counts))
    if len(several):
        some = picked(rings, several)
        order = np.lexsort((some["start"], some["region"], some["feature"]))
        regions, features = some["region"][order], some["feature"][order]
        # The first of a polygon is its exterior, by which polygons are ordered.
        begins = np.flatnonzero(np.diff(regions, prepend=-1) | np.diff(features, prepend=-1))
        if len(begins) > np.count_nonzero(np.diff(features, prepend=-1)):
            counts = np.diff(begins, append=len(order))
            exterior = np.repeat(some["start"][order][begins], counts)
            order = order[np.lexsort((some["start"][order], exterior, features))]
        rings[several] = picked(some, order)
    return rings


def picked(records: NDArray[np.void], places: NDArray[Any]) -> NDArray[np.void]:
    """Some of ``records``: as bytes, for numpy would copy field by field."""
    plain = records.view(f"V{records.dtype.itemsize}")
    return plain.take(places).view(records.dtype)


def count_vertices(outlines: Outlines) -> NDArray[np.int64]:
    """Vertices of each feature ``(n,)``."""
    ends = np.concatenate([[0], np.cumsum(outlines.rings["stop"] - outlines.rings["begin"])])
    return np.diff(ends[outlines.firsts])
