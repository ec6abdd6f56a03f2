"""Stratified random points: the same from any blocks, one pixel as likely as another per area."""

import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasters import DEGREES, NORTH_UP, UTM

from geoseg.grid import Window, blocks
from geoseg.ops.metric import measure_grid
from geoseg.ops.sampling import Drawn, draw, merge, pixel_areas, shuffled, uniform


def sample(strata, metric, wanted, *, seed=0, block=1000):
    total: dict[int, Drawn] = {}
    for window in blocks(strata.shape, block):
        total = merge(total, draw(strata[window.slices], window, metric, wanted, seed), wanted)
    return total


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 70), st.integers(0, 40),
    st.integers(-(2**40), 2**40), st.booleans(),
)  # fmt: skip
def test_points_do_not_depend_on_blocks(height, width, block, count, seed, degrees):
    strata = np.random.default_rng(height).integers(0, 4, (height, width))
    grid = GeoBox(
        (height, width), DEGREES if degrees else NORTH_UP, "EPSG:4326" if degrees else UTM
    )
    metric, wanted = measure_grid(grid), {0: count, 1: 1, 3: 5000, 7: 3}
    one = sample(strata, metric, wanted, seed=seed)
    other = sample(strata, metric, wanted, seed=seed, block=block)
    assert one.keys() == other.keys()
    for stratum, drawn in one.items():
        assert np.array_equal(drawn.place, other[stratum].place)
        assert np.array_equal(drawn.key, other[stratum].key)
        assert (strata.ravel()[drawn.place] == stratum).all()
        assert len(set(drawn.place)) == len(drawn.place)
        assert len(drawn.place) == min(wanted[stratum], (strata == stratum).sum())


def test_a_larger_sample_holds_the_smaller():
    strata = np.zeros((300, 300), int)
    metric = measure_grid(GeoBox(strata.shape, NORTH_UP, UTM))
    few, many = (sample(strata, metric, {0: n}, seed=3)[0].place for n in (50, 80))
    assert set(few) < set(many)
    assert not set(few) & set(sample(strata, metric, {0: 50}, seed=4)[0].place)


def test_numbers_are_uniform_and_unlike_their_neighbours():
    place = np.arange(200_000)
    for seed in (0, 1, 2**31, -5):
        numbers = uniform(place, seed)
        assert 0 <= numbers.min() < 1e-4
        assert 1 - 1e-4 < numbers.max() < 1
        counts = np.histogram(numbers, 50, (0, 1))[0]
        assert (((counts - 4000) ** 2) / 4000).sum() < 100  # chi squared, 49 degrees of freedom
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.01
        assert abs(np.corrcoef(numbers[400:], numbers[:-400])[0, 1]) < 0.01
        assert abs(np.corrcoef(numbers, uniform(place, seed + 1))[0, 1]) < 0.01


def test_chances_are_in_proportion_to_the_ground():
    # From the equator to 80 degrees north, pixels shrink to a sixth.
    grid = GeoBox((400, 400), Affine(0.2, 0, 0, 0, -0.2, 80), "EPSG:4326")
    metric = measure_grid(grid)
    drawn = sample(np.zeros(grid.shape, int), metric, {0: 4000}, seed=11)[0].place
    areas = pixel_areas(metric, Window(0, 0, 400, 400))
    share = areas[:200].sum() / areas.sum()
    assert abs((drawn < 200 * 400).mean() - share) < 0.025
    assert share < 0.4


def test_the_order_of_points_says_nothing():
    place = np.arange(1000)
    order = shuffled(place, 5)
    assert sorted(order) == place.tolist()
    assert abs(np.corrcoef(order, place)[0, 1]) < 0.1
    assert not np.array_equal(order, shuffled(place, 6))
