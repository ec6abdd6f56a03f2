"""The area of a lake under clouds: the estimate, and bounds that hold whatever clouds hide."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg.ops.lake_area import BINS, DRY, UNSEEN, WATER, lake_area, occurrence_bins


def sums_of(occurrence, water, seen):
    bins = occurrence_bins(occurrence).astype(int)
    state = np.where(seen, np.where(water, WATER, DRY), UNSEEN)
    flat = np.bincount((bins * 3 + state).ravel(), minlength=BINS * 3)
    return flat.reshape(BINS, 3).astype(np.int64)


NO_DOUBT = np.zeros(2, np.int64)


def bowl(level, shape=(60, 60)):
    """A lake whose occurrence falls towards its shore, and its water at a level (percent)."""
    y, x = np.indices(shape)
    occurrence = np.clip(110 - 4 * np.hypot(y - 30, x - 30), 0, 100).astype(np.uint8)
    return occurrence, (occurrence >= level) & (occurrence > 0)


def test_bins_are_of_five_percent_and_never_is_its_own():
    values = np.array([0, 1, 5, 6, 95, 96, 100, 255], np.uint8)
    assert occurrence_bins(values).tolist() == [0, 1, 1, 2, 19, 20, 20, 0]


def test_without_clouds_the_area_is_what_is_seen():
    occurrence, water = bowl(40)
    found = lake_area(sums_of(occurrence, water, np.ones_like(water)), NO_DOUBT, least_observed=0.1)
    assert found.area == found.low == found.high == found.seen == water.sum()
    assert (found.filled, found.observed) == (0, 1)


def test_half_a_lake_tells_the_other_half():
    occurrence, water = bowl(40)
    seen = np.zeros_like(water)
    seen[:, :30] = True
    found = lake_area(sums_of(occurrence, water, seen), NO_DOUBT, least_observed=0.1)
    # Half of the water is not seen; the level is known to a bin.
    assert abs(found.area - water.sum()) <= 0.05 * water.sum()
    assert found.seen == water[:, :30].sum()


def test_a_lake_that_is_hardly_seen_has_no_area_but_bounds():
    occurrence, water = bowl(40)
    seen = np.zeros_like(water)
    seen[:2] = True
    found = lake_area(sums_of(occurrence, water, seen), NO_DOUBT, least_observed=0.1)
    assert np.isnan(found.area)
    assert np.isnan(found.filled)
    assert (found.low, found.high) == (0, (~seen).sum())


def test_doubt_widens_the_bounds_by_what_it_expects_to_be_wrong():
    occurrence, water = bowl(40)
    sums = sums_of(occurrence, water, np.ones_like(water))
    doubts = np.array([30, 20])  # of land, of water
    found = lake_area(sums, doubts, least_observed=0.1)
    assert (found.low, found.area, found.high) == (
        water.sum() - 20,
        water.sum(),
        water.sum() + 30,
    )


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 100))
def test_bounds_hold_whatever_is_hidden(seed, clouds, level):
    random = np.random.default_rng(seed)
    occurrence, water = bowl(level, (40, 40))
    occurrence = np.clip(occurrence + random.integers(-20, 21, occurrence.shape), 0, 100)
    seen = random.random(water.shape) >= clouds
    found = lake_area(
        sums_of(occurrence.astype(np.uint8), water, seen), NO_DOUBT, least_observed=0.1
    )
    assert found.low <= water.sum() <= found.high
    if not np.isnan(found.area):
        assert found.low <= found.area <= found.high
        assert found.filled == found.area - found.seen
