"""Outlines of buildings made rectilinear: right angles along the building's own direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.kernels import entry, helper
from geoseg.ops.topology.sides import (
    cut_sides,
    guess_direction,
    has_direction,
    piece_length,
    place_sides,
    turn_points,
    walk_evenly,
)

FARTHEST = 1.5
"""Tolerances between an outline and its square ring at most, either way."""

MOST_STEPS = 8192
"""Outlines are walked in steps of a quarter of the tolerance, or half a pixel if that is more.

Those of more steps, some 2,000 tolerances around, are no buildings and stay as they are.
"""

MOST_CORNERS = 256
"""Rings that would have more corners stay as they are."""

# Sides move by this part of the tolerance at most to keep the area.
_LARGEST_MOVE = 0.5
# Corners lie on a lattice this fine in pixels: whole pixels are added to it without rounding.
_QUANTUM = 1048576.0


@helper
def _first_vertex(ring: Any) -> int:
    """The vertex that comes first in row-major order."""
    first = 0
    for k in range(1, len(ring)):
        if ring[k, 0] < ring[first, 0] or (
            ring[k, 0] == ring[first, 0] and ring[k, 1] < ring[first, 1]
        ):
            first = k
    return first


@helper
def _to_metres(ring: Any, scale_y: float, scale_x: float) -> Any:
    """The ring ``(n + 1, 2)`` in metres from its first vertex, where it begins and ends."""
    count, first = len(ring), _first_vertex(ring)
    metres = np.empty((count + 1, 2))
    for k in range(count + 1):
        at = (first + k) % count
        metres[k, 0] = (ring[at, 0] - ring[first, 0]) * scale_y
        metres[k, 1] = (ring[at, 1] - ring[first, 1]) * scale_x
    return metres


@helper
def _measure(metres: Any) -> tuple[Any, float]:
    """How far along the ring each vertex lies, and the area, positive where y to x is a turn."""
    along = np.zeros(len(metres))
    double = 0.0
    for k in range(len(metres) - 1):
        y, x = metres[k + 1, 0] - metres[k, 0], metres[k + 1, 1] - metres[k, 1]
        along[k + 1] = along[k] + math.sqrt(y * y + x * x)
        double += metres[k, 0] * metres[k + 1, 1] - metres[k + 1, 0] * metres[k, 1]
    return along, 0.5 * double


@helper
def _side_length(turned: Any, kind: int, begins: Any, pieces: int, sides: Any, k: int) -> float:
    """Metres of side ``k``, negative where it would run against the outline."""
    count, sort = turned.shape[1], (kind + k) & 1
    # The steps next to the piece count too: it may be a single step.
    last = turned[sort, begins[(k + 1) % pieces]]
    first = turned[sort, (begins[k] - 1) % count]
    length = sides[(k + 1) % pieces] - sides[(k - 1) % pieces]
    return float(length if last > first else -length)


@helper
def _drop_short(
    turned: Any, kind: int, begins: Any, pieces: int, tolerance: float, sides: Any
) -> tuple[int, int]:
    """Join the sides before and after one that is shorter than the tolerance, shortest first."""
    while pieces >= 4:
        place_sides(turned, kind, begins, pieces, sides)
        shortest, at = np.inf, 0
        for k in range(pieces):
            length = _side_length(turned, kind, begins, pieces, sides, k)
            if length < shortest:
                shortest, at = length, k
        if shortest >= tolerance:
            break
        first = at
        if at == pieces - 1:  # the piece after it is the first one, which goes as well
            first, kind = 0, 1 - kind
        pieces -= 2
        for k in range(first, pieces):
            begins[k] = begins[k + (1 if at > pieces else 2)]
    return kind, pieces


@helper
def _corner(kind: int, pieces: int, sides: Any, k: int) -> tuple[float, float]:
    """Along and across of the corner where side ``k`` begins."""
    before, here = sides[(k - 1) % pieces], sides[k % pieces]
    return (here, before) if (kind + k % pieces) & 1 else (before, here)


@helper
def _keep_area(kind: int, pieces: int, sides: Any, area: float) -> float:
    """Move all sides outwards by one distance so that the ring has ``area``; that distance."""
    double = around = 0.0
    for k in range(pieces):
        u, v = _corner(kind, pieces, sides, k)
        next_u, next_v = _corner(kind, pieces, sides, k + 1)
        double += v * next_u - next_v * u
        around += abs(next_u - u) + abs(next_v - v)
    if double * area <= 0:
        return np.inf
    # A ring has four more corners that turn inwards than outwards: it gains 4d² + around · d.
    missing = abs(area) - 0.5 * abs(double)
    root = around * around + 16 * missing
    if root < 0:
        return np.inf
    move = 2 * missing / (around + math.sqrt(root))
    before, first = sides[pieces - 1], sides[0]
    for k in range(pieces):
        here, after = sides[k], sides[k + 1] if k + 1 < pieces else first
        outwards = (after > before) == (area > 0)
        if (kind + k) & 1:
            outwards = not outwards
        sides[k] = here + (move if outwards else -move)
        before = here
    return abs(move)


@helper
def _settle(turned: Any, cut: Any, tolerance: float, area: float, sides: Any) -> tuple[int, int]:
    """Place sides so that none is shorter than the tolerance and the ring has ``area``.

    Returns:
        The sort of the first side and the number of sides; 0 if there is no such ring.
    """
    kind, begins, pieces = cut
    least = tolerance
    for _ in range(2):
        kind, pieces = _drop_short(turned, kind, begins, pieces, least, sides)
        if pieces < 4:
            break
        move = _keep_area(kind, pieces, sides, area)
        if move > _LARGEST_MOVE * tolerance:
            break
        shortest = np.inf
        for k in range(pieces):
            length = _side_length(turned, kind, begins, pieces, sides, k)
            shortest = min(shortest, length)
        if shortest >= tolerance:
            return kind, pieces
        least = tolerance + 2 * move
    return kind, 0


@helper
def _to_side(u: float, v: float, sort: int, a: Any, b: Any) -> float:
    """Distance of a point to the side between corners ``a`` and ``b``."""
    if sort:
        beside, lowest, highest, over = u - a[0], min(a[1], b[1]), max(a[1], b[1]), v
    else:
        beside, lowest, highest, over = v - a[1], min(a[0], b[0]), max(a[0], b[0]), u
    over = max(lowest - over, 0.0, over - highest)
    return math.sqrt(beside * beside + over * over)


@helper
def _owners(begins: Any, pieces: int, count: int) -> Any:
    """The piece that each step belongs to."""
    owners = np.empty(count, np.int32)
    for k in range(pieces):
        for n in range(piece_length(begins, pieces, k, count)):
            owners[(begins[k] + n) % count] = k
    return owners


@helper
def _farthest(turned: Any, vertices: Any, along: Any, cut: Any, sides: Any) -> float:
    """The largest distance between the outline and the ring, either way.

    Each vertex is compared with the side of its piece, and each corner with the outline where one
    piece ends: distance to a side is convex, so that nothing in between is farther.
    """
    start, kind, begins, pieces = cut
    count = turned.shape[1]
    owners, missed = _owners(begins, pieces, count), np.empty(pieces)
    for k in range(pieces):
        u, v = _corner(kind, pieces, sides, k)
        missed[k] = math.hypot(turned[0, begins[k]] - u, turned[1, begins[k]] - v)
    largest = 0.0
    for n in range(len(along) - 1):
        # Points are at the middles of the steps, the first one that counts is ``start``.
        step = (math.floor(along[n] * count / along[-1] - 0.5) - start) % count
        k = owners[step]
        a, b = _corner(kind, pieces, sides, k), _corner(kind, pieces, sides, k + 1)
        u, v = vertices[0, n], vertices[1, n]
        away = _to_side(u, v, (kind + k) & 1, a, b)
        after = (k + 1) % pieces
        if (step + 1) % count == begins[after]:
            missed[after] = min(missed[after], math.hypot(u - b[0], v - b[1]))
            c = _corner(kind, pieces, sides, k + 2)
            away = min(away, _to_side(u, v, (kind + after) & 1, b, c))
        largest = max(largest, away)
    for k in range(pieces):
        largest = max(largest, missed[k])
    return largest


@helper
def _crosses(kind: int, pieces: int, sides: Any, gap: float) -> bool:
    """Whether two sides that are not neighbours come closer than ``gap``."""
    for k in range(pieces):
        a, b = _corner(kind, pieces, sides, k), _corner(kind, pieces, sides, k + 1)
        for n in range(k + 2, pieces - (k == 0)):
            c, d = _corner(kind, pieces, sides, n), _corner(kind, pieces, sides, n + 1)
            u = max(min(a[0], b[0]), min(c[0], d[0])) - min(max(a[0], b[0]), max(c[0], d[0]))
            v = max(min(a[1], b[1]), min(c[1], d[1])) - min(max(a[1], b[1]), max(c[1], d[1]))
            if u < gap and v < gap:
                return True
    return False


@helper
def _write(ring: Any, scale: Any, angle: float, cut: Any, sides: Any, out: Any) -> None:
    """The corners in pixels, from the first one in row-major order."""
    kind, pieces = cut
    cos, sin = math.cos(angle), math.sin(angle)
    base = _first_vertex(ring)
    corners = np.empty((pieces, 2))
    for k in range(pieces):
        u, v = _corner(kind, pieces, sides, k)
        y, x = (u * sin + v * cos) / scale[0], (u * cos - v * sin) / scale[1]
        corners[k, 0] = ring[base, 0] + math.floor(y * _QUANTUM + 0.5) / _QUANTUM
        corners[k, 1] = ring[base, 1] + math.floor(x * _QUANTUM + 0.5) / _QUANTUM
    first = _first_vertex(corners)
    for k in range(pieces):
        out[k, 0] = corners[(first + k) % pieces, 0]
        out[k, 1] = corners[(first + k) % pieces, 1]


@helper
def square_ring(
    ring: Any, scale_y: float, scale_x: float, tolerance: float, out: Any
) -> tuple[int, float]:
    """Make a ring rectilinear, see :func:`square`; for other kernels.

    Args:
        ring: ``(n, 2)`` row and column of a simple ring, the first vertex not repeated.
        scale_y: Metres between rows.
        scale_x: Metres between columns.
        tolerance: Metres.
        out: At least ``(n, 2)``; the corners are written here.

    Returns:
        How many corners were written, 0 if the ring has to stay as it is, and the largest
        distance between the two rings in metres, 0 if it stays.
    """
    keep = (0, 0.0)
    if len(ring) < 4:
        return keep
    metres = _to_metres(ring, scale_y, scale_x)
    along, area = _measure(metres)
    pixel = min(scale_y, scale_x)
    step = max(0.5 * pixel, 0.25 * tolerance)
    if area == 0 or not 4 * tolerance <= along[-1] <= MOST_STEPS * step:
        return keep
    steps = math.ceil(along[-1] / step)
    points = walk_evenly(metres, along, steps)
    reach = max(1, min(steps // 8, int(4 * pixel * steps / along[-1])))
    limits = (tolerance, tolerance**3 * steps / along[-1])
    begins, sides = np.empty(steps + 1, np.int64), np.empty(steps)
    angle = guess_direction(points, reach)
    fit = cut_sides(points, angle, limits, begins, sides)
    angle, start, kind, pieces, _ = fit
    if pieces < 4 or not has_direction(points, fit, limits, pixel * pixel / 12):
        return keep
    turned = turn_points(points, angle, start)
    kind, pieces = _settle(turned, (kind, begins, pieces), tolerance, area, sides)
    too_many = pieces > min(MOST_CORNERS, len(out))
    if pieces < 4 or too_many or _crosses(kind, pieces, sides, 1e-3 * pixel):
        return keep
    vertices = turn_points(metres, angle, 0)
    farthest = _farthest(turned, vertices, along, (start, kind, begins, pieces), sides)
    if farthest > FARTHEST * tolerance:
        return keep
    _write(ring, (scale_y, scale_x), angle, (kind, pieces), sides, out)
    return pieces, farthest


@entry
def _square(ring: Any, scale: Any, tolerance: float, out: Any) -> Any:
    return square_ring(ring, scale[0], scale[1], tolerance, out)


@dataclass(frozen=True, slots=True)
class SquareRing:
    """A rectilinear ring.

    Attributes:
        corners: ``(k, 2)`` row and column, k even and at least 4; from the first one in row-major
            order, walked as the outline was; the first one is not repeated.
        displacement: The largest distance in metres between the ring and the outline.
    """

    corners: NDArray[np.float64]
    displacement: float


def square(
    ring: NDArray[Any], *, scale: tuple[float, float] = (1.0, 1.0), tolerance: float
) -> SquareRing | None:
    """Make the outline of a building rectilinear.

    In metres all corners are right angles, sides are at least one tolerance long and neither
    cross nor touch, the area is that of the outline, and neither ring is farther than
    :data:`FARTHEST` tolerances from the other. To the last bit the ring depends neither on the
    vertex where the outline begins nor on where in the raster the outline lies, if that is in
    whole pixels. A tolerance of one to two pixels suits outlines of pixels: less does not reach
    from their staircases to straight walls.

    The sides are found by optimal partitioning, their direction by total least squares, see
    :mod:`geoseg.ops.topology.sides`; they are then moved outwards or inwards by one distance,
    which keeps the area.

    Args:
        ring: ``(n, 2)`` row and column of a simple ring; the first vertex is not repeated.
        scale: Metres between rows, and between columns.
        tolerance: Metres.

    Returns:
        The ring; None if there is none within the tolerance, or if the outline has no direction
        of its own (round or very small shapes): it should stay as it is.

    Raises:
        InputError: The ring has another shape, or scale or tolerance are not above 0.
    """
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise InputError(f"a ring of shape {ring.shape}: it needs a row and a column per vertex")
    if not np.isfinite(ring).all():
        raise InputError("a ring with vertices that are not finite: they are rows and columns")
    if not (min(scale) > 0 and tolerance > 0 and math.isfinite(max(*scale, tolerance))):
        raise InputError(
            f"scale {scale} and tolerance {tolerance}: both are metres and have to be above 0"
        )
    vertices = np.ascontiguousarray(ring, np.float64)
    out = np.empty_like(vertices)
    metres = (float(scale[0]), float(scale[1]))
    count, displacement = _square(vertices, metres, float(tolerance), out)
    return SquareRing(out[:count].copy(), displacement) if count else None
