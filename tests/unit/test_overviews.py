"""Overviews by plain statements of their rules, whatever the strips in which they are made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.ops.overviews import Pyramid, edges, histogram, level_shapes, reduce

RULES = "majority", "average", "nearest"


def majority(part, nodata):
    known = [int(v) for v in part.ravel() if nodata is None or v != nodata]
    return max(known, key=known.count) if known else nodata  # the first of several


def average(part, nodata):
    known = [int(v) for v in part.ravel() if nodata is None or v != nodata]
    return (2 * sum(known) + len(known)) // (2 * len(known)) if known else nodata


def nearest(part, _nodata):
    return part[part.shape[0] // 2, part.shape[1] // 2]


STATED = {"majority": majority, "average": average, "nearest": nearest}


def stated(values, level, rule, nodata):
    """An overview by the definition: pixel by pixel, of the full resolution."""
    out = np.empty(level, values.dtype)
    rows, columns = ([round_half_up(i * n, m) for i in range(m + 1)]
                     for n, m in zip(values.shape, level, strict=True))  # fmt: skip
    for i in range(level[0]):
        for j in range(level[1]):
            part = values[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            out[i, j] = STATED[rule](part, nodata)
    return out


def round_half_up(a, b):
    return (2 * a + b) // (2 * b)


@st.composite
def rasters(draw):
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    numbers = rng.integers(0, np.iinfo(dtype).max + 1, draw(st.integers(1, 5)))
    coarse = rng.choice(numbers, [-(-n // 3) for n in shape])
    values = np.kron(coarse, np.ones((3, 3)))[: shape[0], : shape[1]].astype(dtype)
    strange = rng.random(shape) < draw(st.sampled_from([0, 0.2]))
    values[strange] = rng.choice(numbers, strange.sum())
    return values, draw(st.sampled_from([None, int(numbers[0])]))


@settings(max_examples=60)
@given(rasters(), st.sampled_from(RULES), st.integers(1, 9), st.data())
def test_strips_of_any_height_give_what_the_rule_says_of_the_whole(made, rule, side, data):
    values, nodata = made
    levels = level_shapes(values.shape, side)
    pyramid, rows, found = Pyramid(values.shape, levels, rule, nodata), 0, [[] for _ in levels]
    while rows < len(values):
        height = data.draw(st.integers(1, len(values) - rows))
        for parts, part in zip(found, pyramid.add(values[rows : rows + height]), strict=True):
            parts.append(part)
        rows += height
    for level, parts in zip(levels, found, strict=True):
        whole = np.concatenate(parts)
        assert whole.dtype == values.dtype
        np.testing.assert_array_equal(whole, stated(values, level, rule, nodata))


@given(st.integers(1, 10**6), st.data())
def test_each_pixel_belongs_to_the_overview_that_lies_over_it(length, data):
    parts = data.draw(st.integers(1, length))
    found = edges(length, parts)
    assert (found[0], found[-1]) == (0, length)
    assert (np.diff(found) >= 1).all()
    exact = np.arange(parts + 1) * (length / parts)
    assert np.abs(found - exact).max() <= 0.5 + 1e-6


def test_ties_go_to_what_comes_first_and_not_to_low_codes():
    both = np.array([[7, 7, 3, 3, 7, 3], [3, 3, 7, 7, 3, 7]], np.uint8)
    whole = reduce(both, np.array([0, 2]), np.array([0, 2, 4, 6]), "majority", None)
    assert whole.tolist() == [[7, 3, 7]]


def test_what_is_rare_at_each_level_but_common_in_all_stays():
    # By quarters of quarters 2 would win: in three of four it has two of four, and comes first.
    values = np.array([[2, 1, 2, 1], [1, 2, 1, 2], [2, 1, 1, 1], [1, 2, 1, 1]], np.uint8)
    assert reduce(values, np.array([0, 4]), np.array([0, 4]), "majority", None).item() == 1


def test_averages_of_large_footprints_are_exact():
    values = np.full((1024, 1024), 65535, np.uint16)
    values[:, ::2] = 65534
    whole = reduce(values[:256, :256], np.array([0, 256]), np.array([0, 256]), "average", None)
    assert whole.item() == 65535
    bytes_ = np.full((1024, 1024), 100, np.uint8)
    bytes_[0, 0] = 255
    whole = reduce(bytes_, np.array([0, 1024]), np.array([0, 1024]), "average", 255)
    assert whole.item() == 100


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 5), (64, 33)])
def test_numbers_are_counted(shape):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(histogram(values), np.bincount(values.ravel(), minlength=256))
