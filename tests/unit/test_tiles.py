"""Tiles that neighbouring windows share: decoded once, bounded, let go, and never another number."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import NORTH_UP, UTM, band_of, grid_of, write

from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.grids import nested_in
from geoseg.io.reader import ScenePixels
from geoseg.io.tiles import TILES, TiledFile, Tiles
from geoseg.ops.enlarge import enlarged
from geoseg.ops.order import neighbours_together
from geoseg.scene import Mask, Scene

RNG = np.random.default_rng(3)
HEIGHT, WIDTH, SIDE, BLOCK, HALO = 760, 900, 256, 300, 48
WHOLE = Window(0, 0, HEIGHT, WIDTH)
PACKED = {"tiled": True, "blockxsize": SIDE, "blockysize": SIDE, "compress": "deflate"}


@pytest.fixture(scope="module")
def stored():
    return RNG.integers(0, 9, (2, HEIGHT, WIDTH), np.uint16)


@pytest.fixture(scope="module")
def file(stored, tmp_path_factory):
    return write(tmp_path_factory.mktemp("tiles") / "a.tif", stored, nodata=0, **PACKED)


class Counted(TiledFile):
    """Says how many pixels it decoded."""

    decoded = 0

    def _decode(self, window, out):
        self.decoded += window.shape[0] * window.shape[1]
        super()._decode(window, out)


def seen(block):
    wide = Window(block.y0 - HALO, block.x0 - HALO, block.y1 + HALO, block.x1 + HALO)
    return wide & WHOLE


def read_all(file, stored, tiles, order):
    """The share of the file's pixels that are decoded for all blocks."""
    with rasterio.open(file) as dataset:
        reading = Counted(dataset, (1, 2), ("a",), tiles)
        for block in order:
            part = seen(block)
            assert reading.worth(part) == (max(part.shape) >= SIDE)
            out = np.zeros((2, *part.shape), np.uint16)
            reading.read(part, out)
            assert np.array_equal(out, stored[:, *part.slices])
    return reading.decoded / (HEIGHT * WIDTH)


def test_each_tile_is_decoded_once(file, stored):
    tiles = Tiles()
    assert read_all(file, stored, tiles, blocks((HEIGHT, WIDTH), BLOCK)) < 1.1
    # What all windows around it have seen is let go, but for a tile or two whose rims they share.
    assert tiles.bytes < 0.2 * stored.nbytes
    assert read_all(file, stored, Tiles(0), blocks((HEIGHT, WIDTH), BLOCK)) > 1.8


def test_what_is_kept_is_bounded_and_let_go(file, stored):
    limit = 3 * 2 * 2 * SIDE * SIDE
    tiles, most = Tiles(limit), 0
    for block in blocks((HEIGHT, WIDTH), BLOCK):
        read_all(file, stored, tiles, [block])
        most = max(most, tiles.bytes)
    assert 0 < most <= limit
    tiles.forget("a")
    assert tiles.bytes == 0


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_windows_one_after_the_other(file, stored, data):
    tiles = Tiles(data.draw(st.sampled_from([0, 600_000, 10**7])))
    with rasterio.open(file) as dataset:
        for _ in range(4):
            y0 = data.draw(st.integers(0, HEIGHT - 1))
            x0 = data.draw(st.integers(0, WIDTH - 1))
            y1 = data.draw(st.integers(y0 + 1, HEIGHT))
            x1 = data.draw(st.integers(x0 + 1, WIDTH))
            part = Window(y0, x0, y1, x1)
            indexes = data.draw(st.sampled_from([(1,), (2, 1)]))
            out = np.zeros((len(indexes), *part.shape), np.uint16)
            TiledFile(dataset, indexes, ("a", indexes), tiles).read(part, out)
            assert np.array_equal(out, stored[[i - 1 for i in indexes]][:, *part.slices])


