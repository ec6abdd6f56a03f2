"""Medians, distances and preferences of observations, against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from geoseg.ops.composite import clear_distance, median_of, preference, vegetation_index
from geoseg.ops.validity import REACH

DTYPES = ["uint8", "int16", "uint16", "int32", "float32"]


def observations(dtype, count, seed, *, bands=2, shape=(5, 6)):
    random = np.random.default_rng(seed)
    size = (count, bands, *shape)
    if dtype == "float32":
        values = random.normal(0, 1, size).astype(dtype)
    else:
        # Few numbers, so that there are equals, and both ends of what the dtype holds.
        ends = np.iinfo(dtype)
        choices = np.array([ends.min, ends.min + 1, 3, 4, 5, 8, ends.max - 1, ends.max], dtype)
        values = random.choice(choices, size)
    return values, random.random((count, *shape)) > 0.4


@pytest.mark.parametrize("dtype", DTYPES)
@given(count=st.integers(1, 8), seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_medians_are_numpys(dtype, count, seed):
    values, valid = observations(dtype, count, seed)
    found = median_of(values, valid)
    assert found.dtype == values.dtype
    for at in np.ndindex(found.shape):
        seen = values[(slice(None), *at)][valid[(slice(None), *at[1:])]]
        if not seen.size:
            wanted = 0
        elif dtype == "float32":
            wanted = np.median(seen)
        else:
            wanted = np.rint(np.median(seen.astype(np.float64)))
        assert found[at] == wanted, (at, seen)


@given(
    h=st.integers(1, 90), w=st.integers(1, 90), holes=st.integers(0, 6), reach=st.integers(1, 80),
    seed=st.integers(0, 10_000),
)  # fmt: skip
@settings(max_examples=60)
def test_distances_are_scipys(h, w, holes, reach, seed):
    random = np.random.default_rng(seed)
    valid = np.ones((h, w), bool)
    valid[random.integers(0, h, holes), random.integers(0, w, holes)] = False
    wanted = np.full((h, w), reach, np.float32)
    if holes:
        wanted = np.minimum(distance_transform_edt(valid), reach).astype(np.float32)
    assert np.array_equal(clear_distance(valid, reach), wanted)


def test_vegetation_index_is_within_its_range_wherever_reflectances_are_odd():
    red = np.array([0.25, 0.0, -0.1, 0.1, 0.2, -0.3], np.float32)
    nir = np.array([0.75, 0.0, 0.3, -0.1, -0.1, 0.2], np.float32)
    found = vegetation_index(red, nir)
    assert found.dtype == np.float32
    assert found.tolist() == [0.5, -1, 1, -1, -1, -1]


def test_preference_is_for_what_is_far_from_clouds_and_like_the_others():
    median = np.array([1000, 3000], np.uint16).reshape(2, 1, 1)
    scale, offset = np.full(2, 1e-4, np.float32), np.full(2, -0.05, np.float32)

    def liked(values, distance):
        stored = np.asarray(values, np.uint16).reshape(2, 1, 1)
        at = np.full((1, 1), distance, np.float32)
        return float(preference(stored, median, at, scale, offset)[0, 0])

    assert liked([1000, 3000], REACH) == 1
    assert liked([1000, 3000], REACH / 4) == 0.25
    # 0.03 away in one band, medians of 0.05 and 0.25: a tenth.
    assert liked([1300, 3000], REACH) == pytest.approx(0.9, abs=1e-6)
    assert liked([1300, 3000], REACH) > liked([1000, 3000], 0.8 * REACH)
    assert liked([60_000, 60_000], REACH) == 0, "no more than wholly different"


def test_preference_without_any_reflectance_is_the_distance():
    none = np.zeros((1, 1, 1), np.float32)
    one, zero, at = np.ones(1, np.float32), np.zeros(1, np.float32), np.full((1, 1), 16, np.float32)
    assert preference(none, none, at, one, zero)[0, 0] == 0.25
    assert preference(none + 1, none, at, one, zero)[0, 0] == 0.25 - 1
