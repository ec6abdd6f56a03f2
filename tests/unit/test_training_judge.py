"""Judging and calibrating: against the engine, torch, scikit-learn and scipy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (torch's own habit)
from training_cases import CARD, HeldOut, Land

from geoseg.errors import ModelError
from geoseg.models.architectures import build
from geoseg.models.base import Batch
from geoseg.models.scaling import DYNAMICWORLD
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.models.training.base import IGNORE, LabelledChips
from geoseg.models.training.judge import _Sample, _temperature, fit_temperature, judge
from geoseg.models.training.network_input import Scaler
from geoseg.ops.calibration import calibrate


def network(card=CARD, seed=3):
    """Of which every class is somewhere the likeliest."""
    made = build(card, seed=seed)
    with torch.no_grad():
        made.head.weight.mul_(3)
        chips = Land(chips=1, side=64).batch(0)
        numbers = Scaler(card, torch.device("cpu"))
        usual = made(numbers(torch.from_numpy(chips.values), torch.from_numpy(chips.valid)))
        made.head.bias.sub_(usual.mean(dim=(0, 2, 3)))
    return made


@pytest.mark.parametrize("scaling", ["standardise", DYNAMICWORLD])
def test_it_sees_what_the_engine_sees(scaling):
    card = CARD
    if scaling == DYNAMICWORLD:
        card = replace(CARD, scaling=scaling, mean=(2.0, 2.5), std=(0.6, 0.7))
    found = judge(card, network(card), HeldOut(), device="cpu")
    engine = TorchSegmenter(card, network(card), device="cpu")
    truth, index, loss, right, count = [], [], 0.0, 0, 0
    for chips in HeldOut():
        pads = ((0, 0), (0, 0), (0, -chips.values.shape[2] % 8), (0, -chips.values.shape[3] % 8))
        values, valid = np.pad(chips.values, pads), np.pad(chips.valid, (pads[0], *pads[2:]))
        ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
        scores = engine.scores(Batch(values, ones, zeros, valid))
        scores = scores[..., : chips.labels.shape[1], : chips.labels.shape[2]]
        known = chips.labels != IGNORE
        scores = np.moveaxis(scores, 1, -1)[known]
        truth.append(chips.labels[known])
        index.append(scores.argmax(axis=1))
        loss -= np.log(scores[np.arange(len(scores)), truth[-1]].astype(float)).sum()
        right += (index[-1] == truth[-1]).sum()
        count += len(scores)
    from sklearn.metrics import confusion_matrix

    truth, index = np.concatenate(truth), np.concatenate(index)
    assert set(index) == {0, 1}
    np.testing.assert_array_equal(found.confusion.counts, confusion_matrix(truth, index))
    assert found.loss == pytest.approx(loss / count, rel=1e-5)
    assert found.scores.accuracy == pytest.approx(right / count)
    assert found.reliability.count.sum() == count
    assert found.reliability.right.sum() == right


def test_the_network_stays_in_its_mode_and_learns_nothing():
    made = network().train()
    before = {k: v.clone() for k, v in made.state_dict().items()}
    judge(CARD, made, HeldOut(), device="cpu")
    assert made.training
    assert all(torch.equal(before[k], v) for k, v in made.state_dict().items())


def test_nothing_known_is_no_score():
    class Nothing:
        def __iter__(self):
            chips = Land(chips=1).batch(0)
            yield LabelledChips(chips.values, np.full_like(chips.labels, IGNORE), chips.valid)

    found = judge(CARD, network(), Nothing(), device="cpu")
    assert found.confusion.pixels == 0
    assert found.summary(CARD) == {
        "mean_iou": None,
        "overall_accuracy": None,
        "iou": {"Low": None, "High": None},
        "loss": None,
    }
    with pytest.raises(ModelError, match="no held-out pixel has a label"):
        fit_temperature(CARD, network(), Nothing(), device="cpu")


def test_a_chip_of_other_bands_is_refused():
    class Wrong:
        def __iter__(self):
            chips = Land(chips=1).batch(0)
            yield LabelledChips(chips.values[:, :1], chips.labels, chips.valid)

    with pytest.raises(ModelError, match=r"wanted \(chip, 2, y, x\)"):
        judge(CARD, network(), Wrong(), device="cpu")


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_is_where_the_likelihood_is_least(factor):
    from scipy.optimize import minimize_scalar

    random = torch.Generator().manual_seed(1)
    logits = torch.randn(4000, 5, generator=random, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=random)[:, 0]
    found = _temperature(factor * logits, labels)

    def loss(t):
        return float(F.cross_entropy(factor * logits / t, labels))

    wanted = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6}).x
    assert found == pytest.approx(wanted, abs=2e-4)
    # Labels were drawn from the scores, so logits need no change but to undo the factor.
    assert found == pytest.approx(factor, rel=0.06)


@pytest.mark.parametrize(("right", "limit"), [(True, 0.05), (False, 20.0)])
def test_temperatures_have_an_end_where_the_likelihood_has_none(right, limit):
    logits = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1] if right else [1, 0])
    assert _temperature(logits, labels) == pytest.approx(limit, rel=0.1)


class Honest:
    """Held-out chips whose labels were drawn from what a network says."""

    def __init__(self, made):
        self.made, self.land = made, Land(99, chips=1, side=64)

    def __iter__(self):
        random = torch.Generator().manual_seed(1)
        for step in range(3):
            chips = self.land.batch(step)
            numbers = Scaler(CARD, torch.device("cpu"))
            with torch.inference_mode():
                x = numbers(torch.from_numpy(chips.values), torch.from_numpy(chips.valid))
                scores = self.made(x).softmax(dim=1)
            drawn = torch.multinomial(scores.movedim(1, -1).reshape(-1, 2), 1, generator=random)
            labels = drawn.view(1, 64, 64).to(torch.uint8).numpy()
            yield LabelledChips(chips.values, labels, chips.valid)


def test_calibration_mends_confidence():
    made, boaster = network(), network()
    with torch.no_grad():
        for part in (boaster.head.weight, boaster.head.bias):
            part.mul_(5)
    temperature = fit_temperature(CARD, boaster, Honest(made), device="cpu")
    assert temperature == pytest.approx(5, rel=0.05)
    found = judge(CARD, boaster, Honest(made), temperature=temperature, device="cpu")
    plain = judge(CARD, made, Honest(made), device="cpu")
    assert found.calibrated_loss == pytest.approx(plain.loss, rel=1e-3)
    assert found.loss > 1.2 * plain.loss
    assert calibrate(found.reliability).error > 0.1
    assert calibrate(found.calibrated).error < 0.02
    assert found.temperature == temperature


def test_few_pixels_are_as_good_as_all_and_always_the_same():
    made = network()
    whole, few, again = (
        fit_temperature(CARD, made, HeldOut(count=6), pixels=n, device="cpu")
        for n in (10**6, 2500, 2500)
    )
    assert few == again
    assert few == pytest.approx(whole, rel=0.15)
    assert few != whole


def test_a_sample_is_bounded_even_and_independent_of_its_parts():
    labels = (np.arange(100_000) % 251).astype(np.uint8)
    logits = np.arange(200_000, dtype=np.float32).reshape(-1, 2)
    taken = []
    for size in (700, 100_000):
        sample = _Sample(3000)
        for start in range(0, len(labels), size):
            sample.add(logits[start : start + size], labels[start : start + size])
        taken.append(sample.taken())
    (first, marks), (second, _) = taken
    np.testing.assert_array_equal(first, second)
    assert 1500 < len(first) <= 3000
    at = first[:, 0] // 2
    np.testing.assert_array_equal(marks, labels[at.astype(int)])
    # In every stretch about as many, and not all of one column of a chip.
    stretches = np.bincount((at // 1000).astype(int), minlength=100)
    assert stretches.min() >= len(first) / 100 * 0.8
    assert len(np.unique(at % 256)) > 200
