"""Tiles of the own network with a margin of its reach are the untiled map, for scenes of any size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.models.architectures import build
from geoseg.models.base import Batch
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.ops.tiling import Lattice
from geoseg.testing import fake_card, random_batch

REACH, STRIDE = 48, 8


@pytest.fixture(scope="module")
def model():
    card = replace(
        fake_card("small", bands=("red", "nir"), reach=REACH),
        stride=STRIDE,
        size=128,
        margin=REACH,
        architecture={"name": "geoseg-unet", "widths": [4, 4, 6, 6]},
    )
    network = build(card, seed=3)
    speak_up(network)
    return TorchSegmenter(card, network, device="cpu", threads=1)


def speak_up(network):
    """Make random weights look far, and give either class about half of the map."""
    torch.manual_seed(0)
    with torch.no_grad():
        for lateral in network.lateral:
            lateral[0].weight *= 4.0
        logits = network(torch.randn(1, 2, 256, 256))
        gap = logits[0, 0] - logits[0, 1]
        network.head.weight *= 2.0 / gap.std()
        network.head.bias[1] += gap.mean()
        network.head.bias *= 2.0 / gap.std()


def seen_by(scene, window):
    """The window of a scene as one chip; what lies outside is not valid."""
    inside = window & Window(0, 0, *scene.valid.shape[1:])
    rows, cols = inside.slices
    pads = (0, window.shape[0] - inside.shape[0]), (0, window.shape[1] - inside.shape[1])
    values = np.pad(scene.values[..., rows, cols], ((0, 0), (0, 0), *pads), constant_values=-32768)
    valid = np.pad(scene.valid[..., rows, cols], ((0, 0), *pads))
    return replace(scene, values=values, valid=valid)


def untiled(model, scene):
    height, width = scene.valid.shape[1:]
    lattice = Lattice(STRIDE, 0, STRIDE)
    whole = Window(0, 0, lattice.padded(height), lattice.padded(width))
    return model.scores(seen_by(scene, whole))[0, :, :height, :width]


def tiled(model, scene, lattice, at_once=3):
    shape = scene.valid.shape[1:]
    found = np.full((2, *shape), np.nan, np.float32)
    chips = lattice.chips(shape, Window(0, 0, *shape))
    for start in range(0, len(chips), at_once):
        some = chips[start : start + at_once]
        parts = [seen_by(scene, chip.sees) for chip in some]
        batch = Batch(
            np.concatenate([part.values for part in parts]),
            scene.scale,
            scene.offset,
            np.concatenate([part.valid for part in parts]),
        )
        for chip, scores in zip(some, model.scores(batch), strict=True):
            assert np.isnan(found[:, *chip.owns.slices]).all()
            found[:, *chip.owns.slices] = scores[:, *chip.owns.within(chip.sees).slices]
    return found


sides = st.integers(1, 260)


@settings(max_examples=25)
@given(shape=st.tuples(sides, sides), more=st.integers(1, 6), seed=st.integers(0, 99))
@example(shape=(257, 131), more=1, seed=0)
@example(shape=(1, 1), more=1, seed=0)
@example(shape=(105, 260), more=2, seed=1)
def test_tiled_is_untiled(model, shape, more, seed):
    scene = random_batch(model.card, shape, seed=seed)
    wanted = untiled(model, scene)
    lattice = Lattice(2 * REACH + more * STRIDE, REACH, STRIDE)
    found = tiled(model, scene, lattice)
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)
    clear = np.abs(wanted[0] - wanted[1]) > 1e-5
    np.testing.assert_array_equal(found.argmax(axis=0)[clear], wanted.argmax(axis=0)[clear])


def test_with_one_stride_less_it_is_not(model):
    """Or else the test above could not fail."""
    scene = random_batch(model.card, (199, 203), seed=1)
    wanted = untiled(model, scene)
    share = (wanted[0] > 0.5).mean()
    assert 0.2 < share < 0.8  # the comparison of classes says something
    margin = REACH - STRIDE
    found = tiled(model, scene, Lattice(2 * margin + 16, margin, STRIDE))
    assert np.abs(found - wanted).max() > 5e-5


def test_tiles_do_not_depend_on_how_many_go_at_once(model):
    scene = random_batch(model.card, (199, 131), seed=2)
    lattice = Lattice(104, REACH, STRIDE)
    one, many = (tiled(model, scene, lattice, at_once=n) for n in (1, 7))
    np.testing.assert_array_equal(one, many)
