from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from products import LEGEND, ArrayStore, class_map, polygons
from rasters import NORTH_UP, SOUTH_UP, UTM, write

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.base import Patch
from geoseg.io.decimate import (
    decimated_pixels,
    decimated_raster,
    decimated_store,
    small_shape,
)
from geoseg.io.quicklook import Picture, stretch_limits, write_quicklook


def picture(shape=(130, 210), affine=NORTH_UP):
    codes = class_map(shape)
    grid = GeoBox(shape, affine, UTM)
    image = np.random.default_rng(3).normal(0.1, 0.03, (3, *shape)).astype(np.float32)
    batches = list(polygons(codes, grid))
    return Picture(image, codes != LEGEND.nodata, codes, LEGEND, grid, polygons=batches)


def colors_of(path):
    return {color for _, color in Image.open(path).convert("RGB").getcolors(1 << 24)}


def panel(path, index, width=560, height=347):
    left = 32 + index * (560 + 24)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[104 : 104 + height, left : left + width]


@pytest.mark.parametrize("shape", [(1, 1), (130, 210), (300, 4), (4, 300)])
@pytest.mark.parametrize("confident", [False, True])
def test_any_shape_gives_a_picture_with_the_legends_colours(tmp_path, shape, confident):
    shown = picture(shape)
    if confident:
        shown = replace(shown, confidence=np.full(shape, 60, np.uint8))
    path = tmp_path / "q.png"
    write_quicklook(path, shown, title="Title", note="note")
    present = {c.rgb for c in LEGEND.classes if (shown.classes == c.value).any()}
    assert present <= colors_of(path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert max(image.size) < 4000


def test_same_input_gives_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_quicklook(tmp_path / name, picture(), title="é" * 500, note="n" * 500)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_but_nodata_is_a_checkerboard(tmp_path):
    shape = (30, 50)
    shown = Picture(
        np.full((3, *shape), np.nan),
        np.zeros(shape, bool),
        np.full(shape, LEGEND.nodata, np.uint8),
        LEGEND,
        GeoBox(shape, NORTH_UP, UTM),
    )
    write_quicklook(tmp_path / "q.png", shown, title="")
    assert len(np.unique(panel(tmp_path / "q.png", 1, 560, 336).reshape(-1, 3), axis=0)) == 2


def test_south_up_scenes_are_shown_with_north_above(tmp_path):
    shape = (100, 100)
    codes = np.full(shape, 10, np.uint8)
    codes[:50] = 80  # the south, as rows count northwards
    grid = GeoBox(shape, SOUTH_UP, UTM)
    shown = Picture(
        np.ones((3, *shape)), np.ones(shape, bool), codes, LEGEND, grid,
        polygons=list(polygons(codes, grid)),
    )  # fmt: skip
    write_quicklook(tmp_path / "q.png", shown, title="")
    classes = panel(tmp_path / "q.png", 1, 560, 560)
    assert tuple(classes[10, 280]) == (0, 100, 0)
    assert tuple(classes[-10, 280]) == (0, 100, 200)
    outlines = panel(tmp_path / "q.png", 2, 560, 560).astype(int)
    # Green lines above, blue ones below, seen at the left rim.
    assert outlines[100, 0, 1] > outlines[100, 0, 2] + 30
    assert outlines[-100, 0, 2] > outlines[-100, 0, 1] + 30


def test_outlines_lie_on_the_borders_of_the_map(tmp_path):
    shape = (56, 56)
    codes = np.full(shape, 10, np.uint8)
    codes[14:28, 28:42] = 80
    grid = GeoBox(shape, NORTH_UP @ rasterio.Affine.rotation(30), UTM)
    shown = Picture(
        np.ones((3, *shape)), np.ones(shape, bool), codes, LEGEND, grid,
        polygons=list(polygons(codes, grid)),
    )  # fmt: skip
    write_quicklook(tmp_path / "q.png", shown, title="")
    lines = panel(tmp_path / "q.png", 2, 560, 560).astype(int)
    paper = lines[5, 5]
    changed = np.abs(lines - paper).sum(axis=2) > 40
    changed[:5], changed[-5:], changed[:, :5], changed[:, -5:] = (False,) * 4
    rows, cols = np.nonzero(changed)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == pytest.approx(
        (140, 280, 280, 420), abs=3
    )


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(ProductError, match="differ"):
        write_quicklook(
            tmp_path / "q.png", replace(picture(), valid=np.ones((3, 3), bool)), title=""
        )


def test_stretch_leaves_out_extremes_and_what_is_not_valid():
    band = np.arange(1000, dtype=float).reshape(20, 50)
    band[0, 0] = np.nan
    valid = np.ones(band.shape, bool)
    valid[-1] = False
    ((low, high),) = stretch_limits(band[None], valid)
    assert (low, high) == pytest.approx(tuple(np.nanpercentile(band[:-1], (2, 98))))
    assert stretch_limits(np.full((1, 2, 2), 7.0), np.ones((2, 2), bool)) == ((6.5, 7.5),)
    ((low, high),) = stretch_limits(np.full((1, 2, 2), np.nan), np.ones((2, 2), bool))
    assert low < high


class CountingPixels:
    """A scene in memory: number of row * 1000 + column, times 2, plus 1."""

    def __init__(self, shape):
        self.grid = GeoBox(shape, NORTH_UP, UTM)
        self.most = 0

    def read(self, bands, window):
        self.most = max(self.most, window.shape[0])
        y, x = np.mgrid[window.slices]
        values = np.stack([y * 1000 + x] * len(bands)).astype(np.int32)
        scale, offset = np.full(len(bands), 2, np.float32), np.ones(len(bands), np.float32)
        return Patch(values, scale, offset, (y + x) % 2 == 0)

    def close(self):
        pass


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (1300, 700), (560, 560), (561, 20)])
def test_all_small_versions_show_the_same_pixels(tmp_path, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    codes = ((y * 31 + x * 7) % 251).astype(np.uint8)
    pixels = CountingPixels(shape)
    values, valid = decimated_pixels(pixels, ["a", "b"], 560)
    small = decimated_store(ArrayStore(codes), shape, 560)
    assert values.shape[1:] == valid.shape == small.shape == small_shape(shape, 560)
    assert max(small.shape) <= 560
    assert pixels.most <= 512
    rows, cols = np.divmod((values[0].astype(int) - 1) // 2, 1000)
    np.testing.assert_array_equal(small, codes[rows, cols])
    np.testing.assert_array_equal(valid, (rows + cols) % 2 == 0)
    path = write(tmp_path / "a.tif", codes)
    assert decimated_raster(path, 560).shape == (1, *small.shape)


def test_small_version_of_no_raster_is_one_clear_error(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no tiff")
    with pytest.raises(ProductError, match=r"a\.tif: cannot be read"):
        decimated_raster(tmp_path / "a.tif", 100)


def test_store_is_read_in_strips():
    store = ArrayStore(class_map((1100, 700)))
    decimated_store(store, (1100, 700), 560)
    assert store.most <= 512 * 700
