"""From a package to training and back: what is carried over, and what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training_cases import CARD

from geoseg.errors import ModelError, ProductError
from geoseg.legend import LandClass, Legend
from geoseg.models.architectures import build
from geoseg.models.base import Batch
from geoseg.models.card import load_card
from geoseg.models.proof import examine
from geoseg.models.registry import ModelPackage, find
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.models.training.finish import finish
from geoseg.models.training.start import begin, start_network
from geoseg.models.weights_file import digest, save_package

MORE = replace(CARD, bands=("nir", "swir16", "red"), mean=(0.3, 0.2, 0.2), std=(0.1, 0.1, 0.1))


@pytest.fixture
def package(tmp_path):
    return ModelPackage(save_package(build(CARD, seed=5), CARD, tmp_path), tmp_path)


def classes(*names):
    return Legend("new", tuple(LandClass(i, n, "#000000") for i, n in enumerate(names, 1)))


def seen(network, values):
    with torch.inference_mode():
        return network.eval()(values)


def test_without_a_start_weights_are_those_of_the_seed():
    assert digest(start_network(CARD, start=None, seed=4)) == digest(build(CARD, seed=4))
    made = begin(CARD, start=None, seed=4)
    assert not made.carried
    assert made.notes == ("random weights of seed 4",)


def test_the_same_card_gives_the_same_weights(package):
    made = begin(CARD, start=package, seed=0)
    assert digest(made.network) == digest(build(CARD, seed=5))
    assert not made.fresh
    assert not made.adapted


def test_bands_are_carried_over_by_name(package):
    made = begin(MORE, start=package, seed=0)
    assert made.adapted == ("stem.0.weight",)
    assert not made.fresh
    x = torch.randn(1, 3, 32, 32)
    # The new band changes nothing yet, and the others are what they were.
    torch.testing.assert_close(seen(made.network, x), seen(build(CARD, seed=5), x[:, [2, 0]]))
    assert "new swir16" in " ".join(made.notes)


def test_a_new_band_can_be_learnt_from(package):
    network = begin(MORE, start=package, seed=0).network.train()
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert network.stem[0].weight.grad[:, 1].abs().max() > 0


def test_other_deviations_are_made_up_for(package):
    card = replace(CARD, bands=("nir", "red"), mean=(0.3, 0.2), std=(0.2, 0.05))
    made = begin(card, start=package, seed=0)
    values = torch.rand(1, 2, 32, 32)
    mean, std = (torch.tensor([0.3, 0.2]).view(2, 1, 1), torch.tensor([0.2, 0.05]).view(2, 1, 1))
    old = torch.stack([(values[:, 1] - 0.2) / 0.1, (values[:, 0] - 0.3) / 0.1], dim=1)
    torch.testing.assert_close(
        seen(made.network, (values - mean) / std), seen(build(CARD, seed=5), old)
    )


def test_other_classes_get_a_fresh_head(package):
    made = begin(replace(CARD, legend=classes("Low", "Other")), start=package, seed=8)
    assert set(made.fresh) == {"head.weight", "head.bias"}
    assert torch.equal(made.network.head.weight, build(CARD, seed=8).head.weight)
    assert torch.equal(made.network.stem[0].weight, build(CARD, seed=5).stem[0].weight)
    assert "the last layer is random" in " ".join(made.notes)
    three = begin(replace(CARD, legend=classes("Low", "High", "Third")), start=package, seed=8)
    assert three.network.head.weight.shape[0] == 3


def test_classes_in_another_order_are_put_in_order(package):
    made = begin(replace(CARD, legend=classes("High", "Low")), start=package, seed=8)
    x = torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(seen(made.network, x), seen(build(CARD, seed=5), x).flip(1))


def test_a_wider_network_of_the_same_kind_takes_what_fits(package):
    wider = {"name": "geoseg-unet", "widths": [4, 6, 8, 12], "depths": [0, 1, 1]}
    made = begin(replace(CARD, architecture=wider), start=package, seed=8)
    assert "stem.0.weight" in made.carried
    assert any(name.startswith("down.2") for name in made.fresh)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "dynamicworld"}, "of architecture 'dynamicworld'"),
        ({"name": "geoseg-unet", "widths": [5, 7, 9, 11], "depths": [0, 0, 0]}, "no tensor of"),
    ],
)
def test_what_does_not_fit_is_refused(package, architecture, said):
    with pytest.raises(ModelError, match=said):
        begin(replace(CARD, architecture=architecture), start=package, seed=0)


def test_a_start_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no weights to start from"):
        begin(CARD, start=ModelPackage(CARD, tmp_path), seed=0)


def test_a_shipped_model_can_be_started_from():
    package = find("landcover-s2")
    card = replace(package.card, legend=classes("Water", "Other"))
    made = begin(card, start=package, seed=0)
    assert set(made.fresh) == {"head.weight", "head.bias"}
    assert len(made.carried) > 30


def test_an_encoder_of_the_zoo_can_be_started_from(tmp_path):
    zoo = {
        "name": "unet",
        "encoder": "resnet18",
        "encoder_depth": 3,
        "decoder_channels": [16, 8, 8],
    }
    card = replace(CARD, architecture=zoo)
    network = build(card, seed=2)
    package = ModelPackage(save_package(network, card, tmp_path), tmp_path)
    made = begin(replace(MORE, architecture=zoo, legend=classes("A", "B")), start=package, seed=0)
    assert made.adapted == ("encoder.conv1.weight",)
    assert all(name.startswith("segmentation_head") for name in made.fresh)


def test_finish_measures_and_writes_what_opens(tmp_path):
    network = build(CARD, seed=1)
    card = finish(CARD, network, tmp_path / "tiny", about={"temperature": 1.5, "title": "Tiny"})
    assert [line for line in examine(find(tmp_path / "tiny")) if line.fault] == []
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    assert load_card(tmp_path / "tiny" / "card.json") == card
    assert card.margin % 8 == 0
    assert card.margin >= card.reach > card.margin - 8
    assert card.size > 2 * card.margin
    assert card.about["parameters"] == sum(p.numel() for p in network.parameters())
    engine = TorchSegmenter.load(find(tmp_path / "tiny"), device="cpu")
    values = np.random.default_rng(0).random((1, 2, 32, 32), np.float32)
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    scores = engine.scores(Batch(values, ones, zeros, np.ones((1, 32, 32), bool)))
    mean, std = (torch.tensor(v).view(2, 1, 1) for v in (CARD.mean, CARD.std))
    wanted = (seen(network, (torch.from_numpy(values) - mean) / std) / 1.5).softmax(dim=1)
    np.testing.assert_allclose(scores, wanted.numpy(), atol=1e-5)


def test_finish_replaces_a_package_and_gives_the_same_bytes(tmp_path):
    folder = tmp_path / "tiny"
    finish(CARD, build(CARD, seed=1), folder, about={})
    (folder / "old.txt").write_text("old")
    finish(CARD, build(CARD, seed=2), folder, about={})
    first = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(first) == {"card.json", "check.json", "weights.safetensors"}
    finish(CARD, build(CARD, seed=2), folder, about={})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == first
    assert json.loads(first["card.json"])["assets"]["weights"]["file:checksum"][4:]


def test_finish_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "tiny"
    finish(CARD, build(CARD, seed=1), folder, about={})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_args, **_rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoseg.models.training.finish.save_package", full)
    with pytest.raises(ProductError, match="No space left"):
        finish(CARD, build(CARD, seed=2), folder, about={})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_a_network_without_an_end_keeps_the_margin_of_its_card(tmp_path):
    pools = replace(CARD, margin=32, stride=32, size=128, architecture={"name": "fast-scnn"})
    found = finish(pools, build(pools, seed=1), tmp_path / "tiny", about={})
    assert found.reach is None
    assert found.margin == 32


ZOO = {"name": "unet", "encoder": "resnet18", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}
RGB = ("red", "green", "blue")
PICTURES = replace(
    CARD, architecture=ZOO, bands=("nir", "red", "green"), mean=(0.2,) * 3, std=(0.1,) * 3
)


@pytest.mark.parametrize("prefix", ["", "backbone.", "encoder.model."])
def test_an_encoder_comes_from_a_file_of_pictures(tmp_path, prefix):
    theirs = build(PICTURES, seed=11).encoder.state_dict()
    path = tmp_path / "resnet18.safetensors"
    save_file({f"{prefix}{k}": v for k, v in theirs.items()} | {"fc.weight": torch.ones(3)}, path)
    red, green, blue = theirs["conv1.weight"].unbind(1)
    made = begin(replace(PICTURES, bands=RGB), start=None, seed=0, encoder=path)
    assert torch.equal(made.network.encoder.conv1.weight, theirs["conv1.weight"])
    # Three bands, too, but others.
    made = begin(PICTURES, start=None, seed=0, encoder=path)
    wanted = torch.stack([(red + green + blue) / 3, red, green], dim=1)
    torch.testing.assert_close(made.network.encoder.conv1.weight, wanted)
    card = replace(PICTURES, bands=("blue", "nir", "red", "green"), mean=(0,) * 4, std=(1,) * 4)
    made = begin(card, start=None, seed=0, encoder=path)
    assert made.adapted == ("encoder.conv1.weight",)
    wanted = torch.stack([blue, (red + green + blue) / 3, red, green], dim=1) * 0.75
    torch.testing.assert_close(made.network.encoder.conv1.weight, wanted)
    loaded = made.network.encoder.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in theirs.items() if k != "conv1.weight")


def test_files_of_other_encoders_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"layer1.0.conv1.weight": torch.ones(2, 2)}, path)
    with pytest.raises(ModelError, match="not weights of the encoder 'resnet18'"):
        begin(PICTURES, start=None, seed=0, encoder=path)
    with pytest.raises(ModelError, match="has no encoder"):
        begin(CARD, start=None, seed=0, encoder=path)
    with pytest.raises(ModelError, match="pickles"):
        begin(PICTURES, start=None, seed=0, encoder=tmp_path / "weights.pth")
    path.write_bytes(b"\0" * 20)
    with pytest.raises(ModelError, match="not a safetensors file"):
        begin(PICTURES, start=None, seed=0, encoder=path)