def test_threads_share_a_scene_and_closing_forgets_it(file, stored, tmp_path):
    scl = RNG.choice(np.array([4, 8], np.uint8), (HEIGHT // 2, WIDTH // 2), p=[0.99, 0.01])
    coarse = write(tmp_path / "scl.tif", scl, transform=NORTH_UP @ Affine.scale(2), **PACKED)
    bands = {"red": band_of(file, 1), "nir": band_of(file, 2)}
    masks = (Mask(coarse, 1, grid_of(coarse), "values", (8,), dilate=3),)
    before = TILES.bytes
    pixels = ScenePixels(Scene("made", bands, grid_of(file), masks))
    windows = [seen(block) for block in blocks((HEIGHT, WIDTH), BLOCK)]
    with ThreadPoolExecutor(3) as pool:
        patches = list(pool.map(lambda at: pixels.read(["nir", "red"], at), windows))
    assert TILES.bytes > before
    pixels.close()
    assert TILES.bytes == before
    fine = scl.repeat(2, 0).repeat(2, 1) == 8
    good = (stored != 0).all(axis=0)
    for at, patch in zip(windows, patches, strict=True):
        assert not patch.valid[fine[at.slices]].any()
        assert not patch.valid[~good[at.slices]].any()
        assert np.array_equal(patch.values, np.where(patch.valid, stored[::-1, *at.slices], 0))
    assert 0.3 < np.mean([patch.valid.mean() for patch in patches]) < 0.8


@given(
    factors=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    before=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    corner=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_pixels_that_lie_in_larger_ones(factors, before, corner, shape):
    fine = grid_of_shape((80, 90), NORTH_UP)
    (fy, fx), (dy, dx) = factors, before
    larger = NORTH_UP @ Affine.translation(-dx, -dy) @ Affine.scale(fx, fy)
    nested = nested_in(grid_of_shape((50, 60), larger), fine)
    assert nested is not None
    assert (nested.factors, nested.before) == (factors, before)
    window = Window(*corner, corner[0] + shape[0], corner[1] + shape[1])
    around, at = nested.around(window)
    y, x = np.indices(around.shape)
    numbers = (y + around.y0) * 1000 + x + around.x0
    rows = (np.arange(window.y0, window.y1) + dy) // fy
    cols = (np.arange(window.x0, window.x1) + dx) // fx
    assert np.array_equal(enlarged(numbers, factors, at), rows[:, None] * 1000 + cols)


@pytest.mark.parametrize(
    "larger",
    [
        NORTH_UP @ Affine.scale(1.5),
        NORTH_UP @ Affine.translation(0.2, 0) @ Affine.scale(2),
        NORTH_UP @ Affine.scale(2, -2),
        NORTH_UP @ Affine.scale(0.5),
        NORTH_UP @ Affine.rotation(3) @ Affine.scale(2),
    ],
)
def test_pixels_that_do_not(larger):
    fine = grid_of_shape((80, 90), NORTH_UP)
    assert nested_in(grid_of_shape((50, 60), larger), fine) is None


def test_another_projection_is_not_nested():
    fine = grid_of_shape((80, 90), NORTH_UP)
    assert (
        nested_in(grid_of_shape((40, 45), NORTH_UP @ Affine.scale(2), "EPSG:32630"), fine) is None
    )


def grid_of_shape(shape, transform, crs=UTM):
    return GeoBox(shape, transform, crs)


@given(
    shape=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    workers=st.integers(1, 9),
    left_out=st.sets(st.integers(0, 80)),
)
def test_every_block_is_handed_out_once(shape, workers, left_out):
    every = [b for n, b in enumerate(blocks(shape, 100)) if n not in left_out]
    assert sorted(neighbours_together(every, workers)) == every


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_whoever_takes_each_nth_has_neighbours(workers):
    every = list(blocks((1600, 1600), 100))
    order = neighbours_together(every, workers)
    for first in range(workers):
        mine = order[first::workers]
        steps = [abs(a.y0 - b.y0) + abs(a.x0 - b.x0) for a, b in pairwise(mine)]
        assert np.mean(steps) < 130
