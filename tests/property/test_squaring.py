"""Squared outlines are those of the buildings that were drawn, or none at all."""

import math

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from scipy import ndimage
from shapely import affinity

from geoseg.errors import InputError
from geoseg.ops.topology.squaring import FARTHEST, square
from geoseg.steps.vectorize import vectorize_array

SIZE = 64
SHAPES = {
    "rectangle": shapely.box(-11, -7, 11, 7),
    "square": shapely.box(-8, -8, 8, 8),
    "L": shapely.Polygon([(-12, -9), (12, -9), (12, 0), (0, 0), (0, 9), (-12, 9)]),
    "T": shapely.Polygon(
        [(-12, -10), (12, -10), (12, -2), (4, -2), (4, 10), (-4, 10), (-4, -2), (-12, -2)]
    ),
    "U": shapely.Polygon(
        [(-12, -10), (12, -10), (12, 10), (5, 10), (5, -2), (-5, -2), (-5, 10), (-12, 10)]
    ),
    "courtyard": shapely.box(-14, -12, 14, 12) - shapely.box(-7, -5, 7, 5),
}
ROUND = {
    "circle": shapely.Point(0, 0).buffer(10),
    "large circle": shapely.Point(0, 0).buffer(24),
    "triangle": shapely.Polygon([(-13, -12), (13, -12), (0, 14)]),
    "hexagon": shapely.Polygon(
        [(14 * math.cos(k * math.pi / 3), 14 * math.sin(k * math.pi / 3)) for k in range(6)]
    ),
}


def drawn(shape, angle, at=(SIZE / 2, SIZE / 2), scale=(1.0, 1.0)):
    """The shape in metres (x, y), and the polygons of its pixels in pixels (x, y)."""
    truth = affinity.translate(affinity.rotate(shape, angle, origin=(0, 0)), at[1], at[0])
    shape_of = (round(SIZE / scale[0]), round(SIZE / scale[1]))
    transform = Affine.scale(scale[1], scale[0])
    array = rasterio.features.rasterize([(truth, 1)], shape_of, transform=transform, dtype="uint8")
    return truth, outlines(array)


def outlines(array):
    grid = GeoBox(array.shape, Affine.identity(), None)
    table = vectorize_array(array, grid, nodata=0).read_all()
    return shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))


def rings_of(polygon):
    """Rows and columns of each ring; the last vertex is not repeated."""
    return [np.array(r.coords)[:-1, ::-1] for r in (polygon.exterior, *polygon.interiors)]


def as_polygon(rings, scale=(1.0, 1.0)):
    """The polygon (x, y) in metres of rings of rows and columns."""
    shell, *holes = [(ring * scale)[:, ::-1] for ring in rings]
    return shapely.Polygon(shell, holes)


def signed_area(ring):
    y, x = ring.T
    return 0.5 * float(np.sum(y * np.roll(x, -1) - np.roll(y, -1) * x))


def overlap(a, b):
    return a.intersection(b).area / a.union(b).area


def degrees_off(ring, angle, scale=(1.0, 1.0)):
    """Between the ring's direction and ``angle``, modulo right angles."""
    y, x = (ring[1] - ring[0]) * scale
    return abs((math.degrees(math.atan2(y, x)) - angle + 45) % 90 - 45)


def assert_square(found, ring, scale, tolerance):
    """All that is promised of a squared ring holds."""
    corners, metres = found.corners * scale, ring * scale
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*sides.T)
    turns = np.sum(sides * np.roll(sides, -1, axis=0), axis=1)
    assert len(corners) >= 4
    assert np.all(abs(turns) <= 1e-4 * lengths * np.roll(lengths, -1))
    assert lengths.min() >= tolerance * (1 - 1e-5)
    assert shapely.is_simple(shapely.LinearRing(corners))
    assert shapely.is_valid(shapely.Polygon(corners))
    assert signed_area(corners) == pytest.approx(signed_area(metres), rel=1e-5)
    assert tuple(found.corners[0]) == min(map(tuple, found.corners))
    apart = shapely.hausdorff_distance(
        shapely.segmentize(shapely.LinearRing(corners), 0.25),
        shapely.segmentize(shapely.LinearRing(metres), 0.25),
    )
    assert apart <= found.displacement + 1e-5
    assert found.displacement <= FARTHEST * tolerance


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("angle", [0, 2, 11, 23.5, 38, 45, 61, 84])
def test_buildings_come_back_from_their_pixels(name, angle):
    truth, (traced,) = drawn(SHAPES[name], angle, (31.7, 32.2))
    rings = rings_of(traced)
    found = [square(ring, tolerance=1.5) for ring in rings]
    corners = [ring.corners for ring in found]
    assert [len(ring) for ring in corners] == [len(ring) for ring in rings_of(truth)]
    assert all(degrees_off(ring, angle) < 2.5 for ring in corners)
    squared = as_polygon(corners)
    assert squared.is_valid
    assert overlap(squared, truth) > 0.92
    # Along the lattice or its diagonal, pixels look the same over half a pixel and more.
    if angle not in {0, 2, 45}:
        assert overlap(squared, truth) > 0.96
        assert overlap(squared, truth) > overlap(traced, truth)
        assert overlap(squared, truth) > overlap(traced.simplify(1.5), truth)
    for one, ring in zip(found, rings, strict=True):
        assert_square(one, ring, (1.0, 1.0), 1.5)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(6, 25),
    st.floats(6, 25),
    st.floats(0, 90),
    st.tuples(st.floats(31, 32), st.floats(31, 32)),
)
def test_rectangles_come_back_within_a_pixel(height, width, angle, at):
    box = shapely.box(-width / 2, -height / 2, width / 2, height / 2)
    truth, (traced,) = drawn(box, angle, at)
    found = square(rings_of(traced)[0], tolerance=1.5)
    assert len(found.corners) == 4
    assert as_polygon([found.corners]).hausdorff_distance(truth) < 1


