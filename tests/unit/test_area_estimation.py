"""The stratified estimator and the design of samples: the worked examples of Olofsson et al. 2014."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.ops.area_estimation import (
    Estimate,
    allocate,
    estimate_areas,
    expected_errors,
    sample_size,
)

# Table 8 of the paper: deforestation, forest gain, stable forest, stable non-forest.
SAMPLE = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
HECTARES = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09
# Section 5.1.1: expected user's accuracies and shares of the area, for a standard error of 0.01.
WEIGHTS = np.array([0.020, 0.015, 0.320, 0.645])
EXPECTED = np.array([0.70, 0.60, 0.90, 0.95])
MILLIONS = np.full(4, 10_000_000)


def rounded(estimate: Estimate, digits: int) -> list[tuple[float, float]]:
    """Values and margins as the paper prints them: 1.96 standard errors."""
    value, margin = np.atleast_1d(estimate.value), np.atleast_1d(estimate.error) * 1.96
    return [
        (round(float(v), digits), round(float(m), digits))
        for v, m in zip(value, margin, strict=True)
    ]


def test_the_worked_example():
    found = estimate_areas(SAMPLE, HECTARES)
    assert rounded(found.overall, 2) == [(0.95, 0.02)]
    assert rounded(found.users, 2) == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    assert rounded(found.areas, 0) == [
        (21_158, 6_158), (11_686, 3_756), (285_770, 15_510), (581_386, 16_282),
    ]  # fmt: skip
    # The paper prints 0.23 and 0.01 for the margins of the second and the last; its equation 7
    # gives 0.254 and 0.018, and so does drawing samples again and again (below).
    assert rounded(found.producers, 2) == [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]
    # Table 9, the error matrix of estimated proportions.
    assert np.allclose(
        found.proportions,
        [
            [0.0176, 0, 0.0013, 0.0011],
            [0, 0.0110, 0.0016, 0.0024],
            [0.0019, 0, 0.2967, 0.0213],
            [0.0040, 0.0020, 0.0179, 0.6212],
        ],
        atol=6e-5,
    )
    assert found.areas.value.sum() == pytest.approx(900_000)


def test_standard_errors_are_the_spread_of_repeated_samples():
    found = estimate_areas(SAMPLE, HECTARES)
    random = np.random.default_rng(5)
    points = SAMPLE.sum(axis=1)
    rows = [
        random.multinomial(n, row / n, size=20_000) for n, row in zip(points, SAMPLE, strict=True)
    ]
    share = np.stack(rows, 1) / points[:, None]
    proportions = share * (HECTARES / HECTARES.sum())[:, None]
    true = proportions.sum(axis=1)
    diagonal = np.diagonal(proportions, axis1=1, axis2=2)
    assert np.allclose(found.areas.error, (true * HECTARES.sum()).std(axis=0), rtol=0.02)
    assert np.allclose(found.overall.error, diagonal.sum(axis=1).std(), rtol=0.02)
    # A ratio of two random numbers: the equation is its first-order approximation.
    assert np.allclose(found.producers.error, (diagonal / true).std(axis=0), rtol=0.1)


def test_a_class_that_was_never_mapped_gets_its_area():
    found = estimate_areas(np.array([[40, 5, 5], [0, 50, 0], [0, 0, 0]]), np.array([10.0, 90, 0]))
    assert found.areas.value == pytest.approx([8, 91, 1])
    assert found.areas.error[2] > 0
    assert np.isnan(found.users.value[2])
    assert found.producers.value == pytest.approx([1, 90 / 91, 0])
    assert found.overall.value == pytest.approx(0.98)


def test_a_stratum_that_was_sampled_whole_is_certain():
    sample, areas = np.array([[0, 1], [3, 47]]), np.array([1.0, 99])
    with pytest.raises(InputError, match="stratum 0 covers"):
        estimate_areas(sample, areas)
    found = estimate_areas(sample, areas, np.array([True, False]))
    assert found.areas.value == pytest.approx([99 * 0.06, 1 + 99 * 0.94])
    assert found.users.error[0] == 0


def test_a_perfect_map():
    found = estimate_areas(np.diag([30, 20]), np.array([1.0, 3.0]))
    assert found.overall.value == 1
    assert found.overall.error == 0
    assert found.areas.value == pytest.approx([1, 3])
    assert not found.areas.error.any()
    assert not found.producers.error.any()


@pytest.mark.parametrize(
    ("sample", "mapped", "said"),
    [
        ([[1, 0], [0, 9]], [1.0, 1.0], "stratum 0 covers a part of the map but has 1 points"),
        ([[5, 0], [1, 9]], [1.0, 0.0], "stratum 1 has 10 points, but covers no area"),
        ([[0, 0], [0, 0]], [0.0, 0.0], "there is no mapped area"),
    ],
)
def test_what_cannot_be_estimated(sample, mapped, said):
    with pytest.raises(InputError, match=said):
        estimate_areas(np.array(sample), np.array(mapped))


def test_intervals():
    estimate = Estimate(np.array(1.0), np.array(2.0))
    assert estimate.interval() == pytest.approx(3.919928)
    assert estimate.interval(0.9) == pytest.approx(3.289707)
    for confidence in (0, 1, 95):
        with pytest.raises(InputError, match="between 0 and 1"):
            estimate.interval(confidence)


def test_the_sample_size_of_the_paper():
    assert sample_size(WEIGHTS, EXPECTED, 0.01, 10_000_000) == 641
    # Of a small map, hardly more can be sampled than there is.
    assert sample_size(WEIGHTS, EXPECTED, 0.01, 700) < 350
    assert sample_size(np.array([0.5, 0.5]), np.array([1.0, 1.0]), 0.01, 1000) == 4
    for error in (0, 1, -1):
        with pytest.raises(InputError, match="standard error"):
            sample_size(WEIGHTS, EXPECTED, error, 1000)
    with pytest.raises(InputError, match="expected accuracy: found 0;"):
        sample_size(WEIGHTS, np.zeros(4), 0.01, 1000)


def test_allocations_of_the_paper():
    def shares(**options):
        return allocate(640, WEIGHTS, MILLIONS, **options).tolist()

    assert shares(equal=True) == [160] * 4
    assert shares() == [13, 9, 205, 413]
    assert shares(minimum=50) == [50, 50, 179, 361]
    assert shares(minimum=100) == [100, 100, 146, 294]
    points = allocate(641, WEIGHTS, MILLIONS)
    error, users = expected_errors(WEIGHTS, EXPECTED, points, MILLIONS)
    # The formula is for the best allocation; a proportional one does a little worse.
    assert error == pytest.approx(0.0103, abs=5e-5)
    assert users[2] == pytest.approx(0.3 / np.sqrt(204))
    assert expected_errors(WEIGHTS, EXPECTED, points, points)[0] == 0


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=12),
    st.integers(0, 2000),
    st.integers(0, 300),
    st.booleans(),
)
def test_allocations_sum_up(pixels, total, minimum, equal):
    pixels = np.array(pixels)
    found = allocate(total, pixels / pixels.sum(), pixels, equal=equal, minimum=minimum)
    least = np.minimum(pixels, minimum)
    assert (found >= least).all()
    assert (found <= pixels).all()
    assert found.sum() == max(min(total, pixels.sum()), least.sum())
