"""Scores of a map: against scikit-learn and scipy on the whole, and the same from any blocks."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from sklearn import metrics
from sklearn.calibration import calibration_curve

from geoseg.grid import Window, blocks
from geoseg.ops.accuracy import Confusion, score
from geoseg.ops.boundaries import (
    BoundaryCounts,
    Tolerance,
    boundary,
    count_boundaries,
    score_boundaries,
)
from geoseg.ops.calibration import Reliability, calibrate

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
tolerances = st.builds(
    Tolerance,
    st.floats(0, 80, allow_subnormal=False),
    st.tuples(st.floats(3, 30), st.floats(3, 30)),
)


@st.composite
def maps(draw):
    """Truth and map, patchy, with holes; and how many classes there are."""
    shape, classes = draw(sizes), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    coarse = random.integers(-1, classes, [n // 5 + 1 for n in shape])
    truth = np.kron(coarse, np.ones((5, 5), int))[: shape[0], : shape[1]].astype(np.int16)
    noise = random.random(shape) < draw(st.sampled_from([0, 0.1, 0.5]))
    predicted = np.where(noise, random.integers(-1, classes, shape), np.roll(truth, 1, 1))
    return truth, predicted.astype(np.int16), classes


def same(one, other) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in type(one).__slots__
    )


@given(maps())
def test_scores_are_those_of_scikit_learn(drawn):
    truth, predicted, classes = drawn
    known = (truth >= 0) & (predicted >= 0)
    counted = Confusion.of(truth, predicted, classes)
    assert counted.pixels == known.sum()
    assert counted.unmapped.sum() == ((truth >= 0) & (predicted < 0)).sum()
    found = score(counted.counts)
    if not known.any():
        assert np.isnan([found.accuracy, found.kappa, found.mean_iou, found.mean_f1]).all()
        return
    t, p = truth[known], predicted[known]
    labels = np.unique([t, p])
    options = {"labels": labels, "zero_division": 0}
    # One label more than there are: scikit-learn warns of tables of one.
    table = metrics.confusion_matrix(t, p, labels=range(classes + 1))
    assert np.array_equal(counted.counts, table[:classes, :classes])
    expected = {
        "accuracy": metrics.accuracy_score(t, p),
        "mean_iou": metrics.jaccard_score(t, p, average="macro", **options),
        "weighted_iou": metrics.jaccard_score(t, p, average="weighted", **options),
        "mean_f1": metrics.f1_score(t, p, average="macro", **options),
    }
    if len(labels) > 1:
        expected["kappa"] = metrics.cohen_kappa_score(t, p)
    for name, value in expected.items():
        assert np.isclose(getattr(found, name), value, rtol=1e-12, atol=1e-15), name
    for name, function in (
        ("iou", metrics.jaccard_score),
        ("f1", metrics.f1_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        ours = np.nan_to_num(getattr(found, name)[labels])
        assert np.allclose(ours, function(t, p, average=None, **options), rtol=1e-12), name
    absent = np.setdiff1d(np.arange(classes), labels)
    assert np.isnan(found.iou[absent]).all()


@given(maps(), st.integers(1, 20))
def test_counts_of_blocks_add_up(drawn, size):
    truth, predicted, classes = drawn
    total = Confusion.empty(classes)
    for window in blocks(truth.shape, size):
        total += Confusion.of(truth[window.slices], predicted[window.slices], classes)
    assert same(total, Confusion.of(truth, predicted, classes))


@given(maps(), tolerances)
def test_boundaries_are_met_where_distances_say_so(drawn, tolerance):
    truth, predicted, classes = drawn
    counted = count_boundaries(truth, predicted, classes, tolerance)
    judged = (truth >= 0) & (predicted >= 0)
    for code in range(classes):
        one, two = ((m == code) & boundary(m) for m in (truth, predicted))
        for here, there, of, met in (
            (one, two, counted.true, counted.true_met),
            (two, one, counted.mapped, counted.mapped_met),
        ):
            far = np.full(truth.shape, np.inf)
            if there.any():
                far = distance_transform_edt(~there, sampling=tolerance.sides)
            assert of[code] == (here & judged).sum()
            # Whether a distance equals the tolerance is told by its last bits.
            assert met[code] >= (here & judged & (far < tolerance.metres * (1 - 1e-8))).sum()
            assert met[code] <= (here & judged & (far <= tolerance.metres * (1 + 1e-8))).sum()


@given(maps())
def test_boundaries_are_pixels_with_another_neighbour(drawn):
    values, _, classes = drawn
    expected = np.zeros(values.shape, bool)
    for y, x in np.argwhere(values >= 0):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= y + dy < values.shape[0] and 0 <= x + dx < values.shape[1]:
                other = values[y + dy, x + dx]
                expected[y, x] |= other >= 0 and other != values[y, x]
    assert np.array_equal(boundary(values), expected)
    assert classes > 1 or not expected.any()


@given(maps(), tolerances, st.integers(1, 20))
def test_boundaries_do_not_depend_on_blocks(drawn, tolerance, size):
    truth, predicted, classes = drawn
    total = BoundaryCounts.empty(classes)
    whole = Window(0, 0, *truth.shape)
    halo = tolerance.halo
    for core in blocks(truth.shape, size):
        wide = Window(core.y0 - halo, core.x0 - halo, core.y1 + halo, core.x1 + halo) & whole
        total += count_boundaries(
            truth[wide.slices], predicted[wide.slices], classes, tolerance, core.within(wide)
        )
    assert same(total, count_boundaries(truth, predicted, classes, tolerance))


@given(st.integers(0, 2**32), st.integers(65, 256))
def test_more_classes_than_bits(seed, classes):
    random = np.random.default_rng(seed)
    truth, predicted = random.integers(0, classes, (2, 30, 30)).astype(np.int16)
    tolerance = Tolerance(1.5, (1, 1))
    counted = count_boundaries(truth, predicted, classes, tolerance)
    some = random.integers(0, classes)
    binary = [np.where(m == some, 1, 0) for m in (truth, predicted)]
    alone = count_boundaries(*binary, 2, tolerance)
    for name in BoundaryCounts.__slots__:
        assert getattr(counted, name)[some] == getattr(alone, name)[1]


def test_boundary_scores():
    truth = np.zeros((20, 20), np.int16)
    truth[:, 10:] = 1
    moved = np.roll(truth, 2, 1)
    moved[:, :2] = 0
    for metres, expected in ((19.9, 0.0), (20.0, 1.0)):
        found = score_boundaries(count_boundaries(truth, moved, 3, Tolerance(metres, (10, 10))))
        assert np.allclose(found.f1[:2], expected)
        assert np.isnan(found.f1[2])
        assert found.mean_f1 == expected
    only_truth = score_boundaries(
        count_boundaries(truth, np.zeros_like(truth), 2, Tolerance(20, (10, 10)))
    )
    assert only_truth.mean_f1 == 0
    assert np.isnan(only_truth.precision).all()
    assert Tolerance(30, (10, 10)).reach == (3, 3)
    assert Tolerance(0.3, (0.1, 0.1)).reach == (3, 3)
    assert Tolerance(0, (10, 10)).halo == 1


@given(
    st.lists(st.tuples(st.integers(0, 25600), st.booleans()), min_size=1, max_size=200),
    st.sampled_from([1, 2, 4, 5, 8, 10, 16, 20, 25, 50, 100]),
    st.integers(1, 50),
)
def test_reliability_is_that_of_its_definition(drawn, bins, cut):
    parts_of, right = np.array([k for k, _ in drawn]), np.array([r for _, r in drawn])
    confidence = parts_of / 25600  # percents and bytes alike
    whole = Reliability.of(confidence, right, bins)
    parts = Reliability.empty(bins)
    for start in range(0, len(right), cut):
        parts += Reliability.of(confidence[start : start + cut], right[start : start + cut], bins)
    assert same(parts, whole)
    found, error, largest = calibrate(whole), 0.0, 0.0
    for k in range(bins):
        mine = (parts_of * bins > k * 25600) & (parts_of * bins <= (k + 1) * 25600)
        mine |= (k == 0) & (parts_of == 0)
        assert found.count[k] == mine.sum()
        if mine.any():
            gap = abs(right[mine].mean() - confidence[mine].mean())
            error, largest = error + mine.sum() * gap, max(largest, gap)
    assert np.isclose(found.error, error / len(right), rtol=1e-9, atol=1e-12)
    assert np.isclose(found.largest, largest, rtol=1e-9, atol=1e-12)


def test_reliability_bins_are_those_of_scikit_learn():
    random = np.random.default_rng(4)
    percent = random.integers(1, 101, 5000)
    right = random.integers(0, 100, 5000) < percent**2 / 100
    found = calibrate(Reliability.of(percent / 100, right, 10))
    # Percents in tenths of bins: neither side's edges are hit by chance.
    inside = percent % 10 != 0
    found_inside = calibrate(Reliability.of(percent[inside] / 100, right[inside], 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        true, mean = calibration_curve(right[inside], percent[inside] / 100, n_bins=10)
    assert np.allclose(found_inside.accuracy, true, rtol=1e-12)
    assert np.allclose(found_inside.confidence, mean, rtol=1e-12)
    assert found.count[0] == (percent <= 10).sum()
    assert found.count[9] == (percent > 90).sum()
    assert np.isnan(calibrate(Reliability.empty()).error)
