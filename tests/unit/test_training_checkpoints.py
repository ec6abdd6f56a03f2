"""Checkpoints: whole or passed over, never of another training, never code."""

import hashlib
import io
import os
import pickle
from dataclasses import replace

import pytest
import torch
from training_cases import CARD, SMALL, HeldOut, Land, Told, lines, trained

from geoseg.models.architectures import build
from geoseg.models.training.base import SelfTraining
from geoseg.models.training.checkpoint import Checkpoints
from geoseg.models.training.loop import train
from geoseg.models.weights_file import digest


def store(folder, **identity):
    return Checkpoints(folder, {"seed": "1", **identity})


def state(step):
    return {"step": step, "weights": torch.arange(4.0) * step}


def test_the_newest_is_found_and_two_are_kept(tmp_path):
    kept = store(tmp_path)
    assert kept.load().state is None
    for step in (5, 10, 100):
        kept.save(step, state(step))
    found = kept.load()
    assert found.notes == ()
    assert found.state["step"] == 100
    assert torch.equal(found.state["weights"], torch.arange(4.0) * 100)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-000000010.pt",
        "checkpoint-000000100.pt",
    ]
    kept.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "last byte"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, damage):
    kept = store(tmp_path)
    for step in (1, 2):
        kept.save(step, state(step))
    path = tmp_path / "checkpoint-000000002.pt"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "last byte":
        data[-1] ^= 255
    else:
        data = bytearray(b"" if damage == "empty" else b"PK not ours")
    path.write_bytes(data)
    found = kept.load()
    assert found.state["step"] == 1
    assert found.notes == (f"{path} is damaged and was passed over",)
    (tmp_path / "checkpoint-000000001.pt").write_bytes(b"")
    assert kept.load().notes[-1] == "training begins anew: no checkpoint is whole"


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    buffer = io.BytesIO()
    torch.save({"identity": {"seed": "1"}, "state": Evil()}, buffer)
    payload = buffer.getvalue()
    head = b"geoseg checkpoint 1\n" + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    (tmp_path / "checkpoint-000000001.pt").write_bytes(head + payload)
    assert store(tmp_path).load().state is None
    assert not ran.exists()
    pickle.loads(pickle.dumps(Evil()))  # noqa: S301 (it would have: this is our own)
    assert ran.exists()


def test_another_identity_is_told_and_not_gone_on_from(tmp_path):
    store(tmp_path, rate="0.1", chips="a" * 64).save(3, state(3))
    found = store(tmp_path, rate="0.2", chips="b" * 64).load()
    assert found.state is None
    assert "rate was 0.1, is 0.2; other chips" in found.notes[0]


@pytest.mark.parametrize(
    ("stop", "error", "kept"),
    [(7, KeyboardInterrupt, 7), (8, KeyboardInterrupt, 8), (8, OSError, 6)],
)
def test_going_on_gives_the_same_bits(tmp_path, stop, error, kept):
    class Stop(Told):
        def step(self, done, of, loss):
            super().step(done, of, loss)
            if done == stop:
                raise error

    wanted = digest(trained(tmp_path / "whole"))
    with pytest.raises(error):
        trained(tmp_path / "halved", watcher=Stop())
    told = Told()
    assert digest(trained(tmp_path / "halved", watcher=told)) == wanted
    assert told.notes == [f"training goes on after step {kept}"]
    assert [done for done, _, _ in told.steps] == list(range(kept + 1, 13))
    assert lines(tmp_path / "halved") == lines(tmp_path / "whole")


def test_a_finished_training_is_not_done_again(tmp_path):
    first = digest(trained(tmp_path))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    told = Told()
    assert digest(trained(tmp_path, watcher=told)) == first
    assert told.steps == []
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_beginning_anew_leaves_nothing_of_before(tmp_path):
    settings = replace(SMALL, learning_rate=0.02)
    trained(tmp_path / "a")
    assert digest(trained(tmp_path / "a", settings)) == digest(trained(tmp_path / "b", settings))
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 0.02}, "learning_rate was 0.01, is 0.02"),
        ({"losses": {"focal": 1.0}}, "losses was"),
        ({"augmentation": None}, "other augmentation"),
        ({"self_training": SelfTraining()}, "self_training"),
    ],
)
def test_changed_settings_begin_anew_and_say_so(tmp_path, changed, said):
    trained(tmp_path)
    settings = replace(SMALL, **changed)
    told = Told()
    trained(tmp_path, settings, watcher=told)
    assert "training begins anew" in told.notes[0]
    assert said in told.notes[0]
    assert [done for done, _, _ in told.steps] == list(range(1, 13))
    assert len(lines(tmp_path)) == 3


def test_other_chips_or_weights_begin_anew(tmp_path):
    trained(tmp_path)
    told = Told()
    trained(tmp_path, source=Land(2), watcher=told)
    assert "other training chips" in told.notes[0]
    told = Told()
    trained(tmp_path, source=Land(2), watcher=told, data="labels of May")
    assert "data was not set, is labels of May" in told.notes[0]
    told = Told()
    train(
        CARD,
        build(CARD, seed=7),
        Land(2),
        held_out=HeldOut(),
        settings=SMALL,
        folder=tmp_path,
        data="labels of May",
        device="cpu",
        threads=1,
        watcher=told,
    )
    assert "other first weights" in told.notes[0]


def test_keeping_checkpoints_more_often_changes_nothing(tmp_path):
    trained(tmp_path)
    told = Told()
    trained(tmp_path, replace(SMALL, checkpoint_every=1), watcher=told)
    assert told.notes == ["training goes on after step 12"]
    assert told.steps == []


def test_going_on_with_dropout_gives_the_same_bits(tmp_path):
    class Stop(Told):
        def step(self, done, of, loss):
            if done == 5:
                raise KeyboardInterrupt

    def weights(name, watcher):
        torch.manual_seed(3)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(2, 8, 1), torch.nn.Dropout(0.5), torch.nn.Conv2d(8, 2, 1)
        )
        # Whatever was drawn before in this process must not matter.
        torch.manual_seed(len(name))
        settings = replace(SMALL, steps=8)
        kept = train(
            replace(CARD, stride=1),
            network,
            Land(),
            settings=settings,
            folder=tmp_path / name,
            device="cpu",
            threads=1,
            watcher=watcher,
        )
        return digest(kept)

    with pytest.raises(KeyboardInterrupt):
        weights("ab", Stop())
    assert weights("ab", Told()) == weights("whole", Told())
