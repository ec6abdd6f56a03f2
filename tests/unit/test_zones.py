"""Zones on a grid: fractions of pixels exact, areas as on the ellipsoid, the same from any blocks."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, UTM

from geoseg.errors import InputError
from geoseg.grid import Window, blocks, full_window
from geoseg.io.zones import TILE, Zones
from geoseg.ops.metric import measure_grid
from geoseg.ops.zonal import pixel_counts

GRIDS = {
    "north up": (NORTH_UP, UTM),
    "south up": (SOUTH_UP, UTM),
    "rotated": (ROTATED, UTM),
    "degrees": (DEGREES, "EPSG:4326"),
}
SHAPE = (40, 52)


def placed(pixels, grid):
    """Shapes in pixels as shapes in the CRS of a grid."""
    a = grid.affine
    return shapely.transform(
        pixels,
        lambda xy: np.column_stack(
            (a.a * xy[:, 0] + a.b * xy[:, 1] + a.c, a.d * xy[:, 0] + a.e * xy[:, 1] + a.f)
        ),
    )


def shapes_in_pixels():
    blob = shapely.Point(20.3, 17.7).buffer(11.4)
    ring = shapely.Point(33.1, 25.2).buffer(9).difference(shapely.Point(32.2, 24.9).buffer(4.3))
    sliver = shapely.box(5.2, 30.1, 5.7, 39.6)
    return np.array([blob, ring, sliver, shapely.box(-10, -5, 3.5, 4.25)], object)


def file_of(folder, grid, shapes=None, names=("b", "a", "c", "d")):
    shapes = shapes_in_pixels() if shapes is None else shapes
    frame = geopandas.GeoDataFrame(
        {"name": list(names)[: len(shapes)]}, geometry=placed(shapes, grid), crs=grid.crs.proj
    )
    path = Path(folder) / "zones.gpkg"
    frame.to_file(path)
    return path


def dense(zones, grid, size):
    """The weight of each zone in each pixel, gathered from blocks."""
    shape = full_window(grid).shape
    found = np.zeros((len(zones.names), *shape), np.int64)
    metric = measure_grid(grid)
    for window in blocks(shape, size):
        cover = zones.cover(window, metric)
        rows, cols = np.divmod(cover.pixel, window.shape[1])
        at = cover.zones[cover.zone], window.y0 + rows, window.x0 + cols
        np.add.at(found, at, cover.weight)
    return found


@pytest.mark.parametrize("kind", GRIDS)
def test_weights_are_the_shares_of_pixels_times_their_ground(kind, tmp_path):
    transform, crs = GRIDS[kind]
    grid = GeoBox(SHAPE, transform, crs)
    zones = Zones.read(file_of(tmp_path, grid), grid, name="name")
    assert zones.names == ("a", "b", "c", "d")
    counts = pixel_counts(full_window(grid), measure_grid(grid))
    squares = [[shapely.box(x, y, x + 1, y + 1) for x in range(SHAPE[1])] for y in range(SHAPE[0])]
    blob, ring, sliver, corner = shapes_in_pixels()
    for name, shape in {"a": ring, "b": blob, "c": sliver, "d": corner}.items():
        share = shapely.area(shapely.intersection(np.array(squares), shape))
        weight = dense(zones, grid, 64)[zones.names.index(name)]
        np.testing.assert_allclose(weight, counts * share, rtol=0, atol=counts.max() * 2e-6)


@pytest.mark.parametrize("size", [TILE // 2, 100, TILE + 3])
def test_weights_do_not_depend_on_blocks(size, tmp_path):
    grid = GeoBox((TILE + 40, 2 * TILE + 10), NORTH_UP, UTM)
    random = np.random.default_rng(3)
    centres = random.random((6, 2)) * [2 * TILE, TILE]
    shapes = np.array([shapely.Point(xy).buffer(random.uniform(20, 150)) for xy in centres])
    path = file_of(tmp_path, grid, shapes, "abcdef")
    zones = Zones.read(path, grid, name="name")
    np.testing.assert_array_equal(dense(zones, grid, size), dense(zones, grid, 4 * TILE))


def test_zones_that_fill_the_grid_share_all_of_its_ground(tmp_path):
    grid = GeoBox(SHAPE, NORTH_UP, UTM)
    cut = shapely.LineString([(-1, 3.3), (20.7, 18.1), (60, 33.9)])
    frame = shapely.box(-2, -2, 60, 50)
    line = shapely.union_all([cut.buffer(0), frame.boundary, cut])
    parts = np.array(shapely.get_parts(shapely.polygonize([shapely.node(line)])))
    zones = Zones.read(file_of(tmp_path, grid, parts), grid, name="name")
    counts = pixel_counts(full_window(grid), measure_grid(grid))
    total = dense(zones, grid, 64).sum(axis=0)
    np.testing.assert_allclose(total, counts, rtol=1e-6)


def test_everywhere_is_one_zone():
    grid = GeoBox(SHAPE, DEGREES, "EPSG:4326")
    metric = measure_grid(grid)
    found = dense(Zones.everywhere(grid), grid, 17)
    np.testing.assert_array_equal(found[0], pixel_counts(full_window(grid), metric))


def test_sums_are_by_zone_and_kind(tmp_path):
    grid = GeoBox(SHAPE, NORTH_UP, UTM)
    metric = measure_grid(grid)
    zones = Zones.read(file_of(tmp_path, grid), grid, name="name")
    keys = np.random.default_rng(0).integers(0, 5, SHAPE)
    cover = zones.cover(full_window(grid), metric)
    weights = dense(zones, grid, 64)
    sums = cover.sums(keys, 5)
    for zone in range(len(zones.names)):
        for kind in range(5):
            assert sums[zone, kind] == weights[zone][keys == kind].sum()
    halved = cover.weighted(keys, 5, np.full(SHAPE, 50, np.uint8))
    np.testing.assert_allclose(halved, sums / 2, rtol=1e-6)


def test_polygons_of_one_name_are_one_zone_and_other_crs_are_brought_over(tmp_path):
    grid = GeoBox(SHAPE, NORTH_UP, UTM)
    shapes = placed(np.array([shapely.box(2, 2, 9, 9), shapely.box(20, 20, 30, 31)]), grid)
    frame = geopandas.GeoDataFrame({"unit": [7.0, 7.0]}, geometry=shapes, crs=UTM)
    path = tmp_path / "units.geojson"
    frame.to_crs(4326).to_file(path)
    zones = Zones.read(path, grid, name=None)
    assert zones.names == ("7",)
    unit = measure_grid(grid).unit
    area = dense(zones, grid, 64).sum() * unit
    pixel = pixel_counts(Window(0, 0, 1, 1), measure_grid(grid))[0, 0] * unit
    assert area / pixel == pytest.approx(7 * 7 + 10 * 11, rel=1e-3)


def test_files_that_do_not_fit_are_refused(tmp_path):
    grid = GeoBox(SHAPE, NORTH_UP, UTM)
    away = np.array([shapely.box(900, 900, 950, 950)])
    with pytest.raises(InputError, match="none of its 1 polygons touches the raster"):
        Zones.of(tmp_path / "x", ["a"], placed(away, grid), CRS(UTM), grid)
    points = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(1, 1)], crs=UTM)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(InputError, match=r"has Point; wanted polygons"):
        Zones.read(tmp_path / "points.gpkg", grid, name="name")
    path = file_of(tmp_path, grid)
    with pytest.raises(InputError, match="no column 'unit'"):
        Zones.read(path, grid, name="unit")
