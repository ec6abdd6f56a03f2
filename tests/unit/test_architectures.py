"""Every architecture that a card may name is built from it, runs, and keeps its weights."""

import hashlib
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.errors import InputError, ModelError
from geoseg.models.architectures import NAMES, build, check_stride
from geoseg.models.registry import ModelPackage
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.models.weights_file import load_weights, save_package
from geoseg.testing import fake_card, random_batch

BANDS = ("blue", "green", "red", "nir")
OWN = {"name": "geoseg-unet", "widths": [4, 4, 8, 8]}
SMALL = {
    "dpt": ("vit_tiny_patch16_224", 32),
    "dynamicworld": (None, 32),
    "fast-scnn": (None, 32),
    "geoseg-unet": (None, 8),
    "lraspp": ("mobilenetv3_small_050", 16),
    "mask2former": (None, 32),
    "pspnet": ("resnet18", 8),
    "deeplabv3": ("resnet18", 8),
    "deeplabv3plus": ("resnet18", 16),
    "segformer": ("mit_b0", 32),
}


def card_of(architecture, stride=8):
    card = fake_card("candidate", bands=BANDS, reach=None)
    return replace(card, architecture=architecture, stride=stride, size=stride * 8)


def small_card(name):
    encoder, stride = SMALL.get(name, ("resnet18", 32))
    architecture = {"name": name} if encoder is None else {"name": name, "encoder": encoder}
    return card_of(architecture, stride)


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a connection fails."""

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "transformers"])
def test_builds_and_runs(name):
    card = small_card(name)
    network = build(card)
    assert not network.training
    batch = random_batch(card, (64, 96), chips=2)
    with torch.inference_mode():
        z = torch.from_numpy(batch.values * batch.scale[0]).float()
        z = torch.where(torch.from_numpy(batch.valid)[:, None], z, 0.0)
        wanted = torch.softmax(network(z), dim=1).numpy()
    scores = TorchSegmenter(card, network, device="cpu", threads=1).scores(batch)
    assert scores.shape == (2, 2, 64, 96)
    # Norms are folded into convolutions and the memory is laid out anew, which rounds otherwise: by
    # up to 1.2e-5 on a processor without AVX-512.
    np.testing.assert_allclose(scores, wanted, atol=3e-5)


@pytest.mark.parametrize("encoder", ["mobilenetv2_100", "tu-mobilenetv2_100", "mobilenet_v2"])
def test_encoders_of_timm_and_of_smp(encoder):
    more = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    card = card_of({"name": "unet", "encoder": encoder, **more})
    check_stride(build(card), card)


def test_the_seed_makes_the_weights_and_nothing_else_does():
    card = card_of(OWN)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = build(card, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(8)
    again, other = build(card, seed=3).state_dict(), build(card, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


WRONG = {
    "name": ({"name": "unett"}, r"no architecture 'unett', did you mean 'unet'\? known: .*fpn"),
    "no name": ({}, r"no architecture None; known: .*geoseg-unet"),
    "encoder": (
        {"name": "unet", "encoder": "resnet81"},
        r"no encoder 'resnet81', did you mean 'resnet18'\?",
    ),
    "strange encoder": ({"name": "unet", "encoder": "@@@"}, r"no encoder '@@@'; encoders of"),
    "no vit of smp": ({"name": "dpt", "encoder": "mit_b0"}, r"no encoder 'mit_b0'"),
    "parameter": (
        {"name": "unet", "decoder_chanels": [1]},
        r"unet has no parameter 'decoder_chanels', did you mean 'decoder_channels'\?",
    ),
    "own parameter": ({**OWN, "width": [1]}, r"no parameter 'width', did you mean 'widths'\?"),
    "weights from elsewhere": (
        {"name": "unet", "encoder_weights": "imagenet"},
        r"no parameter 'encoder_weights'",
    ),
    "widths": ({**OWN, "widths": [4, 4, 0, 4]}, r"widths \[4, 4, 0, 4\]; wanted 4 whole numbers"),
    "depths": ({**OWN, "depths": 3}, r"depths 3; wanted 3 whole numbers like \[1, 2, 2\]"),
    "value": (
        {"name": "unet", "encoder": "resnet18", "encoder_depth": 3},
        r"unet cannot be built with .*encoder_depth.*3",
    ),
    "type of value": (
        {"name": "unet", "encoder": "resnet18", "decoder_channels": "wide"},
        r"unet cannot be built with",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_built_is_said_in_a_line(what):
    architecture, message = WRONG[what]
    with pytest.raises(ModelError, match=f"^model 'candidate': .*{message}") as caught:
        build(card_of(architecture))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("architecture", "stride"),
    [
        (OWN, 4),
        ({"name": "unet", "encoder": "resnet18"}, 16),
        (small_card("pspnet").architecture, 4),
    ],
)
def test_a_card_whose_stride_is_too_small_is_refused(architecture, stride):
    card = card_of(architecture, stride)
    with pytest.raises(ModelError, match=rf"^model 'candidate': .*\b{stride}\b") as caught:
        TorchSegmenter.untrained(card)
    assert "\n" not in str(caught.value)


def test_a_stride_may_be_larger_than_needed():
    TorchSegmenter.untrained(card_of(OWN, 16))


@pytest.mark.parametrize("architecture", [OWN, {"name": "fpn", "encoder": "resnet18"}])
def test_weights_come_back(architecture, tmp_path):
    card = card_of(architecture, 8 if architecture == OWN else 32)
    network = build(card, seed=1)
    _unsettle_norms(network)
    kept = save_package(network, card, tmp_path / "one")
    raw = (tmp_path / "one" / "weights.safetensors").read_bytes()
    assert kept.sha256 == hashlib.sha256(raw).hexdigest()
    again = save_package(network, card, tmp_path / "two")
    assert (again, (tmp_path / "two" / "weights.safetensors").read_bytes()) == (kept, raw)
    batch = random_batch(card, (64, 64))
    loaded = TorchSegmenter.load(ModelPackage(kept, tmp_path / "one"), device="cpu", threads=1)
    wanted = TorchSegmenter(card, network, device="cpu", threads=1).scores(batch)
    np.testing.assert_array_equal(loaded.scores(batch), wanted)


def test_batch_counters_in_a_file_are_passed_over(tmp_path):
    from safetensors.torch import save_file

    card = card_of(OWN)
    network = build(card, seed=2)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = build(card, seed=3)
    load_weights(other, tmp_path / "weights.safetensors", None)
    assert all(
        torch.equal(tensor, other.state_dict()[name])
        for name, tensor in network.state_dict().items()
    )


def _unsettle_norms(network):
    """Give batch norms statistics as training would, so that losing them shows."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
