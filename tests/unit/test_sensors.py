"""Products as their sensors' archives name them: bands, numbers, clouds; nothing is guessed."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rasterio.enums import ColorInterp
from rasters import write

from geoseg.errors import ModelError, SceneError
from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.known import known_product
from geoseg.io.names import common_name, date_in, sensor_of
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import MaskRef
from geoseg.models.base import ModelCard
from geoseg.models.check import check_scene
from geoseg.models.registry import find

LANDSAT = "LC09_L2SP_190024_20230601_20230603_02_T1"
HLS_L = "HLS.L30.T20LLQ.2021265T142031.v2.0"
HLS_S = "HLS.S30.T20LLQ.2021266T142041.v2.0"
PLANET = "20220815_151234_01_2461_3B"


def numbers(fill, dtype=np.uint16):
    values = np.full((8, 8), fill, dtype)
    values[0] = 0
    return values


def read(scene):
    pixels = ScenePixels(scene)
    patch = pixels.read(list(scene.bands), full_window(scene.grid))
    pixels.close()
    physical = patch.values * patch.scale[:, None, None] + patch.offset[:, None, None]
    return physical, patch.valid


@pytest.fixture
def landsat(tmp_path):
    for number in (2, 4, 5):
        write(tmp_path / f"{LANDSAT}_SR_B{number}.TIF", numbers(10_000))
    qa = np.full((8, 8), 1 << 6, np.uint16)
    for column, bit in enumerate((1, 3, 4, 5)):
        qa[4, column] = 1 << bit
    write(tmp_path / f"{LANDSAT}_QA_PIXEL.TIF", qa)
    return tmp_path


def test_landsat_surface_reflectance_is_known_by_its_name(landsat):
    (scene,) = FilesSource((f"{landsat}/{{scene}}_SR_B*.TIF",)).scenes(["blue", "red", "nir"])
    assert scene.units == "reflectance"
    physical, valid = read(scene)
    assert physical[:, valid] == pytest.approx(0.075)
    assert not valid[0].any()
    assert valid[1:].all()


@pytest.mark.parametrize(("shadow", "hidden"), [(True, 3), (False, 2)])
def test_qa_pixel_hides_clouds_and_shadows_if_asked_but_not_snow(landsat, shadow, hidden):
    mask = MaskRef("qa_pixel", f"{landsat}/{{scene}}_QA_PIXEL.TIF", shadow=shadow)
    (scene,) = FilesSource((f"{landsat}/{{scene}}_SR_B*.TIF",), mask=mask).scenes(["red"])
    valid = read(scene)[1]
    assert np.flatnonzero(~valid[4]).tolist() == list(range(hidden))


MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    DATE_ACQUIRED = 2023-06-01
    SCENE_CENTER_TIME = "10:02:33.1234560Z"
    SUN_ELEVATION = 30.0
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_2 = 2.75e-05
    REFLECTANCE_ADD_BAND_2 = -0.2
    REFLECTANCE_MULT_BAND_5 = 2.75e-05
    REFLECTANCE_ADD_BAND_5 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_2 = 2.0e-05
    REFLECTANCE_ADD_BAND_2 = -0.1
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def test_a_landsat_folder_is_a_scene_with_bands_time_and_clouds(landsat):
    (landsat / f"{LANDSAT}_MTL.txt").write_text(MTL)
    mask = MaskRef("qa_pixel", dilate=1)
    (scene,) = FilesSource((str(landsat),), mask=mask).scenes(["blue", "nir"])
    assert (scene.id, scene.units) == (LANDSAT, "reflectance")
    assert scene.acquired == datetime(2023, 6, 1, 10, 2, 33, tzinfo=UTC)
    physical, valid = read(scene)
    assert physical[:, valid] == pytest.approx(0.075)
    assert np.flatnonzero(~valid[4]).tolist() == [0, 1, 2, 3]
    with pytest.raises(SceneError, match="no band red"):
        FilesSource((str(landsat),)).scenes(["red"])
    (stored,) = FilesSource((str(landsat),), units="dn").scenes(["blue"])
    assert (stored.units, stored.bands["blue"].scale, stored.bands["blue"].offset) == ("dn", 1, 0)
    (other,) = FilesSource((str(landsat),), scale=0.5).scenes(["blue"])
    assert other.bands["blue"].scale == 0.5


def test_level_1_is_corrected_for_the_sun(tmp_path):
    name = "LE07_L1TP_190024_20030601_20200914_02_T1"
    write(tmp_path / f"{name}_B2.TIF", numbers(10_000))
    (tmp_path / f"{name}_MTL.txt").write_text(MTL)
    (scene,) = FilesSource((str(tmp_path),)).scenes(["green"])
    physical, valid = read(scene)
    # (10000 * 2e-5 - 0.1) / sin(30 degrees)
    assert physical[:, valid] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "damaged Landsat metadata .no GROUP"),
        (MTL.replace("MULT_BAND", "X"), "whose factor to reflectance its MTL file tells"),
        (MTL.replace("-0.2", "x"), "damaged Landsat metadata"),
    ],
)
def test_damaged_landsat_metadata(landsat, text, message):
    (landsat / f"{LANDSAT}_MTL.txt").write_text(text)
    with pytest.raises(SceneError, match=message):
        FilesSource((str(landsat),)).scenes(["blue"])


@pytest.mark.parametrize(("name", "red", "nir"), [(HLS_L, "B04", "B05"), (HLS_S, "B04", "B8A")])
def test_hls_bands_numbers_and_fmask(tmp_path, name, red, nir):
    for code in (red, nir):
        write(tmp_path / f"{name}.{code}.tif", numbers(3000, np.int16), nodata=-9999)
    fmask = np.zeros((8, 8), np.uint8)
    fmask[5] = [1 << bit for bit in range(8)]
    write(tmp_path / f"{name}.Fmask.tif", fmask)
    source = FilesSource((f"{tmp_path}/{{scene}}.v2.0.*.tif",), mask=MaskRef("fmask"))
    (scene,) = source.scenes(["red", "nir"])
    assert scene.units == "reflectance"
    assert scene.bands["red"].uri.endswith(f"{red}.tif")
    assert scene.bands["nir"].uri.endswith(f"{nir}.tif")
    assert scene.acquired == date_in(name)
    physical, valid = read(scene)
    assert physical[:, 5, 0] == pytest.approx(0.3)
    assert np.flatnonzero(~valid[5]).tolist() == [1, 2, 3]


def test_days_of_the_year_are_dates():
    assert date_in(HLS_L) == datetime(2021, 9, 22, 14, 20, 31, tzinfo=UTC)
    assert date_in("HLS.L30.T20LLQ.2021366T142031") is None
    assert date_in("HLS.L30.T20LLQ.2020366T142031") == datetime(
        2020, 12, 31, 14, 20, 31, tzinfo=UTC
    )


def test_hls_band_numbers_are_those_of_its_sensor():
    assert (sensor_of(HLS_L), sensor_of(HLS_S)) == ("oli", "sentinel2")
    assert common_name("B06", "oli") == "swir16"
    assert common_name("B05", "oli") == "nir08"
    assert common_name(f"{HLS_S}.B06") == "rededge075"


@pytest.fixture
def planet(tmp_path):
    bands = np.stack([numbers(1000 * n) for n in range(1, 9)])
    bands[:, 0] = 0
    write(tmp_path / f"{PLANET}_AnalyticMS_SR_8b.tif", bands)
    udm2 = np.zeros((8, 8, 8), np.uint8)
    udm2[0] = 1
    for column, band in enumerate((2, 3, 4, 5, 6)):
        udm2[band - 1, 3, column] = 1
        udm2[0, 3, column] = 0
    udm2[6] = 80
    write(tmp_path / f"{PLANET}_udm2.tif", udm2)
    return tmp_path


def test_planet_superdove_bands_numbers_and_udm2(planet):
    mask = MaskRef("udm2", f"{planet}/{{scene}}_udm2.tif")
    source = FilesSource((f"{planet}/{{scene}}_AnalyticMS_SR_8b.tif",), mask=mask)
    (scene,) = source.scenes(["blue", "green", "red", "nir"])
    assert scene.units == "reflectance"
    assert scene.acquired == datetime(2022, 8, 15, 15, 12, 34, tzinfo=UTC)
    physical, valid = read(scene)
    assert physical[:, 5, 5] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert np.flatnonzero(~valid[3]).tolist() == [0, 1, 2, 3, 4]
    assert not valid[0].any()


@pytest.mark.parametrize(
    ("changes", "hidden"),
    [({"shadow": False}, [0, 2, 3, 4]), ({"values": (6,)}, [4]), ({"values": (3, 5)}, [1, 3])],
)
def test_udm2_hides_by_band(planet, changes, hidden):
    mask = MaskRef("udm2", f"{planet}/{{scene}}_udm2.tif", **changes)
    source = FilesSource((f"{planet}/{{scene}}_AnalyticMS_SR_8b.tif",), mask=mask)
    (scene,) = source.scenes(["red"])
    assert np.flatnonzero(~read(scene)[1][3]).tolist() == hidden


def test_the_older_udm_is_not_taken_for_udm2(planet):
    write(planet / f"{PLANET}_udm2.tif", np.zeros((8, 8), np.uint8))
    mask = MaskRef("udm2", f"{planet}/{{scene}}_udm2.tif")
    source = FilesSource((f"{planet}/{{scene}}_AnalyticMS_SR_8b.tif",), mask=mask)
    with pytest.raises(
        SceneError, match=r"udm2 has 8 bands, .* has 1; for another mask use method"
    ):
        source.scenes(["red"])


def test_radiance_of_planet_is_no_reflectance(tmp_path):
    path = tmp_path / f"{PLANET}_AnalyticMS.tif"
    write(path, np.stack([numbers(1000 * n) for n in range(1, 5)]))
    (scene,) = FilesSource((str(path),)).scenes(["nir", "blue"])
    assert scene.units is None
    assert scene.bands["nir"].index == 4


def test_naip_needs_no_list_of_bands(tmp_path):
    path = tmp_path / "m_4709963_se_14_1_20170827.tif"
    write(path, np.stack([np.full((8, 8), 60 * n, np.uint8) for n in range(1, 5)]))
    (scene,) = FilesSource((str(path),)).scenes(["nir", "red"])
    assert [scene.bands[name].index for name in ("nir", "red")] == [4, 1]
    assert (scene.units, scene.masks) == ("dn", ())


def test_what_is_said_goes_before_what_is_known(landsat):
    pattern = f"{landsat}/{{scene}}_SR_B*.TIF"
    (scene,) = FilesSource((pattern,), units="dn").scenes(["red"])
    assert (scene.units, scene.bands["red"].scale) == ("dn", 1)
    (scene,) = FilesSource((pattern,), scale=0.0001).scenes(["red"])
    assert (scene.units, scene.bands["red"].scale, scene.bands["red"].offset) == (None, 0.0001, 0)
    (scene,) = FilesSource((pattern,), nodata=7).scenes(["red"])
    assert scene.bands["red"].nodata == 7


@pytest.mark.parametrize(
    "name",
    [
        "LC08_L1TP_190024_20230601_20230603_02_T1_B4.TIF",
        "LC08_L2SP_190024_20230601_20230603_02_T1_ST_B10.TIF",
        "LC08_L2SP_190024_20170601_20170603_01_T1_SR_B4.TIF",
        "HLS.L30.T20LLQ.2021265T142031.v2.0.B10.tif",
        "HLS.S30.T20LLQ.2021265T142031.v1.5.B04.tif",
        "T29UNU_20221005T115411_B04_10m.jp2",
        "scene_SR_B4.tif",
    ],
)
def test_other_numbers_are_not_known(name):
    assert known_product(name) is None


def models_of_both_kinds() -> tuple[ModelCard, ModelCard]:
    return find("landcover-s2").card, find("aerial-rgb").card


def raw_files(folder: Path) -> list[tuple[str, dict]]:
    """A file or pattern of each sensor that does not say what its numbers mean."""
    six = ("blue", "green", "red", "nir", "swir16", "swir22")
    level1 = "LC08_L1TP_190024_20230601_20230603_02_T1"
    for number in range(2, 8):
        write(folder / f"{level1}_B{number}.TIF", numbers(9000))
    for number in (2, 3, 4, 8):
        write(folder / f"s2/T29UNU_20221005T115411_B{number:02}.tif", numbers(2000))
    write(folder / f"{PLANET}_AnalyticMS.tif", np.stack([numbers(1000)] * 4))
    write(folder / "drone16.tif", np.stack([numbers(30_000)] * 4))
    stack = {"bands": six}
    write(folder / "stack.tif", np.stack([numbers(3000)] * 6))
    return [
        (f"{folder}/{{scene}}_B*.TIF", {}),
        (f"{folder}/s2/{{scene}}_B*.tif", {}),
        (f"{folder}/stack.tif", stack),
        (f"{folder}/{PLANET}_AnalyticMS.tif", {}),
        (f"{folder}/drone16.tif", {"bands": ("red", "green", "blue", "nir")}),
    ]


def test_no_sensor_gives_raw_numbers_to_a_model_for_reflectance(tmp_path):
    reflectance, _ = models_of_both_kinds()
    for pattern, told in raw_files(tmp_path):
        source = FilesSource((pattern,), **told)
        there = [b for b in reflectance.bands if b in ("blue", "green", "red", "nir")]
        (scene,) = source.scenes(there)
        card = ModelCard(
            "m", "1.0.0", tuple(there), "reflectance", (0.1,) * 4, (0.1,) * 4, reflectance.legend
        )
        with pytest.raises(ModelError, match="what its numbers mean is not known"):
            check_scene(card, scene)


def test_no_sensor_gives_reflectance_to_a_model_for_numbers_as_stored(landsat, planet, tmp_path):
    card = models_of_both_kinds()[1]
    (planet_scene,) = FilesSource((f"{planet}/*_8b.tif",)).scenes(card.bands)
    write(tmp_path / "l" / f"{LANDSAT}_SR_B3.TIF", numbers(10_000))
    for number in (2, 4):
        write(tmp_path / "l" / f"{LANDSAT}_SR_B{number}.TIF", numbers(10_000))
    (landsat_scene,) = FilesSource((f"{tmp_path}/l/{{scene}}_SR_B*.TIF",)).scenes(card.bands)
    for scene in (planet_scene, landsat_scene):
        with pytest.raises(ModelError, match=r"needs them as stored: set `input.units: dn`"):
            check_scene(card, scene)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_drone_pictures_with_alpha_of_8_and_16_bits(tmp_path, dtype):
    most = np.iinfo(dtype).max
    values = np.full((4, 8, 8), most // 2, dtype)
    values[3] = most
    values[3, :, :3] = 0
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    write(tmp_path / "ortho.tif", values, colors=tuple(colors))
    (scene,) = FilesSource((str(tmp_path / "ortho.tif"),)).scenes(["red", "green", "blue"])
    valid = read(scene)[1]
    assert np.array_equal(valid, values[3] > 0)
    # What 16 bits mean nobody knows: not reflectance, and told of where a model learnt bytes.
    assert scene.units == ("dn" if dtype == np.uint8 else None)
    assert ("uint16" in "".join(check_scene(models_of_both_kinds()[1], scene))) == (
        dtype == np.uint16
    )
