"""Arcs that seams have cut, spliced: chains from junction to junction, and loops.

Where a seam cuts a boundary, its vertex is a node with two edges. All edges of a node are known
once the blocks around it are in. A chain is complete when it ends at junctions (three or four
edges) or is a loop; it never changes again. Its direction depends on no block: from the end that
comes first in row-major order; by heading where both ends are one node; a loop starts at its
first vertex, heading east.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.topology.obstacles import mark

RAW, SHAPED, PENDING = 0, 1, 2
"""State of an arc: as it was traced; part of a chain that is done; seen to be incomplete."""

_JUNCTION, _UNKNOWN = -1, -2


class Chains(NamedTuple):
    """Chains by the half-arcs they consist of, in order."""

    halves: NDArray[np.int32]
    begins: NDArray[np.int64]  # (n + 1,) where each chain begins in ``halves``
    closed: NDArray[np.bool_]  # (n,) whether it is a loop


class Lines(NamedTuple):
    """Vertices of chains, one chain after the other; a loop has its first one twice."""

    vertices: NDArray[Any]  # (v, 2) row, column
    begins: NDArray[np.int64]  # (n + 1,)
    closed: NDArray[np.bool_]  # (n,)


def take(chains: Chains, which: NDArray[np.bool_]) -> Chains:
    """Those chains of which ``which`` ``(n,)`` is true."""
    sizes = np.diff(chains.begins)
    begins = np.concatenate([[0], np.cumsum(sizes[which])])
    return Chains(chains.halves[np.repeat(which, sizes)], begins, chains.closed[which])


@entry
def note_arcs(tables: Any, arcs: Any, width: int) -> None:
    """Keep the first vertex in row-major order of arcs that are new."""
    v = tables.vertices
    for a in arcs:
        first = np.int64(1) << 62
        for k in range(tables.arcs[a].begin, tables.arcs[a].stop):
            first = min(first, np.int64(v[k, 0]) * (width + 1) + np.int64(v[k, 1]))
        tables.firsts[a] = first


@entry
def mark_corners(tables: Any, arcs: Any, new: int, bottom: int, obstacles: Any) -> None:
    """Mark the corners and junctions of arcs; those on row ``bottom`` are not known yet.

    A node with two edges in line is there for a seam only: it is not marked.

    Args:
        tables: What is in flight.
        arcs: Arcs to look at.
        new: Those from here on have inner vertices that are not marked yet.
        bottom: The last row of lattice vertices; -1 if all of it is known.
        obstacles: Bits, and the lattice row of the first of them.
    """
    bits, top = obstacles
    v = tables.vertices
    for a in arcs:
        arc = tables.arcs[a]
        if a >= new:
            for k in range(arc.begin + (arc.source >= 0), arc.stop - 1):
                mark(bits, np.int64(v[k, 0]) - top, np.int64(v[k, 1]))
        if arc.source < 0:
            continue
        for node, k in ((arc.source, arc.begin), (arc.target, arc.stop - 1)):
            if np.int64(v[k, 0]) != bottom and _bends(tables.nodes[node]):
                mark(bits, np.int64(v[k, 0]) - top, np.int64(v[k, 1]))


@helper
def _bends(node: Any) -> Any:
    """Whether a node is more than a point on a straight line."""
    vertical = (node[1] != -1) + (node[3] != -1)
    horizontal = (node[0] != -1) + (node[2] != -1)
    return vertical > 0 and horizontal > 0


@helper
def _onward(tables: Any, half: int, bottom: int) -> int:
    """The half-arc that goes on after ``half``, or why there is none."""
    arc = tables.arcs[half >> 1]
    if arc.source < 0:
        return half
    node, end = (arc.source, arc.begin) if half & 1 else (arc.target, arc.stop - 1)
    if np.int64(tables.vertices[end, 0]) == bottom:
        return _UNKNOWN
    edges, after = 0, _JUNCTION
    for d in range(4):
        leaving = tables.nodes[node, d]
        if leaving != -1:
            edges += 1
            if leaving != (half ^ 1):
                after = int(leaving)
    return after if edges == 2 else _JUNCTION


@helper
def _collect(tables: Any, arc: int, bottom: int, halves: Any, used: int) -> tuple[int, int]:
    """Write the chain through an arc; returns where it ends, and why it does.

    The reason is a half-arc for a loop.
    """
    back, before = 2 * arc + 1, 0
    while True:
        before = _onward(tables, back, bottom)
        if before < 0 or before == 2 * arc + 1:
            break
        back = before
    half = back ^ 1 if before < 0 else 2 * arc
    first = half
    while True:
        halves[used] = half
        used += 1
        after = _onward(tables, half, bottom)
        if after < 0 or after == first:
            break
        half = after
    return used, min(before, after)


@entry
def find_chains(tables: Any, arcs: Any, bottom: int) -> tuple[Any, Any, Any, Any, Any]:
    """The complete chains among raw arcs, and the arcs that are left.

    Args:
        tables: What is in flight; the state of ``arcs`` changes.
        arcs: All raw arcs.
        bottom: The last row of lattice vertices; -1 if all of it is known.

    Returns:
        The three fields of :class:`Chains`, the last lattice row of each ``(n,)``, and arcs of
        incomplete chains.
    """
    halves = np.empty(len(arcs), np.int32)
    begins = np.empty(len(arcs) + 1, np.int64)
    closed = np.empty(len(arcs), np.bool_)
    lasts = np.zeros(len(arcs), np.int64)
    pending = np.empty(len(arcs), np.int32)
    found = used = waiting = 0
    for a in arcs:
        if tables.arcs[a].state != RAW:
            continue
        begins[found] = used
        stop, reason = _collect(tables, a, bottom, halves, used)
        for k in range(used, stop):
            tables.arcs[halves[k] >> 1].state = PENDING if reason == _UNKNOWN else SHAPED
            if reason == _UNKNOWN:
                pending[waiting] = halves[k] >> 1
                waiting += 1
        if reason != _UNKNOWN:
            closed[found] = reason >= 0
            for k in range(used, stop):
                lasts[found] = max(lasts[found], _last_row(tables, halves[k] >> 1))
            if reason < 0:
                _direct(tables, halves, used, stop)
            found += 1
            used = stop
    begins[found] = used
    for k in range(waiting):
        tables.arcs[pending[k]].state = RAW
    return (
        halves[:used].copy(),
        begins[: found + 1].copy(),
        closed[:found].copy(),
        lasts[:found].copy(),
        pending[:waiting],
    )


@helper
def _last_row(tables: Any, arc: int) -> Any:
    last = np.int64(0)
    for k in range(tables.arcs[arc].begin, tables.arcs[arc].stop):
        last = max(last, np.int64(tables.vertices[k, 0]))
    return last


@helper
def _start(tables: Any, half: int) -> tuple[int, int, int]:
    """Node where a half-arc starts, the vertex there, and the heading."""
    arc = tables.arcs[half >> 1]
    if half & 1:
        return arc.target, arc.stop - 1, arc.arrives ^ 2
    return arc.source, arc.begin, arc.leaves


@helper
def _direct(tables: Any, halves: Any, begin: int, stop: int) -> None:
    """Turn an open chain around if it runs against its canonical direction."""
    v = tables.vertices
    _, a, heading = _start(tables, halves[begin])
    _, b, back = _start(tables, halves[stop - 1] ^ 1)
    forward = v[a, 0] < v[b, 0] or (v[a, 0] == v[b, 0] and v[a, 1] < v[b, 1])
    same = v[a, 0] == v[b, 0] and v[a, 1] == v[b, 1]
    if forward or (same and heading < back):
        return
    for k in range((stop - begin + 1) // 2):
        one, other = halves[begin + k], halves[stop - 1 - k]
        halves[begin + k], halves[stop - 1 - k] = other ^ 1, one ^ 1


@helper
def _push(out: Any, begin: int, used: int, row: int, col: int) -> int:
    """Add a vertex to a line; the last one goes if it lies in line with its neighbours."""
    if used - begin >= 2 and (
        (out[used - 1, 0] == row and out[used - 2, 0] == row)
        or (out[used - 1, 1] == col and out[used - 2, 1] == col)
    ):
        used -= 1
    out[used, 0], out[used, 1] = row, col
    return used + 1


@entry
def gather_lines(tables: Any, chains: Any) -> tuple[Any, Any, Any]:
    """The corners of chains from end to end, in canonical direction, as whole numbers.

    Returns:
        Vertices ``(v, 2)`` int64, where each chain begins ``(n + 1,)``, and whether it runs
        against the first of its arcs.
    """
    halves, begins, closed = chains
    room = 0
    for k in range(begins[0], begins[-1]):
        room += tables.arcs[halves[k] >> 1].stop - tables.arcs[halves[k] >> 1].begin
    out = np.empty((room, 2), np.int64)
    starts = np.zeros(len(closed) + 1, np.int64)
    against = np.zeros(len(closed), np.bool_)
    used = 0
    for c in range(len(closed)):
        begin = used
        for k in range(begins[c], begins[c + 1]):
            half = halves[k]
            arc = tables.arcs[half >> 1]
            for n in range(1 if k > begins[c] else 0, arc.stop - arc.begin):
                at = arc.stop - 1 - n if half & 1 else arc.begin + n
                row, col = np.int64(tables.vertices[at, 0]), np.int64(tables.vertices[at, 1])
                used = _push(out, begin, used, row, col)
        against[c] = halves[begins[c]] & 1
        if closed[c]:
            used, turned = _begin_at_first(out, begin, used)
            against[c] ^= turned
        starts[c + 1] = used
    return out[:used].copy(), starts, against


@helper
def _begin_at_first(out: Any, begin: int, used: int) -> tuple[int, bool]:
    """Let a loop start at its first vertex in row-major order, heading east.

    Returns:
        Where it ends, and whether it was turned around.
    """
    stop = used - 1
    ring = out[begin:stop].copy()
    for axis in range(2):
        if ring[0, axis] == ring[1, axis] and ring[0, axis] == ring[-1, axis]:
            ring = ring[1:]  # a loop that began on a straight line
            break
    count, first = len(ring), 0
    for k in range(count):
        row, col = ring[k, 0], ring[k, 1]
        if row < ring[first, 0] or (row == ring[first, 0] and col < ring[first, 1]):
            first = k
    turned = ring[(first + 1) % count, 0] != ring[first, 0]
    for k in range(count + 1):
        at = (first - k if turned else first + k) % count
        out[begin + k, 0], out[begin + k, 1] = ring[at, 0], ring[at, 1]
    return begin + count + 1, turned


@entry
def adopt_lines(tables: Any, count: Any, chains: Any, lines: Any, against: Any) -> None:
    """Let the first arc of each chain stand for all of it, with the vertices of ``lines``.

    Args:
        tables: With room for the vertices.
        count: Nodes, arcs, vertices and regions in flight; updated.
        chains: As in :class:`Chains`.
        lines: As in :class:`Lines`.
        against: Whether a line runs against the first arc of its chain.
    """
    halves, begins, loops = chains
    vertices, starts, _ = lines
    for c in range(len(against)):
        _merge(tables, halves[begins[c] : begins[c + 1]], loops[c])
        arc = tables.arcs[halves[begins[c]] >> 1]
        size = starts[c + 1] - starts[c]
        arc.begin, arc.stop = count[2], count[2] + size
        for k in range(size):
            at = starts[c + 1] - 1 - k if against[c] else starts[c] + k
            tables.vertices[count[2] + k, 0] = vertices[at, 0]
            tables.vertices[count[2] + k, 1] = vertices[at, 1]
        count[2] += size


@helper
def _merge(tables: Any, halves: Any, closed: Any) -> None:
    """Let the first arc reach to the end of its chain; the others are done with."""
    half, last = halves[0], halves[-1]
    arc = tables.arcs[half >> 1]
    source, _, leaves = _start(tables, half)
    target, _, back = _start(tables, last ^ 1)
    for k in range(1, len(halves)):
        member = halves[k] >> 1
        tables.arcs[member].done = 3
        tables.arcs[member].stop = tables.arcs[member].begin
        tables.firsts[half >> 1] = min(tables.firsts[half >> 1], tables.firsts[member])
    if closed:
        arc.source = arc.target = -1
        return
    tables.nodes[target, back] = half ^ 1
    if half & 1:
        arc.source, arc.target = target, source
        arc.leaves, arc.arrives = back, leaves ^ 2
    else:
        arc.source, arc.target = source, target
        arc.leaves, arc.arrives = leaves, back ^ 2
