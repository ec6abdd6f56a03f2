"""Distances to what is not valid, and chips with too little data: the same however one cuts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from geoseg.grid import Window, blocks
from geoseg.io.quality import DistanceRaster
from geoseg.ops.distance import FARTHEST, distance_to_invalid
from geoseg.ops.tiling import Lattice
from geoseg.steps.segment import OBSERVATIONS, SegmentBlocks, Tiling
from geoseg.testing import ArrayPixels, ArrayStore, LocalMean


@st.composite
def validity(draw, most=90):
    shape = draw(st.integers(1, most)), draw(st.integers(1, most))
    holes = draw(st.sampled_from([0.0, 0.0003, 0.01, 0.2, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 99))).random(shape) >= holes


@settings(max_examples=60)
@given(valid=validity(), farthest=st.sampled_from([1, 2, 5, 64, 254]))
def test_distances_are_scipys(valid, farthest):
    exact = np.full(valid.shape, np.inf) if valid.all() else distance_transform_edt(valid)
    # Squares are whole numbers: no distance is just below one.
    wanted = np.minimum(np.floor(exact + 1e-9), farthest)
    np.testing.assert_array_equal(distance_to_invalid(valid, farthest), wanted)


@pytest.mark.parametrize("farthest", [0, 255])
def test_distances_must_fit_a_byte(farthest):
    with pytest.raises(ValueError, match="expected 1 to 254"):
        distance_to_invalid(np.ones((2, 2), np.bool_), farthest)


@settings(max_examples=25)
@given(seed=st.integers(0, 99), block=st.integers(7, 90), count=st.integers(0, 3))
def test_distances_of_any_window_are_those_of_the_whole(seed, block, count):
    random = np.random.default_rng(seed)
    seen = np.ones((170, 190), np.uint8)
    for y, x in zip(random.integers(0, 170, count), random.integers(0, 190, count), strict=True):
        seen[y, x] = 0
    store = ArrayStore(seen.shape)
    store.write(Window(0, 0, *seen.shape), seen)
    raster = DistanceRaster(store, seen.shape)
    whole = distance_to_invalid(seen > 0)
    for window in blocks(seen.shape, block):
        np.testing.assert_array_equal(raster.read(window), whole[window.slices])
    assert whole.max() <= FARTHEST


def patchy(shape, seed, cell=9):
    """Values of which large parts are not valid: whole chips more or less."""
    random = np.random.default_rng(seed)
    coarse = random.random((-(-shape[0] // cell), -(-shape[1] // cell))) > 0.5
    valid = np.kron(coarse, np.ones((cell, cell), np.bool_))[: shape[0], : shape[1]]
    return ArrayPixels(random.integers(-99, 99, (1, *shape)).astype(np.int16), valid=valid)


def segment(pixels, tiling, block):
    shape = tuple(pixels.grid.shape)
    classes, confidence, seen = ArrayStore(shape), ArrayStore(shape), ArrayStore(shape)
    work = SegmentBlocks(
        pixels, LocalMean(2), classes, confidence, tiling, layers={OBSERVATIONS: seen}
    )
    reports = [work(window) for window in blocks(shape, block)]
    total = {key: sum(r[key] for r in reports) for key in ("valid", "thin", "dropped", "pixels")}
    return classes.values, confidence.values, seen.values, total, reports


@pytest.mark.parametrize("seams", ["crop", "blend"])
@settings(max_examples=50)
@given(
    h=st.integers(1, 50), w=st.integers(1, 50), cells=st.integers(1, 3),
    least=st.sampled_from([0.1, 0.5, 0.9, 1.0]), seed=st.integers(0, 99),
)  # fmt: skip
def test_chips_with_too_little_data_do_not_depend_on_blocks(seams, h, w, cells, least, seed):
    pixels, lattice = patchy((h, w), seed), Lattice(14, 3, 1)
    tiling = Tiling(lattice, seams, min_valid=least)
    whole = segment(pixels, tiling, max(h, w))
    cut = segment(pixels, tiling, cells * lattice.stride)
    for a, b in zip(whole[:3], cut[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole[3]["valid"] == cut[3]["valid"]
    assert whole[3]["dropped"] == cut[3]["dropped"]
    full = segment(pixels, Tiling(lattice, seams), max(h, w))
    np.testing.assert_array_equal(whole[2], full[2])  # what was seen, mapped or not
    mapped = whole[0] != 255
    assert np.array_equal(mapped, whole[1] != 255)
    assert whole[3]["valid"] == mapped.sum()
    assert whole[3]["dropped"] == (full[0] != 255).sum() - mapped.sum()
    if seams == "crop":
        np.testing.assert_array_equal(whole[0][mapped], full[0][mapped])


@settings(max_examples=40)
@given(h=st.integers(1, 60), w=st.integers(1, 60), seed=st.integers(0, 99))
def test_chips_are_left_out_by_what_they_see(h, w, seed):
    pixels, lattice, least = patchy((h, w), seed), Lattice(14, 3, 1), 0.6
    classes = segment(pixels, Tiling(lattice, min_valid=least), max(h, w))[0]
    everything = pixels.read(("b1",), Window(0, 0, h, w)).valid
    for chip in lattice.chips((h, w), Window(0, 0, h, w)):
        seen = everything[(chip.sees & Window(0, 0, h, w)).slices]
        mine = everything[chip.owns.slices] if seen.mean() >= least else False
        assert np.array_equal(
            classes[chip.owns.slices] != 255, mine & np.ones(chip.owns.shape, bool)
        )


def test_all_chips_with_a_valid_pixel_are_kept_by_default():
    pixels = patchy((50, 50), 1)
    *_, total, reports = segment(pixels, Tiling(Lattice(14, 3, 1)), 50)
    assert total["thin"] == total["dropped"] == 0
    assert total["valid"] == reports[0]["valid"] > 0
