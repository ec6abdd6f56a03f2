"""Water of days with several maps: what they say together, and how sure they are of it."""

from map_series import WATER, put

from geoseg.grid import Window
from geoseg.io.map_series import find_series
from geoseg.steps.water import WaterMaps, water_codes

WHOLE = Window(0, 0, 1, 6)


def maps_of(folder, codes, sure):
    paths = [
        put(folder / f"{name}_2020-01-01", [row], WATER, percent=None if of is None else [of])
        for name, row, of in zip("abc", codes, sure, strict=True)
    ]
    series = find_series(paths)
    return WaterMaps(series, [frozenset({1})] * len(paths))


def test_maps_of_a_day_that_overlap_are_one_observation(tmp_path):
    codes = [[1, 1, 0, 0, 255, 255], [1, 0, 0, 255, 255, 1], [0, 0, 1, 255, 255, 255]]
    sure = [[90, 80, 70, 60, 255, 255], None, [99, 98, 97, 255, 255, 255]]
    maps = maps_of(tmp_path, codes, sure)
    assert len(maps.days) == 1
    water, seen = maps.read(0, WHOLE)
    assert water.tolist() == [[True, False, False, False, False, True]]
    assert seen.tolist() == [[True, True, True, True, False, True]]
    # The first map that says so and knows how sure it is; nobody knows of the last pixel.
    assert maps.doubt(0, WHOLE, water).tolist() == [[10, 2, 30, 40, 0, 0]]
    maps.close()


def test_water_goes_by_its_name():
    assert water_codes(WATER, []) == {1}
    assert water_codes(WATER, ["LAND"]) == {0}
    assert water_codes(WATER, ["Lava"]) == set()
