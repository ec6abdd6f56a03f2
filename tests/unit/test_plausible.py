"""Numbers that are unlike a model's training are told of, and what is wrong with them is named."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio

from geoseg.grid import Window, blocks
from geoseg.models.plausible import doubt_numbers
from geoseg.models.registry import find
from geoseg.models.scaling import physical_norms
from geoseg.ops.spread import Spread, spreads
from geoseg.steps import look as look_step
from geoseg.steps.look import SIDE, look
from geoseg.testing import ArrayPixels

CARD = find("landcover-s2").card
AERIAL = find("aerial-rgb").card
# Low, middle and high of a real Landsat scene (Rondonia, 2019-07-27), by the card's bands.
RONDONIA = np.array(
    [
        (0.018, 0.043, 0.102),
        (0.036, 0.070, 0.148),
        (0.022, 0.077, 0.183),
        (0.053, 0.259, 0.354),
        (0.005, 0.210, 0.361),
        (0.003, 0.119, 0.283),
    ]
)


def doubts(numbers, card=CARD):
    found = [Spread(*map(float, row)) for row in numbers]
    return doubt_numbers(card, found, scene="s")


def test_a_scene_as_it_should_be_raises_no_doubt():
    assert doubts(RONDONIA) == []


SWAPPED = [0, 1, 3, 2, 4, 5]
REVERSED = [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        (RONDONIA * 1e4, "reflectance times 10000: set input.scale: 0.0001"),
        (RONDONIA * 1e4 + 1000, "reflectance times 10000: set input.scale: 0.0001"),
        ((RONDONIA + 0.2) / 2.75e-5, "Landsat Collection 2 as stored: set input.scale: 0.0000275"),
        (RONDONIA * 255, "bytes or percent"),
        (RONDONIA * 1e-4, "scaled twice"),
        (RONDONIA + 0.1, "offset of -1000 had been left out: set input.offset: -0.1"),
        (RONDONIA - 0.1, "offset of -1000 had been added to numbers that have none"),
        (RONDONIA[SWAPPED], "bright places have more red than nir, as if the two were swapped"),
        (RONDONIA[[2, 1, 0, 3, 4, 5]], "bright places have more blue than red"),
        (RONDONIA[REVERSED], "or all bands in another order: check input.bands"),
    ],
)
def test_what_is_wrong_is_named_with_the_numbers(numbers, what):
    (warning,) = doubts(numbers)
    assert what in warning
    assert warning.startswith("scene s: its numbers are unlike those that model landcover-s2")
    for band, row, mean in zip(CARD.bands, numbers, CARD.mean, strict=True):
        assert f"{band}: median {row[1]:.4g}, 2 to 98 % {row[0]:.4g} to {row[2]:.4g}" in warning
        assert f"trained on {mean:.4g} ± " in warning


def test_snow_is_far_off_but_nothing_else_is_claimed():
    snow = np.array([(0.7, 0.85, 0.95)] * 4 + [(0.03, 0.08, 0.2)] * 2)
    (warning,) = doubts(snow)
    assert "check input.scale, input.offset and input.bands; clouds and snow look so too" in warning
    assert "blue: median 0.85" in warning
    assert "swir16" not in warning  # only what is far off is told


def test_open_water_and_dark_scenes_are_not_taken_for_swapped_bands():
    water = np.array([(0.02, 0.05, 0.09), (0.02, 0.04, 0.07), (0.01, 0.02, 0.04)])
    assert doubts(np.concatenate([water, np.full((3, 3), 0.005)])) == []


@pytest.mark.parametrize(
    ("factor", "what"), [(256, "16-bit numbers: set input.scale: 0.00390625"), (1 / 255, "255")]
)
def test_pictures_of_another_depth(factor, what):
    numbers = np.array([(20, 120, 250), (20, 130, 240), (10, 100, 230)])
    assert doubts(numbers, AERIAL) == []
    assert what in doubts(numbers * factor, AERIAL)[0]


def test_cards_that_only_scale_are_not_asked():
    card = replace(CARD, mean=(0.0,) * 6, std=(10000.0,) * 6)
    assert doubts(RONDONIA * 1e4, card) == []


def test_norms_of_logarithms_are_told_in_reflectance():
    card = replace(CARD, scaling="dynamicworld", mean=(1.2,) * 6, std=(0.5,) * 6)
    mean, std = physical_norms(card)[0]
    assert mean == pytest.approx(np.expm1(1.2) / 50)
    assert 0 < std < 2 * mean


def test_a_look_reads_little_of_a_scene_and_only_what_is_valid():
    values = np.full((2, 900, 1100), 500, np.int16)
    values[1] = 900
    valid = np.zeros((900, 1100), np.bool_)
    valid[300:700, 200:900] = True
    values[:, ~valid] = -30000
    pixels = Counting(values, valid)
    spread = look(pixels, ("b1", "b2"), tuple(blocks((900, 1100), 256)), windows=12)
    assert spread == (Spread(500, 500, 500), Spread(900, 900, 900))
    assert pixels.seen <= 36 * SIDE**2


def test_a_small_scene_is_read_once_and_says_the_same(monkeypatch):
    values = np.random.default_rng(1).integers(0, 9999, (2, 300, 400)).astype(np.int16)
    valid = np.zeros((300, 400), np.bool_)
    valid[50:, 100:300] = True
    found, reads = [], []
    for small in (look_step.SMALL, 0):
        monkeypatch.setattr(look_step, "SMALL", small)
        pixels = Counting(values, valid)
        found.append(look(pixels, ("b1", "b2"), (Window(0, 0, 300, 400),), windows=12))
        reads.append(len(pixels.reads))
    assert found[0] == found[1]
    assert reads[0] == 1 < reads[1]


class Counting(ArrayPixels):
    """Counts the pixels that are read."""

    seen = 0

    def __init__(self, values, valid):
        super().__init__(values, valid=valid, bands=("b1", "b2"))

    def read(self, bands, window):
        self.seen += window.shape[0] * window.shape[1]
        return super().read(bands, window)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (64, 64), (70, 20)])
def test_windows_lie_inside_of_small_scenes(shape):
    pixels = ArrayPixels(np.ones((1, *shape), np.int16))
    spread = look(pixels, ("b1",), (Window(0, 0, *shape),), windows=12)
    assert (spread is None) == (shape == (1, 1))


def test_nothing_valid_gives_no_numbers():
    pixels = ArrayPixels(np.ones((1, 90, 90), np.int16), valid=np.zeros((90, 90), np.bool_))
    assert look(pixels, ("b1",), (Window(0, 0, 90, 90),), windows=12) is None


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_real_scenes_of_all_kinds_raise_no_doubt_and_raw_ones_always_do(data_dir):
    names = ["coastal", "blue", "green", "red", "nir", "swir16", "swir22"]
    chosen = [names.index(band) for band in CARD.bands]
    doubted = raw = swapped = count = 0
    for path in sorted((data_dir / "hls_water_landcover" / "images").glob("*.tif"))[::3]:
        with rasterio.open(path) as file:
            stored = file.read()[chosen].reshape(6, -1)
        count += 1
        for order, scale in (((0, 1, 2, 3, 4, 5), 1e-4), ((0, 1, 2, 3, 4, 5), 1), (SWAPPED, 1e-4)):
            said = doubt_numbers(CARD, spreads(stored[list(order)] * scale), scene="s")
            if scale == 1:
                raw += "times 10000" in "".join(said)
            elif order == SWAPPED:
                swapped += "more red than nir" in "".join(said)
            else:
                doubted += bool(said)
    assert count > 50
    assert doubted == 0
    assert raw == count
    assert swapped > 0.85 * count
