"""Water of many maps: layers, lakes and floods, by the command line, from Python, in a workflow."""

import hashlib
import json
import sqlite3
from datetime import date

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from judges import check_products
from map_series import WATER, lake_maps, put
from rasters import write

import geoseg
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.grid import full_window
from geoseg.io.class_raster import ClassRaster, read_legend
from geoseg.io.read_provenance import read_provenance
from geoseg.ops.metric import measure_grid
from geoseg.ops.water import FLOOD, TRANSITIONS
from geoseg.ops.zonal import pixel_counts

DAYS = [
    "2018-02-03", "2018-05-11", "2018-05-21", "2018-09-09",
    "2019-02-07", "2019-06-01", "2019-10-05", "2020-03-01", "2020-08-15",
]  # fmt: skip


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return lake_maps(tmp_path_factory.mktemp("maps"), DAYS)


@pytest.fixture(scope="module")
def made(maps, tmp_path_factory):
    return geoseg.water(
        maps, tmp_path_factory.mktemp("made") / "water", flood=["2019-06-01", "last"]
    )


def band(path):
    with rasterio.open(path) as file:
        return file.read(1)


def stack(maps):
    codes = np.stack([band(path / "classes.tif") for path in maps])
    return codes == 1, codes != 255


def hectares(maps):
    grid = ClassRaster(maps[0] / "classes.tif").grid
    metric = measure_grid(grid)
    return pixel_counts(full_window(grid), metric) * metric.unit / 1e4


def test_layers_are_those_of_the_whole_series_at_once(maps, made):
    water, seen = stack(maps)
    months = np.array([date.fromisoformat(day).month for day in DAYS])
    total, of = np.zeros(water.shape[1:]), np.zeros(water.shape[1:])
    for month in range(1, 13):
        here = months == month
        count = seen[here].sum(axis=0)
        share = (water & seen)[here].sum(axis=0) / np.maximum(count, 1)
        total += np.where(count > 0, share, 0)
        of += count > 0
    expected = np.floor(100 * total / np.maximum(of, 1) + 0.5)
    expected[(expected == 0) & (total > 0)] = 1
    expected[of == 0] = 255
    np.testing.assert_array_equal(band(made.products["occurrence"]), expected)
    np.testing.assert_array_equal(band(made.products["observations"]), seen.sum(axis=0))
    assert made.spans == ("2018-02..2018-12", "2020-01..2020-08")


def test_areas_of_days_are_those_of_their_maps(maps, made):
    water, seen = stack(maps)
    ground = hectares(maps)
    for row, wet, known in zip(made.extents.to_pylist(), water, seen, strict=True):
        assert row["water_ha"] == pytest.approx(ground[wet & known].sum(), abs=1e-4)
        assert row["unseen_ha"] == pytest.approx(ground[~known].sum(), abs=1e-4)


def test_floods_are_what_is_water_where_it_is_not_permanent(maps, made):
    water, seen = stack(maps)
    permanent = np.isin(band(made.products["occurrence"]), np.arange(75, 101))
    for day in ("2019-06-01", "2020-08-15"):
        index = DAYS.index(day)
        expected = np.where(permanent, np.where(water[index], 2, 3), water[index])
        expected[~seen[index]] = 255
        codes = band(made.products[f"flood_{day}"])
        np.testing.assert_array_equal(codes, expected)
        frame = pyogrio.read_dataframe(made.products[f"flood_{day}_polygons"], layer="flood")
        assert frame.area_ha.sum() == pytest.approx(hectares(maps)[codes == 1].sum(), rel=1e-9)


def test_lakes_are_found_and_clouds_do_not_hide_their_areas(maps, made):
    rows = made.lakes.to_pylist()
    names = {row["lake"] for row in rows}
    assert len(names) == 1  # the pond is never permanent
    y, x = np.indices((90, 110))
    ground = hectares(maps)
    lake = pyogrio.read_dataframe(made.products["lakes"], layer="lakes").geometry[0]
    inside = rasterio.features.geometry_mask(
        [lake], (90, 110), ClassRaster(maps[0] / "classes.tif").grid.affine, invert=True
    )
    for number, row in enumerate(rows):
        water = (np.hypot(y - 40, x - 45) < 18 + 9 * np.sin(number * 1.3)) & inside
        true = ground[water].sum()
        assert row["low_ha"] - 1e-4 <= true <= row["high_ha"] + 1e-4
        assert row["area_ha"] == pytest.approx(true, rel=0.05)
        assert row["seen_ha"] < row["area_ha"]


def test_products_bring_their_names_colours_and_an_item(made):
    for role, legend in (("transition", TRANSITIONS), ("flood_2019-06-01", FLOOD)):
        known = {c.value: (c.name, c.color) for c in read_legend(made.products[role]).classes}
        assert {c.value: (c.name, c.color) for c in legend.classes}.items() <= known.items()
        assert made.products[role].with_suffix(".qml").is_file()
    item = json.loads(made.products["item"].read_text())
    assert {"occurrence", "lakes", "extents_csv"} <= set(item["assets"])
    assert item["properties"]["start_datetime"].startswith("2018-02-03")
    assert item["properties"]["end_datetime"].startswith("2020-08-15")
    with sqlite3.connect(made.products["lakes"]) as file:
        kinds = dict(file.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall())
    assert (kinds["lakes"], kinds["lake_areas"]) == ("features", "attributes")
    table = pyogrio.read_dataframe(made.products["lakes"], layer="lake_areas")
    assert len(table) == len(DAYS)


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_neither_blocks_nor_the_order_of_maps_change_a_byte(maps, made, tmp_path):
    again = geoseg.water(maps[::-1], tmp_path / "water", flood=["2019-06-01", "last"], block=48)
    # Links to the maps are relative to the item: it lies elsewhere.
    one, other = digests(made.directory), digests(again.directory)
    assert one.pop("item.json") != ""
    other.pop("item.json")
    assert one == other
    kept = digests(again.directory)
    geoseg.water(maps, tmp_path / "water", flood=["2019-06-01", "last"])
    assert digests(again.directory) == kept


