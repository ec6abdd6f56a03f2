"""Models of others through each door of the command line, and what each door refuses."""

import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from packages import write_package
from refusals import ask, check_words, contents
from safetensors.torch import load_file, save_file

from geoseg.models.architectures import build
from geoseg.models.measuring import named_card
from geoseg.models.registry import find, open_segmenter
from geoseg.testing import random_batch

TINY = {"name": "geoseg-unet", "widths": [2, 2, 2, 2], "depths": [0, 0, 0]}
SAY = ("--bands", "red,green,blue", "--classes", "Land,Water", "--units", "dn")


class Trap:
    """Loading this pickle would leave a file behind."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to stand in, and another for models."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "here"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("made"), "tiny", architecture=TINY)


def network(planes=2, bands=3):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(bands, planes, 3, padding=1), torch.nn.Softmax(1))


def onnx_file(path, *, net=None, bands=3, sides=None, metadata=None):
    """A small ONNX network as somebody else would bring it."""
    import onnx

    net = net or network(bands=bands)
    free = None if sides else {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n", 2: "h", 3: "w"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.zeros(1, bands, sides or 32, sides or 32),), path,
                          dynamo=False, input_names=["x"], output_names=["y"],
                          dynamic_axes=free)  # fmt: skip
    model = onnx.load(path)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    onnx.save(model, path)
    return path


DEEPNESS = {
    "model_type": "Segmentor",
    "class_names": {"0": "field", "1": "road"},
    "resolution": 21,
    "tiles_size": 64,
    "tiles_overlap": 25,
    "standardization_mean": [0.5, 0.4, 0.3],
    "standardization_std": [0.2, 0.2, 0.1],
}


def test_a_deepness_file_needs_nothing_else():
    onnx_file("roads.onnx", sides=64, metadata=DEEPNESS)
    card = find("./roads.onnx").card
    assert (card.bands, card.units) == (("red", "green", "blue"), "dn")
    assert card.legend.names == ("field", "road")
    assert card.gsd == (0.21, 0.21)
    assert (card.size, card.margin, card.fixed) == (64, 8, True)
    assert card.mean == pytest.approx((127.5, 102.0, 76.5))
    assert card.std == pytest.approx((51.0, 51.0, 25.5))
    batch = random_batch(card, (64, 64))
    found = open_segmenter(find("./roads.onnx"), device="cpu", threads=1).scores(batch)
    mean, std = (np.reshape(DEEPNESS[f"standardization_{k}"], (-1, 1, 1)) for k in ("mean", "std"))
    x = torch.from_numpy((batch.values / 255.0 - mean) / std).float()
    x = torch.where(torch.from_numpy(batch.valid)[:, None], x, 0.0)
    with torch.inference_mode():
        np.testing.assert_allclose(found, network()(x).numpy(), atol=1e-5)
    assert ask(["models", "add", "roads.onnx", "--name", "roads", "--bands", "nir,red,green"]) == 0
    assert find("roads").card.bands == ("nir", "red", "green")
    assert ask(["models", "check", "roads"]) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model_type": "Detector"}, "a Deepness model of the type 'Detector'"),
        ({"class_names": {"0": "a", "1": "b", "2": "c"}}, "gives 2 classes, its metadata name 3"),
        ({"class_names": {"1": "field", "2": "road"}}, "wanted a mapping from 0"),
        ({"standardization_mean": [1.0]}, "standardization_mean: found [1.0]; wanted 3 numbers"),
        ({"standardization_std": [0, 0, 0]}, "wanted numbers above 0"),
        ({"resolution": "fine"}, "metadata resolution: found 'fine'; wanted a number"),
    ],
)
def test_deepness_keys_that_do_not_fit(keys, message, capfd):
    onnx_file("m.onnx", sides=64, metadata=DEEPNESS | keys)
    refused(["models", "add", "m.onnx"], message, capfd)


def refused(request, message, capfd):
    """One line, exit code 2, and nothing is written."""
    folders = [Path.cwd(), Path(os.environ["GEOSEG_MODELS"])]
    before = [contents(folder) for folder in folders]
    capfd.readouterr()
    code = ask(request)
    out, told = capfd.readouterr()
    assert code == 2, told
    check_words(told, (message,), lines=1)
    assert not out
    assert [contents(folder) for folder in folders] == before
    assert not Path("sprung").exists()


def test_onnx_that_says_nothing_is_told_about(capfd):
    onnx_file("plain.onnx")
    refused(["models", "show", "./plain.onnx"], "geoseg models add plain.onnx --bands", capfd)
    refused(["models", "add", "plain.onnx"], "add --bands, --classes, --units", capfd)
    refused(["models", "add", "plain.onnx", *SAY[:4], "--units", "dn", "--bands", "red,nir"],
            "takes 3 bands, 2 are named: red, nir", capfd)  # fmt: skip
    more = ("--stride", "1", "--output", "probabilities", "--mean", "127.5", "--std", "51")
    assert ask(["models", "add", "plain.onnx", *SAY, *more]) == 0
    card = find("plain").card
    assert (card.mean, card.output, card.stride) == ((127.5,) * 3, "probabilities", 1)
    item = json.loads((find("plain").folder / "card.json").read_text())
    asset = item["assets"]["weights"]
    assert asset["mlm:artifact_type"] == "onnx"
    assert asset["type"] == "application/octet-stream; framework=onnx"
    assert asset["file:checksum"].startswith("1220")
    assert item["properties"]["mlm:framework"] == "ONNX"
    assert ask(["models", "check", "plain"]) == 0


class Flat(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def test_onnx_that_is_no_segmentation(capfd):
    onnx_file("flat.onnx", net=Flat())
    refused(["models", "add", "flat.onnx", *SAY], "has 2 axes", capfd)
    onnx_file("three.onnx", net=network(3))
    refused(["models", "add", "three.onnx", *SAY], "its network gives 3 planes", capfd)
    Path("cut.onnx").write_bytes(Path("three.onnx").read_bytes()[:100])
    refused(["models", "add", "cut.onnx", *SAY], "not ONNX that onnxruntime can open", capfd)


def test_torchscript_only_where_it_is_allowed(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network()).save("m.pt")
    more = (*SAY, "--stride", "1", "--output", "probabilities")
    refused(["models", "add", "m.pt", *more], "TorchScript runs code that it brings along", capfd)
    assert ask(["models", "add", "m.pt", *more, "--allow-code", "--name", "script"]) == 0
    capfd.readouterr()
    refused(["models", "check", "script"], "GEOSEG_ALLOW_CODE=1", capfd)
    assert ask(["models", "check", "script", "--allow-code"]) == 0
    item = json.loads((find("script").folder / "card.json").read_text())
    assert item["assets"]["weights"]["mlm:artifact_type"] == "torch.jit.save"


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.onnx", "m.pt2", "m.safetensors", "m.bin"])
def test_a_pickle_by_any_name(name, capfd):
    Path(name).write_bytes(pickle.dumps(Trap()))
    refused(["models", "add", name, *SAY], "a pickle (never pickles)", capfd)


def test_weights_of_somebody_become_a_package(capfd):
    card = named_card(TINY, bands=3, classes=2)
    state = {f"module.{k}": v for k, v in build(card, seed=9).state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, "theirs.pth")
    say = ["--architecture", "geoseg-unet", "--parameter", "widths=[2,2,2,2]", "--parameter",
           "depths=[0,0,0]", *SAY]  # fmt: skip
    assert ask(["models", "convert", "theirs.pth", "out", *say, "--name", "theirs"]) == 0
    found = load_file("out/weights.safetensors")
    assert torch.equal(found["head.weight"], state["module.head.weight"])
    assert find("out").card.reach == 22
    refused(["models", "convert", "theirs.pth", "out", *say], "is there already; --force", capfd)
    other = [a.replace("widths=[2,2,2,2]", "widths=[2,2,2,4]") for a in say]
    refused(["models", "convert", "theirs.pth", "o", *other], "the card's network needs", capfd)
    torch.save({"state_dict": Trap()}, "trap.pth")
    refused(["models", "convert", "trap.pth", "o", *say], "holds more than tensors", capfd)
    Path("cut.pth").write_bytes(Path("theirs.pth").read_bytes()[:500])
    refused(["models", "convert", "cut.pth", "o", *say], "cut.pth: holds more than tensors", capfd)
    refused(["models", "convert", "theirs.pth", "o", *say[2:], "--architecture", "unett"],
            "no such network, did you mean 'unet'", capfd)  # fmt: skip


def test_exports_through_the_command_line(tiny, capfd):
    assert ask(["models", "export", tiny, "tiny.onnx"]) == 0
    assert "of the original's" in capfd.readouterr().out
    assert find("./tiny.onnx").card.name == "tiny"
    refused(["models", "export", tiny, "tiny.onnx"], "is there already; --force replaces it", capfd)
    refused(
        ["models", "export", tiny, "t.pt2", "--format", "onnx"], "as onnx the model goes", capfd
    )
    refused(["models", "export", tiny, "t", "--format", "onyx"], "did you mean 'onnx'", capfd)
    refused(
        ["models", "export", tiny, "t.onnx", "--size", "60"], "a multiple of its stride 8", capfd
    )
    refused(["models", "export", tiny, "t", "--softmax"], "hold weights only", capfd)
    assert ask(["models", "export", tiny, "folder", "--format", "onnx", "--softmax"]) == 0
    assert sorted(p.name for p in Path("folder").iterdir()) == [
        "card.json", "check.json", "weights.onnx",
    ]  # fmt: skip
    assert ask(["models", "check", "folder"]) == 0
    # What a file says itself is not overruled.
    refused(["models", "add", "tiny.onnx", "--units", "dn"], "says itself what it needs", capfd)


def test_a_check_finds_what_was_changed(tiny, here, capfd):
    model = Path(shutil.copytree(tiny, here / "m" / "tiny"))
    assert ask(["models", "check", model]) == 2  # nothing to compare with yet
    assert "BAD scores" in capfd.readouterr().out
    assert ask(["models", "check", model, "--write"]) == 0
    assert ask(["models", "check", model]) == 0
    capfd.readouterr()
    item = json.loads((model / "card.json").read_text())
    for key, value, line in (
        ("geoseg:reach", 16, "BAD reach       22 px -> the card says 16 px: tiles would not join"),
        ("geoseg:stride", 4, "error: "),
        ("geoseg:activation_bytes", 1, "BAD memory"),
        ("mlm:tasks", ["semantic-segmentation", 7], "BAD card        not valid"),
    ):
        changed = json.loads(json.dumps(item))
        changed["properties"][key] = value
        (model / "card.json").write_text(json.dumps(changed))
        assert ask(["models", "check", model]) == 2
        found = capfd.readouterr()
        assert line in found.out + found.err, key
    (model / "card.json").write_text(json.dumps(item))
    stored = json.loads((model / "check.json").read_text())
    stored["scores"][5] += 0.01
    (model / "check.json").write_text(json.dumps(stored))
    assert ask(["models", "check", model]) == 2
    assert "off the stored ones: not this model" in capfd.readouterr().out
    weights = (model / "weights.safetensors").read_bytes()
    (model / "weights.safetensors").write_bytes(weights[:-1] + b"x")
    refused(["models", "check", str(model)], "sha256 is", capfd)


def test_shipped_models_have_their_scores():
    for name in ("landcover-s2", "water-s2", "forest-rgb", "aerial-rgb"):
        assert (find(name).folder / "check.json").is_file()


def hub_cache(root, repo, files):
    """The folder that huggingface_hub keeps what it has fetched in."""
    base = root / f"models--{repo.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(commit)
    shutil.copytree(files, base / "snapshots" / commit)


def segformer(folder):
    """A folder as transformers writes it."""
    import transformers

    config = transformers.SegformerConfig(
        num_channels=3, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 16],
        num_attention_heads=[1, 1, 1, 2], decoder_hidden_size=16,
        id2label={0: "land", 1: "water", 2: "land"}, label2id={"land": 0, "water": 1},
    )  # fmt: skip
    torch.manual_seed(3)
    net = transformers.SegformerForSemanticSegmentation(config).eval()
    net.save_pretrained(folder)
    preprocessing = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                     "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # fmt: skip
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return net


def test_a_segformer_of_the_hub(tmp_path, monkeypatch, capfd):
    net = segformer("seg")
    hub_cache(tmp_path / "hub", "org/seg-water", "seg")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert ask(["models", "add", "hf://org/seg-water@main", "--name", "seg"]) == 0
    card = find("seg").card
    assert card.legend.names == ("land (0)", "water", "land (2)")
    assert card.mean[0] == pytest.approx(0.485 * 255)
    assert card.about["source"] == "hf://org/seg-water"
    batch = random_batch(card, (64, 96))
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (card.mean, card.std))
    x = torch.from_numpy((batch.values - mean) / std).float()
    x = torch.where(torch.from_numpy(batch.valid)[:, None], x, 0.0)
    with torch.inference_mode():
        logits = net(pixel_values=x).logits
        logits = torch.nn.functional.interpolate(logits, size=(64, 96), mode="bilinear")
    found = open_segmenter(find("seg"), device="cpu", threads=1).scores(batch)
    np.testing.assert_allclose(found, logits.softmax(1).numpy(), atol=1e-5)
    assert ask(["models", "add", "hf://org/none"]) == 2
    assert "hf://org/none: cannot be fetched" in capfd.readouterr().err
    refused(["models", "add", "hf://none"], "wanted hf://organisation/name", capfd)
    torch.save(net.state_dict(), "seg/pytorch_model.bin")
    Path("seg/model.safetensors").unlink()
    refused(["models", "add", "seg"], "there is only pytorch_model.bin, a pickle", capfd)


def test_a_model_of_smp(capfd):
    import segmentation_models_pytorch as smp

    asked = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    torch.manual_seed(4)
    net = smp.Unet("tu-resnet10t", encoder_weights=None, in_channels=4, classes=1, **asked).eval()
    net.save_pretrained("theirs")
    refused(["models", "add", "theirs"], "add --bands, --classes, --units", capfd)
    say = ["--bands", "red,green,blue,nir", "--classes", "Land,Water", "--units", "dn"]
    assert ask(["models", "add", "theirs", *say, "--std", "255"]) == 0
    card = find("theirs").card
    assert (card.output, card.legend.names) == ("logit", ("Land", "Water"))
    batch = random_batch(card, (32, 64))
    x = torch.from_numpy(batch.values / 255.0).float()
    x = torch.where(torch.from_numpy(batch.valid)[:, None], x, 0.0)
    with torch.inference_mode():
        wanted = net(x).sigmoid()[:, 0].numpy()
    found = open_segmenter(find("theirs"), device="cpu", threads=1).scores(batch)
    np.testing.assert_allclose(found[:, 1], wanted, atol=1e-5)


@pytest.mark.long  # measures the reach of a deep network
def test_weights_of_timm_under_a_decoder(capfd):
    import timm

    torch.manual_seed(5)
    trained = timm.create_model("resnet10t", pretrained=False)
    Path("timm").mkdir()
    save_file(trained.state_dict(), "timm/model.safetensors")
    say = ["--architecture", "unet", "--bands", "red,green,blue", "--classes", "Land,Water",
           "--units", "dn", "--from", "timm"]  # fmt: skip
    refused(["models", "add", "timm://resnet10t", *say[2:]], "say what to build over it", capfd)
    assert ask(["models", "add", "timm://resnet10t.c3_in1k", *say, "--name", "start"]) == 0
    found = load_file(find("start").weights)
    assert torch.equal(found["encoder.model.layer1.0.conv1.weight"],
                       trained.state_dict()["layer1.0.conv1.weight"])  # fmt: skip


def test_architectures_are_listed_and_measured(capfd):
    assert ask(["models", "architectures", "--json"]) == 0
    names = [entry["name"] for entry in json.loads(capfd.readouterr().out)]
    assert {"fcn", "unet", "mask2former", "fast-scnn", "lraspp", "segformer"} <= set(names)
    assert ask(["models", "architectures"]) == 0
    assert "mask2former: Mask2Former" in capfd.readouterr().out
    small = ["--parameter", "widths=[2,2,2,2]", "--parameter", "depths=[0,0,0]"]
    assert ask(["models", "measure", "geoseg-unet", *small, "--bands", "6", "--classes", "9"]) == 0
    assert "reach        22 px" in capfd.readouterr().out
    refused(["models", "measure", "unett"], "did you mean 'unet'", capfd)
    refused(["models", "measure", "unet", "--parameter", "x"], "wanted KEY=VALUE", capfd)
