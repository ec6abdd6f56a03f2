"""Areas and lengths on the ground, against the geodesics of PROJ."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from polygon_reference import geometries, realistic
from pyproj import Geod, Transformer

from geoseg.ops.metric import measure_grid
from geoseg.steps.vectorize import vectorize_array

GRIDS = {
    "utm": ("EPSG:32633", Affine(30, 0, 199980, 0, -30, 7300040)),
    "utm far from its meridian": ("EPSG:32633", Affine(30, 0, 1199980, 0, -30, 300040)),
    "lon/lat": ("EPSG:4326", Affine(0.01, 0, 11, 0, -0.01, 64)),
    "lon/lat coarse": ("EPSG:4326", Affine(0.5, 0, -90, 0, -0.5, 60)),
    "lon/lat south-up": ("EPSG:4326", Affine(0.002, 0, -60, 0, 0.002, -33)),
    "rotated": ("EPSG:32719", Affine(17, 6, 499980, 5, -19, 6300040)),
    "web mercator": ("EPSG:3857", Affine(1000, 0, 1e6, 0, -1000, 9e6)),
    "polar": ("EPSG:3413", Affine(5000, 0, -600000, 0, -5000, 600000)),
    "feet": ("EPSG:2263", Affine(30, 0, 913000, 0, -30, 272000)),
    "across the antimeridian": ("EPSG:3832", Affine(900, 0, 3e6, 0, -900, 1e6)),
    "zone 60 across the antimeridian": ("EPSG:32660", Affine(100, 0, 730_000, 0, -100, 5e6)),
    "degrees beyond 180": ("EPSG:4326", Affine(0.02, 0, 179, 0, -0.01, 10)),
    "antarctic": ("EPSG:3031", Affine(5000, 0, -300_000, 0, -5000, 1_200_000)),
    "UPS": ("EPSG:5041", Affine(5000, 0, 1_700_000, 0, -5000, 2_300_000)),
    "UPS, northing first": ("EPSG:32661", Affine(5000, 0, 1_700_000, 0, -5000, 2_300_000)),
    "equal area": ("EPSG:6933", Affine(1000, 0, 1e6, 0, -1000, 6e6)),
}


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS.keys())
def test_areas_and_perimeters_are_those_of_geodesics(crs, transform):
    array = realistic((100, 120), classes=3)
    grid = GeoBox(array.shape, transform, crs)
    table = vectorize_array(array, grid, nodata=0, block=33).read_all()
    base = grid.crs.proj.geodetic_crs
    to_base = Transformer.from_crs(grid.crs.proj, base, always_xy=True)
    geod = Geod(a=base.ellipsoid.semi_major_metre, b=base.ellipsoid.semi_minor_metre)
    step = max(abs(v) for v in (transform.a, transform.b, transform.d, transform.e))
    area, perimeter = table["area_m2"].to_numpy(), table["perimeter_m"].to_numpy()
    for k, polygon in enumerate(geometries(table)[:200]):
        # Edges are straight in the CRS: geodesics are compared with where they are short.
        dense = shapely.segmentize(polygon, step / 4)
        on_earth = shapely.transform(
            dense, lambda xy: np.column_stack(to_base.transform(xy[:, 0], xy[:, 1]))
        )
        geod_area, _ = geod.geometry_area_perimeter(on_earth)
        assert area[k] == pytest.approx(abs(geod_area), rel=5e-5)
        assert perimeter[k] == pytest.approx(geod.geometry_length(on_earth.boundary), rel=5e-5)


def test_the_whole_earth_has_the_area_of_the_ellipsoid():
    array = np.ones((180, 360), np.uint8)
    grid = GeoBox(array.shape, Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    (area,) = vectorize_array(array, grid).read_all()["area_m2"].to_pylist()
    assert area == pytest.approx(510_065_621_724_088, rel=1e-4)


@pytest.mark.parametrize("transform", [Affine(3, 0, 0, 0, 2, 0), Affine(0, 3, 7, 2, 0, 1)])
def test_a_grid_without_crs_is_measured_in_the_plane(transform):
    array = np.array([[1, 1], [1, 2]], np.uint8)
    table = vectorize_array(array, GeoBox(array.shape, transform, None)).read_all()
    assert table["area_m2"].to_pylist() == [18.0, 6.0]
    assert table["perimeter_m"].to_pylist() == [20.0, 10.0]


def test_pixels_beyond_the_earth_are_measured_in_the_plane():
    # The corners of a sinusoidal world map lie nowhere.
    array = np.arange(200 * 400, dtype=np.int64).reshape(200, 400) % 2
    grid = GeoBox(array.shape, Affine(1e5, 0, -2e7, 0, -1e5, 1e7), "ESRI:54008")
    table = vectorize_array(array, grid).read_all()
    assert np.isfinite(table["area_m2"].to_numpy()).all()
    assert np.isfinite(table["perimeter_m"].to_numpy()).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (70_000, 2)])
def test_sums_of_a_whole_grid_fit_into_integers(shape):
    metric = measure_grid(GeoBox(shape, Affine(10, 0, 499980, 0, -10, 5300040), "EPSG:32633"))
    total = metric.row_density(0, shape[0]).mean(axis=1).sum() * shape[1]
    assert total < 2**62
    assert metric.unit == 2.0 ** round(np.log2(metric.unit))
