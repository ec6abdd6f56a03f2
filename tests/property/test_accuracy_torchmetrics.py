"""Scores that are summed up over blocks, against torchmetrics on the whole."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification as reference

from geoseg.grid import blocks
from geoseg.ops.accuracy import Confusion, score
from geoseg.ops.calibration import Reliability, calibrate


@st.composite
def scored(draw):
    """Truth, scores ``(class, y, x)`` that sum to 1, and the size of blocks."""
    shape, classes = (
        draw(st.tuples(st.integers(2, 30), st.integers(2, 30))),
        draw(st.integers(2, 7)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = random.integers(0, classes, shape)
    logits = random.normal(size=(classes, *shape)) * draw(st.sampled_from([0.3, 1, 4]))
    logits += (np.arange(classes)[:, None, None] == truth) * draw(st.sampled_from([0, 1, 3]))
    scores = np.exp(logits) / np.exp(logits).sum(axis=0)
    return truth, scores, draw(st.integers(1, 20))


@settings(max_examples=40)
@given(scored())
def test_scores_of_blocks_are_those_of_torchmetrics_on_the_whole(drawn):
    truth, scores, size = drawn
    classes, predicted = len(scores), scores.argmax(axis=0)
    total = Confusion.empty(classes)
    for window in blocks(truth.shape, size):
        total += Confusion.of(truth[window.slices], predicted[window.slices], classes)
    found = score(total.counts)
    p, t = (torch.from_numpy(a.ravel()) for a in (predicted, truth))

    def expected(name, **options):
        function = getattr(reference, f"multiclass_{name}")
        return function(p, t, num_classes=classes, **options).numpy()

    assert np.array_equal(total.counts, expected("confusion_matrix"))
    assert np.isclose(found.accuracy, expected("accuracy", average="micro"), atol=1e-6)
    some = total.occurring  # torchmetrics calls what occurs nowhere 0
    for ours, name in (
        (found.iou, "jaccard_index"),
        (found.f1, "f1_score"),
        (found.precision, "precision"),
        (found.recall, "recall"),
    ):
        theirs = expected(name, average=None)
        assert np.allclose(np.nan_to_num(ours)[some], theirs[some], atol=1e-6), name
    assert np.isclose(found.mean_iou, expected("jaccard_index", average="macro"), atol=1e-6)
    assert np.isclose(found.weighted_iou, expected("jaccard_index", average="weighted"), atol=1e-6)
    if some.sum() > 1 and not np.isnan(found.kappa):
        assert np.isclose(found.kappa, expected("cohen_kappa"), atol=1e-5)


@settings(max_examples=40)
@given(scored(), st.sampled_from([5, 10, 15]))
def test_calibration_of_blocks_is_that_of_torchmetrics_on_the_whole(drawn, bins):
    truth, scores, size = drawn
    right, confidence = scores.argmax(axis=0) == truth, scores.max(axis=0)
    total = Reliability.empty(bins)
    for window in blocks(truth.shape, size):
        at = window.slices
        total += Reliability.of(confidence[at], right[at], bins)
    found = calibrate(total)
    flat = torch.from_numpy(scores.reshape(len(scores), -1).T.copy())
    for ours, norm in ((found.error, "l1"), (found.largest, "max")):
        theirs = reference.multiclass_calibration_error(
            flat, torch.from_numpy(truth.ravel()), len(scores), n_bins=bins, norm=norm
        )
        assert np.isclose(ours, float(theirs), atol=1e-6)