def test_lakes_of_a_file_are_measured_at_their_edges(tmp_path):
    codes = np.ones((40, 40), np.uint8)
    paths = [put(tmp_path / day, codes, WATER) for day in ("2020-01-01", "2020-02-01")]
    circle = shapely.Point(500_203.3, 5_899_801.7).buffer(133.3, quad_segs=64)
    frame = geopandas.GeoDataFrame({"name": ["Round"]}, geometry=[circle], crs="EPSG:32629")
    frame.to_file(tmp_path / "lakes.geojson")
    made = geoseg.water(paths, tmp_path / "out", lakes=str(tmp_path / "lakes.geojson"))
    first, _ = made.lakes.to_pylist()
    per_pixel = hectares(paths)[20, 20]
    assert first["lake"] == "Round"
    assert first["area_ha"] == pytest.approx(circle.area / 100 * per_pixel, rel=1e-4)
    assert first["low_ha"] == first["high_ha"] == first["area_ha"]
    assert any("no flood: 2 days" in warning for warning in made.warnings)
    assert any("one year" in warning for warning in made.warnings)


def test_permanent_water_can_come_from_elsewhere(maps, tmp_path):
    shape = (90, 110)
    codes = np.zeros(shape, np.uint8)
    codes[:, :50] = 1
    known = put(tmp_path / "permanent", codes, WATER)
    share = np.where(codes == 1, 90, 3).astype(np.uint8)
    by_class = geoseg.water(
        maps[:1], tmp_path / "a", permanent=str(known / "classes.tif"), find_lakes=False
    )
    by_share = geoseg.water(
        maps[:1], tmp_path / "b", permanent=write(tmp_path / "share.tif", share), find_lakes=False
    )
    one, other = (band(made.products["flood_2018-02-03"]) for made in (by_class, by_share))
    np.testing.assert_array_equal(one, other)
    assert set(np.unique(one[:, :50])) == {2, 3, 255}
    assert set(np.unique(one[:, 50:])) == {0, 1, 255}


def refused(capsys, *words):
    assert run([*map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    return err


def test_the_command_tells_days_lakes_and_what_was_left_out(maps, tmp_path, capsys):
    assert run(["water", *map(str, maps[:4]), str(tmp_path / "out"), "-q"]) == 0
    out = capsys.readouterr().out
    assert "2018-05-21  water" in out
    assert "note: no transitions: all maps are of one year" in out
    assert (
        run(["water", *map(str, maps), str(tmp_path / "b"), "--json", "-q", "--flood", "none"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [row["date"] for row in told["extents"]] == DAYS
    assert not any(role.startswith("flood") for role in told["products"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--water", "Lava"], "has no class Lava; it has Land, Water"),
        (["--flood", "2018-02-04"], "flood: there is no map of 2018-02-04; there are 2018-02-03"),
        (["--flood", "soon"], "expected last, all, none, or a day like 2024-05-31"),
        (["--first", "2018"], "expected both spans"),
        (["--first", "2010", "--last", "2020"], "first: 2010-01..2010-12 has no map"),
        (["--first", "2020", "--last", "2018"], "expected months after those of 'first'"),
        (["--first", "2018-13", "--last", "2020"], "expected years or months"),
        (["--season-year", "2031"], "season_year: 2031 has no map"),
        (["--lakes", "nowhere.gpkg"], "nowhere.gpkg: no such file"),
        (["--permanent", "nowhere.tif"], "nowhere.tif: no such file"),
        (["--min-lake", "large"], "expected an area"),
        (["--dry-months", "60", "--permanent-months", "50"], "less than permanent_months"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    maps, tmp_path, capsys, options, message
):
    assert message in refused(capsys, "water", *maps[:2], tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_maps_that_cannot_be_used_are_refused(maps, tmp_path, capsys):
    undated = put(tmp_path / "undated", np.ones((20, 20)), WATER)
    assert "has no date" in refused(capsys, "water", undated, tmp_path / "out")
    assert "name maps" in refused(capsys, "water", tmp_path / "out")
    assert "choose another folder" in refused(capsys, "water", *maps, maps[0])
    bare = write(tmp_path / "map_2020-01-01.tif", np.ones((20, 20), np.uint8))
    assert "names none; 'Class 1' is code 1" in refused(capsys, "water", bare, tmp_path / "out")
    assert run(["water", bare, str(tmp_path / "out"), "--water", "Class 1", "-q"]) == 0


def test_python_speaks_of_settings_that_are_none(maps, tmp_path):
    with pytest.raises(InputError, match="colour"):
        geoseg.water(maps, tmp_path / "out", colour="blue")


def test_all_of_it_is_standard_and_says_what_it_is_made_of(made):
    polygons = [path.name for path in made.directory.glob("flood_*.gpkg")]
    told = check_products(made.directory, "water", beside=polygons)
    assert len(told["inputs"]) >= len(DAYS)
    assert polygons
    for name in polygons:
        origin = read_provenance(made.directory / name)
        assert origin["product"] == "polygons"
        assert origin["inputs"][0]["href"] == name.replace(".gpkg", ".tif")
