"""The training loop: it learns, tells, keeps the best, and says what is wrong."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_cases import CARD, SMALL, HeldOut, Land, Told, lines, trained

from geoseg.errors import InputError, ModelError, TrainingError
from geoseg.models.architectures import build
from geoseg.models.training.base import IGNORE, Augmentation, LabelledChips, TrainingSettings
from geoseg.models.training.judge import judge
from geoseg.models.training.loop import train
from geoseg.models.training.schedule import learning_rate
from geoseg.models.weights_file import digest


def test_it_learns(tmp_path):
    told = Told()
    network = trained(tmp_path, replace(SMALL, steps=60, validate_every=20), watcher=told)
    assert not network.training
    found = judge(CARD, network, HeldOut(), device="cpu").scores
    assert found.mean_iou > 0.9
    assert [done for done, _, _ in told.steps] == list(range(1, 61))
    assert [look.step for look in told.looks] == [20, 40, 60]
    best = max(look.held_out["mean_iou"] for look in told.looks)
    assert found.mean_iou == pytest.approx(best, abs=1e-6)
    for look, start in zip(told.looks, (0, 20, 40), strict=True):
        mean = np.mean([loss for _, _, loss in told.steps[start : start + 20]])
        assert look.loss == pytest.approx(mean)
    assert lines(tmp_path) == [
        {
            "step": look.step,
            "loss": look.loss,
            "learning_rate": look.learning_rate,
            "held_out": look.held_out,
        }
        for look in told.looks
    ]


def test_the_same_seed_gives_the_same_bits_and_another_others(tmp_path):
    first, again, other = (
        digest(trained(tmp_path / name, replace(SMALL, seed=seed)))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other


def test_global_random_numbers_are_neither_used_nor_changed(tmp_path):
    torch.manual_seed(1)
    first = digest(trained(tmp_path / "a"))
    left = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), left)
    torch.manual_seed(2)
    assert digest(trained(tmp_path / "b")) == first


def test_the_last_weights_are_kept_where_nothing_is_held_out(tmp_path):
    told = Told()
    trained(tmp_path, held_out=False, watcher=told)
    assert [look.held_out for look in told.looks] == [None] * 3
    assert lines(tmp_path)[0]["held_out"] is None


def test_patience_ends_it(tmp_path):
    # Nothing is learnt at a rate of nearly 0, so that no look is better than the first.
    settings = replace(SMALL, steps=40, learning_rate=1e-30, ema=0.0, patience=2, weight_decay=0)
    settings = replace(settings, validate_every=2)
    told = Told()

    class Still(torch.nn.Conv2d):
        pass

    network = Still(2, 2, 1)
    train(
        CARD,
        network,
        Land(),
        held_out=HeldOut(),
        settings=settings,
        folder=tmp_path,
        device="cpu",
        threads=1,
        watcher=told,
    )
    assert [look.step for look in told.looks] == [2, 4, 6]


def test_without_an_average_the_network_itself_is_judged(tmp_path):
    settings = replace(SMALL, ema=0.0, steps=30, validate_every=30)
    told = Told()
    network = trained(tmp_path, settings, watcher=told)
    found = judge(CARD, network, HeldOut(), device="cpu").summary(CARD)
    assert found == told.looks[-1].held_out
    assert found["mean_iou"] > 0.7


def test_precision_bf16_learns_too(tmp_path):
    network = trained(tmp_path, replace(SMALL, steps=40, precision="bf16", validate_every=40))
    assert judge(CARD, network, HeldOut(), device="cpu").scores.mean_iou > 0.85
    assert all(t.dtype != torch.bfloat16 for t in network.state_dict().values())


def test_batches_without_labels_do_no_harm(tmp_path):
    class Nothing(Land):
        def batch(self, step):
            chips = super().batch(step)
            return LabelledChips(chips.values, np.full_like(chips.labels, IGNORE), chips.valid)

    told = Told()
    trained(tmp_path, source=Nothing(), watcher=told)
    assert {loss for _, _, loss in told.steps} == {0.0}


def test_chips_that_no_stride_divides(tmp_path):
    told = Told()
    trained(tmp_path, replace(SMALL, augmentation=None), source=Land(side=29), watcher=told)
    assert len(told.steps) == 12


def test_a_loss_that_is_no_number_says_what_to_try(tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+: .*learning_rate below 1e\+30"):
        trained(tmp_path, replace(SMALL, learning_rate=1e30, warmup=0.0, clip=0.0))


def test_values_that_are_no_numbers_are_named(tmp_path):
    class Broken(Land):
        def batch(self, step):
            chips = super().batch(step)
            if step == 2:
                chips.values[:, 0] = np.nan
            return chips

    with pytest.raises(TrainingError, match=r"step 3: .*are not finite"):
        trained(tmp_path, source=Broken())


def test_what_goes_wrong_while_reading_ahead_is_told(tmp_path):
    class Torn(Land):
        def batch(self, step):
            if step == 5:
                raise OSError("the disk is gone")
            return super().batch(step)

    told = Told()
    with pytest.raises(OSError, match="the disk is gone"):
        trained(tmp_path, source=Torn(), watcher=told)
    assert len(told.steps) == 5


def test_only_what_is_needed_is_read(tmp_path):
    land = Land()
    trained(tmp_path, source=land)
    assert land.asked == [0, *range(12)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 0}, "steps: found 0"),
        ({"checkpoint_every": 0}, "checkpoint_every: found 0"),
        ({"ema": 1.5}, "ema: found 1.5; wanted a number from 0 to 1"),
        ({"seed": -1}, "seed: found -1"),
        ({"learning_rate": float("nan")}, "learning_rate: found nan"),
        ({"augmentation": Augmentation(scale=(1.3, 0.7))}, "smaller one first"),
        ({"precision": "fp16"}, "needs CUDA"),
        ({"losses": {"dyce": 1.0}}, "did you mean 'dice'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        trained(tmp_path / "new", replace(SMALL, **changed))
    assert not (tmp_path / "new").exists()


def test_chips_of_any_layout_are_taken(tmp_path):
    class Odd(Land):
        def batch(self, step):
            chips = super().batch(step)
            values = chips.values.astype(np.float64)[..., ::-1]
            labels, valid = chips.labels[..., ::-1], chips.valid[..., ::-1]
            for array in (values, labels, valid):
                array.flags.writeable = False
            return LabelledChips(values, labels, valid)

    class Plain(Odd):
        def batch(self, step):
            chips = super().batch(step)
            parts = (chips.values.astype(np.float32), chips.labels.copy(), chips.valid.copy())
            return LabelledChips(*parts)

    first = digest(trained(tmp_path / "odd", source=Odd()))
    assert first == digest(trained(tmp_path / "plain", source=Plain()))


def test_labels_of_pixels_that_are_not_valid_are_not_learnt_from(tmp_path):
    class Claims(Land):
        def batch(self, step):
            chips = super().batch(step)
            labels = np.where(chips.valid, chips.labels, np.uint8(1))
            return LabelledChips(chips.values, labels, chips.valid)

    settings = replace(SMALL, augmentation=None)
    first = digest(trained(tmp_path / "a", settings, source=Claims()))
    assert first == digest(trained(tmp_path / "b", settings))


def test_bad_chips_are_refused(tmp_path):
    class Wrong(Land):
        def batch(self, step):
            chips = super().batch(step)
            return LabelledChips(chips.values, chips.labels + np.uint8(1), chips.valid)

    with pytest.raises(ModelError, match="has the label 2; wanted indices below 2"):
        trained(tmp_path, source=Wrong(unknown=0.0))


def test_schedule():
    settings = TrainingSettings(steps=100, warmup=0.1, learning_rate=2.0)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == max(rates) == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert 0 < rates[-1] < 0.01
    flat = [learning_rate(replace(settings, warmup=0.0, steps=1), 0)]
    assert flat == [2.0]


def test_the_average_is_the_recursion(tmp_path):
    from geoseg.models.training.ema import Average

    network = build(CARD, seed=0).train()
    average = Average(network, 0.9)
    wanted = {k: v.clone() for k, v in network.state_dict().items()}
    for step in range(30):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(0.1)
        network(torch.randn(2, 2, 16, 16))
        average.follow(step)
        keep = min(0.9, (1 + step) / (10 + step))
        for name, new in network.state_dict().items():
            old = wanted[name]
            wanted[name] = keep * old + (1 - keep) * new if old.is_floating_point() else new.clone()
    for name, tensor in average.network.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name])
    assert Average(network, 0.0).network is network


def test_metrics_are_json_that_others_read(tmp_path):
    trained(tmp_path, replace(SMALL, augmentation=Augmentation(elastic=1.0)))
    for text in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines():
        found = json.loads(text, parse_constant=pytest.fail)
        assert math.isfinite(found["loss"])
