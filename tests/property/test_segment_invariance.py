"""The map does not depend on how the scene is cut, and equals the model run on the whole scene."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window, blocks
from geoseg.models.base import Batch
from geoseg.ops.stitch import TAPERS, seam_steps
from geoseg.ops.tiling import Lattice
from geoseg.steps.segment import SegmentBlocks, Tiling
from geoseg.testing import LAND_WATER, ArrayPixels, ArrayStore, ConstantModel, LocalMean

SEAMS = ["crop", "blend"]


@st.composite
def lattices(draw, *, least_margin=0):
    multiple = draw(st.sampled_from([1, 2, 4, 8]))
    low = -(-least_margin // multiple)
    margin = multiple * draw(st.integers(low, low + 3))
    return Lattice(2 * margin + multiple * draw(st.integers(1, 6)), margin, multiple)


def scene(h: int, w: int, seed: int, holes: float = 0.1) -> ArrayPixels:
    random = np.random.default_rng(seed)
    values = random.integers(-99, 99, (1, h, w)).astype(np.int16)
    return ArrayPixels(values, valid=random.random((h, w)) >= holes)


def segment(pixels, model, tiling, block):
    shape = tuple(pixels.grid.shape)
    classes, confidence = ArrayStore(shape), ArrayStore(shape)
    work = SegmentBlocks(pixels, model, classes, confidence, tiling)
    reports = [work(window) for window in blocks(shape, block)]
    pixels.closed = False
    assert classes.written.all()
    assert confidence.written.all()
    return classes.values, confidence.values, reports


def on_whole_scene(pixels, model, multiple):
    """The model on the scene as one chip, padded to the model's stride as users of it do."""
    h, w = pixels.grid.shape
    patch = pixels.read(("b1",), Window(0, 0, h, w))
    pad = (0, -h % multiple), (0, -w % multiple)
    batch = Batch(
        np.pad(patch.values, ((0, 0), *pad))[None], patch.scale, patch.offset,
        np.pad(patch.valid, pad)[None],
    )  # fmt: skip
    index, percent = (a[0, :h, :w] for a in model.classify(batch))
    codes = np.asarray(LAND_WATER.values, np.uint8)[index]
    return np.where(patch.valid, codes, 255), np.where(patch.valid, percent, 255)


@pytest.mark.parametrize("seams", SEAMS)
@settings(max_examples=25)
@given(
    lattice=lattices(), h=st.integers(1, 60), w=st.integers(1, 60), cells=st.integers(1, 4),
    batch=st.integers(1, 5), weights=st.sampled_from(sorted(TAPERS)), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_block_size_gives_the_same_bits(seams, lattice, h, w, cells, batch, weights, seed):
    pixels, model = scene(h, w, seed), LocalMean(2, stride=lattice.multiple)
    whole = segment(pixels, model, Tiling(lattice, seams, weights), max(h, w))
    cut = segment(pixels, model, Tiling(lattice, seams, weights, batch), cells * lattice.stride)
    np.testing.assert_array_equal(whole[0], cut[0])
    np.testing.assert_array_equal(whole[1], cut[1])


@settings(max_examples=40)
@given(
    lattice=lattices(least_margin=3), h=st.integers(1, 70), w=st.integers(1, 70),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_crop_with_a_margin_of_the_reach_equals_the_untiled_model(lattice, h, w, seed):
    """Everywhere, the rim of the scene included."""
    pixels, model = scene(h, w, seed), LocalMean(3, stride=lattice.multiple)
    classes, confidence, _ = segment(pixels, model, Tiling(lattice), 2 * lattice.stride)
    true_classes, true_confidence = on_whole_scene(pixels, model, lattice.multiple)
    np.testing.assert_array_equal(classes, true_classes)
    np.testing.assert_array_equal(confidence, true_confidence)


@settings(max_examples=100)
@given(
    lattice=lattices(), h=st.integers(1, 60), w=st.integers(1, 60), cells=st.integers(1, 3),
    seams=st.sampled_from(SEAMS), weights=st.sampled_from(sorted(TAPERS)), batch=st.integers(1, 3),
)  # fmt: skip
def test_a_constant_model_gives_a_constant_map(lattice, h, w, cells, seams, weights, batch):
    pixels = scene(h, w, 0)
    model = ConstantModel((0.22, 0.78))
    tiling = Tiling(lattice, seams, weights, batch)
    classes, confidence, _ = segment(pixels, model, tiling, cells * lattice.stride)
    np.testing.assert_array_equal(classes, np.where(pixels.valid, 2, 255))
    np.testing.assert_array_equal(confidence, np.where(pixels.valid, 78, 255))


@pytest.mark.parametrize("seams", SEAMS)
def test_chips_and_blocks_without_data_never_reach_the_model(seams):
    class Counting(LocalMean):
        chips = 0

        def scores(self, batch):
            Counting.chips += len(batch.values)
            return super().scores(batch)

    values = np.zeros((1, 64, 64), np.int16)
    values[0, 40:44, 40:44] = 5
    pixels = ArrayPixels(values, nodata=0)
    model, tiling = Counting(1), Tiling(Lattice(8, 2), seams)
    classes, _, reports = segment(pixels, model, tiling, 16)
    assert (classes[40:44, 40:44] != 255).all()
    assert (classes != 255).sum() == 16
    assert sum(r["chips"] for r in reports) == Counting.chips
    assert Counting.chips <= (1 if seams == "crop" else 16)
    assert sum(r["skipped"] for r in reports) >= 16 * 16 - Counting.chips


def test_reports_add_up():
    pixels, model = scene(50, 40, 1), LocalMean(1)
    classes, confidence, reports = segment(pixels, model, Tiling(Lattice(12, 2)), 16)
    assert sum(r["valid"] for r in reports) == pixels.valid.sum()
    for code in (1, 2):
        assert sum(r["counts"].get(code, 0) for r in reports) == (classes == code).sum()
    assert sum(r["confidence"] for r in reports) == confidence[pixels.valid].sum(dtype=int)


def test_seam_steps_tell_a_seam_from_none():
    random = np.random.default_rng(0)
    noise = random.integers(0, 2, (64, 64)).astype(np.uint8)
    block, valid = Window(64, 0, 128, 64), np.ones((64, 64), bool)
    at, at_pairs, other, other_pairs = seam_steps(noise, valid, block, 8)
    assert at_pairs == 2 * 7 * 64
    assert at_pairs + other_pairs == 2 * 63 * 64
    assert 0.8 < (at / at_pairs) / (other / other_pairs) < 1.25
    steps = np.add.outer(np.arange(64) // 8, np.arange(64) // 8).astype(np.uint8)
    at, at_pairs, other, _ = seam_steps(steps, valid, block, 8)
    assert (at, other) == (at_pairs, 0)
