"""Where pixels of tiles lie in rasters, against what PROJ says of each of them."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geoseg.io.map_tiles import Tile
from geoseg.io.tile_places import level_for, places_of

UTM = Affine(10, 0, 500_000, 0, -10, 5_900_000)
TURNED = UTM @ Affine.rotation(30)
POLAR = Affine(100, 0, -50_000, 0, -100, 50_000)
DEGREES = Affine(0.001, 0, -10, 0, -0.001, 60)


def exact(tile, wkt, affine):
    """Of every 7th pixel: PROJ takes its time."""
    west, south, east, north = tile.bounds
    at = (np.arange(0, 512, 7) + 0.5) / 512
    xs, ys = np.meshgrid(west + (east - west) * at, north - (north - south) * at)
    x, y = Transformer.from_crs(3857, wkt, always_xy=True).transform(xs, ys)
    back = ~affine
    return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


@pytest.mark.parametrize(
    ("code", "affine"), [(32629, UTM), (32629, TURNED), (3413, POLAR), (4326, DEGREES)]
)
@settings(max_examples=12, deadline=None)
@given(zoom=st.integers(0, 22), across=st.floats(0, 0.999), down=st.floats(0, 0.999))
def test_places_are_exact_to_an_eighth_of_a_pixel(code, affine, zoom, across, down):
    side = 2**zoom
    tile, wkt = Tile(zoom, int(across * side), int(down * side)), CRS.from_epsg(code).to_wkt()
    found = places_of(tile.bounds, 512, wkt, affine)
    for whole, theirs in zip((found.rows, found.cols), exact(tile, wkt, affine), strict=True):
        ours, known = whole[::7, ::7], np.isfinite(theirs)
        assert (np.isfinite(ours) == known).all()
        # Between the places where it was looked the error may be a little larger.
        assert np.abs(ours[known] - theirs[known]).max(initial=0) <= 0.25 * max(1.0, found.step)


def test_the_step_is_how_many_pixels_of_the_raster_one_of_the_tile_is_wide():
    wkt = CRS.from_epsg(3857).to_wkt()
    tile = Tile(10, 500, 300)
    west, _, east, north = tile.bounds
    size = (east - west) / 512
    found = places_of(tile.bounds, 512, wkt, Affine(size / 3, 0, west, 0, -size / 3, north))
    assert found.step == pytest.approx(3)
    np.testing.assert_allclose(found.cols[0], (np.arange(512) + 0.5) * 3)


@given(st.floats(0.01, 300))
def test_the_coarsest_overview_is_taken_that_is_not_much_coarser_than_the_tile(step):
    factors = [1, 2, 4.003, 8.01, 16.1]
    level = level_for(step, factors)
    assert level == 0 or factors[level] <= 1.42 * step
    assert level == len(factors) - 1 or factors[level + 1] > 1.42 * step
