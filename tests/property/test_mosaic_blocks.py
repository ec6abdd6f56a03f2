"""Maps of several scenes: the same for any blocks, equal to whole arrays, and without a seam."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import NORTH_UP, band_of, write
from scipy.ndimage import distance_transform_edt

from geoseg.grid import blocks, full_window
from geoseg.io.area import AreaRef, clip_scene
from geoseg.io.combining import Combination, combine_scenes, with_windows
from geoseg.io.composite import CombinedPixels
from geoseg.io.reader import ScenePixels
from geoseg.models.base import Batch
from geoseg.ops.layers import describe
from geoseg.ops.tiling import Lattice
from geoseg.ops.validity import REACH
from geoseg.scene import Scene
from geoseg.steps.mosaic import MosaicBlocks
from geoseg.testing import LAND_WATER, ArrayStore, LocalMean

RULES = ["best_quality", "latest", "probability"]
RADIUS = 2
LAYERS = ("entropy", "probabilities")
CORNERS = "500100 5899900, 501300 5899700, 501100 5898500, 500200 5898700, 500100 5899900"
AREA = AreaRef(wkt=f"POLYGON (({CORNERS}))", crs="EPSG:32629")


def scene_of(path, values, *, shift=(0, 0), day=1):
    """A scene of one band in reflectance, ``shift`` pixels down and right."""
    place = NORTH_UP @ Affine.translation(shift[1], shift[0])
    write(path, values, transform=place, nodata=-99)
    band = band_of(str(path), 1, scale=0.01)
    acquired = datetime(2024, 1, day, tzinfo=UTC)
    return Scene(path.stem, {"b1": band}, band.grid, (), acquired, "reflectance")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(4)
    made = []
    for k, shift in enumerate([(0, 0), (-30, 60), (45, 20)]):
        values = random.integers(-90, 90, (110, 130)).astype(np.int16)
        values[40 + 9 * k : 60, 30 : 50 + 7 * k] = -99
        made.append(scene_of(folder / f"{k}.tif", values, shift=shift, day=k + 1))
    return made


def combined(scenes, rule, *, clipped=False):
    how = Combination(rule, predicted=True)
    scene = combine_scenes(scenes, how, name="m", acquired=None)
    return with_windows(clip_scene(scene, AREA)) if clipped else scene


def mosaic(scene, tiling, block, *, model=None):
    """Classes, confidence, layers and reports, block by block."""
    shape = tuple(scene.grid.shape)
    names = ["entropy", "probability-1", "probability-2", "observations"]
    stores = [ArrayStore(shape) for _ in range(2 + len(names))]
    pixels = CombinedPixels(scene)
    work = MosaicBlocks(
        pixels, scene.combined.rule, model or LocalMean(RADIUS), tuple(stores[:2]), tiling,
        layers=dict(zip(names, stores[2:], strict=True)),
    )  # fmt: skip
    reports = [work(window) for window in blocks(shape, block)]
    work.close()
    return [store.values for store in stores], reports


def tiled(*, seams="crop", size=24, margin=4, batch=1):
    from geoseg.steps.segment import Tiling

    return Tiling(Lattice(size, margin), seams, "hann", batch, LAYERS)


def by_arrays(scene, rule):
    """Each scene as one chip, joined as whole arrays; the scores where there are any."""
    weights, scores = [], []
    for one in scene.combined.scenes:
        pixels = ScenePixels(replace(one, grid=scene.grid))
        patch = pixels.read(["b1"], full_window(scene.grid))
        pixels.close()
        batch = Batch(patch.values[None], patch.scale, patch.offset, patch.valid[None])
        scores.append(LocalMean(RADIUS).scores(batch)[0])
        weights.append(np.minimum(distance_transform_edt(patch.valid), REACH).astype(np.float32))
    weights = np.stack(weights)
    if rule == "probability":
        mean, total = np.zeros_like(scores[0]), np.zeros(weights.shape[1:], np.float32)
        for weight, of_one in zip(weights, scores, strict=True):
            total += weight
            with np.errstate(invalid="ignore"):
                mean += (of_one - mean) * np.where(weight > 0, weight / total, 0)
        return mean, (weights > 0).sum(axis=0)
    if rule == "latest":
        weights = weights > 0
    best = len(weights) - 1 - weights[::-1].argmax(axis=0)
    chosen = np.take_along_axis(np.stack(scores), best[None, None], axis=0)[0]
    return chosen, (weights > 0).sum(axis=0)


@pytest.mark.parametrize("rule", RULES)
def test_the_map_is_what_whole_arrays_say(scenes, rule):
    scene = combined(scenes, rule)
    (classes, confidence, entropy, land, water, counts), reports = mosaic(scene, tiled(), 32)
    scores, seen = by_arrays(scene, rule)
    answer = describe(scores, ("confidence", "entropy", "probabilities"))
    valid = seen > 0
    codes = np.asarray(LAND_WATER.values, np.uint8)[answer.index]
    assert np.array_equal(classes, np.where(valid, codes, LAND_WATER.nodata))
    for found, wanted in [
        (confidence, answer.layers["confidence"]),
        (entropy, answer.layers["entropy"]),
        (land, answer.layers["probabilities"][0]),
        (water, answer.layers["probabilities"][1]),
    ]:
        assert np.array_equal(found, np.where(valid, wanted, 255))
    assert np.array_equal(counts, seen)
    assert counts.max() == 3
    assert sum(report["valid"] for report in reports) == valid.sum()


@pytest.mark.parametrize("rule", RULES)
@given(
    order=st.permutations(range(3)), cells=st.integers(1, 5), batch=st.integers(1, 3),
    seams=st.sampled_from(["crop", "blend"]), clipped=st.booleans(),
)  # fmt: skip
@settings(max_examples=6)
def test_neither_blocks_nor_the_order_of_scenes_change_a_bit(
    scenes, rule, order, cells, batch, seams, clipped
):
    from geoseg.io.periods import by_period

    (group,) = by_period([scenes[k] for k in order], "all", dated=True)
    tiling = tiled(seams=seams)
    whole, _ = mosaic(combined(scenes, rule, clipped=clipped), tiling, 1000)
    cut, _ = mosaic(
        combined(group.scenes, rule, clipped=clipped), replace(tiling, batch=batch), 16 * cells
    )
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("rule", RULES)
def test_a_single_scene_is_mapped_as_without_a_mosaic(scenes, rule):
    from geoseg.steps.segment import SegmentBlocks

    scene = combined(scenes[:1], rule)
    (classes, confidence, entropy, *_), _ = mosaic(scene, tiled(), 48)
    shape = tuple(scene.grid.shape)
    stores = [ArrayStore(shape) for _ in range(5)]
    names = ["entropy", "probability-1", "probability-2"]
    plain = SegmentBlocks(
        ScenePixels(scenes[0]), LocalMean(RADIUS), *stores[:2], tiled(),
        layers=dict(zip(names, stores[2:], strict=True)),
    )  # fmt: skip
    for window in blocks(shape, 48):
        plain(window)
    plain.close()
    for one, other in zip((classes, confidence, entropy), stores, strict=False):
        assert np.array_equal(one, other.values)


def seam_index(values, column):
    """Steps between neighbours across a column's edge, over those elsewhere around it."""
    steps = np.abs(np.diff(values.astype(float), axis=1)).mean(axis=0)
    around = np.r_[column - 40 : column - 3, column + 3 : column + 40]
    return steps[column - 1] / steps[around].mean()


