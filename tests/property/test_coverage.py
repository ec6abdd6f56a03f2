"""Shares of pixels in polygons: those of shapely, in any window."""

import numpy as np
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.ops.coverage import coverage, directed_edges

SIZE = 11
spot = st.one_of(st.floats(-3, SIZE + 3), st.integers(-2, SIZE + 2).map(float))
points = st.lists(st.tuples(spot, spot), min_size=3, max_size=8)


def polygons(corners):
    """What the corners enclose: with holes and several parts where edges cross."""
    whole = shapely.make_valid(shapely.Polygon(corners))
    parts = shapely.get_parts(shapely.get_parts(whole))
    kept = [p for p in parts if p.geom_type == "Polygon" and p.area > 1e-6]
    return shapely.orient_polygons(shapely.MultiPolygon(kept))


def shares(shape, window):
    rings = shapely.get_rings(shapely.get_parts(shape))
    return coverage(directed_edges(map(shapely.get_coordinates, rings)), window)


@given(corners=points)
def test_shares_are_those_of_shapely(corners):
    shape = polygons(corners)
    assume(not shape.is_empty)
    pixels = shapely.box(
        *np.meshgrid(*[np.arange(SIZE)] * 2), *np.meshgrid(*[np.arange(1, SIZE + 1)] * 2)
    )
    expected = shapely.area(shapely.intersection(shape, pixels))
    got = shares(shape, Window(0, 0, SIZE, SIZE))
    np.testing.assert_allclose(got, expected, atol=1e-9)


@given(corners=points, cut=st.tuples(st.integers(1, SIZE - 1), st.integers(1, SIZE - 1)))
def test_windows_put_together_are_the_whole(corners, cut):
    shape = polygons(corners)
    assume(not shape.is_empty)
    whole, out = shares(shape, Window(0, 0, SIZE, SIZE)), np.zeros((SIZE, SIZE))
    y, x = cut
    for at in (
        Window(0, 0, y, x),
        Window(0, x, y, SIZE),
        Window(y, 0, SIZE, x),
        Window(y, x, SIZE, SIZE),
    ):
        out[at.slices] = shares(shape, at)
    np.testing.assert_allclose(out, whole, atol=1e-9)


@given(corners=points, far=st.sampled_from([0, 10**5, 3 * 10**6]))
def test_the_sum_is_the_area_wherever_it_lies(corners, far):
    shape = polygons(corners)
    assume(not shape.is_empty)
    moved = shapely.transform(shape, lambda xy: xy + far)
    window = Window(far - 4, far - 4, far + SIZE + 4, far + SIZE + 4)
    assert abs(shares(moved, window).sum() - shape.area) < 1e-9 + 1e-12 * far * SIZE


def test_a_pixel_that_is_not_touched_has_nothing_at_all():
    got = shares(polygons([(0.1, 0.1), (2.3, 0.7), (1.1, 3.9)]), Window(0, 0, 8, 8))
    assert (got[:, 3:] == 0).all()
    assert (got[4:] == 0).all()
