"""Pixel centres in polygons: against GDAL, alike for any window, without gaps or overlaps."""

import numpy as np
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from geoseg.grid import Window
from geoseg.ops.inside import edges_of, inside

coordinates = st.floats(-20, 60, allow_nan=False)
triangles = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=3, unique=True)
WHOLE = Window(0, 0, 40, 50)


def edges(shape):
    rings = shapely.get_rings(shapely.get_parts(shape))
    return edges_of(shapely.get_coordinates(ring) for ring in rings)


@given(st.lists(triangles, min_size=1, max_size=4))
def test_is_what_gdal_burns(corners):
    drawn = [shapely.Polygon(c) for c in corners]
    shape = shapely.union_all([polygon for polygon in drawn if polygon.area > 1e-6])
    # Centres very near an edge are decided by rounding, in GDAL by another one.
    ys, xs = np.mgrid[0:40, 0:50] + 0.5
    clear = shapely.distance(shapely.points(xs, ys), shapely.boundary(shape)) > 1e-6
    found = inside(edges(shape), WHOLE)
    assert np.array_equal(
        found[clear], shapely.contains_xy(shape, xs.ravel(), ys.ravel()).reshape(40, 50)[clear]
    )
    if not shape.is_empty:
        burnt = rasterize([shape], (40, 50), transform=Affine.identity()).astype(bool)
        assert np.array_equal(found[clear], burnt[clear])


@given(triangles, st.data())
def test_windows_agree_with_the_whole(corners, data):
    lines = edges(shapely.make_valid(shapely.Polygon(corners)))
    y0, x0 = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 49))
    window = Window(y0, x0, data.draw(st.integers(y0 + 1, 40)), data.draw(st.integers(x0 + 1, 50)))
    assert np.array_equal(inside(lines, window), inside(lines, WHOLE)[window.slices])


@given(st.integers(0, 80), st.integers(0, 100), st.booleans())
def test_neighbours_share_no_pixel_and_leave_none_out(y, x, diagonal):
    # Cuts on centres and corners: multiples of half a pixel.
    a, b = (x / 2, 0), ((x + (y - 40 if diagonal else 0)) / 2, 40)
    left = shapely.Polygon([(-100, 0), a, b, (-100, 40)])
    right = shapely.Polygon([(200, 0), a, b, (200, 40)])
    both = inside(edges(left), WHOLE).astype(int) + inside(edges(right), WHOLE)
    assert (both == 1).all()


def test_holes_and_nothing():
    ring = shapely.box(0, 0, 50, 40).difference(shapely.box(10, 10, 20, 20))
    found = inside(edges(ring), WHOLE)
    assert not found[10:20, 10:20].any()
    assert found.sum() == 2000 - 100
    assert not inside(edges(shapely.Polygon()), WHOLE).any()
