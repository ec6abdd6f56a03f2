"""Chips never see held-out ground, and held-out ground is judged pixel by pixel, once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_scenes import patches, write

from geoseg.grid import Window, full_window
from geoseg.io.chip_pixels import ChipPixels
from geoseg.io.files import FilesSource
from geoseg.io.label_layers import LabelReader, LayerSpec
from geoseg.legend import LandClass, Legend
from geoseg.ops.draws import Draws, LabelledScene
from geoseg.ops.ground import CELL, GAP, TEST, TRAIN, VALIDATION, cells_of, count_cells, with_gap
from geoseg.steps.chips import HeldOutChips, RandomChips

SHAPES = [(150, 220), (40, 300), (70, 33)]
LEGEND = Legend("three", tuple(LandClass(i, f"c{i}", "#000000") for i in range(3)))


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Scenes whose bands say where each pixel is, some of it nodata, with labels."""
    folder = tmp_path_factory.mktemp("chips")
    scenes, labels = [], []
    for number, shape in enumerate(SHAPES):
        truth = patches(shape, 4, 9, number)
        rows, cols = np.mgrid[: shape[0], : shape[1]] + 1
        image = np.stack([rows, cols]).astype(np.uint16)
        image[:, 5:9, 10:30] = 0
        write(folder / f"{number}.tif", image, nodata=0)
        path = write(folder / f"{number}-labels.tif", truth)
        scenes += FilesSource((str(folder / f"{number}.tif"),), bands=("red", "nir")).scenes(
            ["red", "nir"]
        )
        spec = LayerSpec("l", str(path), classes={str(i): f"c{i}" for i in range(3)})
        labels.append(LabelReader(LEGEND).open(scenes[-1], [spec]))
    found = ChipPixels(scenes, labels, ["red", "nir"], memory=300_000)
    yield found
    found.close()


def counts_of(pixels):
    whole = [full_window(scene.grid) for scene in pixels.scenes]
    return [count_cells(pixels.labels(i, w), 3) for i, w in enumerate(whole)]


grounds = st.integers(0, 999).map(
    lambda seed: [
        with_gap(
            np.random.default_rng(seed + i)
            .choice([TRAIN, VALIDATION, TEST], cells_of(shape), p=[0.8, 0.1, 0.1])
            .astype(np.uint8),
            seed % 3,
        )
        for i, shape in enumerate(SHAPES)
    ]
)


@settings(max_examples=25)
@given(parts=grounds, size=st.sampled_from([32, 64, 96]), balance=st.sampled_from([0, 0.5, 1.0]))
def test_no_chip_sees_held_out_ground(pixels, parts, size, balance):
    counts = counts_of(pixels)
    scenes = [
        LabelledScene(shape, c, p, number % 2)
        for number, (shape, c, p) in enumerate(zip(SHAPES, counts, parts, strict=True))
    ]
    draws = Draws(scenes, [1.0, 2.0], size=size, balance=balance, seed=3)
    if draws.empty:
        return
    source = RandomChips(pixels, parts, draws, 4)
    for step in (0, 7):
        chips = source.batch(step)
        assert chips.values.shape == (4, 2, size, size)
        for chip in range(4):
            scene = draws.place(step, chip, pixels.labels).scene
            y, x = chips.values[chip][:, chips.valid[chip]].astype(int) - 1
            cell = parts[scene][y // CELL, x // CELL]
            assert np.isin(cell, (TRAIN, GAP)).all(), "valid pixels say where they are"
            known = chips.labels[chip][chips.valid[chip]] != 255
            assert (cell[known] == TRAIN).all()
            assert (chips.labels[chip][~chips.valid[chip]] == 255).all()
            assert (chips.values[chip][:, ~chips.valid[chip]] == 0).all()
            assert known.any(), "a chip has something to learn"


@settings(max_examples=25)
@given(parts=grounds, part=st.sampled_from([VALIDATION, TEST]))
def test_every_held_out_pixel_is_judged_once(pixels, parts, part):
    counts = counts_of(pixels)
    found = np.zeros(3, np.int64)
    seen = [np.zeros(shape, int) for shape in SHAPES]
    held = HeldOutChips(pixels, parts, counts, part)
    for (scene, _), chips in zip(held.tiles(), held, strict=True):
        known = chips.labels[0] != 255
        found += np.bincount(chips.labels[0][known], minlength=3)
        y, x = chips.values[0][:, known].astype(int) - 1
        np.add.at(seen[scene], (y, x), 1)
    wanted = sum(c[p == part].sum(axis=0) for c, p in zip(counts, parts, strict=True))
    assert (found == wanted).all()
    assert max(s.max() for s in seen) <= 1


@settings(max_examples=30)
@given(
    scene=st.integers(0, 2),
    corner=st.tuples(st.integers(-80, 200), st.integers(-80, 200)),
    shape=st.tuples(st.integers(1, 120), st.integers(1, 120)),
)
def test_windows_do_not_depend_on_what_was_read_before(pixels, scene, corner, shape):
    window = Window(*corner, corner[0] + shape[0], corner[1] + shape[1])
    piece = pixels.read(scene, window)
    rows, cols = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
    height, width = SHAPES[scene]
    there = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    hole = (rows >= 5) & (rows < 9) & (cols >= 10) & (cols < 30)
    assert (piece.valid == (there & ~hole)).all()
    assert (piece.values[0] == np.where(piece.valid, rows + 1, 0)).all()
    assert (piece.values[1] == np.where(piece.valid, cols + 1, 0)).all()
    truth = patches(SHAPES[scene], 4, 9, scene)
    known = piece.valid & (truth[rows.clip(0, height - 1), cols.clip(0, width - 1)] < 3)
    assert ((piece.labels != 255) == known).all()


def test_classes_are_drawn_as_balance_says(pixels):
    counts = [c.copy() for c in counts_of(pixels)[:1]]
    parts = [np.zeros(cells_of(SHAPES[0]), np.uint8)]
    total = counts[0].sum(axis=(0, 1)).astype(float)
    for balance in (0.0, 0.5, 1.0):
        scenes = [LabelledScene(SHAPES[0], counts[0], parts[0], 0)]
        draws = Draws(scenes, [1.0], size=32, balance=balance, seed=1)
        asked = []

        def cell(scene, window, asked=asked):
            asked.append(window)
            return pixels.labels(scene, window)

        for step in range(400):
            draws.place(step, 0, cell)
        chances = total ** (1 - balance) / (total ** (1 - balance)).sum()
        drawn = np.diff(np.concatenate([[0], draws._chances]))
        np.testing.assert_allclose(drawn, chances)
        assert len({(w.y0, w.x0) for w in asked}) > 20


def test_sets_are_drawn_by_weight(pixels):
    counts = counts_of(pixels)
    scenes = [
        LabelledScene(shape, c, np.zeros(cells_of(shape), np.uint8), min(number, 1))
        for number, (shape, c) in enumerate(zip(SHAPES, counts, strict=True))
    ]
    draws = Draws(scenes, [1.0, 3.0], size=32, balance=0.5, seed=1)
    found = [draws.place(step, 0, pixels.labels).scene > 0 for step in range(600)]
    assert np.mean(found) == pytest.approx(0.75, abs=0.06)
