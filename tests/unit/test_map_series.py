"""Maps of many dates: put in their order, and read without opening all of them at once."""

from datetime import date

import numpy as np
import pytest
from map_series import WATER, put
from rasters import NORTH_UP, write

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.map_series import OpenMaps, find_series

WHOLE = Window(0, 0, 6, 7)


def test_maps_come_by_date_whatever_order_they_are_given_in(tmp_path):
    days = ["2020-05-01", "2019-01-01", "2021-12-31"]
    paths = [put(tmp_path / day, np.ones((6, 7)), WATER) for day in days]
    series = find_series([*paths, paths[0]])
    assert series.days == (date(2019, 1, 1), date(2020, 5, 1), date(2021, 12, 31))
    assert [str(moment.date()) for moment in series.moments] == ["2019-01-01", "2021-12-31"]
    assert series.paths == [str(tmp_path / day / "classes.tif") for day in sorted(days)]


def test_a_long_series_is_read_as_a_short_one(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.io.map_series._MOST_OPEN", 2)
    paths = [
        put(tmp_path / f"2020-01-{day:02d}", np.full((6, 7), day % 2), WATER) for day in range(1, 7)
    ]
    maps = OpenMaps(find_series(paths))
    for index in (5, 0, 3, 1, 5):
        with maps.reader(index) as reader:
            assert (reader.classes(WHOLE) == (index + 1) % 2).all()
    maps.close()


def test_maps_are_read_on_the_grid_of_another_raster(tmp_path):
    path = put(tmp_path / "2020-01-01", np.arange(42).reshape(6, 7) % 2, WATER)
    like = write(
        tmp_path / "like.tif",
        np.zeros((3, 9), np.uint8),
        transform=NORTH_UP @ NORTH_UP.translation(2, 1),
    )
    series = find_series([path], like=like)
    maps = OpenMaps(series)
    with maps.reader(0) as reader:
        found = reader.classes(Window(0, 0, 3, 9))
    maps.close()
    expected = (np.arange(42).reshape(6, 7) % 2)[1:4, 2:]
    np.testing.assert_array_equal(found[:, :5], expected)
    assert (found[:, 5:] == -1).all()


def test_no_maps_are_refused():
    with pytest.raises(InputError, match="no maps: name rasters of classes"):
        find_series([])
