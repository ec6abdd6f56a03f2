"""Scenes made to break or to mislead a reader; no run is needed."""

import os
import socket

import numpy as np
import pytest
import rasterio
from affine import Affine
from crafted import entity_bomb, source, tiff, vrt
from packages import write_package
from refusals import Cases, Desk, check_refused

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


case = Cases()


def _instead(desk: Desk, content: bytes | str, name: str = "in/scene.tif") -> list[str]:
    """The request to map a file that holds ``content``."""
    desk.workflow()
    desk.write(name, content)
    return desk.workflow(input={"path": name})


# --- headers that lie -------------------------------------------------------------------------


@case("in/scene.tif", "not a raster that can be read", "tiles")
def two_thousand_million_pixels_a_side(desk):
    return _instead(desk, tiff(2**31 - 1, 2**31 - 1, tile=256))


@case("in/scene.vrt", "20000000 x 20000000 pixels", "cut it into several files")
def more_pixels_than_any_scene_has(desk):
    desk.workflow()
    text = vrt(source("scene.tif")).replace('"64"', '"20000000"')
    return _instead(desk, text, "in/scene.vrt")


@case("in/scene.tif", "200000 x 200000 pixels take 80.0 GB each", "-co TILED=YES")
def one_strip_as_large_as_a_disk(desk):
    return _instead(desk, tiff(200_000, 200_000, compression=8))


@case("in/scene.tif", "65535 bands")
def all_the_bands_that_a_tiff_can_count(desk):
    return _instead(desk, tiff(64, 64, bands=65535))


@case("in/scene.tif", "not a raster that can be read", "cut short or damaged")
def an_image_without_columns(desk):
    return _instead(desk, tiff(0, 64))


@case("in/scene.tif", "not a raster that can be read", "cut short or damaged")
def tiles_without_pixels(desk):
    return _instead(desk, tiff(64, 64, tile=0))


@case("in/scene.tif", "truncated", "bytes are missing")
def a_directory_that_is_its_own_next(desk):
    return _instead(desk, tiff(64, 64, next=16))


@case("in/scene.tif", "BitsPerSample(=200)")
def numbers_of_200_bits(desk):
    return _instead(desk, tiff(64, 64, bits=200))


@case("in/scene.tif", "missing codec of code 12345")
def a_compression_that_nobody_knows(desk):
    return _instead(desk, tiff(64, 64, compression=12345))


@case("in/scene.tif", "has pixels without area")
def a_geotransform_of_nan(desk):
    desk.scene(transform=Affine(10, 0, float("nan"), 0, -10, 5.9e6))
    return desk.workflow()


@case("in/scene.tif", "has pixels without area")
def a_geotransform_of_infinity(desk):
    desk.scene(transform=Affine(10, 0, float("inf"), 0, -10, 5.9e6))
    return desk.workflow()


@case("in/scene.tif", "no geotransform; rectify it first")
def pixels_without_width(desk):
    desk.scene(transform=Affine(0, 0, 5e5, 0, -10, 5.9e6), crs=None)
    return desk.workflow()


@case("in/scene.tif", "a CRS that maps nothing")
def a_local_crs(desk):
    desk.scene(crs='LOCAL_CS["x",UNIT["metre",1]]')
    return desk.workflow()


@case("in/scene.tif", "a CRS that maps nothing (EPSG:4978)")
def a_geocentric_crs(desk):
    desk.scene(crs="EPSG:4978")
    return desk.workflow()


@case("in/scene.tif", "input.bands names 6 bands, the file has 3")
def three_bands_of_jpeg(desk):
    desk.scene(bands=3, dtype="uint8", compress="jpeg", photometric="ycbcr")
    return desk.workflow()


@case("in/scene.tif", "input.bands names 6 bands, the file has 4")
def inks_instead_of_light(desk):
    desk.scene(bands=4, dtype="uint8", photometric="cmyk")
    return desk.workflow()


@case("in/scene.tif", "colours in a palette", "-expand rgb")
def one_bit(desk):
    desk.scene(bands=1, dtype="uint8", NBITS="1")
    return desk.workflow()


@case("in/scene.tif", "its overviews are in /vsicurl/http://169.254.169.254/o.tif")
def overviews_on_another_machine(desk):
    desk.workflow()
    with rasterio.open(desk.folder / "in/scene.tif", "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://169.254.169.254/o.tif")
    return ["run", "test.yaml"]


@case("in/scene.tif", "not a raster that can be read")
def random_bytes_after_a_magic_number(desk):
    noise = np.random.default_rng(5).bytes(5000)
    return _instead(desk, b"II*\x00" + noise)


# --- files that are none ----------------------------------------------------------------------


@case("in/pipe.tif", "is a pipe, not a file")
def a_pipe(desk):
    desk.workflow()
    os.mkfifo(desk.folder / "in/pipe.tif")
    return desk.workflow(input={"path": "in/pipe.tif"})


@case("in/scene.tif", "is a socket, not a file")
def a_socket(desk):
    desk.workflow()
    (desk.folder / "in/scene.tif").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("in/scene.tif")
    return ["run", "test.yaml"]


@case("/dev/zero", "is a device, not a file")
def a_device(desk):
    return desk.workflow(input={"path": "/dev/zero"})


@case("/proc/self/mem", "is a device, not a file")
def the_memory_of_this_process(desk):
    return desk.workflow(input={"path": "/proc/self/mem"})


@case("in/scene.tif", "no such file")
def a_link_to_itself(desk):
    desk.workflow()
    (desk.folder / "in/scene.tif").unlink()
    (desk.folder / "in/scene.tif").symlink_to("scene.tif")
    return ["run", "test.yaml"]


