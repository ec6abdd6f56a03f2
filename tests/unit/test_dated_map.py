"""Maps with their date: found in folders and files, and read on other grids."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from class_rasters import NAMES, name, paint
from odc.geo.geobox import GeoBox
from products import LEGEND, ArrayStore, class_map, percents
from rasterio.warp import Resampling, reproject
from rasters import NORTH_UP, UTM, write

from geoseg.errors import SceneError
from geoseg.grid import Window, full_window
from geoseg.io.class_raster import NO_CLASS
from geoseg.io.cog import write_class_cog, write_percent_cog
from geoseg.io.dated_map import find_map
from geoseg.io.rat import write_rat

GRID = GeoBox((60, 70), NORTH_UP, UTM)
WHOLE = Window(0, 0, 60, 70)


def product(folder: Path, codes, *, tags=None, percent=None, shares=()):
    """A folder of products as a run leaves it, but for what maps do not need."""
    tags = {"GEOSEG_SCENE": "scene-1", "ACQUISITIONDATETIME": "2021-06-05T10:20:30Z"} | (tags or {})
    write_class_cog(ArrayStore(codes), GRID, LEGEND, folder / "classes.tif", tags=tags)
    write_rat(folder / "classes.tif", LEGEND)
    if percent is not None:
        path = folder / "confidence.tif"
        write_percent_cog([ArrayStore(percent)], GRID, path, ["confidence"], tags={})
    if shares:
        stores = [ArrayStore(share) for share in shares]
        write_percent_cog(stores, GRID, folder / "probabilities.tif", LEGEND.names, tags={})
    return folder


def test_a_folder_of_products_brings_its_layers_its_legend_and_its_date(tmp_path):
    codes, percent = class_map((60, 70)), percents((60, 70))
    found = find_map(product(tmp_path / "day", codes, percent=percent, shares=[percent] * 3))
    assert (found.id, found.day()) == ("scene-1", date(2021, 6, 5))
    assert found.when == datetime(2021, 6, 5, 10, 20, 30, tzinfo=UTC)
    assert found.legend.names == LEGEND.names
    assert found.legend.values == LEGEND.values
    assert found.grid == GRID
    reader = found.on(found.grid)
    expected = np.where(codes == LEGEND.nodata, NO_CLASS, codes.astype(np.int16))
    np.testing.assert_array_equal(reader.classes(WHOLE), expected)
    np.testing.assert_array_equal(reader.confidence(WHOLE), percent)
    np.testing.assert_array_equal(reader.probabilities(WHOLE), np.stack([percent] * 3))
    reader.close()


def test_the_raster_in_a_folder_of_products_is_the_folder(tmp_path):
    folder = product(tmp_path / "day", class_map((60, 70)), percent=percents((60, 70)))
    assert find_map(folder / "classes.tif") == find_map(folder)


def test_what_is_said_wins_over_what_is_found(tmp_path):
    folder = product(tmp_path / "day", class_map((60, 70)), percent=percents((60, 70)))
    other = Path(write(tmp_path / "sure.tif", np.full((60, 70), 50, np.uint8), nodata=255))
    said = datetime(2001, 2, 3, tzinfo=UTC)
    found = find_map(folder, when=said, confidence=other)
    assert (found.when, found.confidence) == (said, other)
    assert found.on(GRID).confidence(Window(0, 0, 1, 1)) == 50


@pytest.mark.parametrize(
    ("tags", "item", "stem", "folder", "expected"),
    [
        ({"TIFFTAG_DATETIME": "2019:03:04 05:06:07"}, "2020-01-01T00:00:00Z", "map", "a", (2019, 3, 4)),
        ({}, "2020-01-02T00:00:00Z", "classes", "2018-01-01", (2020, 1, 2)),
        ({}, "2020-01-02T00:00:00", "classes", "2018-01-01", (2020, 1, 2)),
        ({}, "yesterday", "classes", "2018-01-01", (2018, 1, 1)),
        ({}, None, "map_2017-05-06", "2018-01-01", (2017, 5, 6)),
        ({}, None, "classes", "2018-01-01", (2018, 1, 1)),
    ],
)  # fmt: skip
def test_the_date_is_the_tags_then_the_items_then_the_names(
    tmp_path, tags, item, stem, folder, expected
):
    path = tmp_path / folder / f"{stem}.tif"
    write(path, np.ones((4, 4), np.uint8), tags=tags)
    if item is not None:
        (path.parent / "item.json").write_text(json.dumps({"properties": {"datetime": item}}))
    assert find_map(path).day() == date(*expected)


def test_a_map_without_a_date_says_so_when_it_is_asked_for(tmp_path):
    found = find_map(write(tmp_path / "map.tif", np.ones((4, 4), np.uint8)))
    assert found.when is None
    with pytest.raises(SceneError, match="has no date; name the file by it"):
        found.day()


def test_a_damaged_item_is_as_good_as_none(tmp_path):
    for text in ("{", "[]", '{"properties": null}', '{"properties": {"datetime": 7}}'):
        write(tmp_path / "classes.tif", np.ones((4, 4), np.uint8))
        (tmp_path / "item.json").write_text(text)
        assert find_map(tmp_path).when is None


def test_only_named_classes_are_in_the_legend_of_a_file_that_names_some(tmp_path):
    path = tmp_path / "map.tif"
    write(path, np.ones((4, 4), np.uint8))
    paint(path)
    name(path, NAMES)
    assert find_map(path).legend.names == ("Water", "Trees", "Shade", "Built")
    assert find_map(path).legend.values == (1, 2, 3, 5)


def test_a_file_that_names_nothing_keeps_all_codes(tmp_path):
    legend = find_map(write(tmp_path / "map.tif", np.ones((4, 4), np.uint8), nodata=255)).legend
    assert legend.values == tuple(range(255))
    assert legend.nodata == 255


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP @ Affine.translation(-7, 5),  # the same pixels, reaching beyond
        NORTH_UP @ Affine.translation(0.3, 0.4),
        NORTH_UP @ Affine.scale(0.5),
    ],
)
def test_on_another_grid_it_is_what_gdal_takes_as_nearest(tmp_path, transform):
    codes, percent = class_map((60, 70)), percents((60, 70))
    found = find_map(product(tmp_path / "day", codes, percent=percent))
    grid = GeoBox((80, 90), transform, UTM)
    expected = np.full((80, 90), LEGEND.nodata, np.uint8)
    reproject(
        codes, expected, src_transform=NORTH_UP, src_crs=UTM, dst_transform=transform, dst_crs=UTM,
        src_nodata=LEGEND.nodata, dst_nodata=LEGEND.nodata, resampling=Resampling.nearest,
    )  # fmt: skip
    reader = found.on(grid)
    seen = reader.classes(full_window(grid))
    np.testing.assert_array_equal(
        seen, np.where(expected == LEGEND.nodata, NO_CLASS, expected.astype(np.int16))
    )
    sure = reader.confidence(full_window(grid))
    assert ((sure == 255) | (sure <= 100)).all()
    window = Window(31, 17, 62, 49)
    np.testing.assert_array_equal(reader.classes(window), seen[window.slices])
    np.testing.assert_array_equal(reader.confidence(window), sure[window.slices])


def test_a_reader_gives_several_threads_what_it_gives_one(tmp_path):
    found = find_map(product(tmp_path / "day", class_map((60, 70)), percent=percents((60, 70))))
    reader = found.on(GRID)
    windows = [Window(y, x, y + 20, x + 35) for y in (0, 20, 40) for x in (0, 35)] * 4
    alone = [reader.classes(w) for w in windows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(reader.classes, windows))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_numbers_that_are_no_percents_count_as_none(tmp_path):
    codes = write(tmp_path / "map.tif", np.ones((2, 2), np.uint8))
    values = np.array([[0, 100], [101, 254]], np.uint8)
    sure = Path(write(tmp_path / "sure.tif", values))
    reader = find_map(codes, confidence=sure).on(GeoBox((2, 2), NORTH_UP, UTM))
    assert reader.confidence(Window(0, 0, 2, 2)).tolist() == [[0, 100], [255, 255]]


def test_bad_maps_are_refused_in_words(tmp_path):
    with pytest.raises(SceneError, match="no such file or folder"):
        find_map(tmp_path / "none.tif")
    with pytest.raises(SceneError, match=r"has no classes\.tif; wanted is a folder of products"):
        find_map(tmp_path)
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match="not a raster that can be read"):
        find_map(tmp_path / "text.tif")
    wide = find_map(write(tmp_path / "wide.tif", np.full((4, 4), 300, np.uint16)))
    with pytest.raises(SceneError, match="holds 300; class codes are 0 to 255"):
        wide.on(wide.grid).classes(Window(0, 0, 4, 4))


def test_probabilities_of_another_number_of_classes_are_refused(tmp_path):
    folder = product(tmp_path / "day", class_map((60, 70)), shares=[percents((60, 70))] * 3)
    with rasterio.open(folder / "probabilities.tif") as file:
        two = file.read([1, 2])
    write(folder / "probabilities.tif", two, nodata=255)
    with pytest.raises(SceneError, match=r"probabilities\.tif: has 2 bands; .* has 3 classes"):
        find_map(folder).on(GRID)
