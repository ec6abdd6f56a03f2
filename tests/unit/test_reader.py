"""Reading scenes: values, validity, dtypes, resampling against GDAL, threads and failures."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasters import NORTH_UP, ROTATED, SOUTH_UP, UTM, band_of, grid_of, read, scene_of, write

from geoseg.errors import SceneError
from geoseg.grid import Window, full_window
from geoseg.io.handles import Handles
from geoseg.io.reader import ScenePixels
from geoseg.io.vrt import Warp, _scales
from geoseg.scene import Mask

RNG = np.random.default_rng(11)
TWICE = Affine.scale(2)


def test_numbers_stay_as_stored(tmp_path):
    stored = RNG.integers(0, 65536, (3, 7, 5)).astype(np.uint16)
    path = write(tmp_path / "a.tif", stored)
    bands = {n: band_of(path, i, scale=1e-4, offset=-0.1) for i, n in enumerate("abc", 1)}
    patch = read(scene_of(**bands), ["c", "a"])
    assert patch.values.dtype == np.uint16
    assert np.array_equal(patch.values, stored[[2, 0]])
    assert patch.scale.tolist() == [np.float32(1e-4)] * 2
    assert patch.offset.tolist() == [np.float32(-0.1)] * 2
    assert patch.valid.all()


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("uint8", "uint16", "uint16"),
        ("uint16", "int16", "int32"),
        ("uint16", "float32", "float32"),
        ("int32", "float32", "float64"),
        ("int8", "int8", "int8"),
    ],
)
def test_a_common_dtype_holds_all_numbers(tmp_path, one, other, common):
    a = write(tmp_path / "a.tif", np.full((3, 4), np.iinfo(one).max, one))
    b = write(tmp_path / "b.tif", np.full((3, 4), 100, other))
    patch = read(scene_of(a=band_of(a), b=band_of(b)))
    assert patch.values.dtype == common
    assert patch.values[0, 0, 0] == np.iinfo(one).max
    assert patch.values[1, 0, 0] == 100


def test_nodata_nan_and_infinity_are_not_valid(tmp_path):
    floats = np.array([[1, np.nan, np.inf], [-9999, 2, 3]], np.float32)
    whole = np.array([[5, 5, 5], [5, 0, 5]], np.uint8)
    a = write(tmp_path / "a.tif", floats, nodata=-9999)
    b = write(tmp_path / "b.tif", whole, nodata=0)
    patch = read(scene_of(a=band_of(a), b=band_of(b)))
    assert patch.valid.tolist() == [[True, False, False], [False, False, True]]
    assert (patch.values[:, ~patch.valid] == 0).all()


def test_nodata_that_the_dtype_cannot_hold_hides_nothing(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((2, 2), np.uint16))
    assert read(scene_of(a=band_of(path, nodata=-9999.0))).valid.all()
    assert read(scene_of(a=band_of(path, nodata=float("nan")))).valid.all()


def test_only_bands_that_are_read_decide(tmp_path):
    a = write(tmp_path / "a.tif", np.full((2, 2), 1, np.uint8), nodata=0)
    b = write(tmp_path / "b.tif", np.full((2, 2), 0, np.uint8), nodata=0)
    scene = scene_of(a=band_of(a), b=band_of(b))
    assert read(scene, ["a"]).valid.all()
    assert not read(scene, ["a", "b"]).valid.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (513, 3)])
@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_rasters_of_any_size(tmp_path, shape, transform):
    stored = RNG.integers(1, 255, shape).astype(np.uint8)
    fine = write(tmp_path / "fine.tif", stored, transform=transform)
    rough = write(tmp_path / "rough.tif", np.full((1, 1), 9, np.int16), transform=transform @ TWICE)
    patch = read(scene_of(a=band_of(fine), b=band_of(rough)))
    assert np.array_equal(patch.values[0][patch.valid], stored[patch.valid])
    assert (patch.values[1][patch.valid] == 9).all()
    rows, cols = np.indices(shape)
    assert np.array_equal(patch.valid, (rows < 2) & (cols < 2))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_resampling_is_gdals(tmp_path, resampling, transform):
    fine = write(tmp_path / "fine.tif", np.ones((60, 72), np.uint8), transform=transform)
    stored = RNG.integers(1, 10_000, (20, 24)).astype(np.uint16)
    path = write(tmp_path / "rough.tif", stored, transform=transform @ Affine.scale(3))
    patch = read(scene_of(a=band_of(fine), b=band_of(path, resampling=resampling)), ["b"])
    assert patch.valid.all()
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs=UTM,
            transform=transform,
            height=60,
            width=72,
            resampling=Resampling[resampling],
            tolerance=1e-9,
        ) as warped,
    ):
        expected = warped.read(1)
    # Halves are rounded, and cubic kernels that just reach the rim are cut, by the last bit of a
    # coordinate, which WarpedVRT interpolates.
    difference = np.abs(patch.values[0].astype(int) - expected)
    assert difference[6:-6, 6:-6].max() <= 1
    assert (difference == 0).mean() > 0.98


def test_a_band_of_another_crs(tmp_path):
    fine = write(tmp_path / "fine.tif", np.ones((50, 60), np.uint8))
    stored = RNG.integers(1, 10_000, (90, 90)).astype(np.uint16)
    with rasterio.open(fine) as file:
        west, south, east, north = rasterio.warp.transform_bounds(UTM, "EPSG:32628", *file.bounds)
    transform = Affine((east - west) / 90, 0, west, 0, (south - north) / 90, north)
    path = write(tmp_path / "other.tif", stored, transform=transform, crs="EPSG:32628")
    patch = read(scene_of(a=band_of(fine), b=band_of(path)), ["b"])
    scales = _scales(Warp(path, (1,), "uint16", grid_of(path), grid_of(fine), "bilinear"))
    assert all(0.5 < scale < 1 for scale in scales)
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs=UTM,
            transform=NORTH_UP,
            height=50,
            width=60,
            resampling=Resampling.bilinear,
            tolerance=1e-9,
            # GDAL would estimate the sizes of kernels from the request.
            **dict(zip(("YSCALE", "XSCALE"), map(str, scales), strict=True)),
        ) as warped,
    ):
        expected = warped.read(1)
    assert patch.valid.mean() > 0.9
    difference = np.abs(patch.values[0].astype(int) - expected)[patch.valid]
    assert difference.max() <= 1


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
@pytest.mark.parametrize("how", ["nodata", "nan", "alpha", "internal"])
def test_what_is_hidden_does_not_bleed(tmp_path, resampling, how):
    """Around a hole everything is as it was: 1000. In the hole lies what must not get out."""
    fine = write(tmp_path / "fine.tif", np.ones((40, 40), np.uint8))
    hole = np.zeros((20, 20), bool)
    hole[5:9, 6:13] = True
    stored = np.full((20, 20), 1000, np.float32 if how == "nan" else np.uint16)
    stored[hole] = {"nodata": 60_000, "nan": np.nan}.get(how, 60_000)
    shown = np.where(hole, 0, 255).astype(np.uint8)
    layers = np.stack([stored, shown.astype(stored.dtype)]) if how == "alpha" else stored[None]
    path = write(
        tmp_path / "rough.tif",
        layers,
        transform=NORTH_UP @ TWICE,
        nodata=60_000 if how == "nodata" else None,
        mask=shown if how == "internal" else None,
    )
    grid = grid_of(path)
    masks = {"alpha": [Mask(path, 2, grid, "alpha")], "internal": [Mask(path, 0, grid, "alpha")]}
    band = band_of(path, resampling=resampling)
    patch = read(scene_of(masks.get(how, ()), a=band_of(fine), b=band), ["b"])
    assert np.array_equal(patch.valid, ~np.kron(hole, np.ones((2, 2), bool)))
    assert (patch.values[0][patch.valid] == 1000).all()


def test_outside_of_a_coarse_band_nothing_is_valid(tmp_path):
    fine = write(tmp_path / "fine.tif", np.ones((40, 40), np.uint8))
    path = write(tmp_path / "rough.tif", np.ones((10, 15), np.uint16), transform=NORTH_UP @ TWICE)
    patch = read(scene_of(a=band_of(fine), b=band_of(path)))
    expected = np.zeros((40, 40), bool)
    expected[:20, :30] = True
    assert np.array_equal(patch.valid, expected)


def test_a_fourth_band_coloured_alpha_is_a_band(tmp_path):
    """NAIP: resampling must not take near infrared for transparency."""
    fine = write(tmp_path / "fine.tif", np.ones((8, 8), np.uint8), transform=NORTH_UP)
    naip = np.full((4, 4, 4), 100, np.uint8)
    naip[3] = 0
    colors = [rasterio.enums.ColorInterp[name] for name in ("red", "green", "blue", "alpha")]
    path = write(tmp_path / "naip.tif", naip, transform=NORTH_UP @ TWICE, colors=tuple(colors))
    patch = read(scene_of(a=band_of(fine), red=band_of(path, 1), nir=band_of(path, 4)))
    assert patch.valid.all()
    assert (patch.values[1] == 100).all()
    assert (patch.values[2] == 0).all()


def test_masks_of_values_and_bits(tmp_path):
    a = write(tmp_path / "a.tif", np.ones((3, 4), np.uint8))
    scl = write(
        tmp_path / "scl.tif", np.array([[4, 8], [5, 4]], np.uint8), transform=NORTH_UP @ TWICE
    )
    qa = np.zeros((3, 4), np.uint16)
    qa[2, 0], qa[2, 1] = 1 << 15, 1 << 6
    bits = write(tmp_path / "qa.tif", qa)
    masks = [
        Mask(scl, 1, grid_of(scl), "values", (8,)),
        Mask(bits, 1, grid_of(bits), "bits", (15, 3)),
    ]
    patch = read(scene_of(masks, a=band_of(a)))
    assert patch.valid.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]]


def test_a_bit_mask_hides_where_its_file_ends(tmp_path):
    a = write(tmp_path / "a.tif", np.ones((4, 4), np.uint8))
    qa = write(tmp_path / "qa.tif", np.zeros((1, 2), np.uint16), transform=NORTH_UP @ TWICE)
    patch = read(scene_of([Mask(qa, 1, grid_of(qa), "bits", (3,), dilate=1)], a=band_of(a)))
    assert patch.valid.astype(int).tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_dilation_is_in_pixels_of_the_scene(tmp_path):
    a = write(tmp_path / "a.tif", np.ones((9, 9), np.uint8))
    codes = np.full((9, 9), 4, np.uint8)
    codes[4, 4] = 9
    scl = write(tmp_path / "scl.tif", codes)
    patch = read(scene_of([Mask(scl, 1, grid_of(scl), "values", (9,), dilate=2)], a=band_of(a)))
    assert (~patch.valid).sum() == 13


def test_internal_and_sidecar_masks(tmp_path):
    shown = np.full((4, 4), 255, np.uint8)
    shown[0] = 0
    inside = write(tmp_path / "inside.tif", np.ones((4, 4), np.uint8), mask=shown)
    beside = write(tmp_path / "beside.tif", np.ones((4, 4), np.uint8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(beside, "r+") as file:
        file.write_mask(shown)
    assert Path(f"{beside}.msk").exists()
    for path in (inside, beside):
        patch = read(scene_of([Mask(path, 0, grid_of(path), "alpha")], a=band_of(path)))
        assert np.array_equal(patch.valid, shown > 0)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_what_is_asked_for_twice_is_given_twice(shared_scene, order):
    scene, stored = shared_scene
    names = [list(scene.bands)[i % 3] for i in order]
    patch = read(scene, names)
    assert np.array_equal(patch.values, stored[[i % 3 for i in order]])


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory):
    stored = RNG.integers(1, 255, (3, 300, 310)).astype(np.uint8)
    path = write(
        tmp_path_factory.mktemp("shared") / "a.tif",
        stored,
        tiled=True,
        blockxsize=64,
        blockysize=64,
        compress="deflate",
    )
    return scene_of(**{name: band_of(path, i) for i, name in enumerate("abc", 1)}), stored


def test_threads_read_at_once(shared_scene, tmp_path):
    scene, stored = shared_scene
    rough = RNG.integers(1, 255, (150, 155)).astype(np.uint8)
    path = write(tmp_path / "rough.tif", rough, transform=NORTH_UP @ TWICE)
    scene = scene_of(**scene.bands, d=band_of(path))
    pixels = ScenePixels(scene)
    whole = pixels.read("abcd", full_window(scene.grid))
    windows = [Window(y, x, y + 60, x + 60) for y in range(0, 240, 11) for x in range(0, 240, 37)]
    started = threading.Barrier(4)

    def work(part):
        started.wait()
        return [pixels.read("abcd", window) for window in windows[part::4]]

    with ThreadPoolExecutor(4) as pool:
        for part, patches in enumerate(pool.map(work, range(4))):
            for window, patch in zip(windows[part::4], patches, strict=True):
                assert np.array_equal(patch.values, whole.values[:, *window.slices])
    pixels.close()
    assert np.array_equal(whole.values[:3], stored)


def test_closed_means_closed(shared_scene):
    scene, _ = shared_scene
    pixels = ScenePixels(scene)
    pixels.read("a", Window(0, 0, 1, 1))
    pixels.close()
    pixels.close()
    with pytest.raises(ValueError, match="closed"):
        pixels.read("a", Window(0, 0, 1, 1))


def test_handles_are_lent_once_and_closed_when_given_back(shared_scene):
    path = shared_scene[0].sources[0]
    handles = Handles()
    with handles.borrow(path) as one:
        with handles.borrow(path) as two:
            assert one is not two
        with handles.borrow(path) as three:
            assert three is two
        handles.close()
        assert two.closed
        assert not one.closed
    assert one.closed


@pytest.mark.parametrize("window", [(0, 0, 0, 4), (-1, 0, 4, 4), (0, 0, 301, 4), (5, 5, 4, 9)])
def test_windows_lie_inside(shared_scene, window):
    with pytest.raises(ValueError, match="is not inside"):
        read(shared_scene[0], ["a"], Window(*window))


def test_an_unknown_band(shared_scene):
    with pytest.raises(SceneError, match=r"scene made: no band nir; it has a, b, c"):
        read(shared_scene[0], ["nir"])


def test_survives_pickling(shared_scene):
    scene, stored = shared_scene
    again = pickle.loads(pickle.dumps(scene))  # noqa: S301 (its own bytes)
    assert np.array_equal(read(again).values, stored)


def damaged(path: str) -> str:
    """Zeros in the middle of the file: headers stay whole, tiles do not."""
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    Path(path).write_bytes(content)
    return path


def test_damage_names_file_and_window(tmp_path):
    stored = RNG.integers(0, 255, (200, 200)).astype(np.uint8)
    path = damaged(write(tmp_path / "a.tif", stored, compress="deflate"))
    with pytest.raises(SceneError, match=r"scene made: .*a\.tif cannot be read at rows 0-200"):
        read(scene_of(a=band_of(path)))
    fine = write(tmp_path / "fine.tif", np.ones((400, 400), np.uint8), transform=NORTH_UP)
    coarse = write(tmp_path / "b.tif", stored, transform=NORTH_UP @ TWICE, compress="deflate")
    scene = scene_of(a=band_of(fine), b=band_of(coarse))
    damaged(coarse)
    with pytest.raises(SceneError, match=r"b\.tif cannot be read at rows 0-400"):
        read(scene)


def test_files_that_vanish_or_change(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((9, 9), np.uint8))
    scene = scene_of(a=band_of(path))
    write(tmp_path / "a.tif", np.ones((9, 8), np.uint8))
    with pytest.raises(SceneError, match=r"has 9 x 8 pixels, 9 x 9 were planned"):
        read(scene)
    write(tmp_path / "a.tif", np.ones((9, 9), np.uint8), transform=SOUTH_UP)
    with pytest.raises(SceneError, match=r"lies .* pixels from where it was planned"):
        read(scene)
    Path(path).unlink()
    with pytest.raises(SceneError, match=r"a\.tif cannot be read at rows"):
        read(scene)
