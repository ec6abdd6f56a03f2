"""Dynamic World's network: the published answers, its parts one by one, and its card."""

import numpy as np
import pytest
import torch
from published import random_network, variables_of
from torch.nn import functional

from geoseg.errors import ModelError
from geoseg.models.architectures import build, check_stride
from geoseg.models.card import dump_card, load_card
from geoseg.models.dynamicworld import CARD, DynamicWorld, Halving, Mish, from_tensorflow
from geoseg.models.reach import measure
from geoseg.models.torch_pass import _fold_norms


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.data
@pytest.mark.parametrize("side", [128, 171])
@pytest.mark.parametrize("folded", [False, True])
def test_gives_what_the_published_model_gives(published_dir, side, folded):
    with np.load(published_dir / "dynamicworld" / "weights.npz") as archive:
        network = from_tensorflow(dict(archive))
    if folded:
        _fold_norms(network)
    with np.load(published_dir / "dynamicworld" / "reference_io.npz") as archive:
        given, wanted = (archive[f"{name}{side}"].transpose(0, 3, 1, 2) for name in "xy")
    with torch.inference_mode():
        found = network(torch.from_numpy(np.ascontiguousarray(given))).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 2), (3, 7), (5, 4), (16, 18), (31, 64)])
def test_any_size_goes_in_and_comes_out(size):
    with torch.inference_mode():
        out = random_network()(torch.rand(2, 9, *size))
    assert out.shape == (2, 9, *size)
    assert out.isfinite().all()


@pytest.mark.parametrize("size", [(4, 4), (4, 64), (66, 10), (128, 6)])
def test_even_sizes_are_halved_as_odd_ones_are(size):
    x = torch.randn(2, 5, *size)
    half = (size[0] // 2, size[1] // 2)
    wanted = functional.interpolate(
        x, size=half, mode="bilinear", antialias=True, align_corners=False
    )
    torch.testing.assert_close(Halving(5)(x), wanted, atol=1e-6, rtol=0)


def test_halving_keeps_what_is_flat():
    for size in ((4, 4), (7, 9), (32, 2)):
        halved = Halving(3)(torch.full((1, 3, *size), 0.7))
        torch.testing.assert_close(halved, torch.full_like(halved, 0.7))


def test_mish_is_torchs_mish():
    x = torch.cat([torch.linspace(-120, 120, 4001), torch.tensor([1e30, torch.inf, torch.nan])])
    with torch.inference_mode():
        found = Mish()(x)
    wanted = functional.mish(x.double()).float()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-6, equal_nan=True)
    with torch.enable_grad():
        straight = x[:-3].clone().requires_grad_()
        Mish()(straight).sum().backward()
    assert straight.grad.isfinite().all()


def test_variables_have_one_place_each():
    network = random_network(3)
    variables = variables_of(network)
    assert len(variables) == 146
    again = from_tensorflow(variables)
    for name, tensor in network.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(again.state_dict()[name], tensor, atol=0, rtol=0)


def test_other_variables_are_refused():
    variables = variables_of(random_network())
    missing = {k: v for k, v in variables.items() if k != "conv2d_9/kernel"}
    with pytest.raises(ModelError, match=r"no variable 'conv2d_9/kernel' among 145"):
        from_tensorflow(missing)
    other = variables | {"conv2d_14/bias": np.zeros(10, np.float32)}
    with pytest.raises(ModelError, match=r"'conv2d_14/bias' has the shape \(10,\)"):
        from_tensorflow(other)
    flat = variables | {"conv2d/kernel": np.zeros(9, np.float32)}
    with pytest.raises(ModelError, match=r"'conv2d/kernel' has the shape \(9,\)"):
        from_tensorflow(flat)


def test_the_card_says_what_is_measured():
    found = measure(DynamicWorld(), bands=9, stride=2)
    assert found.reach == CARD.reach == 22
    assert found.activation_bytes == CARD.activation_bytes
    assert CARD.margin == 24
    check_stride(build(CARD), CARD)


def test_the_card_survives_its_file(tmp_path):
    dump_card(CARD, tmp_path / "card.json")
    assert load_card(tmp_path / "card.json") == CARD


def test_the_architecture_has_no_parameters():
    from dataclasses import replace

    card = replace(CARD, architecture={"name": "dynamicworld", "depth": 3})
    with pytest.raises(ModelError, match=r"has no parameter 'depth'; it has none"):
        build(card)
