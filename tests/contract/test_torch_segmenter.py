"""The torch engine keeps the segmenters' contract, and does the arithmetic that a card says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.errors import BlockError, ModelError
from geoseg.models.architectures import build
from geoseg.models.base import Batch, ModelCard
from geoseg.models.registry import find, open_segmenter
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.testing import LAND_WATER, SegmenterContract, fake_card, random_batch

BANDS = ("blue", "green", "red", "nir")


@pytest.fixture(autouse=True)
def _leave_threads_alone():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def unet_card() -> ModelCard:
    return replace(
        fake_card("small-unet", bands=BANDS, reach=48),
        mean=(0.06, 0.09, 0.08, 0.3),
        std=(0.03, 0.04, 0.05, 0.1),
        stride=8,
        size=128,
        margin=48,
        architecture={"name": "geoseg-unet", "widths": [4, 6, 8, 8], "depths": [1, 2, 2]},
    )


def zoo_card() -> ModelCard:
    return replace(
        fake_card("zoo-unet", bands=BANDS, reach=None),
        stride=32,
        size=128,
        margin=32,
        architecture={
            "name": "unet",
            "encoder": "mobilenetv2_035",
            "decoder_channels": [16, 8, 8, 4, 4],
        },
    )


class TestGeosegUnet(SegmenterContract):
    def open(self, *, threads):
        return TorchSegmenter.untrained(unet_card(), threads=threads)


class TestZooUnet(SegmenterContract):
    def open(self, *, threads):
        return TorchSegmenter.untrained(zoo_card(), seed=1, threads=threads)


class TestLowPrecision(SegmenterContract):
    def open(self, *, threads):
        network = build(unet_card(), seed=2)
        return TorchSegmenter(unet_card(), network, device="cpu", precision="bf16", threads=threads)

    def test_scale_and_offset_are_applied(self):
        pytest.skip("bf16 has 8 bits: rounding of the input shows")


class TestShippedLandcover(SegmenterContract):
    def open(self, *, threads):
        return open_segmenter(find("landcover-s2"), device="cpu", threads=threads)


class TestShippedAerial(SegmenterContract):
    def open(self, *, threads):
        return open_segmenter(find("aerial-rgb"), device="cpu", threads=threads)


def naive_scores(card, network, batch):
    """The documented arithmetic, in float64 and without folding anything."""
    shape = (-1, 1, 1)
    physical = batch.values * batch.scale.astype(float).reshape(shape)
    physical += batch.offset.astype(float).reshape(shape)
    x = (physical - np.reshape(card.mean, shape)) / np.reshape(card.std, shape)
    x = np.where(batch.valid[:, None], x, 0.0)
    with torch.inference_mode():
        return network.double()(torch.from_numpy(x)).softmax(dim=1).numpy()


@pytest.mark.parametrize("card", [unet_card(), zoo_card()], ids=lambda card: card.name)
def test_scores_are_the_documented_arithmetic(card):
    network = build(card, seed=3)
    _unsettle_norms(network)
    batch = random_batch(card, (128, 96), chips=2, seed=8)
    wanted = naive_scores(card, build_like(network, card), batch)
    found = TorchSegmenter(card, network, device="cpu").scores(batch)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", ">i2", "int16", "int64", "float32", "float64"]
)
def test_every_stored_type_means_what_float64_says(dtype):
    card = unet_card()
    network = build(card, seed=4)
    random = np.random.default_rng(9)
    kind = np.dtype(dtype)
    top = 1e4 if kind.itemsize > 4 or kind.kind == "f" else float(np.iinfo(kind).max)
    low = 0.0 if kind.kind == "u" else -top / 20
    values = random.uniform(low, top, (2, len(BANDS), 40, 48)).astype(kind)
    # From -0.1 to 1.1, whatever the type holds.
    scale = np.full(len(BANDS), 1.1 / top, np.float32) * np.float32([1.0, 0.9, 0.8, 0.7])
    offset = np.float32([-0.05, 0.0, 0.01, 0.02])
    batch = Batch(values, scale, offset, random.random((2, 40, 48)) > 0.1)
    found = TorchSegmenter(card, build_like(network, card), device="cpu", threads=1).scores(batch)
    wide = replace(batch, values=values.astype(np.float64))
    np.testing.assert_allclose(found, naive_scores(card, network, wide), atol=2e-5)


def test_pixels_that_are_not_valid_enter_as_the_mean():
    card = unet_card()
    model = TorchSegmenter.untrained(card, threads=1)
    values = np.random.default_rng(1).random((1, 4, 24, 24), np.float32)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    valid = np.random.default_rng(2).random((1, 24, 24)) > 0.4
    means = np.where(valid[:, None], values, np.reshape(card.mean, (-1, 1, 1)))
    wanted = model.scores(Batch(means, ones, zeros, np.ones_like(valid)))
    values[:, :, ~valid[0]] = np.nan
    np.testing.assert_allclose(model.scores(Batch(values, ones, zeros, valid)), wanted, atol=1e-6)


def test_weights_that_are_not_numbers_name_the_model():
    network = build(unet_card())
    with torch.no_grad():
        network.merge[0][0].weight[1, 2] = torch.nan
    model = TorchSegmenter(unet_card(), network, device="cpu")
    for ask in (model.scores, model.classify):
        with pytest.raises(BlockError, match=r"^model small-unet: the network gave NaN for chip 0"):
            ask(random_batch(unet_card(), (16, 16), chips=2))


def test_the_chip_that_broke_is_counted_in_the_batch():
    model = TorchSegmenter(fixed_card(), Fixed(), device="cpu")
    batch = random_batch(fixed_card(), (2, 2), chips=3)
    values = batch.values.astype(np.float32)
    values[2, 0, 0, 0] = np.inf
    broken = replace(batch, values=values, valid=np.ones_like(batch.valid))
    with pytest.raises(BlockError, match=r"chip 2 of its batch, whose valid numbers are .* to inf"):
        model.scores(broken)
    # Where it is not valid, it is not looked at.
    hidden = broken.valid.copy()
    hidden[2, 0, 0] = False
    assert np.isfinite(model.scores(replace(broken, valid=hidden))).all()


def build_like(network, card):
    other = build(card)
    other.load_state_dict(network.state_dict())
    return other


def _unsettle_norms(network):
    """Statistics as after training: norms that do nothing would hide a wrong fold."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)


