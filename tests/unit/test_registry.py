"""Which models are found and in what order, what is refused, and which scenes fit a model."""

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packages import write_package
from safetensors.numpy import load_file, save, save_file

from geoseg.errors import ModelError
from geoseg.models.card import dump_card, load_card
from geoseg.models.registry import (
    available,
    find,
    open_segmenter,
    packages,
)
from geoseg.testing import random_batch

TINY = {"name": "geoseg-unet", "widths": [2, 2, 2, 2], "depths": [0, 0, 0]}


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """What this user has elsewhere does not count, nor what lies in the working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("GEOSEG_MODELS", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("made"), "tiny", architecture=TINY)


@pytest.fixture
def tiny(made, tmp_path):
    """A package of its own for each test, to be broken."""
    return Path(shutil.copytree(made, tmp_path / "models" / "tiny"))


def copy(package, target, **changes):
    """The package at another place, with another card."""
    shutil.copytree(package, target)
    card = replace(load_card(target / "card.json"), name=target.name, **changes)
    dump_card(card, target / "card.json")
    return target


def test_shipped_models_are_found_by_name():
    names = [card.name for card in available()]
    assert "landcover-s2" in names
    assert names == sorted(names)
    for name in names:
        package = find(name)
        assert package.card.name == name
        assert package.weights is not None
        assert hashlib.sha256(package.weights.read_bytes()).hexdigest() == package.card.sha256


def test_the_first_folder_of_the_search_path_wins(tiny, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    copy(tiny, first / "tiny", version="2.0.0")
    copy(tiny, first / "landcover-s2", version="9.9.9")
    copy(tiny, second / "tiny", version="3.0.0")
    copy(tiny, second / "other")
    monkeypatch.setenv("GEOSEG_MODELS", os.pathsep.join([str(first), "", str(second)]))
    assert find("tiny").card.version == "2.0.0"
    assert find("tiny").folder == first / "tiny"
    assert find("landcover-s2").card.version == "9.9.9"
    found = {package.card.name: package.card.version for package in packages()}
    assert (found["tiny"], found["landcover-s2"]) == ("2.0.0", "9.9.9")
    assert "other" in found


def test_the_search_path_may_name_a_package_itself(tiny, monkeypatch):
    monkeypatch.setenv("GEOSEG_MODELS", str(tiny))
    assert find("tiny").folder == tiny
    monkeypatch.chdir(tiny)
    monkeypatch.setenv("GEOSEG_MODELS", ".")
    assert find("tiny").folder == tiny


def test_a_missing_folder_of_the_search_path_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "modles"))
    with pytest.raises(ModelError, match=r"^GEOSEG_MODELS: there is no folder .*modles$"):
        available()


def test_on_the_search_path_folder_and_card_have_one_name(tiny, tmp_path, monkeypatch):
    moved = tiny.rename(tiny.with_name("renamed"))
    assert find(moved).card.name == "tiny"
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "models"))
    for ask in (lambda: find("renamed"), available):
        with pytest.raises(ModelError, match=r"renamed/card.json: .*'tiny', its folder 'renamed'"):
            ask()


def test_paths_of_folders_and_cards_are_taken(tiny, monkeypatch):
    for name in (tiny, str(tiny), tiny / "card.json", str(tiny / "card.json")):
        assert find(name).folder == tiny
    monkeypatch.chdir(tiny.parent)
    assert find("tiny").card.name == "tiny"
    assert find("./tiny").card.name == "tiny"
    monkeypatch.setenv("HOME", str(tiny.parent))
    assert find("~/tiny").folder == tiny


def test_a_folder_or_file_that_happens_to_be_there_does_not_hide_a_model():
    Path("landcover-s2").mkdir()
    assert find("landcover-s2").folder.parent.name == "weights"
    Path("landcover-s2").rmdir()
    Path("landcover-s2").write_text("notes")
    assert find("landcover-s2").folder.parent.name == "weights"


def test_an_unknown_name_brings_the_closest_and_all():
    with pytest.raises(ModelError, match=r"did you mean 'landcover-s2'\? known: .*landcover-s2"):
        find("landcover_s2")
    with pytest.raises(ModelError, match=r"^model 'qqqqq': .*none of that name; known: ") as caught:
        find("qqqqq")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["some/where", Path("nowhere"), "/no/such", "../x"])
def test_a_path_that_is_not_there_is_no_name(name):
    with pytest.raises(ModelError, match=r"does not exist.* card\.json$"):
        find(name)


def test_a_folder_without_a_card(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty.* has no card\.json$"):
        find(tmp_path / "empty")
    (tmp_path / "here" / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty.* has no card\.json$"):
        find("empty")


class Trap:
    """Loading this pickle would leave a file behind."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PTH", ".ckpt", ".pkl", ".bin"])
