"""Views and several models are tiled as exactly as one model is."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_segment_invariance import on_whole_scene, scene, segment

from geoseg.grid import Window
from geoseg.models.base import Batch
from geoseg.models.committee import scaled_reach
from geoseg.models.views import CommitteeSegmenter
from geoseg.ops.resample import resample, resample_known
from geoseg.ops.tiling import Lattice
from geoseg.steps.segment import Tiling
from geoseg.testing import LocalMean

ONE = Fraction(1)
scales = st.lists(
    st.sampled_from([ONE, Fraction(5, 4), Fraction(3, 4), Fraction(1, 2), Fraction(3, 2)]),
    min_size=1, max_size=2, unique=True,
).map(tuple)  # fmt: skip


class Lopsided(LocalMean):
    """Looks up and to the left more than down and right, so that views of a chip differ."""

    def scores(self, batch):
        moved = np.zeros_like(batch.values)
        moved[..., 1:, 1:] = batch.values[..., :-1, :-1]
        known = np.zeros_like(batch.valid)
        known[..., 1:, 1:] = batch.valid[..., :-1, :-1]
        before = super().scores(replace(batch, values=moved, valid=known))
        return (super().scores(batch) + 3 * before) / np.float32(4)


def lopsided(radius, stride=1):
    model = Lopsided(radius, stride=stride)
    model._card = replace(model.card, reach=radius + 1)
    return model


def fitting(card, more):
    margin = -(-card.reach // card.stride) * card.stride
    return Lattice(2 * margin + more * card.stride, margin, card.stride)


@settings(max_examples=25, deadline=None)
@given(
    h=st.integers(1, 50), w=st.integers(1, 50), more=st.integers(1, 3), seed=st.integers(0, 99),
    symmetries=st.sampled_from(["none", "flips", "d4"]), scale=scales,
    strides=st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=2), batch=st.integers(1, 3),
)  # fmt: skip
@example(h=50, w=37, more=1, seed=0, symmetries="d4", scale=(ONE,), strides=[4], batch=2)
@example(h=50, w=9, more=1, seed=1, symmetries="d4", scale=(Fraction(5, 4),), strides=[2], batch=1)
def test_tiled_is_untiled(h, w, more, seed, symmetries, scale, strides, batch):
    members = [lopsided(1 + k, stride) for k, stride in enumerate(strides)]
    model = CommitteeSegmenter(members, symmetries=symmetries, scales=scale)
    pixels, lattice = scene(h, w, seed), fitting(model.card, more)
    found = segment(pixels, model, Tiling(lattice, batch=batch), lattice.stride)
    wanted = on_whole_scene(pixels, model, lattice.multiple)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize(
    ("symmetries", "scale"), [("none", Fraction(5, 4)), ("d4", ONE), ("none", Fraction(3, 4))]
)
@pytest.mark.long
def test_with_less_margin_it_is_not(symmetries, scale):
    """Or else the test above could not fail; and the reach is not much too large."""
    model = CommitteeSegmenter([lopsided(5)], symmetries=symmetries, scales=(scale,))
    card, differ = model.card, 0
    short = card.reach - 3
    margin = short // card.stride * card.stride
    for seed in range(4):
        pixels = scene(60, 60, seed)
        lattice = Lattice(2 * margin + card.stride, margin, card.stride)
        found = segment(pixels, model, Tiling(lattice), lattice.stride)
        differ += int((found[1] != on_whole_scene(pixels, model, lattice.multiple)[1]).sum())
    assert differ > 0


def test_chips_out_of_phase_with_a_scale_would_differ():
    """What the stride of the card guards against."""
    model = CommitteeSegmenter([lopsided(1)], scales=(Fraction(5, 4),))
    assert model.card.stride == 4
    values = np.random.default_rng(0).standard_normal((1, 1, 64, 64)).astype(np.float32)
    large = resample(values, Fraction(5, 4))
    in_phase = resample(values[..., 8:40, 8:40], Fraction(5, 4))
    np.testing.assert_array_equal(in_phase[..., 5:-5, 5:-5], large[..., 15:45, 15:45])
    out_of_phase = resample(values[..., 9:41, 9:41], Fraction(5, 4))
    assert (out_of_phase[..., 5:-5, 5:-5] != large[..., 15:45, 15:45]).any()


@settings(max_examples=30, deadline=None)
@given(scale=st.sampled_from([Fraction(n, d) for n in range(1, 9) for d in range(1, 9)]))
def test_resampling_keeps_constants_and_ramps(scale):
    length = 24 * scale.denominator
    rows, cols = np.indices((length, length)).astype(np.float32)
    flat = resample(np.full((1, length, length), 7.0, np.float32), scale)
    np.testing.assert_allclose(flat, 7, rtol=1e-6)
    ramp = resample(rows + 2 * cols, scale)
    at = (np.arange(int(length * scale)) + 0.5) / float(scale) - 0.5
    inner = (at > 9) & (at < length - 10)
    wanted = at[:, None] + 2 * at
    np.testing.assert_allclose(
        ramp[np.ix_(inner, inner)],
        wanted[np.ix_(inner, inner)],
        rtol=2e-5,
        atol=0 if scale >= 1 else 0.6,
    )


def test_unknown_pixels_do_not_bleed():
    random = np.random.default_rng(0)
    known = random.random((1, 40, 40)) > 0.3
    values = np.where(known, 5.0, np.nan)[:, None]
    for scale in (Fraction(5, 4), Fraction(1, 2)):
        out, valid = resample_known(np.where(known[:, None], values, -9999), known, scale)
        np.testing.assert_allclose(out[:, 0][valid], 5, rtol=1e-5)
        assert 0.5 < valid.mean() < 1


def test_reach_of_scales():
    assert scaled_reach(None, Fraction(5, 4)) is None
    assert scaled_reach(40, ONE) == 40
    assert scaled_reach(40, Fraction(5, 4)) == 33
    assert scaled_reach(40, Fraction(1, 2)) == 83


def test_equal_members_agree_and_give_what_one_gives():
    one = LocalMean(2)
    model = CommitteeSegmenter([one, LocalMean(2)])
    pixels = scene(20, 20, 0)
    patch = pixels.read(("b1",), Window(0, 0, 20, 20))
    batch = Batch(patch.values[None], patch.scale, patch.offset, patch.valid[None])
    mean, disagreement = model.weigh(batch)
    np.testing.assert_array_equal(mean, one.scores(batch))
    assert disagreement.max() < 1e-6
