"""Probabilities in time: medians as numpy has them, paths and marginals as all paths give them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.temporal import (
    NO_INDEX,
    Dynamics,
    decode,
    median_shares,
    most_likely,
    shares_of_classes,
)


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 5))
@settings(max_examples=50)
def test_shares_are_the_medians_made_to_sum_to_one(seed, dates, classes):
    random = np.random.default_rng(seed)
    percents = random.integers(0, 101, (dates, classes, 3, 4)).astype(np.uint8)
    hidden = random.random((dates, 3, 4)) < 0.4
    percents.transpose(1, 0, 2, 3)[:, hidden] = NO_PERCENT
    shares, count = median_shares(percents)
    np.testing.assert_array_equal(count, (~hidden).sum(axis=0))
    for y, x in np.ndindex(3, 4):
        known = percents[~hidden[:, y, x], :, y, x].astype(float)
        if not len(known):
            assert not shares[:, y, x].any()
            continue
        expected = np.median(known, axis=0)
        expected = expected if expected.any() else known.mean(axis=0)
        total = expected.sum()
        expected = expected / total if total else expected
        np.testing.assert_allclose(shares[:, y, x], expected, rtol=1e-6)


def test_dates_that_agree_on_nothing_are_averaged():
    percents = np.array([[100, 0, 0], [0, 100, 0], [0, 0, 100]], np.uint8)[..., None, None]
    np.testing.assert_allclose(median_shares(percents)[0][:, 0, 0], 1 / 3, rtol=1e-6)


def test_a_class_alone_becomes_probabilities_by_its_confidence():
    index = np.array([[0, 1, -1]])
    found = shares_of_classes(index, np.array([[80, NO_PERCENT, 80]], np.uint8), 3, 70)
    expected = [[80, 15, 255], [10, 70, 255], [10, 15, 255]]
    np.testing.assert_array_equal(found[:, 0], expected)
    sure = shares_of_classes(np.array([[2]]), np.array([[10]], np.uint8), 3, 70)
    # The class that was chosen is never the least likely one.
    assert sure[2, 0, 0] >= sure[:2, 0, 0].max()


def test_the_likeliest_class_has_its_percent_and_what_was_not_seen_has_none():
    shares = np.array([[0.2, 0.5, 0], [0.8, 0.5, 0]], np.float32)[:, None]
    index, percent = most_likely(shares)
    assert index.tolist() == [[1, 0, NO_INDEX]]
    assert percent.tolist() == [[80, 50, NO_PERCENT]]


def emissions(shares, dates, dynamics):
    total = shares.sum(axis=1, keepdims=True)
    classes = shares.shape[1]
    even = np.full_like(shares, 1 / classes)
    shares = np.divide(shares, total, out=even, where=total > 0)
    flat = dynamics.trust * shares + (1 - dynamics.trust) / classes
    return flat ** (1 + dynamics.independence * (np.maximum(dates, 1)[:, None] - 1))


def all_paths(shares, dates, dynamics):
    """Every history of one pixel with its likelihood."""
    emission = emissions(shares, dates, dynamics)
    periods, classes = shares.shape
    for path in product(range(classes), repeat=periods):
        likely = emission[0, path[0]]
        for t in range(1, periods):
            likely *= dynamics.transition[path[t - 1], path[t]] * emission[t, path[t]]
        yield path, likely


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 3))
@settings(max_examples=50)
def test_the_path_and_its_percents_are_those_of_all_paths_weighed(seed, periods, classes):
    random = np.random.default_rng(seed)
    shares = random.random((periods, classes)).astype(np.float32) ** 3
    dates = random.integers(1, 6, periods).astype(np.uint16)
    gone = random.random(periods) < 0.2
    shares[gone], dates[gone] = 0, 0
    priced = {(0, 1): 0.0, (1, 0): 0.3}
    dynamics = Dynamics.staying(classes, 0.8, priced, trust=0.9, independence=0.7)
    index, percent = decode(shares[:, :, None, None], dates[:, None, None], dynamics)
    if gone.all():
        assert (index == NO_INDEX).all()
        assert (percent == NO_PERCENT).all()
        return
    paths = list(all_paths(shares.astype(float), dates, dynamics))
    likely = dict(paths)
    best = max(likely.values())
    found = tuple(index[:, 0, 0].tolist())
    assert likely[found] == pytest.approx(best, rel=1e-6)
    total = sum(likely.values())
    for t in range(periods):
        share = sum(value for path, value in paths if path[t] == found[t]) / total
        assert abs(100 * share - percent[t, 0, 0]) <= 0.51


@given(st.integers(0, 10_000))
def test_what_cannot_be_never_is(seed):
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(4, 0.2), (7, 5, 6)).transpose(0, 3, 1, 2).astype(np.float32)
    forbidden = {(2, other): 0.0 for other in (0, 1, 3)} | {(0, 3): 0.0}
    dates = random.integers(1, 300, (7, 5, 6)).astype(np.uint16)
    index, _ = decode(shares, dates, Dynamics.staying(4, 0.9, forbidden))
    pairs = set(zip(index[:-1].ravel().tolist(), index[1:].ravel().tolist(), strict=True))
    assert not pairs & set(forbidden)


def test_a_single_odd_year_is_overruled_and_a_lasting_change_is_not():
    odd = [0, 0, 1, 0, 0, 0]
    lasting = [0, 0, 0, 1, 1, 1]
    shares = np.zeros((6, 2, 1, 2), np.float32)
    for pixel, history in enumerate((odd, lasting)):
        for t, c in enumerate(history):
            shares[t, :, 0, pixel] = 0.25
            shares[t, c, 0, pixel] = 0.75
    index, _ = decode(shares, np.ones((6, 1, 2), np.uint16), Dynamics.staying(2, 0.9))
    assert index[:, 0, 0].tolist() == [0] * 6
    assert index[:, 0, 1].tolist() == lasting


def test_periods_without_observation_are_filled_by_their_neighbours():
    shares = np.zeros((3, 2, 1, 1), np.float32)
    shares[0, 1] = shares[2, 1] = 0.9
    shares[0, 0] = shares[2, 0] = 0.1
    dates = np.array([1, 0, 1], np.uint16)[:, None, None]
    index, percent = decode(shares, dates, Dynamics.staying(2, 0.9))
    assert index[:, 0, 0].tolist() == [1, 1, 1]
    assert percent[1, 0, 0] > 90


def test_matrices_that_are_none_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        Dynamics(np.array([[0.5, 0.4], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="cannot stay"):
        Dynamics(np.array([[0.0, 1.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="sum to 1"):
        Dynamics.staying(3, 0.9, {(0, 1): 0.7, (0, 2): 0.6})