def test_pickles_are_refused_unread_and_conversion_is_told(suffix, tmp_path):
    file = tmp_path / f"model{suffix}"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match=r"a pickle.*never pickles.*safetensors.torch.save_file"):
        find(file)
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("file", "data", "kind"),
    [
        ("m.onnx", b"x", "not .onnx as its name says: of no known format, or damaged"),
        ("m.pt2", b"PK\3\4", "not .pt2 as its name says: cut off"),
        ("m.safetensors", save({"a": np.zeros(1)}), "weights without their card.*card.json"),
        ("m.txt", b"x", "no model package.*card.json"),
        ("m.txt", save({"a": np.zeros(1)}), "is safetensors, but called otherwise: rename it"),
    ],
)
def test_other_files_are_refused_by_kind(file, data, kind, tmp_path):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ModelError, match=f"{file}.*{kind}"):
        find(tmp_path / file)


def test_a_card_that_names_a_pickle(tiny):
    (tiny / "model.pth").write_bytes(pickle.dumps(Trap()))
    card = replace(load_card(tiny / "card.json"), weights="model.pth", sha256=None)
    dump_card(card, tiny / "card.json")
    with pytest.raises(ModelError, match=r"model\.pth: weights must be safetensors: pickles"):
        open_segmenter(find(tiny), device="cpu")
    assert not Path("sprung").exists()


def test_weights_that_are_missing(tiny):
    (tiny / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'tiny': its weights are missing: .*weights.safetensors"):
        find(tiny)


def test_a_model_that_was_not_trained(tiny):
    card = replace(load_card(tiny / "card.json"), weights=None, sha256=None)
    dump_card(card, tiny / "card.json")
    assert find(tiny).weights is None
    with pytest.raises(ModelError, match=r"'tiny' has no weights: it must be trained"):
        open_segmenter(find(tiny), device="cpu")


def spoil(package, data, *, honest):
    """Put other bytes for weights; an honest card knows their checksum."""
    (package / "weights.safetensors").write_bytes(data)
    if honest:
        sha256 = hashlib.sha256(data).hexdigest()
        dump_card(replace(load_card(package / "card.json"), sha256=sha256), package / "card.json")
    return find(package)


def test_weights_that_are_not_the_cards(tiny):
    data = bytearray((tiny / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    package = spoil(tiny, bytes(data), honest=False)
    with pytest.raises(
        ModelError, match=r"weights.safetensors: sha256 is .*the card says .*damage"
    ):
        open_segmenter(package, device="cpu")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_weights(keep, tiny):
    package = spoil(tiny, (tiny / "weights.safetensors").read_bytes()[:keep], honest=True)
    with pytest.raises(ModelError, match=r"weights.safetensors: not a safetensors file") as caught:
        open_segmenter(package, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_pickle_called_safetensors(tiny):
    package = spoil(tiny, pickle.dumps(Trap()), honest=True)
    with pytest.raises(ModelError, match="not a safetensors file"):
        open_segmenter(package, device="cpu")
    assert not Path("sprung").exists()


def without(tensors):
    del tensors["stem.0.weight"], tensors["head.bias"]


def with_more(tensors):
    tensors["decoder.weight"] = np.zeros(3, np.float32)


def swapped(tensors):
    tensors["head.logits"] = tensors.pop("head.bias")


def bent(tensors):
    tensors["head.bias"] = tensors["head.bias"][:-1].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, r"2 tensors are missing \(first: stem.0.weight\)$"),
        (with_more, r"1 belong to another network \(first: decoder.weight\)$"),
        (
            swapped,
            r"missing \(first: head.bias\), 1 belong to another network \(first: head.logits",
        ),
        (bent, r"head.bias is \(5,\), the card's network needs \(6,\)$"),
    ],
)
def test_tensors_of_another_network(change, message, tiny):
    tensors = load_file(tiny / "weights.safetensors")
    change(tensors)
    package = spoil(tiny, save(tensors), honest=True)
    with pytest.raises(ModelError, match=f"^{re.escape(str(package.weights))}: .*{message}"):
        open_segmenter(package, device="cpu")


def test_half_precision_weights_are_weights(tiny):
    wanted = open_segmenter(find(tiny), device="cpu", threads=1)
    tensors = load_file(tiny / "weights.safetensors")
    small = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    save_file(small, tiny / "half.safetensors")
    card = replace(load_card(tiny / "card.json"), weights="half.safetensors", sha256=None)
    dump_card(card, tiny / "card.json")
    found = open_segmenter(find(tiny), device="cpu", threads=1)
    batch = random_batch(card, (32, 32))
    np.testing.assert_allclose(found.scores(batch), wanted.scores(batch), atol=1e-2)


def test_cards_are_listed_and_checked_without_torch_or_files_of_scenes(tiny):
    code = f"""
import sys
from geoseg.models.registry import available, check_scene, find, packages
from geoseg.models.card import dump_card
available(), packages()
dump_card(find({str(tiny)!r}).card, {str(tiny / "again.json")!r})
heavy = {{"torch", "timm", "torchvision", "segmentation_models_pytorch", "safetensors.torch"}}
heavy |= {{"rasterio", "zarr", "geopandas"}}
sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
