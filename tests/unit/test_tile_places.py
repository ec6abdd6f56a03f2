"""Where pixels of tiles lie in rasters, against what PROJ says of each of them."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geoseg.io.map_tiles import Tile
from geoseg.io.tile_places import Ground, level_for, places_of

UTM = Affine(10, 0, 500_000, 0, -10, 5_900_000)
TURNED = UTM @ Affine.rotation(30)
POLAR = Affine(100, 0, -50_000, 0, -100, 50_000)
DEGREES = Affine(0.001, 0, -10, 0, -0.001, 60)


def exact(tile, wkt, affine):
    """Of every 16th pixel: PROJ takes its time."""
    west, south, east, north = tile.bounds
    at = (np.arange(3, 512, 16) + 0.5) / 512
    xs, ys = np.meshgrid(west + (east - west) * at, north - (north - south) * at)
    x, y = Transformer.from_crs(3857, wkt, always_xy=True).transform(xs, ys)
    back = ~affine
    with np.errstate(invalid="ignore"):
        return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


@pytest.mark.parametrize(
    ("code", "affine"), [(32629, UTM), (32629, TURNED), (3413, POLAR), (4326, DEGREES)]
)
@settings(max_examples=12, deadline=None)
@given(zoom=st.integers(0, 20), across=st.floats(-1, 1), down=st.floats(-1, 1))
def test_places_on_a_raster_are_exact_to_an_eighth_of_a_pixel(code, affine, zoom, across, down):
    """Tiles around the raster's middle, from those of the whole world on."""
    wkt, shape = CRS.from_epsg(code).to_wkt(), (1000, 1500)
    ground = Ground(wkt, affine, shape)
    middle = Transformer.from_crs(wkt, 3857, always_xy=True).transform(*(affine @ (750, 500)))
    side = 2 * 20037508.342789244 / 2**zoom
    at = (int((m + 20037508.342789244) / side + o) for m, o in
          zip((middle[0], -middle[1]), (across, down), strict=True))  # fmt: skip
    tile = Tile(zoom, *(min(2**zoom - 1, max(0, n)) for n in at))
    found = places_of(tile.bounds, 512, ground)
    theirs = exact(tile, wkt, affine)
    ours = [plane[3::16, 3::16] for plane in (found.rows, found.cols)]
    on = np.logical_and.reduce([(p >= 0) & (p < n) for p, n in zip(theirs, shape, strict=True)])
    for mine, true in zip(ours, theirs, strict=True):
        # Between the places where it was looked the error may be a little larger.
        assert np.abs(mine[on] - true[on]).max(initial=0) <= 0.25 * max(1.0, found.step)
    with np.errstate(invalid="ignore"):
        room = 0.25 * max(1.0, found.step)
        well = [(p > room) & (p < n - room) for p, n in zip(ours, shape, strict=True)]
    assert not (np.logical_and.reduce(well) & ~on).any()  # nothing else is taken for it


def test_the_step_is_how_many_pixels_of_the_raster_one_of_the_tile_is_wide():
    wkt = CRS.from_epsg(3857).to_wkt()
    tile = Tile(10, 500, 300)
    west, _, east, north = tile.bounds
    size = (east - west) / 512
    found = places_of(
        tile.bounds, 512, Ground(wkt, Affine(size / 3, 0, west, 0, -size / 3, north), (1536, 1536))
    )
    assert found.step == pytest.approx(3)
    np.testing.assert_allclose(found.cols[0], (np.arange(512) + 0.5) * 3)


@given(st.floats(0.01, 300))
def test_the_coarsest_overview_is_taken_that_is_not_much_coarser_than_the_tile(step):
    factors = [1, 2, 4.003, 8.01, 16.1]
    level = level_for(step, factors)
    assert level == 0 or factors[level] <= 1.42 * step
    assert level == len(factors) - 1 or factors[level + 1] > 1.42 * step
