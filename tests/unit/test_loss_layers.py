"""Layers of loss in everyone's numbers: what day, how sure, seen or not."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from rasters import NORTH_UP, UTM, write

from geoseg.errors import InputError, SceneError
from geoseg.grid import Window
from geoseg.io.loss_layers import LossLayer, find_loss
from geoseg.ops.alerts.rules import to_day

ROW = Window(0, 0, 1, 4)


def layer(path, values, dtype, encoding="auto", **options):
    write(path, np.array([values], dtype), **options)
    found = find_loss(path, encoding)
    return found, found.on(GeoBox((1, 4), NORTH_UP, UTM)).read(ROW)


def days(*texts):
    return [[to_day(date.fromisoformat(t)) if t else 0 for t in texts]]


def test_alerts_of_global_forest_watch(tmp_path):
    values = [0, 20_000 + 2193, 30_000 + 2193, 40_000 + 1]
    found, read = layer(
        tmp_path / "a.tif", values, np.uint16, tags={"ENCODING": "GFW: x"}, nodata=0
    )
    assert found.kind == "gfw"
    np.testing.assert_array_equal(read.by, days("", "2021-01-01", "2021-01-01", "2015-01-01"))
    np.testing.assert_array_equal(read.sure, [[False, False, True, True]])
    assert read.seen.all()
    np.testing.assert_array_equal(read.by[0, 1:] - read.after[0, 1:], 1)


def test_pixels_without_data_are_not_seen(tmp_path):
    options = {"tags": {"ENCODING": "GFW"}, "nodata": 65_535}
    _, read = layer(tmp_path / "a.tif", [0, 65_535, 32_193, 0], np.uint16, **options)
    np.testing.assert_array_equal(read.seen, [[True, False, True, True]])
    np.testing.assert_array_equal(read.by, days("", "", "2021-01-01", ""))


def test_years_of_loss(tmp_path):
    found, read = layer(tmp_path / "x_lossyear_10N.tif", [0, 1, 20, 21], np.uint8)
    assert found.kind == "lossyear"
    np.testing.assert_array_equal(read.by, days("", "2001-12-31", "2020-12-31", "2021-12-31"))
    np.testing.assert_array_equal(read.after, days("", "2000-12-31", "2019-12-31", "2020-12-31"))
    _, read = layer(tmp_path / "b.tif", [0, 2001, 2020, 2021], np.uint16, "year")
    np.testing.assert_array_equal(read.by, days("", "2001-12-31", "2020-12-31", "2021-12-31"))


def test_days_and_spans(tmp_path):
    _, read = layer(tmp_path / "a.tif", [0, 18_628, 18_627, 1], np.int32, "days")
    np.testing.assert_array_equal(read.by, days("", "2021-01-01", "2020-12-31", "1970-01-02"))
    how = "2020-06-01/2021-08-31"
    _, read = layer(tmp_path / "b.tif", [0, 1, 255, 9], np.uint8, how, nodata=255)
    np.testing.assert_array_equal(read.by, days("", "2021-08-31", "", "2021-08-31"))
    np.testing.assert_array_equal(read.seen, [[True, True, False, True]])
    _, read = layer(tmp_path / "c.tif", [0, 1, 0, 9], np.uint8, how, nodata=0)
    assert read.seen.all()  # else all that is not lost would be unseen


def test_change_has_the_dates_of_its_maps(tmp_path):
    write(tmp_path / "loss_gain.tif", np.array([[1, 2, 3, 255]], np.uint8), nodata=255)
    with pytest.raises(InputError, match="dates of its two maps are unknown"):
        find_loss(tmp_path)
    record = {"before": {"date": "2020-12-31"}, "after": {"date": "2022-07-01"}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = find_loss(tmp_path)
    read = found.on(GeoBox((1, 4), NORTH_UP, UTM)).read(ROW)
    np.testing.assert_array_equal(read.by, days("", "2022-07-01", "", ""))
    np.testing.assert_array_equal(read.after, days("", "2020-12-31", "", ""))
    np.testing.assert_array_equal(read.seen, [[True, True, True, False]])


def test_what_is_not_clear_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    write(path, np.zeros((1, 4), np.uint8))
    with pytest.raises(InputError, match="say it with --loss-encoding: gfw, lossyear"):
        find_loss(path)
    for how in ("hansen", "2020-01-01/x", "2021-01-01/2020-01-01"):
        with pytest.raises(InputError, match="--loss-encoding"):
            find_loss(path, how)
    with pytest.raises(InputError, match=r"neither alerts .* nor loss_gain"):
        find_loss(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        find_loss(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("values", "dtype", "encoding", "words"),
    [
        ([0, 0, 0, 55_000], np.uint16, "gfw", "55000, which is no alert"),
        ([0, 0, 0, 17], np.uint16, "gfw", "17, which is no alert"),
        ([0, 0, 0, 21], np.uint16, "year", "21, which is no year"),
        ([0, 0, 0, 2021], np.uint16, "lossyear", "2021, which is no year"),
        ([0, 0, 0, 20_210_101], np.int32, "days", "20210101, which is no day"),
        ([0, 0, 0, 1], np.float32, "lossyear", "whole numbers"),
    ],
)
def test_strange_numbers_are_refused(tmp_path, values, dtype, encoding, words):
    with pytest.raises(SceneError, match=words):
        layer(tmp_path / "a.tif", values, dtype, encoding)


@pytest.mark.parametrize(
    ("first", "last", "covers"),
    [
        (None, None, True),
        ("2019-01-01", "2022-01-01", True),
        ("2019-01-01", "2020-12-31", False),
        ("2021-03-31", None, True),
        ("2021-04-01", None, False),
    ],
)
def test_a_layer_tells_nothing_of_a_time_that_it_does_not_cover(first, last, covers):
    span = tuple(None if t is None else date.fromisoformat(t) for t in (first, last))
    layer = LossLayer(Path("a.tif"), "alerts", GeoBox((1, 4), NORTH_UP, UTM), span)
    assert layer.covers(date(2020, 12, 31), 90) is covers
    assert layer.covers(None, 90)
