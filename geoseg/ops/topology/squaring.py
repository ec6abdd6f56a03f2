"""Outlines of buildings made rectilinear: right angles along the building's own direction.

An outline is walked in equal steps. In the direction of its sides it is cut into pieces that
run alternately along and across, each within a strip as wide as twice the tolerance, so that the
squared distances to the sides plus a price for each corner are least; dynamic programming finds
that optimum. The direction is then fitted to all sides at once (total least squares), and the
outline is cut again. Sides move outwards or inwards by one common distance at the end, so that
the area is what it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.kernels import entry, helper

FARTHEST = 1.5
"""Tolerances between an outline and its square ring at most, either way."""

MOST_STEPS = 4096
"""Longer outlines (some 1000 tolerances around) are no buildings and stay as they are."""

MOST_CORNERS = 256

_ROUNDS = 3
_DRIFT = 0.5
_CLEARLY = 1.5
_CORNER = 1.0
# Corners come in steps of this part of a pixel: adding where the ring lies loses no bit then.
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
def _walk_evenly(metres: Any, along: Any, steps: int) -> Any:
    """Points ``(steps, 2)`` at the middles of equal steps along the ring."""
    points = np.empty((steps, 2))
    edge = 0
    for k in range(steps):
        at = (k + 0.5) * along[-1] / steps
        while along[edge + 1] < at:
            edge += 1
        part = (at - along[edge]) / (along[edge + 1] - along[edge])
        for axis in range(2):
            a, b = metres[edge, axis], metres[edge + 1, axis]
            points[k, axis] = a + part * (b - a)
    return points


@helper
def _guess_direction(points: Any, reach: int) -> float:
    """Direction of the sides modulo a right angle, from chords over ``reach`` steps.

    The fourth harmonic of their directions: chords across a corner are symmetric about its
    diagonal and cancel out.
    """
    real = imaginary = 0.0
    count = len(points)
    for k in range(count):
        end = (k + reach) % count
        y, x = points[end, 0] - points[k, 0], points[end, 1] - points[k, 1]
        square = y * y + x * x
        if square > 0:
            # (x + iy)^4 with the length taken once more out of the fourth power
            a, b = x * x - y * y, 2 * x * y
            real += (a * a - b * b) / square
            imaginary += 2 * a * b / square
    return 0.25 * math.atan2(imaginary, real)


@helper
def _turn(points: Any, angle: float, start: int) -> Any:
    """Coordinates ``(2, n)`` along and across the direction, beginning with point ``start``."""
    cos, sin = math.cos(angle), math.sin(angle)
    count = len(points)
    turned = np.empty((2, count))
    for k in range(count):
        y, x = points[(start + k) % count, 0], points[(start + k) % count, 1]
        turned[0, k] = x * cos + y * sin
        turned[1, k] = y * cos - x * sin
    return turned


@helper
def _last_piece(turned: Any, kind: int, stop: int, before: Any, limits: Any) -> tuple[float, int]:
    """The cheapest piece of sort ``kind`` that ends before ``stop``: total price, and its begin."""
    tolerance, corner = limits
    across = turned[1 - kind]
    lowest = highest = across[stop - 1]
    origin, total, squares = lowest, 0.0, 0.0
    best, begin = np.inf, -1
    for k in range(stop - 1, -1, -1):
        lowest, highest = min(lowest, across[k]), max(highest, across[k])
        if highest - lowest > 2 * tolerance:
            break
        offset = across[k] - origin
        total += offset
        squares += offset * offset
        mean = total / (stop - k)
        price = before[k] + squares - total * mean + corner
        inside = highest - origin - mean <= tolerance and mean + origin - lowest <= tolerance
        if inside and price < best:
            best, begin = price, k
    return best, begin


@helper
def _cut(turned: Any, kind: int, limits: Any, begins: Any) -> tuple[int, float]:
    """Cut the outline into alternating pieces, the first and the last of sort ``kind``.

    Sort 0 runs along the direction, sort 1 across. Where pieces begin is written to ``begins``.

    Returns:
        How many pieces there are, an odd number (the last one goes on with the first one), and
        the price of all; 0 if there is no such cut.
    """
    count = turned.shape[1]
    price = np.full((2, count + 1), np.inf)
    origin = np.full((2, count + 1), -1, np.int32)
    price[1 - kind, 0] = 0.0
    for stop in range(1, count + 1):
        for sort in range(2):
            best, begin = _last_piece(turned, sort, stop, price[1 - sort], limits)
            price[sort, stop], origin[sort, stop] = best, begin
    total = price[kind, count] - limits[1]
    if not np.isfinite(total):
        return 0, np.inf
    pieces, stop, sort = 0, count, kind
    while stop > 0:
        stop = origin[sort, stop]
        begins[pieces] = stop
        pieces += 1
        sort = 1 - sort
    for k in range(pieces // 2):
        begins[k], begins[pieces - 1 - k] = begins[pieces - 1 - k], begins[k]
    return pieces, total


@helper
def _length(begins: Any, pieces: int, k: int, count: int) -> int:
    """Steps of piece ``k``; pieces go around, so the last one may run over the end."""
    return int((begins[(k + 1) % pieces] - begins[k]) % count)


@helper
def _place_sides(turned: Any, kind: int, begins: Any, pieces: int, sides: Any) -> Any:
    """Put each side through the mean of its piece.

    Returns:
        Scatter ``(3,)`` about the sides (along, across, and both), all turned into one direction.
    """
    count = turned.shape[1]
    scatter = np.zeros(3)
    for k in range(pieces):
        sort = (kind + k) & 1
        length = _length(begins, pieces, k, count)
        a0, b0 = turned[sort, begins[k]], turned[1 - sort, begins[k]]
        sum_a = sum_b = sum_aa = sum_bb = sum_ab = 0.0
        for n in range(length):
            at = (begins[k] + n) % count
            a, b = turned[sort, at] - a0, turned[1 - sort, at] - b0
            sum_a, sum_b = sum_a + a, sum_b + b
            sum_aa, sum_bb, sum_ab = sum_aa + a * a, sum_bb + b * b, sum_ab + a * b
        sides[k] = b0 + sum_b / length
        scatter[0] += sum_aa - sum_a * sum_a / length
        scatter[1] += sum_bb - sum_b * sum_b / length
        both = sum_ab - sum_a * sum_b / length
        scatter[2] += -both if sort else both
    return scatter


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
def _drop_short(turned: Any, kind: int, begins: Any, pieces: int, tolerance: float, sides: Any) -> tuple[int, int]:
    """Join the sides before and after one that is shorter than the tolerance, shortest first."""
    while pieces >= 4:
        _place_sides(turned, kind, begins, pieces, sides)
        shortest, at = np.inf, 0
        for k in range(pieces):
            length = _side_length(turned, kind, begins, pieces, sides, k)
            if length < shortest:
                shortest, at = length, k
        if shortest >= tolerance:
            break
        if at == pieces - 1:
            begins[: pieces - 2] = begins[1 : pieces - 1].copy()
            kind = 1 - kind
        else:
            begins[at : pieces - 2] = begins[at + 2 : pieces].copy()
        pieces -= 2
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
    moved = sides[:pieces].copy()
    for k in range(pieces):
        ahead = sides[(k + 1) % pieces] > sides[(k - 1) % pieces]
        outwards = ahead == (area > 0)
        if (kind + k) & 1:
            outwards = not outwards
        moved[k] += move if outwards else -move
    sides[:pieces] = moved
    return abs(move)


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
        for n in range(_length(begins, pieces, k, count)):
            owners[(begins[k] + n) % count] = k
    return owners


@helper
def _farthest(turned: Any, vertices: Any, places: Any, cut: Any, sides: Any) -> float:
    """The largest distance between the outline and the ring, either way.

    From the first step of a piece to that of the next, the outline is compared with its side:
    distance to a side is convex, so vertices and the two ends are enough. What the side has
    beyond the outline is no farther from it than its corners are.
    """
    kind, begins, pieces = cut
    count = turned.shape[1]
    largest = 0.0
    for k in range(pieces):
        a, b = _corner(kind, pieces, sides, k), _corner(kind, pieces, sides, k + 1)
        begin, stop = begins[k], begins[(k + 1) % pieces]
        u, v = turned[0, begin], turned[1, begin]
        largest = max(largest, math.sqrt((u - a[0]) ** 2 + (v - a[1]) ** 2))
        largest = max(largest, _to_side(u, v, (kind + k) & 1, a, b))
        largest = max(largest, _to_side(turned[0, stop], turned[1, stop], (kind + k) & 1, a, b))
    owners = _owners(begins, pieces, count)
    for n in range(len(places)):
        k = owners[int(math.floor(places[n])) % count]
        a, b = _corner(kind, pieces, sides, k), _corner(kind, pieces, sides, k + 1)
        u, v = vertices[0, n], vertices[1, n]
        largest = max(largest, _to_side(u, v, (kind + k) & 1, a, b))
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
def _cut_best(points: Any, angle: float, limits: Any, begins: Any, sides: Any) -> Any:
    """Cut the outline and turn the direction to the sides, a few times in turn.

    Returns:
        The direction, the step that pieces are counted from, the sort of the first piece, how
        many pieces there are (0: none fit), and the price.
    """
    count = len(points)
    start = kind = 0
    for turn in range(_ROUNDS):
        turned = _turn(points, angle, start)
        pieces, price = _cut(turned, kind, limits, begins)
        if pieces < 5:
            break
        begins[: pieces - 1] = begins[1:pieces].copy()
        pieces, kind = pieces - 1, 1 - kind
        if turn == _ROUNDS - 1:
            return angle, start, kind, pieces, price
        scatter = _place_sides(turned, kind, begins, pieces, sides)
        angle += 0.5 * math.atan2(2 * scatter[2], scatter[0] - scatter[1])
        # The next cut begins in the middle of the longest side, where no corner can be.
        longest = 0
        for k in range(1, pieces):
            if _length(begins, pieces, k, count) > _length(begins, pieces, longest, count):
                longest = k
        middle = begins[longest] + _length(begins, pieces, longest, count) // 2
        start, kind = (start + middle) % count, (kind + longest) & 1
    return angle, start, kind, 0, np.inf


@helper
def _has_direction(points: Any, fit: Any, limits: Any, noise: float) -> bool:
    """Whether sides at half a right angle would fit clearly worse, or these fit perfectly.

    Round outlines fit in any direction. Very small ones of few pixels do so too, and are kept
    square if their sides explain all but ``noise``, the mean square of rounding to pixels.
    """
    angle, start, _, pieces, price = fit
    count = len(points)
    if price - pieces * limits[1] <= count * noise:
        return True
    turned = _turn(points, angle + 0.25 * math.pi, start)
    _, other = _cut(turned, 0, limits, np.empty(count + 1, np.int64))
    return bool(other >= _CLEARLY * price)


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
    steps = int(math.ceil(along[-1] / max(0.5 * pixel, 0.25 * tolerance)))
    if steps > MOST_STEPS or along[-1] < 4 * tolerance or area == 0:
        return keep
    points = _walk_evenly(metres, along, steps)
    reach = max(1, min(steps // 8, int(4 * pixel * steps / along[-1])))
    limits = (tolerance, _CORNER * tolerance**3 * steps / along[-1])
    begins, sides = np.empty(steps + 1, np.int64), np.empty(steps)
    angle = _guess_direction(points, reach)
    fit = _cut_best(points, angle, limits, begins, sides)
    angle, start, kind, pieces, _ = fit
    if pieces < 4 or not _has_direction(points, fit, limits, pixel * pixel / 12):
        return keep
    turned = _turn(points, angle, start)
    kind, pieces = _drop_short(turned, kind, begins, pieces, tolerance, sides)
    if pieces < 4 or pieces > min(MOST_CORNERS, len(out)):
        return keep
    move = _keep_area(kind, pieces, sides, area)
    if move > _DRIFT * tolerance or _crosses(kind, pieces, sides, 1e-3 * pixel):
        return keep
    places = along[:-1] * (steps / along[-1]) - 0.5 - start
    vertices = _turn(metres[:-1], angle, 0)
    farthest = _farthest(turned, vertices, places, (kind, begins, pieces), sides)
    if farthest > FARTHEST * tolerance:
        return keep
    _write(ring, (scale_y, scale_x), angle, (kind, pieces), sides, out)
    return pieces, farthest


@entry
def _square(ring: Any, scale_y: float, scale_x: float, tolerance: float, out: Any) -> Any:
    return square_ring(ring, scale_y, scale_x, tolerance, out)


def square(
    ring: NDArray[Any], *, scale: tuple[float, float] = (1.0, 1.0), tolerance: float
) -> tuple[NDArray[np.float64], float] | None:
    """X."""
    vertices = np.ascontiguousarray(ring, np.float64)
    out = np.empty_like(vertices)
    count, farthest = _square(vertices, float(scale[0]), float(scale[1]), float(tolerance), out)
    return (out[:count], farthest) if count else None
