"""Common names and dates from what files, keys and descriptions say."""

from datetime import UTC, datetime

import pytest

from geoseg.io.names import (
    common_name,
    common_names,
    date_from_tags,
    date_in,
    sensor_of,
    stand_in,
)


@pytest.mark.parametrize(
    ("text", "sensor", "name"),
    [
        ("Blue", None, "blue"),
        ("Band 4 - Red", None, "red"),
        ("red_median", None, "red"),
        ("B04", None, "red"),
        ("B8A", None, "nir08"),
        ("T29UNU_20221005T115411_B02_60m", None, "blue"),
        ("T29UNU_20221005T115411_SCL_20m", None, "scl"),
        ("B4", None, None),
        ("B4", "sentinel2", "red"),
        ("B4", "oli", "red"),
        ("B4", "tm", "nir08"),
        ("SR_B5", "oli", "nir08"),
        ("LC08_L2SP_008059_20191201_20200825_02_T1_SR_B5", None, "nir08"),
        ("LT05_L2SP_008059_19911201_20200825_02_T1_SR_B5", None, "swir16"),
        ("LC08_L2SP_008059_20191201_20200825_02_T1_QA_PIXEL", None, "qa_pixel"),
        ("rededge2", None, "rededge075"),
        ("red green", None, None),
        ("probability", None, None),
        ("B13", "sentinel2", None),
        ("", None, None),
    ],
)
def test_common_name(text, sensor, name):
    assert common_name(text, sensor) == name


def test_b8a_tells_the_others():
    names = common_names(["B2", "B3", "B8A", "B11", None])
    assert names == ["blue", "green", "nir08", "swir16", None]


@pytest.mark.parametrize(
    ("text", "sensor"),
    [
        ("S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454", "sentinel2"),
        ("sentinel-2b", "sentinel2"),
        ("LC09_L2SP_008059_20221201_20230825_02_T1", "oli"),
        ("landsat-8", "oli"),
        ("LE07_L2SP_008059_20021201_20200825_02_T1", "tm"),
        ("landsat-5", "tm"),
        ("m_4709963_se_14_1_20170827", None),
        ("lc_landcover", None),
    ],
)
def test_sensor(text, sensor):
    assert sensor_of(text) == sensor


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("m_4709963_se_14_1_20090818.tif", datetime(2009, 8, 18, tzinfo=UTC)),
        ("LC08_L2SP_008059_20191201_20200825_02_T1", datetime(2019, 12, 1, tzinfo=UTC)),
        ("S2A_MSIL2A_20221005T115411_N0400", datetime(2022, 10, 5, 11, 54, 11, tzinfo=UTC)),
        ("flight 2024-02-29.tif", datetime(2024, 2, 29, tzinfo=UTC)),
        ("flight 2023-02-29.tif", None),
        ("tile_120190727.tif", None),
        ("ortho.tif", None),
        ("DRCOG_2018_LULC", None),
    ],
)
def test_date_in(text, date):
    assert date_in(text) == date


def test_date_from_tags():
    tags = {"A": "nonsense", "B": "2018:07:16 06:06:23"}
    assert date_from_tags(tags, ("X", "A", "B")) == datetime(2018, 7, 16, 6, 6, 23, tzinfo=UTC)
    assert date_from_tags({"A": "0000:00:00 00:00:00"}, ("A",)) is None


def test_stand_in():
    assert stand_in("nir", ["nir", "nir08"], "x") == "nir"
    assert stand_in("nir", ["nir08"], "x") == "nir08"
    assert stand_in("nir08", ["nir"], "x") is None
