"""A folder as input: its rasters are scenes, with dates from names; its products are known."""

from pathlib import Path

import numpy as np
import pytest
from rasters import write
from safes import L1C_NAME, level_1c

from geoseg.errors import SceneError
from geoseg.io.files import FilesSource
from geoseg.io.folders import meant
from geoseg.io.refs import MaskRef

ONES = np.ones((4, 5), np.uint16)
LANDSAT = "LC08_L2SP_008059_20191201_20200825_02_T1"
PLANET = "20220815_151234_01_2461_3B"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layers(count, dtype=np.uint16):
    return np.ones((count, 4, 5), dtype)


def scenes(wanted, path="in", **source):
    return FilesSource((path,), **source).scenes(wanted)


def dates(found):
    return [f"{scene.acquired:%Y-%m-%d}" if scene.acquired else None for scene in found]


def test_each_raster_is_a_scene_with_the_date_of_its_name(folder):
    for name in ("lake_2021-07-16.tif", "lake_20200914.TIF", "lake.vrt", "2024145_lake.jp2"):
        options = {"driver": "JP2OpenJPEG"} if name.endswith("jp2") else {}
        write(folder / "in" / name, layers(2), **options)
    for name in ("README.md", "lake.tif.aux.xml", ".hidden.tif", "labels.geojson"):
        (folder / "in" / name).write_text("not a scene")
    write(folder / "in" / "below" / "deep.tif", layers(2))
    found = scenes(["nir"], bands=("red", "nir"))
    assert [s.id for s in found] == ["2024145_lake", "lake", "lake_20200914", "lake_2021-07-16"]
    assert dates(found) == ["2024-05-24", None, "2020-09-14", "2021-07-16"]
    again = scenes(["nir"], "in/*.*[fF]", bands=("red", "nir"))
    assert [s.id for s in again] == ["lake_20200914", "lake_2021-07-16"]


def test_files_with_a_band_in_their_name_are_one_scene(folder):
    for date in ("2018-12-01", "2019-01-05"):
        for band in ("B02", "B08"):
            write(folder / "in" / f"{date}_{band}.tif", ONES)
    write(folder / "in" / "other.tif", layers(2), names=("blue", "nir"))
    found = scenes(["nir", "blue"])
    assert [s.id for s in found] == ["2018-12-01", "2019-01-05", "other"]
    assert dates(found) == ["2018-12-01", "2019-01-05", None]
    assert [Path(b.uri).name for b in found[0].bands.values()] == [
        "2018-12-01_B08.tif",
        "2018-12-01_B02.tif",
    ]
    # Named in the workflow, too: the names of the files still say which is which.
    (folder / "in" / "other.tif").unlink()
    named = scenes(["nir", "blue"], bands=("nir", "blue"))
    assert [dict(s.bands) for s in named] == [dict(s.bands) for s in found[:2]]


def test_a_date_may_follow_the_band(folder):
    for band in ("B02", "B03", "B11"):
        write(folder / "in" / f"20LLQ_{band}_2021-09-22.tif", ONES)
        write(folder / "in" / f"{band}_20210906.tif", ONES)
    found = scenes(["swir16", "blue"])
    assert [s.id for s in found] == ["20210906", "20LLQ_2021-09-22"]
    assert dates(found) == ["2021-09-06", "2021-09-22"]


def test_one_band_alone_is_known_by_its_name(folder):
    write(folder / "in" / "lake_2021-07-16_B08.tif", ONES)
    (scene,) = scenes(["nir"])
    assert list(scene.bands) == ["nir"]


def test_landsat_of_several_dates_in_one_folder(folder):
    for name in (LANDSAT, LANDSAT.replace("20191201", "20191217")):
        for part in ("SR_B2", "SR_B5", "QA_PIXEL"):
            write(folder / "in" / f"{name}_{part}.TIF", ONES)
    found = scenes(["nir", "blue"], mask=MaskRef("qa_pixel"))
    assert dates(found) == ["2019-12-01", "2019-12-17"]
    assert [s.units for s in found] == ["reflectance"] * 2
    assert [Path(m.uri).name for s in found for m in s.masks] == [
        f"{s.id}_QA_PIXEL.TIF" for s in found
    ]


@pytest.mark.parametrize("bands", [(), ("blue", "green", "red", "nir")])
def test_a_mask_is_with_its_image(folder, bands):
    for clock in ("151234", "151236"):
        name = PLANET.replace("151234", clock)
        write(folder / "in" / f"{name}_AnalyticMS_SR_clip.tif", layers(4))
        write(folder / "in" / f"{name}_udm2_clip.tif", layers(8, np.uint8))
    found = scenes(["nir"], mask=MaskRef("udm2"), bands=bands)
    assert [s.id for s in found] == [PLANET, PLANET.replace("151234", "151236")]
    assert [Path(m.uri).name for s in found for m in s.masks] == [
        f"{s.id}_udm2_clip.tif" for s in found
    ]
    assert [b.index for s in found for b in s.bands.values()] == [4, 4]


def test_a_mask_without_an_image_is_no_scene(folder):
    write(folder / "in" / "lake_nir.tif", layers(2), names=("red", "nir"))
    write(folder / "in" / "river_udm2.tif", layers(8, np.uint8))
    assert [Path(path).name for _, path in meant("in")] == ["lake_nir.tif"]


def test_products_in_a_folder_are_scenes(folder):
    level_1c(folder / "in" / L1C_NAME, bands={"B04": 10, "B08": 10})
    landsat = folder / "in" / LANDSAT
    for number in (4, 5):
        write(landsat / f"{LANDSAT}_SR_B{number}.TIF", ONES)
    numbers = "".join(
        f"REFLECTANCE_MULT_BAND_{n} = 2.75e-05\nREFLECTANCE_ADD_BAND_{n} = -0.2\n" for n in (4, 5)
    )
    group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
    (landsat / f"{LANDSAT}_MTL.txt").write_text(
        f"GROUP = A\nGROUP = {group}\n{numbers}END_GROUP = {group}\nEND_GROUP = A\nEND\n"
    )
    write(folder / "in" / "ortho_20230101.tif", layers(2), names=("red", "nir"))
    found = scenes(["red", "nir"])
    assert [s.id for s in found] == [LANDSAT, L1C_NAME.removesuffix(".SAFE"), "ortho_20230101"]
    assert [s.units for s in found] == ["reflectance", "reflectance", None]
    # A product as a path is what it was: a scene, not a folder of rasters.
    assert [s.id for s in scenes(["red"], f"in/{LANDSAT}")] == [LANDSAT]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: (folder / "in").mkdir(), "in: a folder without rasters"),
        (lambda folder: write(folder / "in/a/b.tif", ONES), r"write in/\*\*/\*\.tif"),
        (lambda folder: (folder / "in/x.SAFE").mkdir(parents=True), "x.SAFE: a folder without MTD"),
        (
            lambda folder: (folder / "in/x/GRANULE").mkdir(parents=True),
            "in/x: a folder without MTD",
        ),
    ],
)
def test_folders_without_a_scene(folder, make, message):
    make(folder)
    with pytest.raises(SceneError, match=message):
        scenes(["red"])
