"""Validity kernels against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from geoseg.ops.validity import dilated, fitting_nodata, hidden, usable


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 25), st.integers(0, 2**32 - 1))
def test_dilation_is_a_disc(height, width, radius, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.05
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = y * y + x * x <= radius * radius
    assert np.array_equal(dilated(mask, radius), binary_dilation(mask, disc))


def test_usable_knows_nodata_of_every_kind():
    numbers = np.array([0, 1, 65535], np.uint16)
    assert usable(numbers, 0).tolist() == [False, True, True]
    assert usable(numbers, -9999).tolist() == [True, True, True]
    assert usable(numbers, float("nan")).all()
    assert usable(numbers, None).all()
    lowest = float(np.finfo(np.float32).min)
    floats = np.array([np.nan, np.inf, lowest, 1], np.float32)
    assert usable(floats, None).tolist() == [False, False, True, True]
    assert usable(floats, -3.4028234663852886e38).tolist() == [False, False, False, True]
    assert usable(floats, -1e300).tolist() == [False, False, True, True]


@pytest.mark.parametrize("nodata", [-1, 256, 0.5, float("nan"), float("inf")])
def test_nodata_that_no_number_can_be(nodata):
    assert fitting_nodata(np.dtype("uint8"), nodata) is None


def test_hidden_by_values_bits_and_alpha():
    numbers = np.array([0, 3, 4, 8, 9], np.uint8)
    assert hidden(numbers, "values", (3, 8)).tolist() == [False, True, False, True, False]
    assert hidden(numbers, "bits", (0, 3)).tolist() == [False, True, False, True, True]
    assert hidden(numbers, "alpha", ()).tolist() == [True, False, False, False, False]
    assert hidden(np.array([np.nan, 1.0]), "alpha", ()).tolist() == [True, False]
