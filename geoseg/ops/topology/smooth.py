"""Lines with round corners, none of which crosses or touches another.

A corner ``v`` between the edges ``uv`` and ``vw`` is replaced by the points that cutting corners
(Chaikin 1974) gives, which lie in the triangle ``a, v, b`` of it and a point on each edge, no
farther than its middle. It is cut only if this triangle holds no corner and no node of the
original map, but itself and those that simplifying took away between ``u`` and ``w``. No other
line enters such a triangle: its vertices are outside, it cannot cross ``av`` and ``vb``, and a
straight edge cannot cross ``ab`` twice. Nor do the triangles of two lines meet: as neither line
enters the other's triangle, only the sides ``ab`` could cross, but the borders of two triangles
cross an even number of times. So there is nothing to hit for what is within triangles, whichever
corners of others are cut.

All numbers are whole multiples of a power of two: nothing is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.kernels import entry, helper
from geoseg.ops.topology.obstacles import count_in_triangle, in_triangle

_REACH = 2.0  # pixels from its tip within which a corner is cut, where corners are kept
_LONG = 4.0  # pixels: right angles between longer edges stay
_SQUARE = 0.2  # cosine: angles of 78 to 102 degrees are right ones
_TRIES = 4  # how often the cut is halved if something is in the way


@helper
def _length(y: float, x: float, ground: Any) -> Any:
    """Pixels that a step is long on the ground."""
    yy, xx, yx, area = ground
    return np.sqrt((yy * y * y + 2 * yx * y * x + xx * x * x) / area)


@helper
def _is_square(p: Any, q: Any, ground: Any) -> Any:
    """Whether two steps from a corner make a right angle of long edges."""
    yy, xx, yx, area = ground
    one, other = _length(p[0], p[1], ground), _length(q[0], q[1], ground)
    if one <= _LONG or other <= _LONG:
        return False
    dot = yy * p[0] * q[0] + yx * (p[0] * q[1] + p[1] * q[0]) + xx * p[1] * q[1]
    return abs(dot) <= _SQUARE * one * other * area


@helper
def _halvings(step: Any, reach: float, ground: Any) -> int:
    """How often an edge is halved until it is no longer than ``reach``; at least once."""
    length, times = 0.5 * _length(step[0], step[1], ground), 1
    while length > reach:
        length *= 0.5
        times += 1
    return times


@helper
def _is_free(line: Any, span: Any, halvings: Any, obstacles: Any) -> Any:
    """Whether a corner may be cut at two edges, halved that often."""
    u, v, w, n = span
    scale = np.int64(1) << max(halvings[0], halvings[1])
    one, other = scale >> halvings[0], scale >> halvings[1]
    row, col = line[v, 0], line[v, 1]
    legs = (
        (line[u, 0] - row) * one,
        (line[u, 1] - col) * one,
        (line[w, 0] - row) * other,
        (line[w, 1] - col) * other,
    )
    found = count_in_triangle(obstacles, (row, col), legs, scale)
    if found == 1:
        return True  # the corner itself
    own, k = 0, u
    while True:
        own += in_triangle((line[k, 0] - row) * scale, (line[k, 1] - col) * scale, legs)
        if k == w:
            return found == own
        k = k + 1 if k + 1 < n else 0


@helper
def _cut(line: Any, span: Any, halvings: Any, rounds: int, out: Any, used: int) -> int:
    """Write the points that take the place of a corner.

    The points of round n are the inner control points of the quadratic Bezier curve ``a, v, b``
    cut into 2**n pieces of its parameter (its blossom at neighbouring multiples of 2**-n).
    """
    u, v, w, _ = span
    one, other = 1.0 / (np.int64(1) << halvings[0]), 1.0 / (np.int64(1) << halvings[1])
    pieces = 1 << rounds
    for i in range(pieces):
        s, t = i / pieces, (i + 1) / pieces
        at_a, at_b = (1 - s) * (1 - t) * one, s * t * other
        for axis in range(2):
            here = line[v, axis]
            step = at_a * (line[u, axis] - here) + at_b * (line[w, axis] - here)
            out[used, axis] = here + step
        used += 1
    return used


@helper
def _round_corner(line: Any, span: Any, rules: Any, out: Any, used: int) -> Any:
    """Write a corner, cut if it should be and may be."""
    (corners, rounds, ground), obstacles, (height, width) = rules
    u, v, w, _ = span
    row, col = line[v, 0], line[v, 1]
    out[used, 0], out[used, 1] = row, col
    p, q = (line[u, 0] - row, line[u, 1] - col), (line[w, 0] - row, line[w, 1] - col)
    on_frame = row in (0, height) or col in (0, width)
    if on_frame or p[0] * q[1] == p[1] * q[0] or (corners and _is_square(p, q, ground)):
        return used + 1
    one = other = 1
    if corners:
        one, other = _halvings(p, _REACH, ground), _halvings(q, _REACH, ground)
    for _ in range(_TRIES):
        if _is_free(line, span, (one, other), obstacles):
            return _cut(line, span, (one, other), rounds, out, used)
        one, other = one + 1, other + 1
    return used + 1


@entry
def smooth_lines(lines: Any, keep: Any, sharp: Any, rules: Any) -> tuple[Any, Any]:
    """Lines of the vertices that are kept, with their corners cut.

    Args:
        lines: As in :class:`geoseg.ops.topology.chains.Lines`, int64.
        keep: ``(v,)`` vertices that simplifying left.
        sharp: ``(n,)`` lines whose corners are not cut.
        rules: Whether right angles stay and cuts are short; rounds, 0 for none; and
            :class:`~geoseg.ops.topology.shaping.Ground`: these three; bits of obstacles, and the
            lattice row of the first; height and width of the raster.

    Returns:
        Vertices ``(v, 2)`` float64, and where each line begins ``(n + 1,)``.
    """
    vertices, begins, closed = lines
    rounds = rules[0][1]
    out = np.empty(((np.count_nonzero(keep) << rounds) + len(closed), 2))
    starts = np.zeros(len(closed) + 1, np.int64)
    used = 0
    for c in range(len(closed)):
        line, kept = vertices[begins[c] : begins[c + 1]], keep[begins[c] : begins[c + 1]]
        begin, n = used, len(line) - closed[c]
        at = np.flatnonzero(kept[:n])
        for k in range(len(at)):
            end = not closed[c] and (k == 0 or k == len(at) - 1)
            if rounds == 0 or sharp[c] or end:
                out[used, 0], out[used, 1] = line[at[k], 0], line[at[k], 1]
                used += 1
            else:
                span = at[k - 1], at[k], at[(k + 1) % len(at)], n
                used = _round_corner(line, span, rules, out, used)
        if closed[c]:
            out[used, 0], out[used, 1] = out[begin, 0], out[begin, 1]
            used += 1
        starts[c + 1] = used
    return out[:used].copy(), starts
