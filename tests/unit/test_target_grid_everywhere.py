"""Grids of scenes anywhere on the Earth: UTM zones, the antimeridian, the poles."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from ramps import centres, expected_ramp, on, ramp, read, scene_of
from rasters import DEGREES, ROTATED, UTM, write

from geoseg.io.area import AreaRef
from geoseg.io.target_grid import GridWish, place_scene, target_grid

ZONES = {
    "its own": ((500_000, 5_900_000), UTM, None, 32629),
    "its own at the rim": ((900_000, 5_900_000), UTM, None, 32629),
    "of its middle": ((10.0, 53.0), "EPSG:4326", None, 32632),
    "southern": ((10.0, -53.0), "EPSG:4326", None, 32732),
    "of the area": ((500_000, 5_900_000), UTM, (-5.0, 50.0, -4.0, 51.0), 32630),
    "the last": ((179.5, 10.0), "EPSG:4326", None, 32660),
    "the first": ((-179.9, 10.0), "EPSG:4326", None, 32601),
    "counted from 0 to 360": ((190.0, 10.0), "EPSG:4326", None, 32602),
    "area across the antimeridian": ((179.5, 10.0), "EPSG:4326", (179.0, 9.0, -178.0, 11.0), 32601),
    "north of 84": ((10.0, 86.0), "EPSG:4326", None, 5041),
    "south of 80": ((10.0, -82.0), "EPSG:4326", None, 5042),
}


@pytest.mark.parametrize(("corner", "crs", "bbox", "zone"), ZONES.values(), ids=ZONES.keys())
def test_utm_zones(corner, crs, bbox, zone):
    size = 10 if crs == UTM else 0.0001
    scene = on(GeoBox((10, 10), Affine(size, 0, corner[0], 0, -size, corner[1]), crs))
    area = None if bbox is None else AreaRef(bbox=bbox)
    assert target_grid(scene, GridWish("utm"), area=area).crs.epsg == zone


def test_resolution_without_a_number_is_that_of_the_finest_band():
    feet = on(GeoBox((100, 100), Affine(30, 0, 913_000, 0, -30, 272_000), "EPSG:2263"))
    assert target_grid(feet, GridWish("EPSG:32618")).affine.a == pytest.approx(30 * 0.3048006)
    degrees = on(GeoBox((100, 100), DEGREES, "EPSG:4326"))
    assert target_grid(degrees, GridWish("EPSG:32629")).affine.a == 11.132
    # Corner to corner of rotated pixels is not their size.
    turned = on(GeoBox((100, 100), ROTATED, UTM))
    assert target_grid(turned, GridWish()).affine.a == pytest.approx(10)


EVERYWHERE = {
    "zone 60 to degrees": ("EPSG:32660", Affine(100, 0, 734_000, 0, -100, 5_000_000), "EPSG:4326"),
    "zone 1 to degrees": ("EPSG:32601", Affine(100, 0, 262_000, 0, -100, 5_000_000), "EPSG:4326"),
    "zone 60 to zone 1": ("EPSG:32660", Affine(100, 0, 734_000, 0, -100, 5_000_000), "EPSG:32601"),
    "degrees beyond 180": ("EPSG:4326", Affine(0.01, 0, 179.8, 0, -0.01, 10), "utm"),
    "degrees below -180": ("EPSG:4326", Affine(0.01, 0, -180.2, 0, -0.01, 10), "EPSG:3832"),
    "0 to 360": ("EPSG:4326", Affine(0.01, 0, 200, 0, -0.01, 10), "EPSG:3857"),
    "arctic": ("EPSG:3413", Affine(500, 0, -700_000, 0, -500, -200_000), "EPSG:5041"),
    "over the pole": ("EPSG:3413", Affine(500, 0, -9_000, 0, -500, 9_000), "EPSG:32661"),
    "antarctic": ("EPSG:5042", Affine(500, 0, 1_700_000, 0, -500, 2_800_000), "EPSG:3031"),
    "antarctic degrees": ("EPSG:4326", Affine(0.02, 0, 50, 0, -0.01, -70), "EPSG:3031"),
    "arctic to degrees": ("EPSG:3413", Affine(500, 0, 600_000, 0, -500, -700_000), "EPSG:4326"),
    "arctic across 180": ("EPSG:3413", Affine(500, 0, -600_000, 0, -500, 620_000), "EPSG:4326"),
}  # fmt: skip


@pytest.mark.parametrize(("crs", "transform", "target"), EVERYWHERE.values(), ids=EVERYWHERE.keys())
def test_antimeridian_and_poles(tmp_path, crs, transform, target):
    path = ramp(tmp_path, transform, crs=crs)
    scene = scene_of(path, resampling="bilinear")
    placed = place_scene(scene, GridWish(target))
    found, valid = read(placed)
    # No pixel of the source is lost, and the grid is not much larger than it has to be.
    assert placed.grid.shape[0] * placed.grid.shape[1] < 40 * valid.sum()
    x, y = centres(placed.grid, crs)
    if scene.grid.crs.geographic:
        x = transform.c + (x - transform.c) % 360
    cols, rows = (x - transform.c) / transform.a, (y - transform.f) / transform.e
    clear = (np.abs(cols - 25) < 24.99) & (np.abs(rows - 20) < 19.99)
    beside = (np.abs(cols - 25) > 25.01) | (np.abs(rows - 20) > 20.01)
    assert clear.any()
    assert valid[clear].all()
    assert not valid[beside].any()
    inner = (np.abs(cols - 25) < 22) & (np.abs(rows - 20) < 17)
    error = np.abs(found - expected_ramp(placed.grid, path))[inner] / abs(transform.a)
    # Where a CRS stretches what another does not, kernels widen; half a pixel would be 0.5 + 1.5.
    assert error.max() < 0.3


def test_around_a_pole_there_are_all_longitudes(tmp_path):
    transform = Affine(20_000, 0, -400_000, 0, -20_000, 400_000)
    path = write(tmp_path / "a.tif", np.ones((40, 40), np.uint8), transform=transform, crs="EPSG:3413")  # fmt: skip
    scene = place_scene(scene_of(path), GridWish("EPSG:4326", (0.2, 0.5), degrees=True))
    box = scene.grid.boundingbox
    assert (box.left, box.right, box.top) == (-180, 180, pytest.approx(90))
    _, valid = read(scene)
    assert valid[: int(3.4 / 0.2)].all()
    south = on(GeoBox((40, 40), transform, "EPSG:3031"))
    assert target_grid(south, GridWish("EPSG:4326")).boundingbox.bottom == pytest.approx(-90, abs=1)


def test_utm_reaches_far_enough_for_neighbours():
    for west in (-20, 0, 10):
        scene = on(GeoBox((40, 80), Affine(0.1, 0, west, 0, -0.1, 60), "EPSG:4326"))
        assert max(target_grid(scene, GridWish("EPSG:32631")).shape) < 200


@pytest.mark.parametrize("crs", ["EPSG:6933", "EPSG:3857"])
def test_maps_of_the_world_are_not_cut(crs):
    world = on(GeoBox((120, 360), Affine(1, 0, -180, 0, -1, 60), "EPSG:4326"))
    grid = target_grid(world, GridWish(crs, (100_000.0, 100_000.0)))
    edge = Transformer.from_crs(4326, crs, always_xy=True).transform(179.999999, 0)[0]
    assert grid.shape[1] == 2 * np.ceil(edge / 100_000)
