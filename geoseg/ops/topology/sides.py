"""Straight sides of an outline: one direction modulo right angles, and where each side begins.

An outline is a closed row of points at equal steps. In a direction it is cut into pieces, each of
which runs either along (sort 0) or across (sort 1), alternately, within a strip of twice the
tolerance. That cut is the best one: squared distances to the sides, plus a price for each corner,
are least (Jackson et al. 2005, An algorithm for optimal partitioning of data on an interval).
The direction is then fitted to all sides at once (total least squares), and the outline is cut
again.

``limits`` are the tolerance in metres and the price of a corner; ``begins`` the steps where pieces
begin, the last of which goes on to the first one's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoseg.ops.kernels import helper

_ROUNDS = 3
_CLEARLY = 1.5


@helper
def walk_evenly(metres: Any, along: Any, steps: int) -> Any:
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
def guess_direction(points: Any, reach: int) -> float:
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
def turn_points(points: Any, angle: float, start: int) -> Any:
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
def piece_length(begins: Any, pieces: int, k: int, count: int) -> int:
    """Steps of piece ``k``; pieces go around, so the last one may run over the end."""
    return int((begins[(k + 1) % pieces] - begins[k]) % count)


@helper
def place_sides(turned: Any, kind: int, begins: Any, pieces: int, sides: Any) -> Any:
    """Put each side through the mean of its piece.

    Returns:
        Scatter ``(3,)`` about the sides (along, across, and both), all turned into one direction.
    """
    count = turned.shape[1]
    scatter = np.zeros(3)
    for k in range(pieces):
        sort = (kind + k) & 1
        length = piece_length(begins, pieces, k, count)
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
def cut_sides(points: Any, angle: float, limits: Any, begins: Any, sides: Any) -> Any:
    """Cut the outline and turn the direction to the sides, a few times in turn.

    Returns:
        The direction, the step that pieces are counted from, the sort of the first piece, how
        many pieces there are (0: none fit), and the price.
    """
    count = len(points)
    start = kind = 0
    for turn in range(_ROUNDS):
        turned = turn_points(points, angle, start)
        pieces, price = _cut(turned, kind, limits, begins)
        if pieces < 5:
            break
        pieces, kind = pieces - 1, 1 - kind
        for k in range(pieces):
            begins[k] = begins[k + 1]
        if turn == _ROUNDS - 1:
            return angle, start, kind, pieces, price
        scatter = place_sides(turned, kind, begins, pieces, sides)
        angle += 0.5 * math.atan2(2 * scatter[2], scatter[0] - scatter[1])
        # The next cut begins in the middle of the longest side, where no corner can be.
        longest = 0
        for k in range(1, pieces):
            if piece_length(begins, pieces, k, count) > piece_length(
                begins, pieces, longest, count
            ):
                longest = k
        middle = begins[longest] + piece_length(begins, pieces, longest, count) // 2
        start, kind = (start + middle) % count, (kind + longest) & 1
    return angle, start, kind, 0, np.inf


@helper
def has_direction(points: Any, fit: Any, limits: Any, noise: float) -> bool:
    """Whether sides at half a right angle would fit clearly worse, or these fit perfectly.

    Round outlines fit in any direction. Very small ones of few pixels do so too, and are kept
    square if their sides explain all but ``noise``, the mean square of rounding to pixels.
    """
    angle, start, _, pieces, price = fit
    count = len(points)
    if price - pieces * limits[1] <= count * noise:
        return True
    turned = turn_points(points, angle + 0.25 * math.pi, start)
    _, other = _cut(turned, 0, limits, np.empty(count + 1, np.int64))
    return bool(other >= _CLEARLY * price)
