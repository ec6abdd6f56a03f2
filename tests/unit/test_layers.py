"""Entropy, margin and disagreement against scipy, and by what they must be at their ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from geoseg.ops.layers import LAYERS, describe, disagreement_of, entropy_of


def probabilities(count, seed=0, shape=(11, 13), spread=0.5):
    random = np.random.default_rng(seed)
    return random.dirichlet([spread] * count, shape).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize("count", [2, 6, 17])
def test_entropy_and_margin_are_scipys(count):
    scores = probabilities(count)
    layers = describe(scores, LAYERS).layers
    wanted = 100 * entropy(scores.astype(float), base=count, axis=0)
    assert np.abs(layers["entropy"] - wanted).max() <= 0.501
    two = np.sort(scores, axis=0)[-2:]
    assert np.abs(layers["margin"] - 100 * (two[1] - two[0])).max() <= 0.501
    assert np.abs(layers["probabilities"] - 100 * scores).max() <= 0.501
    np.testing.assert_array_equal(layers["confidence"], layers["probabilities"].max(axis=0))
    assert not layers["disagreement"].any()


@pytest.mark.parametrize("count", [2, 5])
def test_disagreement_of_two_is_the_jensen_shannon_divergence(count):
    one, two = probabilities(count, 1), probabilities(count, 2)
    mean, inner = (one + two) / 2, (entropy_of(one) + entropy_of(two)) / 2
    found = disagreement_of(mean, inner, 2)
    # scipy gives the square root of the divergence, in bits: of two answers 1 is the most.
    wanted = jensenshannon(one.astype(float), two.astype(float), base=2, axis=0) ** 2
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_the_ends_of_the_scales():
    sure = np.zeros((4, 1, 1), np.float32)
    sure[2] = 1
    even = np.full((4, 1, 1), 0.25, np.float32)
    for scores, confidence, spread, lead in ((sure, 100, 0, 100), (even, 25, 100, 0)):
        layers = describe(scores, ("confidence", "entropy", "margin")).layers
        assert [int(v.item()) for v in layers.values()] == [confidence, spread, lead]
    answers = np.eye(4, dtype=np.float32)[..., None, None]
    nothing = np.zeros((1, 1), np.float32)
    for many, most in ((answers, 1.0), (answers[:2], 1.0), (answers[[0, 0]], 0.0)):
        assert disagreement_of(many.mean(axis=0), nothing, len(many)).item() == pytest.approx(most)
    one_class = describe(np.ones((1, 2, 2), np.float32), ("entropy", "margin")).layers
    assert (one_class["entropy"] == 0).all()
    assert (one_class["margin"] == 100).all()


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float32, (3, 5, 2, 2), elements=st.floats(0, 1, width=32)).filter(
        lambda a: (a.sum(axis=1) > 0.01).all()
    )
)
def test_layers_stay_within_their_bounds(raw):
    answers = raw / raw.sum(axis=1, keepdims=True)
    mean = answers.mean(axis=0)
    inner = np.mean([entropy_of(a) for a in answers], axis=0)
    found = disagreement_of(mean, inner, len(answers))
    assert found.min() >= 0
    assert found.max() <= 1
    for values in describe(mean, LAYERS, found).layers.values():
        assert values.dtype == np.uint8
        assert values.max() <= 100
