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
        ("HLS.L30.T16SDD.2024155T163000.v2.0.B05", None, "nir08"),
        ("HLS.S30.T13TEF.2024145T173909.v2.0.B05", None, "rededge071"),
        ("HLS.S30.T13TEF.2024145T173909.v2.0.Fmask", None, "fmask"),
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


def test_a_leading_zero_tells_the_others():
    assert common_names(["2018-12-01_B02", "2018-12-01_B11"]) == ["blue", "swir16"]
    assert common_names(["x_B2", "x_B11"]) == [None, None]


@pytest.mark.parametrize(
    ("text", "sensor"),
    [
        ("S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454", "sentinel2"),
        ("sentinel-2b", "sentinel2"),
        ("LC09_L2SP_008059_20221201_20230825_02_T1", "oli"),
        ("landsat-8", "oli"),
        ("LE07_L2SP_008059_20021201_20200825_02_T1", "tm"),
        ("landsat-5", "tm"),
        ("HLS.L30.T16SDD.2024155T163000.v2.0", "oli"),
        ("HLS.S30.T13TEF.2024145T173909.v2.0", "sentinel2"),
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
        ("HLS.S30.T13TEF.2024145T173909.v2.0.B04", datetime(2024, 5, 24, 17, 39, 9, tzinfo=UTC)),
        ("HLS.L30.T16SDD.2024366.v2.0.Fmask", datetime(2024, 12, 31, tzinfo=UTC)),
        ("HLS.L30.T16SDD.2023366.v2.0.Fmask", None),
        ("MOD09GA.A2019032.h08v05.006", datetime(2019, 2, 1, tzinfo=UTC)),
        ("LC80080592019335LGN00_B4", datetime(2019, 12, 1, tzinfo=UTC)),
        (
            "20230715_184512_34_24c5_3B_AnalyticMS_SR_8b_clip",
            datetime(2023, 7, 15, 18, 45, 12, tzinfo=UTC),
        ),
        ("m_3807708_ne_18_060_20210627_20211014", datetime(2021, 6, 27, tzinfo=UTC)),
        ("m_1915401_ne_05_060", None),
        ("S2A_29UNU_20221005_0_L2A", datetime(2022, 10, 5, tzinfo=UTC)),
        ("T29UNU_20221005T115411_B02_60m", datetime(2022, 10, 5, 11, 54, 11, tzinfo=UTC)),
        ("ortho_2024.06.03", datetime(2024, 6, 3, tzinfo=UTC)),
        ("2024_06_03-flight", datetime(2024, 6, 3, tzinfo=UTC)),
        ("plot_2024-155", datetime(2024, 6, 3, tzinfo=UTC)),
    ],
)
def test_date_in(text, date):
    assert date_in(text) == date


def test_date_from_tags():
    tags = {"A": "nonsense", "B": "2018:07:16 06:06:23"}
    assert date_from_tags(tags, ("X", "A", "B")) == datetime(2018, 7, 16, 6, 6, 23, tzinfo=UTC)
    assert date_from_tags({"A": "2018-07-16T06:06:23+00:00"}, ("A",)) == date_from_tags(tags, "B")
    assert date_from_tags({"A": "0000:00:00 00:00:00"}, ("A",)) is None


def test_stand_in():
    assert stand_in("nir", ["nir", "nir08"], "x") == "nir"
    assert stand_in("nir", ["nir08"], "x") == "nir08"
    assert stand_in("nir08", ["nir"], "x") is None
