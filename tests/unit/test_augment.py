"""Augmentation: nothing where it is off, values and labels together, physics as its settings say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.legend import LANDCOVER
from geoseg.models.base import ModelCard
from geoseg.models.scaling import DYNAMICWORLD
from geoseg.models.training.augment import augment, span
from geoseg.models.training.base import IGNORE, Augmentation
from geoseg.models.training.geometry import Chips, moved, turned
from geoseg.models.training.network_input import Scaler, padded

OFF = Augmentation(
    d4=False, scale=(1.0, 1.0), gain=0, band_gain=0, offset=0, haze=0, haze_share=0, noise=0
)
ALL = Augmentation(
    gamma=0.2,
    shade=0.5,
    shade_share=0.5,
    blur=1.0,
    band_drop=0.3,
    elastic=3.0,
    haze_share=0.5,
)
CARD = ModelCard(
    name="tiny",
    version="1.0.0",
    bands=("blue", "red", "nir"),
    units="reflectance",
    mean=(0.05, 0.1, 0.3),
    std=(0.05, 0.1, 0.1),
    legend=LANDCOVER,
    stride=8,
)
DN = replace(CARD, units="dn", mean=(80.0, 90.0, 100.0), std=(40.0, 40.0, 40.0))


def made(seed=0, *, chips=4, side=32, card=CARD, holes=True):
    random = np.random.default_rng(seed)
    values = random.uniform(0, 0.6 if card.units == "reflectance" else 255, (chips, 3, side, side))
    labels = random.integers(0, 6, (chips, side, side)).astype(np.uint8)
    valid = np.ones(labels.shape, bool)
    if holes:
        valid[:, 4:9, 10:20] = False
    labels[~valid] = IGNORE
    return tuple(torch.from_numpy(a) for a in (values.astype(np.float32), labels, valid))


def drawn(chips, settings, *, card=CARD, seed=0):
    random = torch.Generator().manual_seed(seed)
    return augment(*chips, card=card, settings=settings, generator=random)


@pytest.mark.parametrize("card", [CARD, DN])
def test_off_is_off(card):
    given_, found = made(card=card), drawn(made(card=card), OFF, card=card)
    assert all(torch.equal(a, b) for a, b in zip(given_, found, strict=True))


def test_the_same_seed_gives_the_same_bits_and_another_others():
    first, again, other = (drawn(made(), ALL, seed=seed) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_chips_given_are_not_changed():
    chips, before = made(), made()
    drawn(chips, ALL)
    assert all(torch.equal(a, b) for a, b in zip(chips, before, strict=True))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), side=st.sampled_from([16, 24, 40]), dn=st.booleans())
def test_labels_stay_labels(seed, side, dn):
    card = DN if dn else CARD
    values, labels, valid = made(seed, side=side, card=card)
    labels[labels == 3] = 1
    found = drawn((values, labels, valid), ALL, card=card, seed=seed)
    assert set(found[1].unique().tolist()) <= set(labels.unique().tolist()) | {IGNORE}
    assert (found[1][~found[2]] == IGNORE).all()
    assert torch.isfinite(found[0]).all()
    assert [t.shape for t in found] == [values.shape, labels.shape, valid.shape]
    assert [t.dtype for t in found] == [torch.float32, torch.uint8, torch.bool]


def test_each_symmetry_is_numpys():
    chips = Chips(*made(chips=8))
    found = turned(chips, torch.arange(8))
    seen = set()
    for turn in range(8):
        for before, after in (
            (chips.values, found.values),
            (chips.labels, found.labels),
            (chips.valid, found.valid),
        ):
            wanted = before[turn].numpy()
            wanted = wanted[..., ::-1] if turn & 1 else wanted
            wanted = wanted[..., ::-1, :] if turn & 2 else wanted
            wanted = wanted.swapaxes(-1, -2) if turn & 4 else wanted
            np.testing.assert_array_equal(after[turn].numpy(), wanted)
        seen.add(
            turned(Chips(*(t[:1] for t in made())), torch.tensor([turn])).values.numpy().tobytes()
        )
    assert len(seen) == 8


def test_chips_that_are_not_square_are_only_flipped():
    values, labels, valid = (t[..., :24] for t in made(chips=8, holes=False))
    found = turned(Chips(values, labels, valid), torch.arange(8))
    assert torch.equal(found.values[5], values[5].flip(-1))


def test_symmetries_by_interpolation_are_those_by_flips():
    # The same draws: a scale that is next to 1 goes through the grid, and must hit the same pixels.
    chips = Chips(*made(chips=64, holes=False))
    exact = moved(chips, replace(OFF, d4=True), torch.Generator().manual_seed(3))
    nearly = replace(OFF, d4=True, scale=(1.0, 1.0 + 1e-6))
    found = moved(chips, nearly, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found.values, exact.values, rtol=0, atol=1e-3)
    assert torch.equal(found.labels, exact.labels)
    assert found.valid.all()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_values_and_labels_move_together(seed):
    # Values that tell their label: what is well inside an area must still do so.
    coarse = torch.randint(5, (4, 4, 4), generator=torch.Generator().manual_seed(seed))
    labels = coarse.repeat_interleave(12, 1).repeat_interleave(12, 2).to(torch.uint8)
    values = labels[:, None].float().repeat(1, 3, 1, 1)
    asked = replace(OFF, d4=True, scale=(0.6, 1.5), elastic=2.0)
    found, moved_labels, valid = drawn((values, labels, labels < 9), asked, seed=seed)
    known = moved_labels != IGNORE
    assert torch.equal(known, valid)
    off = (found[:, 0] - moved_labels)[known].abs()
    # Within half a pixel of an edge they are mixed, never elsewhere.
    assert (off < 1e-3).float().mean() > 0.6
    assert (off <= 4).all()


def test_coarser_chips_lie_within_and_finer_ones_show_a_part():
    chips = made(holes=False)
    coarse = drawn(chips, replace(OFF, scale=(2.0, 2.0)))
    assert coarse[2].float().mean().item() == pytest.approx(0.25, abs=0.03)
    fine = drawn(chips, replace(OFF, scale=(0.5, 0.5)))
    assert fine[2].all()


def test_what_is_not_valid_does_not_spread():
    values, labels, valid = made()
    spoilt = values.masked_fill(~valid[:, None], float("nan"))
    geometric = replace(ALL, band_drop=0.0)
    first, second = (drawn((v, labels, valid), geometric) for v in (values, spoilt))
    assert torch.equal(first[2], second[2])
    kept = first[2][:, None].expand_as(first[0])
    assert torch.equal(first[0][kept], second[0][kept])
    assert torch.isfinite(second[0][kept]).all()


def test_digital_numbers_stay_within_their_span():
    chips = made(card=DN)
    strong = replace(ALL, gain=1.0, offset=0.3, noise=0.3)
    found = drawn(chips, strong, card=DN)[0]
    assert found.min() >= 0
    assert found.max() <= 255
    assert (found == 0).any()
    assert (found == 255).any()


def test_dark_reflectance_may_be_a_little_negative_and_bright_above_one():
    dark = torch.zeros(8, 3, 32, 32), *made(chips=8, holes=False)[1:]
    found = drawn(dark, replace(OFF, noise=0.01))[0]
    assert -0.06 < found.min() < 0
    bright = torch.full((8, 3, 32, 32), 1.2), *made(chips=8, holes=False)[1:]
    assert drawn(bright, replace(OFF, gain=0.1))[0].max() > 1.2


def test_haze_is_bluest_and_none_where_a_band_has_no_wavelength():
    card = replace(CARD, bands=("red", "blue", "vv"))
    chips = torch.zeros(64, 3, 8, 8), *made(chips=64, side=8, holes=False)[1:]
    added = drawn(chips, replace(OFF, haze=0.05, haze_share=0.5), card=card)[0][..., 0, 0]
    red, blue, radar = added.T
    hazy = blue > 0
    assert 0.25 < hazy.float().mean() < 0.75
    assert (blue[hazy] > red[hazy]).all()
    assert (red[hazy] > 0).all()
    assert blue.max() <= 0.05
    assert not radar.any()


def test_gains_have_the_deviation_that_was_asked_for():
    chips = torch.ones(4000, 3, 2, 2), torch.zeros(4000, 2, 2).byte(), torch.ones(4000, 2, 2) > 0
    logs = drawn(chips, replace(OFF, gain=0.1))[0][:, :, 0, 0].log()
    assert logs.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(logs[:, 0], logs[:, 2])
    logs = drawn(chips, replace(OFF, band_gain=0.1))[0][:, :, 0, 0].log()
    assert logs.std().item() == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(logs[:, 0], logs[:, 2])


def test_offset_and_noise_are_shares_of_the_span():
    chips = torch.full((500, 3, 8, 8), 128.0), *made(chips=500, side=8, holes=False)[1:]
    added = drawn(chips, replace(OFF, noise=0.01), card=DN)[0] - 128
    assert added.std().item() == pytest.approx(2.55, rel=0.02)
    added = (drawn(chips, replace(OFF, offset=0.01), card=DN)[0] - 128)[..., 0, 0]
    assert added.std().item() == pytest.approx(2.55, rel=0.1)


def test_gamma_keeps_black_white_and_order():
    ramp = torch.linspace(0, 255, 64).view(1, 1, 8, 8).repeat(16, 3, 1, 1)
    chips = ramp, *made(chips=16, side=8, holes=False)[1:]
    found = drawn(chips, replace(OFF, gamma=0.3), card=DN)[0]
    flat = found.flatten(2)
    assert (flat.diff(dim=2) >= 0).all()
    torch.testing.assert_close(flat[..., [0, -1]], ramp.flatten(2)[..., [0, -1]])
    assert (flat[:, 0, 32] - ramp.flatten(2)[:, 0, 32]).abs().max() > 5


def test_shade_takes_no_more_than_asked_and_has_soft_edges():
    chips = torch.ones(16, 3, 64, 64), *made(chips=16, side=64, holes=False)[1:]
    light = drawn(chips, replace(OFF, shade=0.6, shade_share=0.5))[0]
    assert light.max() <= 1
    assert light.min() >= 0.4 - 1e-6
    shaded = light.flatten(1).min(dim=1).values < 1
    assert 2 < shaded.sum() < 14
    assert light.diff(dim=3).abs().max() < 0.25


def test_blur_is_scipys_inside():
    from scipy.ndimage import gaussian_filter

    values, labels, valid = made(holes=False, side=48)
    random = torch.Generator().manual_seed(9)
    found = augment(
        values,
        labels,
        valid,
        card=CARD,
        settings=replace(OFF, blur=1.2),
        generator=random,
    )[0]
    again = torch.Generator().manual_seed(9)
    sigma = 1.2 * torch.rand(4, 1, generator=again)
    for chip in range(4):
        s = float(sigma[chip])
        wanted = gaussian_filter(
            values[chip].numpy().astype(float), (0, s, s), radius=(0, 3, 3), mode="constant"
        )
        inside = np.s_[:, 3:-3, 3:-3]
        np.testing.assert_allclose(found[chip].numpy()[inside], wanted[inside], atol=1e-5)


def test_blur_keeps_a_flat_chip_flat_up_to_its_rim_and_holes():
    _, labels, valid = made()
    flat = torch.full((4, 3, 32, 32), 0.3), labels, valid
    found = drawn(flat, replace(OFF, blur=2.0))[0]
    torch.testing.assert_close(found, flat[0])


@pytest.mark.parametrize("scaling", ["standardise", DYNAMICWORLD])
def test_a_dropped_band_enters_as_nothing(scaling):
    card = CARD
    if scaling == DYNAMICWORLD:
        card = replace(CARD, scaling=scaling, mean=(1.5, 2.0, 2.5), std=(1.0, 1.0, 1.0))
    chips = made(chips=64, side=8, holes=False)
    values, _, valid = drawn(chips, replace(OFF, band_drop=0.5), card=card)
    scale = Scaler(card, torch.device("cpu"))
    before, after = scale(chips[0], valid), scale(values, valid)
    gone = (after != before).flatten(2).any(dim=2)
    assert gone.sum(dim=1).max() == 1
    assert 16 < gone.sum() < 48
    assert after[gone].abs().max() < (1e-6 if scaling == "standardise" else 0.001)
    assert {int(i) for i in gone.int().argmax(dim=1)[gone.any(dim=1)]} == {0, 1, 2}


def test_spans():
    assert span(CARD) == 1.0
    assert span(DN) == 255.0
    assert span(replace(DN, mean=(900.0,) * 3, std=(500.0,) * 3)) == 2047.0
    assert span(replace(DN, mean=(9e9,) * 3)) == 65535.0


def test_padding_is_below_and_to_the_right_and_not_valid():
    values, _, valid = (t[..., :30, :27] for t in made(holes=False))
    wide, known = padded(values, valid, 8)
    assert wide.shape[2:] == known.shape[1:] == (32, 32)
    assert torch.equal(wide[..., :30, :27], values)
    assert known.sum() == 4 * 30 * 27
    assert padded(values[..., :24, :24], valid[..., :24, :24], 8)[0].shape[2:] == (24, 24)
