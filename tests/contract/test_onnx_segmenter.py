"""ONNX models keep the segmenters' contract, and give what torch gives."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from geoseg.errors import BlockError, ModelError
from geoseg.models.architectures import build
from geoseg.models.base import ask
from geoseg.models.committee import Committee
from geoseg.models.exporting import Wish, write_export
from geoseg.models.fixed_chip import fixed_chip
from geoseg.models.onnx_engine import OnnxSegmenter
from geoseg.models.registry import ModelPackage, find, open_segmenter
from geoseg.models.weights_file import save_package
from geoseg.ops.layers import describe
from geoseg.testing import LAND_WATER, SegmenterContract, fake_card, random_batch

CARD = replace(
    fake_card("small-unet", bands=("red", "green", "blue", "nir"), reach=48),
    mean=(0.06, 0.09, 0.08, 0.3),
    std=(0.03, 0.04, 0.05, 0.1),
    stride=8,
    size=128,
    margin=48,
    about={"temperature": 1.3},
    architecture={"name": "geoseg-unet", "widths": [4, 6, 8, 8], "depths": [1, 2, 2]},
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "small-unet"
    return ModelPackage(save_package(build(CARD, seed=2), CARD, folder), folder)


@pytest.fixture(scope="module")
def exported(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    write_export(original, folder / "free.onnx", Wish("onnx"))
    write_export(original, folder / "fixed.onnx", Wish("onnx", size=128, softmax=True))
    write_export(original, folder / "qgis.onnx", Wish("deepness", scale=1e-4))
    return folder


class TestOnnx(SegmenterContract):
    @pytest.fixture(autouse=True)
    def _file(self, exported):
        self.package = find(exported / "free.onnx")

    def open(self, *, threads):
        return open_segmenter(self.package, device="cpu", threads=threads)


def test_the_same_scores_as_torch(original, exported):
    wanted = open_segmenter(original, device="cpu", threads=1)
    found = open_segmenter(find(exported / "free.onnx"), device="cpu", threads=1)
    assert isinstance(found, OnnxSegmenter)
    batch = random_batch(CARD, (64, 96), chips=2)
    np.testing.assert_allclose(found.scores(batch), wanted.scores(batch), atol=1e-5)


def test_one_size_only_is_filled_up_and_never_exceeded(original, exported):
    wanted = open_segmenter(original, device="cpu", threads=1)
    found = open_segmenter(find(exported / "fixed.onnx"), device="cpu", threads=1)
    assert (found.card.fixed, found.card.size, found.card.output) == (True, 128, "probabilities")
    assert "temperature" not in found.card.about
    whole = fixed_chip(CARD, (128, 128))
    np.testing.assert_allclose(found.scores(whole), wanted.scores(whole), atol=1e-5)
    part = replace(whole, values=whole.values[..., :40, :72], valid=whole.valid[..., :40, :72])
    hidden = replace(whole, valid=np.zeros_like(whole.valid))
    hidden.valid[..., :40, :72] = True
    np.testing.assert_allclose(found.scores(part), found.scores(hidden)[..., :40, :72], atol=1e-6)
    with pytest.raises(BlockError, match=r"takes chips of 128 x 128 px, not of 136 x 128"):
        found.scores(fixed_chip(CARD, (136, 128)))


def test_qgis_deepness_gets_the_same_map(original, exported):
    """As the plugin does it: tiles of the stored numbers / 255, one batch, argmax of the output."""
    import onnxruntime

    chip = fixed_chip(CARD, (128, 128))
    stored = np.rint(chip.values / 1e-4).clip(0, 65535).astype(np.uint16)
    physical = replace(chip, values=stored.astype(np.float32) * np.float32(1e-4))
    wanted = open_segmenter(original, device="cpu", threads=1).scores(physical)
    session = onnxruntime.InferenceSession(exported / "qgis.onnx")
    (entry,), (output,) = session.get_inputs(), session.get_outputs()
    assert entry.shape == [1, 4, 128, 128]
    assert output.shape[2] == output.shape[3] == 128
    (found,) = session.run(None, {entry.name: np.float32(stored * 1.0 / 255.0)})
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    keys = session.get_modelmeta().custom_metadata_map
    assert keys["model_type"] == '"Segmentor"'
    assert keys["class_names"] == '{"0": "Land", "1": "Water"}'
    assert (keys["tile_size"], keys["tiles_overlap"]) == ("128", "75")


def test_the_same_export_gives_the_same_bytes(original, exported, tmp_path):
    write_export(original, tmp_path / "free.onnx", Wish("onnx"))
    assert (tmp_path / "free.onnx").read_bytes() == (exported / "free.onnx").read_bytes()


def test_low_precision_and_other_devices_are_refused(exported):
    package = find(exported / "free.onnx")
    with pytest.raises(ModelError, match="ONNX has the precision it was exported with"):
        open_segmenter(package, device="cpu", precision="bf16")
    for device in ("tpu", "cpu:1", "cuda:x"):
        with pytest.raises(
            ModelError, match=f"device '{device}': wanted auto, cpu, cuda or cuda:N"
        ):
            open_segmenter(package, device=device)


def test_without_onnxruntime_the_extra_is_named(exported, monkeypatch):
    package = find(exported / "free.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"not installed: pip install 'geoseg\[onnx\]'"):
        open_segmenter(package, device="cpu")


@pytest.mark.parametrize("output", ["probabilities", "logit", "probability"])
def test_whatever_a_network_gives_becomes_probabilities(output, tmp_path):
    """One convolution as ONNX, whose answer is known."""
    import torch

    card = replace(CARD, name="one", legend=LAND_WATER, output=output, stride=1, reach=0, about={},
                   size=64, margin=0, mean=(0.0,) * 4, std=(1.0,) * 4, weights="w.onnx")  # fmt: skip
    tail = {"probabilities": torch.nn.Softmax(dim=1), "probability": torch.nn.Sigmoid()}
    planes = 2 if output == "probabilities" else 1
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, planes, 1), tail.get(output, torch.nn.Identity())
    )
    free = {0: "n", 2: "h", 3: "w"}
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 4, 8, 8),), tmp_path / "w.onnx", dynamo=False,
                          input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": free, "y": free})  # fmt: skip
    batch = random_batch(card, (5, 7))
    with torch.inference_mode():
        x = torch.from_numpy(batch.values * batch.scale[0]).float()
        y = network(torch.where(torch.from_numpy(batch.valid)[:, None], x, 0.0))
        if output == "logit":
            y = y.sigmoid()
        wanted = y if planes == 2 else torch.cat([1 - y, y], dim=1)
    found = open_segmenter(ModelPackage(card, tmp_path), device="cpu", threads=1).scores(batch)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("symmetries", ["flips", "d4"])
def test_of_one_size_and_from_all_sides(original, exported, symmetries):
    """One size goes with symmetries and with other models; chips at the rim may be smaller."""
    fixed = find(exported / "fixed.onnx")
    committee = Committee((fixed, original), symmetries)
    assert (committee.card.fixed, committee.card.size) == (True, 128)
    model = committee.open(device="cpu", threads=1)
    alike = Committee((original,), symmetries).open(device="cpu", threads=1)
    whole = random_batch(CARD, (128, 128))
    np.testing.assert_allclose(model.scores(whole), alike.scores(whole), atol=1e-5)
    answer = ask(model, random_batch(CARD, (64, 96)), ("disagreement", "entropy"))
    assert answer.index.shape == answer.layers["entropy"].shape == (1, 64, 96)


def test_scales_of_an_onnx_model(original, exported):
    scales = (Fraction(1), Fraction(3, 4))
    batch = random_batch(CARD, (128, 96))
    found, wanted = (
        Committee((package,), scales=scales).open(device="cpu", threads=1).scores(batch)
        for package in (find(exported / "free.onnx"), original)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(ModelError, match="scales: model small-unet takes chips of 128 px only"):
        _ = Committee((find(exported / "fixed.onnx"),), scales=scales).card


def test_layers_chip_by_chip(exported):
    model = open_segmenter(find(exported / "free.onnx"), device="cpu", threads=1)
    wanted = ("confidence", "entropy", "margin", "probabilities", "disagreement")
    for chips in (0, 3):
        batch = random_batch(CARD, (16, 24), chips=chips)
        found, said = model.answer(batch, wanted), describe(model.scores(batch), wanted)
        np.testing.assert_array_equal(found.index, said.index)
        for layer in wanted:
            np.testing.assert_array_equal(found.layers[layer], said.layers[layer], err_msg=layer)


def test_torch_of_one_size_is_filled_up_the_same(original, exported, tmp_path):
    write_export(original, tmp_path / "fixed.pt2", Wish("pt2", size=128, softmax=True))
    one, two = (
        open_segmenter(find(path), device="cpu", threads=1)
        for path in (tmp_path / "fixed.pt2", exported / "fixed.onnx")
    )
    assert one.card.fixed
    for shape in ((128, 128), (40, 72)):
        batch = random_batch(CARD, shape, chips=2)
        np.testing.assert_allclose(one.scores(batch), two.scores(batch), atol=1e-5)
    with pytest.raises(BlockError, match="takes chips of 128 x 128 px, not of 136 x 128"):
        one.scores(random_batch(CARD, (136, 128)))