@pytest.mark.parametrize("scale", [(1.0, 0.5), (0.4, 1.0)])
@pytest.mark.parametrize("angle", [0, 17, 52])
def test_angles_are_right_in_metres_where_pixels_are_not_square(scale, angle):
    truth, (traced,) = drawn(SHAPES["L"], angle, scale=scale)
    (ring,) = rings_of(traced)
    found = square(ring, scale=scale, tolerance=1.5)
    assert_square(found, ring, scale, 1.5)
    assert len(found.corners) == 6
    assert degrees_off(found.corners, angle, scale) < 2
    assert overlap(as_polygon([found.corners], scale), truth) > 0.95


@pytest.mark.parametrize("tolerance", [0.25, 1, 3])
def test_what_is_rectilinear_along_the_grid_stays(tolerance):
    ring = np.array([(5, 7), (5, 27), (13, 27), (13, 16), (20, 16), (20, 7)])
    found = square(ring, tolerance=tolerance)
    np.testing.assert_array_equal(found.corners, ring)
    assert found.displacement < 1e-9


@pytest.mark.parametrize("name", ROUND)
@pytest.mark.parametrize("angle", [0, 19, 40])
@pytest.mark.parametrize("tolerance", [1, 1.5])
def test_what_has_no_direction_stays_as_it_is(name, angle, tolerance):
    _, (traced,) = drawn(ROUND[name], angle)
    assert square(rings_of(traced)[0], tolerance=tolerance) is None


@pytest.mark.parametrize(
    ("ring", "tolerance"),
    [
        (np.array([(0, 0), (0, 1), (1, 1), (1, 0)]), 1.5),  # smaller than the tolerance
        (np.array([(0, 0), (0, 9), (9, 0)]), 1.0),  # a triangle
        (np.array([(0, 0), (0, 5000), (5000, 5000), (5000, 0)]), 1.0),  # no building
        (np.array([(0, 0), (0, 9), (0, 9), (0, 0)]), 1.0),  # no area
        (np.empty((0, 2)), 1.0),
    ],
)
def test_what_cannot_be_squared_stays_as_it_is(ring, tolerance):
    assert square(ring, tolerance=tolerance) is None


@st.composite
def blobs(draw):
    """Outlines of noise that was smoothed more or less."""
    seed, spread = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 0.7, 1.5, 3]))
    noise = np.random.default_rng(seed).normal(size=(28, 28))
    noise = ndimage.gaussian_filter(noise, spread) if spread else noise
    polygons = outlines((noise > np.quantile(noise, 0.6)).astype(np.uint8))
    largest = polygons[np.argsort(shapely.area(polygons))[-3:]]
    return [ring for polygon in largest for ring in rings_of(polygon)]


@settings(max_examples=60, deadline=None)
@given(
    blobs(),
    st.sampled_from([(1.0, 1.0), (1.0, 0.6), (2.0, 3.0)]),
    st.sampled_from([0.6, 1.0, 2.0, 4.0]),
)
def test_a_ring_of_any_shape_is_squared_as_promised_or_not_at_all(rings, scale, tolerance):
    for ring in rings:
        found = square(ring, scale=scale, tolerance=tolerance)
        if found is not None:
            assert_square(found, ring, scale, tolerance)


@settings(max_examples=40, deadline=None)
@given(blobs(), st.integers(0, 500), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_where_an_outline_begins_or_lies_makes_no_difference(rings, first, down, right):
    squared = [(ring, square(ring, tolerance=2.0)) for ring in rings]
    for ring, found in squared:
        shift = np.array([down, right])
        moved = square(np.roll(ring, first, axis=0) + shift, tolerance=2.0)
        assert (moved is None) == (found is None)
        if found is not None:
            np.testing.assert_array_equal(moved.corners, found.corners + shift)
            assert moved.displacement == found.displacement


def test_an_outline_walked_the_other_way_is_squared_the_other_way():
    _, (traced,) = drawn(SHAPES["U"], 27)
    (ring,) = rings_of(traced)
    there, back = square(ring, tolerance=1.5), square(ring[::-1], tolerance=1.5)
    assert signed_area(there.corners) == pytest.approx(-signed_area(back.corners), rel=1e-9)
    assert as_polygon([there.corners]).hausdorff_distance(as_polygon([back.corners])) < 0.1


@pytest.mark.parametrize(
    ("ring", "options", "message"),
    [
        (np.zeros((5, 3)), {"tolerance": 1}, r"shape \(5, 3\)"),
        (np.full((5, 2), np.nan), {"tolerance": 1}, "not finite"),
        (np.zeros((5, 2)), {"tolerance": 0}, "above 0"),
        (np.zeros((5, 2)), {"tolerance": math.inf}, "above 0"),
        (np.zeros((5, 2)), {"tolerance": 1, "scale": (1, -1)}, "above 0"),
    ],
)
def test_what_is_no_ring_is_named(ring, options, message):
    with pytest.raises(InputError, match=message):
        square(ring, **options)
