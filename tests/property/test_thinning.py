"""Lines are thinned as the textbook has it, but where something is in the way."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.ops.topology.obstacles import Obstacles, count_marked
from geoseg.ops.topology.simplify import simplify_lines

SQUARE = (1.0, 1.0, 0.0, 1.0)  # a pixel of one metre
SIZE = 200


@st.composite
def stairs(draw):
    """A line that goes down and right: nothing of it is ever in its own way."""
    steps = draw(st.lists(st.integers(1, 7), min_size=4, max_size=30))
    down = draw(st.booleans())
    line = [(1, 1)]
    for k, step in enumerate(steps):
        row, col = line[-1]
        line.append((row + step, col) if (k % 2 == 0) == down else (row, col + step))
    return np.array(line, np.int64)


def obstacles_of(points):
    obstacles = Obstacles(SIZE)
    obstacles.move(0, SIZE)
    for row, col in points:
        obstacles.bits[row, col >> 6] |= np.uint64(1) << np.uint64(col & 63)
    return obstacles.bits, obstacles.top


def kept(line, rules, others=()):
    lines = line, np.array([0, len(line)]), np.zeros(1, np.bool_)
    return simplify_lines(lines, rules, obstacles_of([*line, *others]), (SIZE, SIZE))


def by_the_book(line, limit):
    """Visvalingam, by looking at all triangles again and again; the span breaks ties."""
    at = list(range(len(line)))
    while len(at) > 3:
        areas = [
            (abs(np.linalg.det(line[[b, c]] - line[a])), c - a, b)
            for a, b, c in zip(at, at[1:], at[2:], strict=False)
        ]
        area, _, smallest = min((round(double), span, b) for double, span, b in areas)
        if area > limit:
            break
        at.remove(smallest)
    return at


@settings(max_examples=200, deadline=None)
@given(stairs(), st.integers(1, 60))
def test_visvalingam_takes_the_smallest_triangle_first(line, limit):
    ours = kept(line, (1, float(limit), SQUARE))
    assert np.flatnonzero(ours).tolist() == by_the_book(line, limit)


@settings(max_examples=200, deadline=None)
@given(stairs(), st.floats(0.3, 8))
def test_douglas_peucker_is_that_of_geos(line, tolerance):
    ours = line[kept(line, (2, tolerance**2, SQUARE))]
    simple = shapely.simplify(shapely.LineString(line), tolerance, preserve_topology=False)
    theirs = shapely.get_coordinates(simple).astype(int).tolist()
    # One vertex stays in between so that the line differs from any other between its ends.
    assert ours.tolist() == theirs if len(theirs) > 2 else len(ours) == 3


@settings(max_examples=200, deadline=None)
@given(stairs(), st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), max_size=12))
def test_no_other_corner_is_passed(line, others):
    before = shapely.LineString(line)
    others = [point for point in others if not before.covers(shapely.Point(point))]
    after = shapely.LineString(line[kept(line, (1, 1e9, SQUARE), others)])
    swept = shapely.polygonize([shapely.union_all([before, after])])
    for point in others:
        assert not after.covers(shapely.Point(point))
        assert not swept.covers(shapely.Point(point))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=40),
    st.tuples(*[st.integers(0, SIZE)] * 2),
    st.tuples(*[st.integers(0, SIZE)] * 4),
    st.sampled_from([1, 2, 8]),
)
def test_marked_vertices_in_a_triangle_are_those_that_geos_finds(points, at, ends, scale):
    legs = tuple(end - at[k % 2] for k, end in enumerate(ends))
    triangle = shapely.convex_hull(
        shapely.MultiPoint(
            [at, *((at[0] + legs[k] / scale, at[1] + legs[k + 1] / scale) for k in (0, 2))]
        )
    )
    inside = {point for point in points if triangle.covers(shapely.Point(point))}
    assert count_marked(obstacles_of(points), at, legs, scale) == len(inside)
