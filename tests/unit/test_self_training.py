"""The mean teacher: what it says, when it is listened to, and that it helps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import CARD, SMALL, Land, Told, trained

from geoseg.errors import InputError, ModelError
from geoseg.models.training.base import (
    IGNORE,
    Augmentation,
    LabelledChips,
    SelfTraining,
    TrainingSettings,
)
from geoseg.models.training.judge import judge
from geoseg.models.training.loop import train
from geoseg.models.training.self_training import MeanTeacher
from geoseg.models.weights_file import digest

MOONS = replace(CARD, mean=(0.5, 0.25), std=(0.9, 0.5), stride=1)


def moons(random, shape):
    """Two interleaved half circles as pixels: values ``(2, y, x)`` and which one ``(y, x)``."""
    which = random.integers(0, 2, shape)
    angle = random.uniform(0, math.pi, shape)
    x = np.where(which == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(which == 0, np.sin(angle), 0.5 - np.sin(angle))
    values = np.stack([x, y]) + random.normal(0, 0.06, (2, *shape))
    return values.astype(np.float32), which.astype(np.uint8)


class Moons:
    """Chips of moons; ``known`` pixels of each have a label, all the same chip if ``fixed``."""

    def __init__(self, seed, *, known=None, fixed=False, chips=1, side=16):
        self.seed, self.known, self.fixed, self.chips, self.side = seed, known, fixed, chips, side

    def batch(self, step):
        random = np.random.default_rng([self.seed, 0 if self.fixed else step])
        values, labels = moons(random, (self.chips, self.side, self.side))
        if self.known is not None:
            hidden = np.ones(labels.size, bool)
            for k in (0, 1):
                at = np.flatnonzero(labels.ravel() == k)
                hidden[random.permutation(at)[: self.known]] = False
            labels[hidden.reshape(labels.shape)] = IGNORE
        return LabelledChips(
            np.ascontiguousarray(values.swapaxes(0, 1)), labels, np.ones(labels.shape, np.bool_)
        )

    def __iter__(self):
        return iter([self.batch(0)])


def small():
    torch.manual_seed(0)
    parts = []
    for inputs in (2, 24):
        parts += [nn.Conv2d(inputs, 24, 1), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(24, 2, 1))


def learnt(folder, self_training, seed):
    """Mean IoU on all pixels, after learning from a few."""
    jitter = Augmentation(
        scale=(1.0, 1.0), gain=0, band_gain=0, offset=0, haze=0, haze_share=0, noise=0.12
    )
    settings = TrainingSettings(
        steps=200,
        batch=1,
        losses={"cross_entropy": 1.0},
        learning_rate=0.01,
        ema=0.97,
        augmentation=jitter,
        self_training=self_training,
        validate_every=200,
        checkpoint_every=200,
    )
    with torch.random.fork_rng():
        network = small()
    network = train(
        MOONS,
        network,
        Moons(seed, known=6, fixed=True),
        settings=settings,
        folder=folder,
        unlabelled=None if self_training is None else Moons(50, known=0),
        device="cpu",
        threads=1,
        watcher=Told(),
    )
    return judge(MOONS, network, Moons(99, side=64), device="cpu").scores.mean_iou


@pytest.mark.parametrize("seed", [4, 5])
def test_it_learns_the_shape_of_moons_from_twelve_labels(tmp_path, seed):
    alone = learnt(tmp_path / "alone", None, seed)
    taught = learnt(tmp_path / "taught", SelfTraining(), seed)
    assert taught > alone + 0.05


def test_the_same_seed_gives_the_same_bits(tmp_path):
    settings = replace(SMALL, self_training=SelfTraining(confidence=0.5))
    first, again = (digest(trained(tmp_path / name, settings)) for name in "ab")
    assert first == again
    assert first != digest(trained(tmp_path / "c"))


def test_the_weight_grows_to_its_full_size():
    teacher = MeanTeacher(SelfTraining(weight=2.0, ramp=0.5), 100, nn.Identity())
    weights = [teacher.weight(step) for step in range(100)]
    assert weights[0] == pytest.approx(2 * math.exp(-5))
    assert weights[25] == pytest.approx(2 * math.exp(-1.25))
    assert weights[50:] == [2.0] * 50
    assert weights == sorted(weights)
    assert MeanTeacher(SelfTraining(ramp=0.0), 100, nn.Identity()).weight(0) == 1.0


def test_only_sure_and_valid_pixels_teach():
    scores = torch.tensor([[0.9, 0.75, 0.1, 0.95], [0.1, 0.25, 0.9, 0.05]])
    logits = scores.log().view(1, 2, 1, 4)
    valid = torch.tensor([[[True, True, True, False]]])
    teacher = MeanTeacher(SelfTraining(confidence=0.8), 10, nn.Identity())
    labels, share = teacher.labels(logits, valid)
    assert labels.tolist() == [[[0, IGNORE, 1, IGNORE]]]
    assert labels.dtype == torch.uint8
    assert share == pytest.approx(2 / 3)


def test_labels_of_unlabelled_chips_are_not_looked_at(tmp_path):
    class Lies(Land):
        def batch(self, step):
            chips = super().batch(step)
            return LabelledChips(chips.values, np.full_like(chips.labels, IGNORE), chips.valid)

    settings = replace(SMALL, self_training=SelfTraining(confidence=0.5))

    def weights(name, land):
        network = small()
        kept = train(
            replace(CARD, stride=1),
            network,
            Land(),
            settings=settings,
            folder=tmp_path / name,
            unlabelled=land,
            device="cpu",
            threads=1,
            watcher=Told(),
        )
        return digest(kept)

    assert weights("a", Land(7)) == weights("b", Lies(7))


def test_half_of_it_is_refused(tmp_path):
    with pytest.raises(InputError, match="there are settings for it, but no chips"):
        train(
            CARD,
            small(),
            Land(),
            settings=replace(SMALL, self_training=SelfTraining()),
            folder=tmp_path,
            device="cpu",
            watcher=Told(),
        )
    with pytest.raises(InputError, match="there are chips for it, but no settings"):
        train(
            CARD,
            small(),
            Land(),
            settings=SMALL,
            folder=tmp_path,
            unlabelled=Land(7),
            device="cpu",
            watcher=Told(),
        )
    with pytest.raises(ModelError, match="ema: found 0; self-training needs"):
        trained(tmp_path, replace(SMALL, ema=0.0, self_training=SelfTraining()))
