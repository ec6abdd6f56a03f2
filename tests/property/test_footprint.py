import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.footprint import footprint

MERCATOR_X = 20037508.342789244


def shape_of(grid):
    geometry, bbox = footprint(grid)
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid
    west, south, east, north = shape.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    assert all(p.exterior.is_ccw for p in getattr(shape, "geoms", [shape]))
    assert -180 <= bbox[0] <= 180
    assert -180 <= bbox[2] <= 180
    return shape, bbox


@given(
    zone=st.integers(1, 60),
    south=st.booleans(),
    x=st.floats(200_000, 700_000),
    y=st.floats(500_000, 8_500_000),
    size=st.floats(0.05, 200),
    angle=st.floats(0, 360),
    flip=st.booleans(),
)
def test_holds_every_pixel_of_a_utm_grid(zone, south, x, y, size, angle, flip):
    affine = Affine.translation(x, y) @ Affine.rotation(angle)
    affine = affine @ Affine.scale(size, size if flip else -size)
    grid = GeoBox((500, 700), affine, f"EPSG:{(32700 if south else 32600) + zone}")
    shape, bbox = shape_of(grid)
    to_globe = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True)
    a, b, c, d, e, f = affine[:6]
    row, col = (m.ravel() for m in np.meshgrid(np.linspace(20, 480, 7), np.linspace(20, 680, 7)))
    lon, lat = to_globe.transform(a * col + b * row + c, d * col + e * row + f)
    lon = (lon + 180) % 360 - 180
    assert shapely.contains_xy(shape, lon, lat).all()
    crosses = bbox[0] > bbox[2]
    inside = (lon >= bbox[0]) | (lon <= bbox[2]) if crosses else (lon >= bbox[0]) & (lon <= bbox[2])
    assert inside.all()
    assert (shape.geom_type == "MultiPolygon") == crosses


@pytest.mark.parametrize(
    ("crs", "affine", "shape", "bbox"),
    [
        ("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), (180, 360), [-180, -90, 180, 90]),
        ("EPSG:4326", Affine(1, 0, 0, 0, -1, 90), (180, 360), [-180, -90, 180, 90]),
        ("EPSG:4326", Affine(1, 0, 170, 0, -1, 5), (10, 10), [170, -5, 180, 5]),
        ("EPSG:4326", Affine(1, 0, 180, 0, -1, 5), (10, 10), [-180, -5, -170, 5]),
        ("EPSG:4326", Affine(1, 0, 350, 0, -1, 5), (10, 30), [-10, -5, 20, 5]),
        ("EPSG:4326", Affine(1, 0, 175, 0, 1, -5), (10, 10), [175, -5, -175, 5]),
    ],
)
def test_geographic_grids(crs, affine, shape, bbox):
    _, found = shape_of(GeoBox(shape, affine, crs))
    assert found == bbox


@pytest.mark.parametrize(("epsg", "pole"), [(3413, 90), (3031, -90)])
def test_grids_around_a_pole_hold_it(epsg, pole):
    shape, bbox = shape_of(GeoBox((100, 100), Affine(4e4, 0, -2e6, 0, -4e4, 2e6), f"EPSG:{epsg}"))
    assert (bbox[0], bbox[2]) == (-180, 180)
    assert pole in {bbox[1], bbox[3]}
    for lon in range(-180, 181, 30):
        assert shape.intersects(shapely.Point(lon, pole * 0.999))


def test_one_small_pixel_does_not_shrink_to_a_point():
    shape, _ = shape_of(GeoBox((1, 1), Affine(0.05, 0, 5e5, 0, -0.05, 4e6), "EPSG:32629"))
    assert shape.area > 0


def test_disc_with_its_corners_in_space_has_an_outline():
    disc = "+proj=geos +h=35785831 +lon_0=9.5 +datum=WGS84"
    shape, bbox = shape_of(GeoBox((3712, 3712), Affine(3000, 0, -5.57e6, 0, -3000, 5.57e6), disc))
    assert shapely.contains_xy(shape, 9.5, 0)
    assert bbox[0] < -60


def test_grid_in_space_is_refused():
    disc = "+proj=geos +h=35785831 +lon_0=9.5 +datum=WGS84"
    with pytest.raises(ProductError, match="longitude and latitude"):
        footprint(GeoBox((10, 10), Affine(10, 0, -6.5e6, 0, -10, 6.5e6), disc))


def test_world_in_mercator():
    size = 2 * MERCATOR_X / 256
    _, bbox = shape_of(
        GeoBox((256, 256), Affine(size, 0, -MERCATOR_X, 0, -size, MERCATOR_X), "EPSG:3857")
    )
    assert bbox[0] == pytest.approx(-180)
    assert bbox[2] == pytest.approx(180)
