"""Which patches are too small: the same as on the whole raster, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from polygon_reference import realistic
from rasters import DEGREES, NORTH_UP, UTM
from scipy import ndimage

from geoseg.errors import BlockError
from geoseg.grid import blocks
from geoseg.ops.metric import measure_grid
from geoseg.ops.patch_areas import rim_patches, settle_patches, small_pixels
from geoseg.ops.regions import NODATA

SHAPE = (41, 53)


def groups_of(seed):
    rng = np.random.default_rng(seed)
    groups = realistic(SHAPE, classes=3, seed=seed).astype(np.int16)
    flip = rng.random(SHAPE) < 0.1
    groups[flip] = rng.integers(0, 3, int(flip.sum()))
    groups[rng.random(SHAPE) < 0.3] = NODATA
    return groups


def small(groups, metric, size, limit, *, in_pixels):
    windows = list(blocks(SHAPE, size))
    surveys = [rim_patches(groups[w.slices], w, metric, in_pixels=in_pixels) for w in windows]
    out = np.zeros(SHAPE, np.bool_)
    for w, rim in settle_patches(surveys, SHAPE, limit):
        out[w.slices] = small_pixels(
            groups[w.slices], w, metric, limit=limit, in_pixels=in_pixels, small_rim=rim
        )
    return out


@settings(max_examples=40)
@given(seed=st.integers(0, 20), size=st.integers(1, 60), limit=st.integers(0, 40))
def test_pixels_of_small_patches_are_those_of_scipy(seed, size, limit):
    groups = groups_of(seed)
    expected = np.zeros(SHAPE, np.bool_)
    for group in range(4):
        labels, count = ndimage.label(groups == group)
        pixels = np.bincount(labels.ravel(), minlength=count + 1)
        expected |= (labels > 0) & (pixels[labels] < limit)
    metric = measure_grid(GeoBox(SHAPE, NORTH_UP, UTM))
    np.testing.assert_array_equal(small(groups, metric, size, limit, in_pixels=True), expected)


@settings(max_examples=15)
@given(seed=st.integers(0, 20), size=st.integers(1, 60))
def test_areas_on_the_ground_do_not_depend_on_blocks(seed, size):
    groups, metric = groups_of(seed), measure_grid(GeoBox(SHAPE, DEGREES, "EPSG:4326"))
    limit = round(9.5 * 11.1 * 6.7 / metric.unit)
    whole = small(groups, metric, 64, limit, in_pixels=False)
    assert whole.any()
    np.testing.assert_array_equal(small(groups, metric, size, limit, in_pixels=False), whole)


def test_blocks_that_are_missing_or_out_of_order_are_told():
    groups, metric = groups_of(1), measure_grid(GeoBox(SHAPE, NORTH_UP, UTM))
    windows = list(blocks(SHAPE, 20))
    surveys = [rim_patches(groups[w.slices], w, metric, in_pixels=True) for w in windows]
    with pytest.raises(BlockError, match="out of order"):
        list(settle_patches(surveys[::-1], SHAPE, 5))
    with pytest.raises(BlockError, match="is missing"):
        list(settle_patches(surveys[:-1], SHAPE, 5))
