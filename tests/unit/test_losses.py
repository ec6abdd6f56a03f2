"""Losses against torch, smp and numbers worked out by hand; what is not known never counts."""

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError
from geoseg.models.training import losses
from geoseg.models.training.base import IGNORE, TrainingSettings
from geoseg.models.training.losses import NAMES, Pixels, make_loss

CLASSES = 4


def made(seed=0, *, chips=2, side=12, unknown=0.2, classes=CLASSES):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(chips, classes, side, side, generator=random)
    coarse = torch.randint(classes, (chips, -(-side // 4), -(-side // 4)), generator=random)
    labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :side, :side]
    labels = labels.to(torch.uint8)
    labels[torch.rand(labels.shape, generator=random) < unknown] = IGNORE
    return logits, labels


def only(name, **other):
    return make_loss(TrainingSettings(losses={name: 1.0}, **other), CLASSES)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (1.0, 0.2, 3.0, 0.0)])
def test_cross_entropy_is_torchs(smoothing, weights):
    logits, labels = made()
    found = only("cross_entropy", label_smoothing=smoothing, class_weights=weights)(logits, labels)
    wanted = F.cross_entropy(
        logits,
        labels.long(),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found, wanted)


def test_focal_without_gamma_is_cross_entropy():
    logits, labels = made()
    weights = (1.0, 0.2, 3.0, 0.5)
    plain = only("cross_entropy", class_weights=weights)(logits, labels)
    found = only("focal", focal_gamma=0.0, class_weights=weights)(logits, labels)
    torch.testing.assert_close(found, plain)


def test_focal_by_hand():
    # One pixel of which the true class has 0.8: (1 - 0.8)^2 * -ln 0.8.
    logits = torch.tensor([0.8, 0.2]).log().view(1, 2, 1, 1)
    loss = make_loss(TrainingSettings(losses={"focal": 1.0}, focal_gamma=2.0), 2)
    found = loss(logits, torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert found.item() == pytest.approx(0.04 * 0.22314355, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("dice", smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)),
        ("lovasz", smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)),
    ],
)
def test_region_losses_are_smps(name, theirs):
    logits, labels = made()
    # Smp's Dice counts absent classes as 0: all are here.
    assert set(labels.unique().tolist()) == {*range(CLASSES), IGNORE}
    torch.testing.assert_close(
        only(name)(logits, labels), theirs(logits, labels.long()), rtol=1e-5, atol=1e-6
    )


def test_soft_iou_is_smps_where_all_is_known():
    logits, labels = made(unknown=0.0)
    theirs = smp.losses.JaccardLoss("multiclass")
    torch.testing.assert_close(
        only("soft_iou")(logits, labels), theirs(logits, labels.long()), rtol=1e-5, atol=1e-6
    )


def test_dice_and_iou_by_hand():
    # Two pixels, both of class 0, of which it has 0.75 and 0.25.
    logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log().view(1, 2, 1, 2)
    labels = torch.zeros(1, 1, 2, dtype=torch.uint8)
    seen = Pixels(logits, labels)
    assert losses.dice(seen).item() == pytest.approx(1 - 2 * 1.0 / (1.0 + 2.0))
    assert losses.soft_iou(seen).item() == pytest.approx(1 - 1.0 / (1.0 + 2.0 - 1.0))


def test_lovasz_of_a_sure_map_is_one_minus_iou():
    truth = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]], dtype=torch.uint8)[None]
    mapped = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0]])[None]
    logits = 100.0 * F.one_hot(mapped, 2).movedim(-1, 1)
    iou = (2 / 4 + 4 / 6) / 2
    assert losses.lovasz(Pixels(logits, truth)).item() == pytest.approx(1 - iou, abs=1e-6)


def test_boundary_loss_of_sure_maps():
    truth = torch.zeros(1, 24, 24, dtype=torch.uint8)
    truth[:, :, 12:] = 1

    def of(mapped):
        logits = 100.0 * F.one_hot(mapped.long(), 2).movedim(-1, 1).float()
        return losses.boundary(Pixels(logits, truth)).item()

    assert of(truth) == pytest.approx(0.0, abs=1e-6)
    assert of(truth.roll(1, 2)) < 0.6  # (its wrapped column is a second, wrong boundary)
    assert of(truth.transpose(1, 2)) > 0.5
    assert of(torch.zeros_like(truth)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_numbers(name):
    logits, labels = made(chips=1, side=6, unknown=0.1)
    loss = only(name, class_weights=(1.0, 0.5, 2.0, 1.5), label_smoothing=0.1)
    given = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (given,), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31), strange=st.sampled_from([1e4, -50.0, float("inf"), float("nan")])
)
def test_what_is_not_known_never_counts(name, seed, strange):
    logits, labels = made(seed)
    other = logits.masked_fill((labels == IGNORE)[:, None], strange).requires_grad_()
    logits.requires_grad_()
    first, second = (only(name)(x, labels) for x in (logits, other))
    first.backward()
    second.backward()
    assert torch.equal(first, second)
    assert torch.equal(logits.grad, other.grad)
    assert not logits.grad.movedim(1, -1)[labels == IGNORE].any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_is_no_loss(name):
    logits, labels = made()
    logits.requires_grad_()
    loss = only(name, label_smoothing=0.1)(logits, torch.full_like(labels, IGNORE))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", NAMES)
def test_absurdly_sure_logits_give_numbers(name):
    logits, labels = made()
    given = (1e4 * logits).requires_grad_()
    loss = only(name, focal_gamma=0.5)(given, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(given.grad).all()


def test_sums_are_weighted():
    logits, labels = made()
    both = make_loss(TrainingSettings(losses={"dice": 0.5, "lovasz": 2.0, "focal": 0.0}), CLASSES)
    wanted = 0.5 * only("dice")(logits, labels) + 2.0 * only("lovasz")(logits, labels)
    torch.testing.assert_close(both(logits, labels), wanted)


def test_half_precision_logits_are_summed_in_full():
    logits, labels = made(chips=4, side=64)
    for name in NAMES:
        found = only(name)(logits.bfloat16(), labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, only(name)(logits, labels), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"losses": {"dise": 1.0}}, "did you mean 'dice'"),
        ({"losses": {"dice": -1.0}}, "wanted a weight from 0"),
        ({"losses": {"dice": float("nan")}}, "wanted a weight from 0"),
        ({"losses": {"dice": 0.0}}, "nothing to learn by"),
        ({"losses": {}}, "nothing to learn by"),
        ({"class_weights": (1.0,)}, "found 1 numbers; wanted 4"),
        ({"class_weights": (0.0,) * 4}, "not all 0"),
        ({"label_smoothing": 1.0}, "wanted a share below 1"),
        ({"focal_gamma": -1.0}, "wanted a number from 0"),
    ],
)
def test_bad_settings_are_refused(changed, said):
    with pytest.raises(ModelError, match=said):
        make_loss(TrainingSettings(**changed), CLASSES)
