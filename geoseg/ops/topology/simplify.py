"""Lines with fewer vertices, none of which crosses or touches another.

A vertex ``v`` between ``u`` and ``w`` may go only if the closed triangle ``u, v, w`` holds no
corner and no node of the *original* map but itself and those of its own line between ``u`` and
``w`` (after de Berg, van Kreveld and Schirra 1998). Then nothing goes wrong, whatever the order:

Let no two of the lines at hand cross, or touch but at nodes, which holds at first. All their
vertices are original corners or nodes. Say another line, or another part of this one, meets the
triangle elsewhere than at a node ``u`` or ``w``. None of its vertices lies in there, so one of its
edges passes through; it cannot cross the edges ``uv`` and ``vw``, which are there before; and it
cannot leave through ``uw`` where it came in, as both are straight. So it lies along ``uw``, and
ends at both: it is an edge between the same two nodes. A line that was not straight therefore
keeps a vertex between its ends (two if both are one node; a loop keeps four, so that a pixel
stays a square). Hence nothing crosses or touches afterwards either, and no face vanishes. As the
rule looks at the original map and the line itself only, it depends on no block and no order.

Vertices on the frame of the raster stay, so that the whole of it goes on being covered; and no
line is laid along the frame, which would close a gap there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.kernels import entry, helper
from geoseg.ops.topology.obstacles import count_in_triangle, in_triangle

_ANY = np.int64(1) << 62


@helper
def _twice(line: Any, u: int, v: int, w: int) -> Any:
    """Twice the area of a triangle, without sign."""
    cross = (line[v, 0] - line[u, 0]) * (line[w, 1] - line[u, 1]) - (line[v, 1] - line[u, 1]) * (
        line[w, 0] - line[u, 0]
    )
    return abs(cross)


@helper
def _precedes(state: Any, a: int, b: int) -> Any:
    """Whether ``a`` goes before ``b``: by area, by how much it spans, by place."""
    area, before, after, _, _, size = state
    if area[a] != area[b]:
        return area[a] < area[b]
    # Spans keep chains of equal triangles balanced, so that the time stays n log n.
    one, other = (after[a] - before[a]) % size[1], (after[b] - before[b]) % size[1]
    if one != other:
        return one < other
    return a < b


@helper
def _sift(state: Any, at: int) -> None:
    """Move the entry at a place of the heap up or down to where it belongs."""
    _, _, _, heap, place, size = state
    item = heap[at]
    while at > 0 and _precedes(state, item, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        place[heap[at]] = at
        at = (at - 1) // 2
    while 2 * at + 1 < size[0]:
        child = 2 * at + 1
        if child + 1 < size[0] and _precedes(state, heap[child + 1], heap[child]):
            child += 1
        if not _precedes(state, heap[child], item):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = item
    place[item] = at


@helper
def _take(state: Any, at: int) -> None:
    """Take the entry at a place out of the heap."""
    _, _, _, heap, place, size = state
    place[heap[at]] = -1
    size[0] -= 1
    if at < size[0]:
        heap[at] = heap[size[0]]
        place[heap[at]] = at
        _sift(state, at)


@helper
def _weigh(line: Any, state: Any, v: int, limit: int) -> None:
    """Put a vertex where it belongs in the heap, or out of it."""
    area, before, after, heap, place, size = state
    area[v] = _twice(line, before[v], v, after[v])
    if area[v] <= limit:
        if place[v] < 0:
            place[v] = size[0]
            heap[size[0]] = v
            size[0] += 1
        _sift(state, place[v])
    elif place[v] >= 0:
        _take(state, place[v])


@helper
def _is_free(line: Any, state: Any, v: int, obstacles: Any, shape: Any) -> Any:
    """Whether the triangle of a vertex and its neighbours holds nothing of others."""
    area, before, after, _, _, size = state
    u, w = before[v], after[v]
    for axis in range(2):
        if line[u, axis] == line[w, axis] and line[u, axis] in (0, shape[axis]):
            return False
    if area[v] <= 1:
        return True  # such a triangle holds no other lattice vertex (Pick 1899)
    row, col = line[v, 0], line[v, 1]
    legs = line[u, 0] - row, line[u, 1] - col, line[w, 0] - row, line[w, 1] - col
    found = count_in_triangle(obstacles, (row, col), legs, 1)
    own, k = 1, u
    while k != w:
        own += in_triangle(line[k, 0] - row, line[k, 1] - col, legs)
        k = k + 1 if k + 1 < size[1] else 0
    return found == own


@helper
def _thin(line: Any, state: Any, free: Any, fewest: int, rules: Any) -> None:
    """Take vertices away, smallest triangle first; ``free`` says which may go, and went not."""
    limit, obstacles, shape = rules
    area, before, after, heap, place, size = state
    n = size[1]
    for k in range(n):
        before[k], after[k] = (k - 1) % n, (k + 1) % n
        place[k], area[k] = -1, 0
    for k in range(n):
        if free[k]:
            _weigh(line, state, k, limit)
    left = n
    while size[0] > 0 and left > fewest:
        v = heap[0]
        _take(state, 0)
        if not _is_free(line, state, v, obstacles, shape):
            continue  # until a neighbour goes
        u, w = before[v], after[v]
        after[u], before[w] = w, u
        free[v] = False
        area[v] = -1
        left -= 1
        for k in (u, w):
            if free[k]:
                _weigh(line, state, k, limit)
    size[0] = 0


@helper
def _squared_distance(line: Any, a: int, b: int, k: int, ground: Any) -> Any:
    """Square metres: the square of how far a vertex is from a piece of a line."""
    yy, xx, yx, area = ground
    ey, ex = float(line[b, 0] - line[a, 0]), float(line[b, 1] - line[a, 1])
    dy, dx = float(line[k, 0] - line[a, 0]), float(line[k, 1] - line[a, 1])
    whole = yy * ey * ey + 2 * yx * ey * ex + xx * ex * ex
    along = yy * ey * dy + yx * (ey * dx + ex * dy) + xx * ex * dx
    if whole <= 0 or along <= 0:
        return yy * dy * dy + 2 * yx * dy * dx + xx * dx * dx
    if along >= whole:
        dy, dx = dy - ey, dx - ex
        return yy * dy * dy + 2 * yx * dy * dx + xx * dx * dx
    across = (ey * dx - ex * dy) * area
    return across * across / whole


@helper
def _divide(line: Any, stack: Any, first: int, last: int, rules: Any, free: Any) -> None:
    """Douglas-Peucker between two vertices: whatever has to stay is not free.

    Numbers may go on beyond the end of a loop.
    """
    limit, ground, n = rules
    stack[0, 0], stack[0, 1] = first, last
    depth = 1
    while depth > 0:
        depth -= 1
        a, b = stack[depth, 0], stack[depth, 1]
        farthest, distance = -1, limit
        for k in range(a + 1, b):
            d = _squared_distance(line, a % n, b % n, k % n, ground)
            if d > distance:
                farthest, distance = k, d
        if farthest >= 0:
            free[farthest % n] = False
            stack[depth, 0], stack[depth, 1] = a, farthest
            stack[depth + 1, 0], stack[depth + 1, 1] = farthest, b
            depth += 2


@helper
def _farthest_from(line: Any, start: int, n: int, ground: Any) -> int:
    """The vertex of a loop that is farthest from another."""
    farthest, distance = start, 0.0
    for k in range(n):
        d = _squared_distance(line, start, start, k, ground)
        if d > distance:
            farthest, distance = k, d
    return farthest


@helper
def _keep_outline(line: Any, n: int, closed: Any, stack: Any, rules: Any, free: Any) -> None:
    """Douglas-Peucker on a whole line, between the vertices that are not free."""
    first, stop = 0, n
    if closed:
        # Two vertices far apart are sharp corners, unlike the one where the loop starts.
        first = _farthest_from(line, 0, n, rules[1])
        stop = first + n + 1
        free[first] = free[_farthest_from(line, first, n, rules[1])] = False
    for k in range(first + 1, stop):
        if not free[k % n]:
            _divide(line, stack, first, k, rules, free)
            first = k


@helper
def _find_free(line: Any, n: int, closed: Any, shape: Any, free: Any) -> None:
    """All vertices are free but ends and those on the frame of the raster."""
    height, width = shape
    for k in range(n):
        row, col = line[k, 0], line[k, 1]
        free[k] = 0 < row < height and 0 < col < width
    if not closed:
        free[0] = free[n - 1] = False


@entry
def simplify_lines(lines: Any, rules: Any, obstacles: Any, shape: Any) -> Any:
    """Which vertices of lines stay.

    Args:
        lines: As in :class:`geoseg.ops.topology.chains.Lines`, int64.
        rules: 1 for Visvalingam, 2 for Douglas-Peucker; the largest area of a triangle in halves
            of a pixel, or the square of the tolerance in square metres; and
            :class:`~geoseg.ops.topology.shaping.Ground`.
        obstacles: Bits, and the lattice row of the first of them.
        shape: Height and width of the raster.

    Returns:
        ``(v,)`` bool; of a loop, its first vertex and the last one, which is the same, agree.
    """
    vertices, begins, closed = lines
    method, amount, ground = rules
    keep = np.ones(len(vertices), np.bool_)
    longest = 0
    for c in range(len(closed)):
        longest = max(longest, begins[c + 1] - begins[c])
    area, free = np.empty(longest, np.int64), np.empty(longest, np.bool_)
    links = np.empty((4, longest), np.int32)
    stack = np.empty((longest + 1, 2), np.int64)
    size = np.zeros(2, np.int64)
    state = area, links[0], links[1], links[2], links[3], size
    for c in range(len(closed)):
        n = begins[c + 1] - begins[c] - closed[c]
        line = vertices[begins[c] : begins[c + 1]]
        same = line[0, 0] == line[n - 1, 0] and line[0, 1] == line[n - 1, 1]
        fewest = 4 if closed[c] or same else 3
        if n <= fewest:
            continue
        _find_free(line, n, closed[c], shape, free)
        limit = _ANY
        if method == 1:
            limit = np.int64(min(amount, 4e18))
        else:
            _keep_outline(line, n, closed[c], stack, (amount, ground, n), free)
        size[1] = n
        _thin(line, state, free, fewest, (limit, obstacles, shape))
        for k in range(n):
            keep[begins[c] + k] = area[k] >= 0
        if closed[c]:
            keep[begins[c] + n] = keep[begins[c]]
    return keep
