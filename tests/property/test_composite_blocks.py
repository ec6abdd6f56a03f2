"""Combined pixels of any window are those of the whole, which are those of arrays and numpy."""

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import NORTH_UP, write
from scipy.ndimage import distance_transform_edt

from geoseg.grid import Window, full_window
from geoseg.io.area import AreaRef, clip_scene
from geoseg.io.combining import Combination, combine_scenes, with_windows
from geoseg.io.files import FilesSource
from geoseg.io.opening import open_pixels
from geoseg.io.reader import ScenePixels
from geoseg.ops.validity import REACH

BANDS = ("red", "nir", "green")
RULES = ["median", "best_pixel", "max_ndvi", "latest", "best_quality"]
CORNERS = "500100 5899900, 501300 5899700, 501100 5898500, 500200 5898700, 500100 5899900"
AREA = AreaRef(wkt=f"POLYGON (({CORNERS}))", crs="EPSG:32629")
SHIFTS = [(0, 0), (-40, 25), (30, -35), (10, 10), (0, 0)]
"""Pixels down and right by which scenes lie apart; the last has other pixels."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Five dates, of which two lie elsewhere, and one is in pixels of 14 m."""
    folder = tmp_path_factory.mktemp("dates")
    random = np.random.default_rng(8)
    for k, (dy, dx) in enumerate(SHIFTS):
        values = random.integers(1, 4000, (3, 130, 150)).astype(np.uint16)
        # One large cloud and few small ones: some pixels are far from any.
        values[:, 30 * k : 30 * k + 20, 10 : 60 + k] = 0
        values[:, random.integers(0, 130, 3), random.integers(0, 150, 3)] = 0
        values[random.random((3, 130, 150)) > 0.9995] = 0
        place = NORTH_UP @ Affine.translation(dx, dy) @ Affine.scale(1.4 if k == 4 else 1)
        write(
            folder / f"s_2024060{k + 1}.tif", values, names=BANDS, nodata=0, transform=place,
            scales=(1e-4,) * 3, offsets=(-0.01,) * 3,
        )  # fmt: skip
    return FilesSource(path=(str(folder / "*.tif"),), units="reflectance").scenes(BANDS)


def combined(scenes, rule, *, clipped=False, least=1):
    how = Combination(rule, least=least)
    scene = combine_scenes(scenes, how, name="c", acquired=None)
    return with_windows(clip_scene(scene, AREA, cut=True)) if clipped else scene


@pytest.fixture(scope="module")
def wholes(scenes):
    """The whole of each combination, read at once."""
    found = {}
    for rule in RULES:
        for clipped in (False, True):
            scene = combined(scenes, rule, clipped=clipped)
            pixels = open_pixels(scene)
            found[rule, clipped] = scene, pixels.read(BANDS, full_window(scene.grid))
            pixels.close()
    return found


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("rule", RULES)
@given(data=st.data())
@settings(max_examples=12)
def test_any_window_is_a_crop_of_the_whole(wholes, rule, clipped, data):
    scene, whole = wholes[rule, clipped]
    height, width = scene.grid.shape
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y1 = data.draw(st.integers(y0 + 1, min(height, y0 + 70)))
    x1 = data.draw(st.integers(x0 + 1, min(width, x0 + 70)))
    window = Window(y0, x0, y1, x1)
    names = data.draw(st.permutations(BANDS))[: data.draw(st.integers(1, 3))]
    pixels = open_pixels(scene)
    patch = pixels.read(names, window)
    pixels.close()
    at = [BANDS.index(name) for name in names]
    rows, cols = window.slices
    assert np.array_equal(patch.valid, whole.valid[rows, cols])
    assert np.array_equal(patch.observations, whole.observations[rows, cols])
    assert np.array_equal(patch.values, whole.values[at][:, rows, cols])


def stacked(scene):
    """All scenes on the common grid, as arrays: values, validity."""
    every = []
    for one in scene.combined.scenes:
        pixels = ScenePixels(replace(one, grid=scene.grid))
        every.append(pixels.read(BANDS, full_window(scene.grid)))
        pixels.close()
    return np.stack([p.values for p in every]), np.stack([p.valid for p in every])


def medians(values, valid):
    hidden = np.broadcast_to(~valid[:, None], values.shape)
    masked = np.ma.masked_array(values.astype(np.float64), hidden)
    return np.rint(np.ma.median(masked, axis=0).filled(0)).astype(values.dtype)


def scores(rule, values, valid):
    distance = np.stack([np.minimum(distance_transform_edt(v), REACH) for v in valid])
    distance = distance.astype(np.float32)
    if rule == "latest":
        return np.zeros_like(distance)
    if rule == "best_quality":
        return distance
    red, nir = (values[:, k] * np.float32(1e-4) + np.float32(-0.01) for k in (0, 1))
    if rule == "max_ndvi":
        with np.errstate(divide="ignore"):
            return np.clip(np.where(nir + red > 0, (nir - red) / (nir + red), -1), -1, 1)
    scale, offset = np.float64(np.float32(1e-4)), np.float64(np.float32(-0.01))
    usual = medians(values, valid) * scale + offset
    apart = sum(abs(values[:, k] * scale + offset - usual[k]) for k in range(3))
    size = sum(abs(usual[k]) for k in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(apart > 0, np.minimum(apart / size, 1), 0)
    return (distance.astype(np.float64) / REACH - share).astype(np.float32)


@pytest.mark.parametrize("rule", RULES)
def test_the_whole_is_what_arrays_say(wholes, rule):
    scene, whole = wholes[rule, False]
    values, valid = stacked(scene)
    assert np.array_equal(whole.observations, valid.sum(axis=0))
    assert np.array_equal(whole.valid, valid.any(axis=0))
    if rule == "median":
        wanted = medians(values, valid)
    else:
        score = np.where(valid, scores(rule, values, valid), -np.inf)
        # The last of equals: the most recent.
        best = len(score) - 1 - score[::-1].argmax(axis=0)
        wanted = np.take_along_axis(values, best[None, None], axis=0)[0]
    assert np.array_equal(whole.values, np.where(whole.valid, wanted, 0))
    assert (whole.observations >= 3).any()
    assert (whole.observations == 0).any()


@pytest.mark.parametrize("rule", ["median", "best_pixel", "best_quality"])
@given(order=st.permutations(range(5)))
@settings(max_examples=4)
def test_the_grid_does_not_depend_on_how_scenes_are_listed(scenes, wholes, rule, order):
    from geoseg.io.periods import by_period

    (group,) = by_period([scenes[k] for k in order], "all", dated=True)
    assert combined(group.scenes, rule) == wholes[rule, False][0]


@pytest.mark.parametrize("least", [2, 4])
def test_pixels_with_too_few_observations_are_not_valid(scenes, wholes, least):
    scene = combined(scenes, "median", least=least)
    _, whole = wholes["median", False]
    pixels = open_pixels(scene)
    patch = pixels.read(BANDS, full_window(scene.grid))
    pixels.close()
    assert np.array_equal(patch.valid, whole.observations >= least)
    assert np.array_equal(patch.observations, whole.observations), "they are counted all the same"
    assert np.array_equal(patch.values, np.where(patch.valid, whole.values, 0))
    assert 0 < patch.valid.mean() < whole.valid.mean()
