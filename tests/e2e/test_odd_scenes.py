"""Scenes that are odd, but right: planned without a word, and every pixel of them read."""

import warnings
import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine
from crafted import entity_bomb, source, vrt
from packages import BANDS, write_package
from rasters import NORTH_UP
from refusals import Cases, Desk, ask

from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    bytes_ = {"bands": COLORS, "units": "dn", "mean": (100.0,) * 3, "std": (50.0,) * 3}
    return {"tiny": write_package(root), "colors": write_package(root, "colors", **bytes_)}


@pytest.fixture
def desk(tmp_path, models, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, models["tiny"])


odd = Cases()


def _made(name: str, **options) -> None:
    def make(desk: Desk) -> dict[str, object]:
        desk.scene(**options)
        return {}

    make.__name__ = name
    odd()(make)


for _name, _options in {
    "big_tiff": {"BIGTIFF": "YES"},
    "tiles_that_are_not_square": {"tiled": True, "blockxsize": 16, "blockysize": 48},
    "strips_of_one_row": {"blockysize": 1},
    "band_after_band": {"interleave": "band"},
    "half_floats": {"dtype": "float32", "NBITS": "16"},
    "lzw_with_predictor": {"compress": "lzw", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "lerc": {"compress": "lerc"},
    "lzma": {"compress": "lzma"},
    "packbits": {"compress": "packbits"},
    "signed_bytes": {"dtype": "int8"},
    "signed_64_bits": {"dtype": "int64"},
    "doubles": {"dtype": "float64"},
    "nodata_of_nan": {"dtype": "float32", "nodata": float("nan")},
    "twelve_bits": {"NBITS": "12"},
    "south_up": {"transform": Affine(10, 0, 5e5, 0, 10, 5.8e6)},
    "rotated": {"transform": NORTH_UP @ Affine.rotation(25)},
    "sheared": {"transform": NORTH_UP @ Affine.shear(20)},
    "mirrored": {"transform": Affine(-10, 0, 5e5, 0, -10, 5.9e6)},
    "one_pixel": {"side": 1},
    "a_compound_crs": {"crs": "EPSG:9518", "transform": Affine(1e-3, 0, -9, 0, -1e-3, 53)},
    "white_is_zero": {"photometric": "miniswhite"},
}.items():
    _made(_name, **_options)


def _called(name: str, path: str) -> None:
    def make(desk: Desk) -> dict[str, object]:
        desk.scene(path)
        return {"path": path}

    make.__name__ = name
    odd()(make)


_called("a_name_with_a_line_break", "in/a\nb.tif")
_called("a_name_with_quotes", "in/a'b\"c;--.tif")
_called("a_name_like_an_option", "in/-rf.tif")
_called("a_name_with_a_picture", "in/\u00e9t\u00e9 \u6e56.tif")
_called("a_very_long_name", f"in/{'n' * 240}.tif")
_called("a_name_like_html", "in/<script>alert(1)<.tif")


def _beside(name: str, suffix: str, content: bytes | str) -> None:
    def make(desk: Desk) -> dict[str, object]:
        desk.write(f"{desk.scene()}{suffix}", content)
        return {}

    make.__name__ = name
    odd()(make)


_beside("broken_overviews_beside", ".ovr", b"II*\0garbage")
_beside("a_broken_mask_beside", ".msk", b"II*\0garbage")
_beside("broken_metadata_beside", ".aux.xml", "<PAMDataset><x")
_beside("an_entity_bomb_beside", ".aux.xml", entity_bomb("PAMDataset"))


def _as(driver: str, suffix: str, **options) -> None:
    def make(desk: Desk) -> dict[str, object]:
        name = f"in/scene.{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            desk.scene(name, driver=driver, bands=3, dtype="uint8", **options)
        return {"path": name, "bands": list(COLORS), "units": "dn", "scale": ...}

    make.__name__ = f"driver_{driver.lower()}"
    odd()(make)


_as("PNG", "png")
_as("JPEG", "jpg")
_as("GPKG", "gpkg")
_as("HFA", "img")
_as("ENVI", "bil")
_as("BMP", "bmp", worldfile="yes")
_as("WEBP", "webp")
_as("JP2OpenJPEG", "jp2")


@odd()
def a_vrt_beside_its_file(desk):
    desk.scene()
    desk.write("in/scene.vrt", vrt(source("scene.tif")))
    return {"path": "in/scene.vrt"}


@odd()
def a_file_in_a_zip(desk):
    desk.scene()
    with zipfile.ZipFile("in/scenes.zip", "w") as archive:
        archive.write("in/scene.tif", "scene.tif")
    return {"path": f"/vsizip/{desk.folder}/in/scenes.zip/scene.tif"}


@pytest.mark.parametrize(("make", "said"), odd.all)
def test_works(desk, models, capfd, make, said):
    changes = make(desk)
    bands = tuple(changes.get("bands", BANDS))
    model = models["colors" if bands == COLORS else "tiny"]
    desk.workflow(input=changes, model={"path": str(model)})
    code = ask(["plan", "test.yaml"])
    told = capfd.readouterr().err
    assert (code, told) == (0, "")
    (scene,) = FilesSource((str(changes.get("path", "in/scene.tif")),), bands).scenes(bands)
    pixels = ScenePixels(scene)
    patch = pixels.read(bands, full_window(scene.grid))
    pixels.close()
    assert patch.valid.any()
    assert np.isfinite(patch.values).all()