@case("in/scene.tif", "no such file")
def a_link_to_nothing(desk):
    desk.workflow()
    (desk.folder / "in/scene.tif").unlink()
    (desk.folder / "in/scene.tif").symlink_to("gone.tif")
    return ["run", "test.yaml"]


@case("cannot be opened: File name too long")
def a_name_that_no_disk_takes(desk):
    return desk.workflow(input={"path": f"in/{'x' * 300}.tif"})


@case("cannot be opened: File name too long")
def a_path_that_no_system_takes(desk):
    return desk.workflow(input={"path": f"in/{'x/' * 3000}scene.tif"})


@case("test.yaml:", "input.path", "a path")
def a_zero_byte_in_a_path(desk):
    return desk.workflow(input={"path": "in/a\0b.tif"})


@case("in/sc", "its name is not UTF-8; rename it")
def a_name_in_latin_1(desk):
    desk.workflow()
    os.rename(b"in/scene.tif", b"in/sc\xe9ne.tif")  # noqa: PTH104 (paths of bytes)
    return desk.workflow(input={"path": "in/*.tif"})


@case("in/scene.zarr", "a folder without rasters")
def a_folder_of_chunks(desk):
    desk.workflow()
    desk.scene("in/scene.zarr", driver="Zarr", bands=3)
    return desk.workflow(input={"path": "in/scene.zarr"})


@case("in/scene.tif", "not a raster that can be read")
def a_description_of_a_web_service(desk):
    return _instead(
        desk,
        '<GDAL_WMS><Service name="WMS"><ServerUrl>http://127.0.0.1:1/?</ServerUrl></Service>'
        "<DataWindow><SizeX>9</SizeX><SizeY>9</SizeY></DataWindow></GDAL_WMS>",
    )


# --- VRTs -------------------------------------------------------------------------------------


@case("in/scene.vrt", "169.254.169.254", "private network", "GEOSEG_ALLOW_HOSTS")
def a_vrt_of_the_machines_own_metadata(desk):
    address = "/vsicurl/http://169.254.169.254/latest/meta-data"
    return _instead(desk, vrt(source(address, relative=0)), "in/scene.vrt")


@case("in/scene.vrt", "http://2130706433/a.tif", "private network (127.0.0.1)")
def a_vrt_of_an_address_in_disguise(desk):
    return _instead(
        desk, vrt(source("/vsicurl/http://2130706433/a.tif", relative=0)), "in/scene.vrt"
    )


@case("in/scene.vrt", "/vsistdin/", "special files")
def a_vrt_of_standard_input(desk):
    return _instead(desk, vrt(source("/vsistdin/", relative=0)), "in/scene.vrt")


@case("in/scene.vrt", "begins with WMS:")
def a_vrt_of_a_web_service(desk):
    return _instead(desk, vrt(source("WMS:http://example.com", relative=0)), "in/scene.vrt")


@case("in/scene.vrt", "/dev/zero: is a device")
def a_vrt_of_a_device(desk):
    return _instead(desk, vrt(source("/dev/zero", relative=0)), "in/scene.vrt")


@case("in/scene.vrt", "more than 8 deep")
def a_vrt_of_itself(desk):
    return _instead(desk, vrt(source("scene.vrt")), "in/scene.vrt")


@case("in/scene.vrt", "pixel function in Python", "code is not run")
def a_vrt_with_code(desk):
    code = (
        "<PixelFunctionType>f</PixelFunctionType>"
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        "<PixelFunctionCode>import os; os.remove('in/scene.tif')</PixelFunctionCode>"
    )
    text = vrt(code + source("scene.tif"), kind="VRTDerivedRasterBand")
    return _instead(desk, text, "in/scene.vrt")


@case("in/scene.vrt", "shows the bytes of /etc/passwd as pixels", "outside of its folder")
def a_vrt_of_raw_bytes_elsewhere(desk):
    raw = '<SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename>'
    return _instead(desk, vrt(raw, kind="VRTRawRasterBand"), "in/scene.vrt")


@case("in/scene.vrt", "outside of its folder")
def a_vrt_of_raw_bytes_behind_a_link(desk):
    desk.workflow()
    (desk.folder / "in/inside").symlink_to("/etc/passwd")
    raw = '<SourceFilename relativeToVRT="1">inside</SourceFilename>'
    return _instead(desk, vrt(raw, kind="VRTRawRasterBand"), "in/scene.vrt")


@case("in/scene.vrt", "not a VRT that can be read")
def a_vrt_that_is_a_bomb(desk):
    return _instead(desk, entity_bomb("VRTDataset"), "in/scene.vrt")


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    request = make(desk)
    check_refused(desk, request, said, capfd)


def test_the_corpus_is_a_hundred_and_more():
    """Cases of all files of this kind, each with its outcome."""
    from test_bad_input import case as inputs
    from test_bad_requests import case as requests
    from test_bad_training import case as trainings
    from test_bad_workflow import case as workflows
    from test_crafted_models import case as crafted_models
    from test_crafted_workflows import case as crafted_workflows
    from test_misleading_catalogs import case as catalogs
    from test_odd_scenes import odd

    scenes = len(case.all) + len(odd.all) + len(inputs.all) + len(catalogs.all)
    models = len(crafted_models.all)
    written = len(workflows.all) + len(crafted_workflows.all) + len(trainings.all)
    assert scenes >= 100
    assert models >= 40
    assert written >= 100
    assert scenes + models + written + len(requests.all) >= 300
