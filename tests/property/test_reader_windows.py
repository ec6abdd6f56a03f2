"""Any window of a scene is the same part of the whole, however its bands and masks lie."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, UTM, band_of, grid_of, write

from geoseg.grid import Window, full_window
from geoseg.io.area import AreaRef, clip_scene
from geoseg.io.reader import ScenePixels
from geoseg.io.target_grid import GridWish, place_scene
from geoseg.scene import Mask, Scene

RNG = np.random.default_rng(5)
SHAPES = {"north-up": NORTH_UP, "south-up": SOUTH_UP, "rotated": ROTATED, "degrees": DEGREES}


def coarse(transform: Affine, factor: int) -> Affine:
    return transform @ Affine.scale(factor)


def mixed_scene(folder: Path, name: str, resampling: str, wish: GridWish | None = None) -> Scene:
    """10, 20 and 60 m, nodata, NaN, an SCL that is dilated, an internal mask, and an area.

    ``wish`` is the grid that all of it is brought onto.
    """
    transform = SHAPES[name]
    crs = "EPSG:4326" if name == "degrees" else UTM
    fine = RNG.integers(0, 4000, (2, 121, 134), np.uint16)
    middle = RNG.integers(1, 4000, (1, 61, 67), np.uint16)
    middle[0, 20:30, 5:25] = 0
    rough = RNG.random((1, 19, 21)).astype(np.float32)
    rough[0, 3, 4] = np.nan
    shown = np.full((61, 67), 255, np.uint8)
    shown[40:50, 40:60] = 0
    scl = RNG.choice(np.array([0, 4, 5, 8], np.uint8), (61, 67), p=[0.01, 0.5, 0.48, 0.01])
    options = {"crs": crs, "tiled": True, "blockxsize": 32, "blockysize": 32}
    paths = {
        "fine": write(folder / "fine.tif", fine, transform=transform, nodata=7, **options),
        "middle": write(
            folder / "middle.tif", middle, transform=coarse(transform, 2), mask=shown, **options
        ),
        "rough": write(folder / "rough.tif", rough, transform=coarse(transform, 6), crs=crs),
        "scl": write(folder / "scl.tif", scl, transform=coarse(transform, 2), **options),
    }
    grids = {key: grid_of(path) for key, path in paths.items()}
    scene = Scene(
        name,
        {
            "red": band_of(paths["fine"], 1),
            "green": band_of(paths["fine"], 2),
            "nir08": band_of(paths["middle"], 1, resampling=resampling),
            "nir09": band_of(paths["rough"], 1, resampling=resampling),
        },
        grids["fine"],
        (
            Mask(paths["scl"], 1, grids["scl"], "values", (0, 8), dilate=3),
            Mask(paths["middle"], 0, grids["middle"], "alpha"),
        ),
    )
    corners = [(10, 5), (130.25, 20), (100, 118), (60.5, 60.5), (3, 110)]
    area = shapely.Polygon([transform @ corner for corner in corners])
    if wish is not None:
        scene = place_scene(scene, wish)
    return clip_scene(scene, AreaRef(wkt=area.wkt, crs=crs))


PLACED = [
    ("north-up", "auto", GridWish("EPSG:4326", (25.0, 25.0))),
    ("rotated", "cubic", GridWish("EPSG:32630", (7.0, 11.0))),
    ("degrees", "average", GridWish("utm", (30.0, 30.0), anchor=(3.0, 4.0))),
    ("south-up", "bilinear", GridWish("EPSG:3857", (40.0, 18.0))),
]


@pytest.fixture(scope="module", params=[*itertools.product(SHAPES, ["bilinear", "cubic"]), *PLACED])
def scene(request, tmp_path_factory):
    return mixed_scene(tmp_path_factory.mktemp("scene"), *request.param)


@pytest.fixture(scope="module")
def whole(scene):
    pixels = ScenePixels(scene)
    yield pixels.read(list(scene.bands), full_window(scene.grid))
    pixels.close()


@given(data=st.data())
@settings(max_examples=50)
def test_any_window_is_a_crop(scene, whole, data):
    height, width = scene.grid.shape
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width))
    window = Window(y0, x0, y1, x1)
    pixels = ScenePixels(scene)
    patch = pixels.read(list(scene.bands), window)
    pixels.close()
    assert np.array_equal(patch.valid, whole.valid[window.slices])
    assert np.array_equal(patch.values, whole.values[(slice(None), *window.slices)])
    assert patch.values.dtype == whole.values.dtype


def test_the_whole_has_both_kinds_of_pixels(whole):
    assert 0.1 < whole.valid.mean() < 0.8
    assert np.isfinite(whole.values).all()
    assert (whole.values[:, ~whole.valid] == 0).all()
