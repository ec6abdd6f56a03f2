"""Files to scenes: bands, masks, grids, names, dates; and one clear error for everything else."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasters import NORTH_UP, SOUTH_UP, write

from geoseg.errors import SceneError
from geoseg.io.files import FilesSource
from geoseg.io.refs import BandRef, MaskRef
from geoseg.scene import Mask

ONES = np.ones((4, 5), np.uint16)
RGBA = tuple(ColorInterp[name] for name in ("red", "green", "blue", "alpha"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layers(count, dtype=np.uint16):
    return np.ones((count, 4, 5), dtype)


def one(wanted, **source):
    (scene,) = FilesSource(**source).scenes(wanted)
    return scene


def test_each_file_is_a_scene(folder):
    for name in ("b", "a"):
        write(folder / f"{name}.tif", layers(3))
    scenes = FilesSource(("*.tif",), ("red", "green", "nir")).scenes(["nir", "red"])
    assert [scene.id for scene in scenes] == ["a", "b"]
    assert {n: b.index for n, b in scenes[0].bands.items()} == {"nir": 3, "red": 1}
    assert scenes[0].sources == (str(folder / "a.tif"),)
    assert scenes[0].units is None


def test_bands_by_number(folder):
    write(folder / "a.tif", layers(4))
    scene = one(["nir"], path=("a.tif",), bands={"red": BandRef(index=1), "nir": BandRef(index=4)})
    assert scene.bands["nir"].index == 4


def test_bands_by_description_and_by_colour(folder):
    write(folder / "s2.tif", layers(3), names=("B03", "B8A", "swir16"))
    scene = one(["nir", "green", "swir16"], path=("s2.tif",))
    assert {n: b.index for n, b in scene.bands.items()} == {"nir": 2, "green": 1, "swir16": 3}
    write(folder / "rgb.tif", layers(4, np.uint8), colors=RGBA)
    scene = one(["blue", "red"], path=("rgb.tif",))
    assert {n: b.index for n, b in scene.bands.items()} == {"blue": 3, "red": 1}
    assert [(m.index, m.kind) for m in scene.masks] == [(4, "alpha")]
    assert scene.units == "dn"


def test_a_band_with_a_name_is_no_mask(folder):
    write(folder / "naip.tif", layers(4, np.uint8), colors=RGBA)
    bands = ("red", "green", "blue", "nir")
    assert one(["red"], path=("naip.tif",), bands=bands).masks == ()
    assert [m.index for m in one(["red"], path=("naip.tif",), bands=bands[:3]).masks] == [4]
    none = MaskRef("none")
    assert one(["red"], path=("naip.tif",), bands=bands[:3], mask=none).masks == ()


def test_internal_mask_is_found(folder):
    write(folder / "a.tif", layers(1), mask=np.full((4, 5), 255, np.uint8))
    scene = one(["red"], path=("a.tif",), bands=("red",))
    assert scene.masks == (Mask(str(folder / "a.tif"), 0, scene.grid, "alpha"),)


def test_one_file_a_band_with_scene(folder):
    for scene in ("x_20200101", "y_20210101"):
        for band in ("B2", "B4"):
            write(folder / f"{scene}_{band}.tif", ONES)
    bands = {"blue": BandRef("{scene}_B2.tif"), "red": BandRef("{scene}_B4.tif")}
    scenes = FilesSource(bands=bands).scenes(["red", "blue"])
    assert [s.id for s in scenes] == ["x_20200101", "y_20210101"]
    assert scenes[1].acquired == datetime(2021, 1, 1, tzinfo=UTC)
    assert scenes[1].bands["red"].uri == str(folder / "y_20210101_B4.tif")
    listed = FilesSource(("{scene}_B2.tif", "{scene}_B4.tif"), ("blue", "red"))
    assert listed.scenes(["red", "blue"]) == scenes
    Path("y_20210101_B4.tif").unlink()
    with pytest.raises(SceneError, match=r"scene y_20210101: no file for band red; it has blue"):
        FilesSource(bands=bands).scenes(["red", "blue"])
    assert len(FilesSource(bands=bands).scenes(["blue"])) == 2


def test_one_file_a_band_without_scene(folder):
    for name in ("lake_green", "lake_nir"):
        write(folder / f"{name}.tif", ONES)
    bands = {"green": BandRef("lake_green.tif"), "nir": BandRef("lake_nir.tif")}
    assert one(["nir", "green"], bands=bands).id == "lake"
    assert (
        one(["nir"], path=("lake_green.tif", "lake_nir.tif"), bands=("green", "nir")).id == "lake"
    )


def test_bands_by_file_name(folder):
    name = "LC08_L2SP_008059_20191201_20200825_02_T1"
    for part in ("SR_B2", "SR_B5", "QA_PIXEL"):
        write(folder / f"{name}_{part}.TIF", ONES)
    scene = one(["nir", "blue"], path=("{scene}_[SQ]*.TIF",), mask=MaskRef("qa_pixel"))
    assert scene.id == name
    assert scene.bands["nir"].uri.endswith("SR_B5.TIF")
    assert scene.masks[0].uri.endswith("QA_PIXEL.TIF")
    assert scene.masks[0].values == (0, 1, 3, 4)


def test_a_main_file_and_one_more(folder):
    write(folder / "a.tif", layers(2))
    write(folder / "dem.tif", ONES)
    bands = {"red": BandRef(index=2), "elevation": BandRef("dem.tif")}
    scene = one(["elevation", "red"], path=("a.tif",), bands=bands)
    assert scene.id == "a"
    assert [Path(b.uri).name for b in scene.bands.values()] == ["dem.tif", "a.tif"]


def test_two_patterns_two_bands_two_scenes(folder):
    for name in ("a", "b"):
        write(folder / f"{name}.tif", layers(2))
    scenes = FilesSource(("a.tif", "b.tif"), ("red", "nir")).scenes(["nir"])
    assert [(s.id, s.bands["nir"].index) for s in scenes] == [("a", 2), ("b", 2)]


def test_the_finest_wanted_band_gives_the_grid(folder):
    for name, factor in (("B02", 1), ("B11", 2), ("B09", 6)):
        transform = NORTH_UP @ Affine.scale(factor)
        write(folder / f"{name}.tif", np.ones((12 // factor, 12 // factor)), transform=transform)
    bands = {
        n: BandRef(f"{b}.tif") for n, b in (("blue", "B02"), ("swir16", "B11"), ("nir09", "B09"))
    }
    scene = one(["nir09", "swir16", "blue"], bands=bands)
    assert scene.grid.shape == (12, 12)
    assert scene.bands["nir09"].grid.shape == (2, 2)
    assert one(["nir09", "swir16"], bands=bands).grid.shape == (6, 6)


def test_grids_that_differ_by_rounding_are_one(folder):
    write(folder / "a.tif", ONES)
    write(folder / "b.tif", ONES, transform=NORTH_UP @ Affine.translation(1e-7, 0))
    scene = one(["x", "y"], bands={"x": BandRef("a.tif"), "y": BandRef("b.tif")})
    assert scene.bands["y"].grid == scene.grid
    write(folder / "b.tif", ONES, transform=NORTH_UP @ Affine.translation(0.1, 0))
    scene = one(["x", "y"], bands={"x": BandRef("a.tif"), "y": BandRef("b.tif")})
    assert scene.bands["y"].grid != scene.grid


def test_scale_offset_nodata_come_from_the_file_or_from_you(folder):
    write(folder / "a.tif", layers(2), scales=(0.1, 0.2), offsets=(1, 2), nodata=9)
    bands = {
        "red": BandRef(index=1),
        "nir": BandRef(index=2, scale=5, offset=6, nodata="none", resampling="cubic"),
    }

    def said(**source):
        scene = one(["red", "nir"], path=("a.tif",), bands=bands, **source)
        return [(b.scale, b.offset, b.nodata, b.resampling) for b in scene.bands.values()]

    theirs = (5, 6, None, "cubic")
    assert said() == [(0.1, 1, 9, "auto"), theirs]
    assert said(scale=3, offset=0, nodata=0, resampling="nearest") == [(3, 0, 0, "nearest"), theirs]
    assert said(units="dn") == [(1, 0, 9, "auto"), theirs]
    assert said(units="dn", scale=2) == [(2, 0, 9, "auto"), theirs]


def test_units_are_said_not_guessed(folder):
    write(folder / "a.tif", np.ones((3, 3), np.float32))
    write(folder / "b.tif", np.ones((3, 3), np.uint8), scales=(0.01,), offsets=(0,))
    for name in "ab":
        assert one(["red"], path=(f"{name}.tif",), bands=("red",)).units is None
    source = {"path": ("a.tif",), "bands": ("red",), "units": "reflectance"}
    assert one(["red"], **source).units == "reflectance"


def test_masks_by_path_name_and_number(folder):
    write(folder / "a.tif", layers(3, np.uint8), names=("red", "nir", "scl"))
    write(
        folder / "masks/a_scl.tif", np.ones((2, 2), np.uint8), transform=NORTH_UP @ Affine.scale(3)
    )
    source = {"path": ("a.tif",)}
    by_name = one(["red"], **source, mask=MaskRef("scl", dilate=25, dilate_unit="m")).masks
    assert [(m.index, m.values, m.dilate) for m in by_name] == [(3, (0, 1, 3, 8, 9, 10), 3)]
    by_path = one(["red"], **source, mask=MaskRef("scl", "masks/{scene}_scl.tif", dilate=2)).masks
    assert [(m.index, m.dilate, m.grid.shape) for m in by_path] == [(1, 2, (2, 2))]
    by_number = one(["red"], **source, mask=MaskRef("values", index=2, values=(7,))).masks
    assert [(m.index, m.values, m.kind) for m in by_number] == [(2, (7,), "values")]
    bits = one(["red"], **source, mask=MaskRef("bits", index=2, values=(7,))).masks
    assert bits[0].kind == "bits"
    listed = one(["red"], **source, bands=("red", "nir", "scl"), mask=MaskRef("scl")).masks
    assert listed == one(["red"], **source, mask=MaskRef("scl")).masks


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MaskRef("scl"), "no band is called scl; say where the mask is with input.mask.path"),
        (MaskRef("alpha"), "no band is called alpha"),
        (MaskRef("scl", "{scene}_scl.tif"), r"\{scene\}_scl\.tif: no file matches"),
        (MaskRef("scl", index=3), "no band 3 for mask; the file has bands 1 to 2"),
        (MaskRef("alpha", index=0), "has no internal mask"),
        (MaskRef("bits", index=2, values=(1,)), "mask bits needs whole numbers; band 2"),
    ],
)
def test_masks_that_are_not_there(folder, mask, message):
    write(folder / "a.tif", layers(2, np.float32), names=("red", "nir"))
    with pytest.raises(SceneError, match=message):
        FilesSource(("a.tif",), mask=mask).scenes(["red"])


def test_dates_by_precedence(folder):
    tags = {"TIFFTAG_DATETIME": "2015:01:02 03:04:05"}
    write(folder / "plain.tif", ONES, tags=tags)
    write(folder / "f_2016-02-03.tif", ONES, tags=tags)
    write(folder / "g_2016-02-03.tif", ONES, tags=tags | {"ACQUISITION_DATE": "2017-03-04"})

    def acquired(name, **source):
        return one(["red"], path=(name,), bands=("red",), **source).acquired

    assert acquired("plain.tif") == datetime(2015, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert acquired("f_2016-02-03.tif") == datetime(2016, 2, 3, tzinfo=UTC)
    assert acquired("g_2016-02-03.tif") == datetime(2017, 3, 4, tzinfo=UTC)
    write(folder / "2018-04-05" / "plain.tif", np.ones((4, 5), np.uint8), names=("red",))
    assert acquired("2018-04-05/plain.tif") == datetime(2018, 4, 5, tzinfo=UTC)
    given = datetime(2020, 1, 1)  # noqa: DTZ001 (the test is about a date without zone)
    assert acquired("plain.tif", date=given) == datetime(2020, 1, 1, tzinfo=UTC)


def test_scenes_that_are_called_alike_get_their_folders_names(folder):
    for year in ("2019", "2020"):
        write(folder / year / "ortho.tif", ONES)
    scenes = FilesSource(("*/ortho.tif",), ("red",)).scenes(["red"])
    assert [scene.id for scene in scenes] == ["2019_ortho", "2020_ortho"]


def test_crs_for_files_without(folder):
    write(folder / "a.tif", ONES, crs=None)
    write(folder / "b.tif", ONES)
    source = {"path": ("a.tif",), "bands": ("red",)}
    assert one(["red"], **source, crs="EPSG:32629").grid.crs == "EPSG:32629"
    with pytest.raises(SceneError, match=r"a\.tif: no CRS; say which it is with input\.crs"):
        one(["red"], **source)
    with pytest.raises(SceneError, match="the CRS EPSG:999999 is not understood"):
        one(["red"], **source, crs="EPSG:999999")
    with pytest.raises(
        SceneError, match=r"b\.tif: its CRS is EPSG:32629, input.crs says EPSG:32630"
    ):
        one(["red"], path=("b.tif",), bands=("red",), crs="EPSG:32630")
    assert one(["red"], path=("b.tif",), bands=("red",), crs="EPSG:32629").grid.crs == "EPSG:32629"


def no_geotransform(path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(path, ONES, transform=Affine.identity())


def only_gcps(path):
    points = [GroundControlPoint(r, c, 9 + c, 50 - r) for r in (0, 3) for c in (0, 4)]
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, gcps=points, crs="EPSG:4326") as file:
        file.write(ONES.astype(np.uint8), 1)


def truncated(path):
    content = Path(write(path, np.arange(40_000, dtype=np.uint16).reshape(200, 200))).read_bytes()
    path.write_bytes(content[:50_000])


def truncated_in_the_header(path):
    path.write_bytes(Path(write(path, ONES)).read_bytes()[:6])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_geotransform, "has no geotransform, so nothing says where it lies"),
        (only_gcps, "has ground control points but no geotransform; rectify it first"),
        (truncated, "truncated, at least [0-9]+ bytes are missing"),
        (truncated_in_the_header, "not a raster that can be read"),
        (lambda path: path.write_text("hello"), "not a raster that can be read"),
        (lambda path: path.touch(), "not a raster that can be read"),
        (lambda path: path.mkdir(), "a folder without rasters .*write a.tif/\\*\\*/\\*.tif"),
        (lambda path: write(path, np.ones((4, 5), np.complex64)), "band 1 .red. holds complex64"),
        (lambda path: write(path, ONES, transform=Affine(10, 0, 5, 0, 0, 5)), "without area"),
    ],
)
def test_files_that_cannot_be_used(folder, make, message):
    make(folder / "a.tif")
    with pytest.raises(SceneError, match=rf"^[^\n]*a\.tif: .*{message}[^\n]*$"):
        FilesSource(("a.tif",), ("red",)).scenes(["red"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FilesSource(("none.tif",), ("red",)), r"none\.tif: no such file"),
        (FilesSource(("*.jp2",), ("red",)), r"\*\.jp2: no file matches"),
        (FilesSource(("a.tif",), ("red", "green", "blue")), "names 3 bands, the file has 2"),
        (
            FilesSource(("a.tif",), ("green", "blue")),
            "no red, which the model needs; it names green",
        ),
        (FilesSource(("a.tif",), {"red": BandRef(index=5)}), "no band 5 for red"),
        (FilesSource(("a.tif",)), "scene a: no band red; it has no band with a name"),
        (
            FilesSource(bands={"red": BandRef("?.tif")}),
            "2 files for red, among them a.tif and b.tif",
        ),
    ],
)
def test_wrong_requests(folder, source, message):
    write(folder / "a.tif", layers(2))
    write(folder / "b.tif", layers(2))
    with pytest.raises(SceneError, match=message):
        source.scenes(["red"])


def test_south_up_is_left_as_it_is(folder):
    write(folder / "a.tif", ONES, transform=SOUTH_UP)
    assert one(["red"], path=("a.tif",), bands=("red",)).grid.affine == SOUTH_UP