def test_probabilities_leave_no_line_where_a_scene_ends(tmp_path):
    """Two scenes side by side, one brighter than the other by more than the land varies."""
    random = np.random.default_rng(2)
    land = random.normal(0, 20, (160, 300))
    scenes = [
        scene_of(tmp_path / "west.tif", (land[:, :200] - 30).astype(np.int16)),
        scene_of(tmp_path / "east.tif", (land[:, 80:] + 30).astype(np.int16), shift=(0, 80), day=2),
    ]
    found = {}
    for rule in RULES:
        (_, _, _, _, water, _), _ = mosaic(combined(scenes, rule), tiled(size=64), 112)
        lines = {"latest": (80,), "best_quality": (140,), "probability": (80, 200)}[rule]
        found[rule] = max(seam_index(water, at) for at in lines)
    assert found["probability"] < 1.25, found
    assert min(found["latest"], found["best_quality"]) > 3, found


def test_what_no_scene_shows_is_nodata(scenes):
    scene = combined(scenes, "probability")
    stores, reports = mosaic(scene, tiled(), 16)
    window, report = next(
        (window, report)
        for window, report in zip(blocks(tuple(scene.grid.shape), 16), reports, strict=True)
        if not report["valid"]
    )
    assert (report["chips"], report["counts"]) == (0, {})
    for values, wanted in zip(stores, [255] * 5 + [0], strict=True):
        assert (values[window.slices] == wanted).all()
