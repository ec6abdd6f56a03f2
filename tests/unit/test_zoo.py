"""Every network of the zoo: builds for five bands, takes odd scenes, is written and comes back."""

import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.errors import ModelError
from geoseg.grid import Window
from geoseg.models.architectures import build, steps
from geoseg.models.exporting import Wish, write_export
from geoseg.models.fixed_chip import fixed_chip
from geoseg.models.measuring import measure_named, named_card
from geoseg.models.registry import ModelPackage, find, open_segmenter
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.models.weights_file import save_package
from geoseg.models.zoo import ARCHITECTURES
from geoseg.ops.tiling import Lattice
from geoseg.steps.segment import Tiling, infer, load
from geoseg.testing import ArrayPixels, utm_grid

BANDS = tuple("abcde")
# As small as each of them goes, so that all of them take a minute.
SMALL = {
    "geoseg-unet": {"widths": [4, 4, 8, 8], "depths": [0, 0, 0]},
    "fcn": {"encoder": "resnet10t"},
    "lraspp": {"encoder": "mobilenetv3_small_050"},
    "dpt": {
        "encoder": "vit_tiny_patch16_224",
        "decoder_fusion_channels": 16,
        "decoder_intermediate_channels": [8, 8, 8, 8],
    },
    "segformer": {"encoder": "mit_b0", "decoder_segmentation_channels": 16},
    "mask2former": {"width": 24, "depths": [1, 1, 1, 1], "queries": 8, "features": 64},
    "transformers": {
        "config": {
            "model_type": "segformer",
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [8, 8, 8, 16],
            "num_attention_heads": [1, 1, 1, 2],
            "decoder_hidden_size": 16,
        }
    },
}
DEFAULT = {"encoder": "resnet10t"}
ANY_SIZE = {"dynamicworld", "fcn", "lraspp", "fast-scnn", "mask2former", "transformers"}
# What cannot be written as ONNX, and what is said about it.
NO_ONNX = {
    "mask2former": r"off on a fixed chip; .*of one size may work: --size 128",
    "dpt": r"dpt cannot be written as ONNX: .*upsample_bicubic2d_aa",
}


def card_of(name):
    small = SMALL.get(name, DEFAULT if ARCHITECTURES[name].encoder else {})
    card = named_card({"name": name, **small}, bands=5, classes=3)
    return replace(card, bands=BANDS, name=f"small-{name}", size=4 * card.stride)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Whoever opens a connection fails."""

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def package_of(tmp_path_factory):
    """A package of a network with random weights; each is made once."""
    made = {}

    def make(name):
        if name not in made:
            card, folder = card_of(name), tmp_path_factory.mktemp("zoo") / name
            network = build(card, seed=3)
            _unsettle_norms(network)
            made[name] = ModelPackage(save_package(network, card, folder), folder)
        return made[name]

    return make


def _unsettle_norms(network):
    """Give batch norms statistics as training would, so that losing them shows."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_scene_of_odd_size_goes_through_the_pipeline(name, package_of):
    """67 x 93 pixels in two blocks, padded and cropped as a run does it; and reloaded."""
    package = package_of(name)
    segmenter = open_segmenter(package, device="cpu", threads=1)
    assert steps(segmenter._pass._network) in (1, package.card.stride, 16)
    random = np.random.default_rng(1)
    pixels = ArrayPixels(
        random.normal(size=(5, 67, 93)).astype(np.float32), bands=BANDS, grid=utm_grid((67, 93))
    )
    tiling = Tiling(Lattice(package.card.size, 0, package.card.stride))
    for block in (Window(0, 0, 67, 64), Window(0, 64, 67, 93)):
        found = infer(load(block, pixels, BANDS, tiling), segmenter, tiling)
        assert found.classes.shape == found.confidence.shape == block.shape
        assert set(np.unique(found.classes)) <= set(package.card.legend.values)
        assert found.confidence.min() >= 33  # the best of three
    again = TorchSegmenter(package.card, build(package.card, seed=4), device="cpu", threads=1)
    chip = fixed_chip(package.card, (package.card.stride * 2, package.card.stride * 3))
    assert not np.array_equal(again.scores(chip), segmenter.scores(chip))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_which_sizes_a_network_takes_raw(name, package_of):
    """Multiples of the stride all of them, one stride too; any size those that say so."""
    card = package_of(name).card
    network = build(card, seed=3)
    for shape in ((card.stride, card.stride), (card.stride, 3 * card.stride), (33, 47)):
        with torch.inference_mode():
            try:
                found = tuple(network(torch.zeros(1, 5, *shape)).shape[2:])
            except (RuntimeError, ValueError):
                found = None
        wanted = shape[0] % card.stride == 0 or name in ANY_SIZE
        if wanted:
            assert found == shape


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_gives_the_same_scores(name, package_of, tmp_path, capfd):
    package, out = package_of(name), tmp_path / "model.onnx"
    if name not in NO_ONNX:
        check_written(package, out, Wish("onnx"))
        return
    with pytest.raises(ModelError, match=NO_ONNX[name]) as caught:
        write_export(package, out, Wish("onnx"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["geoseg-unet", "fcn"])
def test_torch_export_gives_the_same_scores(name, package_of, tmp_path):
    """Two of them: each takes many seconds; benchmarks/zoo.py does all."""
    check_written(package_of(name), tmp_path / "model.pt2", Wish("pt2"))


def check_written(package, out, wish):
    made = write_export(package, out, wish)
    assert made.difference < 1e-4
    assert made.bytes == out.stat().st_size
    reopened = find(out)
    changed = {"weights": None, "sha256": None, "fixed": wish.size is not None}
    assert replace(reopened.card, **changed) == replace(package.card, **changed)


def card_of_plain(architecture):
    return named_card(architecture, bands=6, classes=9)


def test_measured_by_name():
    plain = {"name": "geoseg-unet", "widths": [2, 2, 2, 2], "depths": [0, 0, 0]}
    found = measure_named(plain, bands=6, classes=9)
    assert (found["reach"], found["stride"], found["bands"]) == (22, 8, 6)
    assert found["parameters"] == sum(p.numel() for p in build(card_of_plain(plain)).parameters())
    with pytest.raises(ModelError, match="no architecture 'unett', did you mean 'unet'"):
        measure_named({"name": "unett"}, bands=6, classes=9)


def test_part_means_are_adaptive_pooling():
    from geoseg.models.light import PartMeans

    for shape in ((1, 1), (5, 7), (12, 6), (13, 64)):
        x = torch.randn(2, 3, *shape, dtype=torch.float64)
        for parts in (1, 2, 3, 6):
            wanted = torch.nn.functional.adaptive_avg_pool2d(x, parts)
            torch.testing.assert_close(PartMeans(parts)(x), wanted)


def test_fast_scnn_is_as_large_as_published():
    network = build(card_of("fast-scnn"))
    count = sum(p.numel() for p in network.parameters())
    assert count == pytest.approx(1.11e6, rel=0.05)


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match=r"not installed: pip install 'geoseg\[transformers\]'"):
        build(card_of("mask2former"))