class Fixed(nn.Module):
    """Gives the first bands as logits."""

    def __init__(self, classes=2):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return x[:, : self.classes].clone()


def fixed_card():
    return fake_card("fixed-net", bands=("a", "b"))


def batch_of(values):
    values = np.asarray(values, np.float32)
    ones, zeros = np.ones(len(values), np.float32), np.zeros(len(values), np.float32)
    return Batch(values[None], ones, zeros, np.ones((1, *values.shape[1:]), np.bool_))


def test_first_of_equals_wins_and_percent_rounds_to_even():
    half = np.log(0.125 / 0.875)  # 12.5 % and 87.5 %
    model = TorchSegmenter(fixed_card(), Fixed(), device="cpu")
    index, percent = model.classify(batch_of([[[0.0, half, 5.0]], [[0.0, 0.0, 5.0]]]))
    assert index.tolist() == [[[0, 1, 0]]]
    assert percent[0, 0, 0] == 50
    assert percent[0, 0, 1] in (87, 88)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_that_breaks_names_itself_and_the_numbers(bad):
    model = TorchSegmenter(fixed_card(), Fixed(), device="cpu")
    with pytest.raises(BlockError, match=r"fixed-net.*NaN.*chip 0"):
        model.classify(batch_of([[[bad, 1.0]], [[0.0, 2.0]]]))


def test_temperature_softens_scores_but_not_classes():
    batch = batch_of([[[2.0, -1.0]], [[0.0, 3.0]]])
    sharp = TorchSegmenter(fixed_card(), Fixed(), device="cpu")
    soft_card = replace(fixed_card(), about={"temperature": 2.0})
    soft = TorchSegmenter(soft_card, Fixed(), device="cpu")
    np.testing.assert_array_equal(soft.classify(batch)[0], sharp.classify(batch)[0])
    np.testing.assert_allclose(soft.scores(batch)[0, 0, 0, 0], 1 / (1 + np.exp(-1)), rtol=1e-6)
    bad_card = replace(fixed_card(), about={"temperature": 0})
    with pytest.raises(ModelError, match="temperature"):
        TorchSegmenter(bad_card, Fixed(), device="cpu")


def test_the_callers_array_is_left_alone():
    card = unet_card()
    values = np.random.default_rng(0).random((1, 4, 16, 16), np.float32)
    values.flags.writeable = False
    ones = np.ones(4, np.float32)
    valid = np.zeros((1, 16, 16), np.bool_)
    valid.flags.writeable = False
    before = values.copy()
    TorchSegmenter.untrained(card).scores(Batch(values, ones, ones, valid))
    np.testing.assert_array_equal(values, before)


def test_gradients_stay_on_after_a_forward_pass():
    TorchSegmenter.untrained(unet_card()).classify(random_batch(unet_card(), (16, 16)))
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_random_weights_do_not_use_up_the_callers_random_numbers():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    first = build(unet_card(), seed=5)
    np.testing.assert_array_equal(torch.rand(3), wanted)
    second = build(unet_card(), seed=5)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu9"}, "wanted auto, cpu, cuda"),
        ({"device": "mps"}, "wanted auto, cpu, cuda"),
        ({"device": "cpu", "precision": "int8"}, "wanted fp32, bf16, fp16"),
        ({"device": "cpu", "precision": "fp16"}, "needs CUDA"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        TorchSegmenter(unet_card(), build(unet_card()), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named():
    with pytest.raises(ModelError, match=r"sees 0 CUDA devices.*auto or cpu"):
        TorchSegmenter(unet_card(), build(unet_card()), device="cuda")


def test_a_stride_that_is_not_the_networks_is_refused():
    card = replace(zoo_card(), stride=16)
    with pytest.raises(ModelError, match=r"stride 16.*steps of 32 px"):
        TorchSegmenter(card, build(card), device="cpu")
    card = replace(unet_card(), stride=4)
    with pytest.raises(ModelError, match=r"chips of 12 px.*stride"):
        TorchSegmenter(card, build(card), device="cpu")


def test_outputs_that_are_not_the_cards_classes_are_refused():
    card = replace(fixed_card(), legend=replace(LAND_WATER, name="other"))
    with pytest.raises(ModelError, match=r"gives \(1, 1, 3, 3\).*card says \(1, 2, 3, 3\)"):
        TorchSegmenter(card, Fixed(classes=1), device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda_agrees_with_the_cpu(precision):
    card = unet_card()
    batch = random_batch(card, (64, 96), chips=5)
    wanted = TorchSegmenter(card, build(card), device="cpu").scores(batch)
    model = TorchSegmenter(card, build(card), device="cuda", precision=precision)
    found = model.scores(batch)
    np.testing.assert_allclose(found, wanted, atol=1e-4 if precision == "fp32" else 3e-2)
    alone = replace(batch, values=batch.values[4:], valid=batch.valid[4:])
    np.testing.assert_array_equal(model.scores(alone)[0], found[4])
