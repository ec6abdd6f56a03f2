"""Scenes on another grid: where pixels come to lie, what they hold, and what is refused."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, UTM, band_of, grid_of, write

from geoseg.errors import SceneError
from geoseg.grid import blocks, full_window
from geoseg.io.area import AreaRef, area_touches
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import MaskRef
from geoseg.io.target_grid import GridWish, place_scene, target_grid, where_data_can_be
from geoseg.io.vrt import Warp, _scales
from geoseg.scene import Band, Mask, Scene

RNG = np.random.default_rng(3)
OBLONG = NORTH_UP @ Affine.scale(1, 1.6)
TRANSFORMS = {"north-up": NORTH_UP, "south-up": SOUTH_UP, "rotated": ROTATED, "oblong": OBLONG}
WISHES = {
    "neighbouring zone": GridWish("EPSG:32630", (7.0, 9.0)),
    "degrees": GridWish("EPSG:4326", (0.00005, 0.0001), degrees=True),
    "metres as degrees": GridWish("EPSG:4326", (8.0, 8.0)),
    "web mercator": GridWish("EPSG:3857", (9.0, 9.0)),
    "equal area": GridWish("EPSG:6933", (5.0, 8.0)),
    "europe": GridWish("EPSG:3035"),
    "half a pixel away": GridWish(anchor=(5.0, 5.0)),
    "other corner": GridWish(resolution=(7.0, 7.0), anchor=(1.0, 2.0)),
}


def on(grid, **more):
    """A scene of which only the grid matters."""
    return Scene("s", {"red": Band("s.tif", 1, grid, "uint8")}, grid, **more)


def scene_of(path, masks=(), **changes):
    band = band_of(path, **changes)
    return Scene("s", {"red": band}, band.grid, tuple(masks))


def read(scene):
    pixels = ScenePixels(scene)
    patch = pixels.read(["red"], full_window(scene.grid))
    pixels.close()
    return patch.values[0], patch.valid


def centres(grid, crs=None):
    """Where pixel centres lie, in the grid's own CRS or another, ``(x, y)``."""
    rows, cols = np.indices(grid.shape) + 0.5
    a = grid.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    if crs is None:
        return x, y
    return Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform(x, y)


def ramp(folder, transform, *, shape=(40, 50), crs=UTM):
    """A file whose every number says where it lies: easting and northing from its corner."""
    x, y = centres(GeoBox(shape, transform, crs))
    values = (x - transform.c) + 3 * (y - transform.f)
    return write(folder / "ramp.tif", values, transform=transform, crs=crs)


def expected_ramp(grid, path):
    source = grid_of(path)
    x, y = centres(grid, str(source.crs))
    if source.crs.geographic:
        middle = (source.affine @ (source.shape[1] / 2, 0))[0]
        x = middle + (x - middle + 180) % 360 - 180
    return (x - source.affine.c) + 3 * (y - source.affine.f)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES.keys())
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_a_ramp_says_where_every_pixel_came_from(tmp_path, transform, wish):
    """Half a pixel of displacement would be off by 20 m; bilinear keeps planes as they are."""
    path = ramp(tmp_path, transform)
    scene = place_scene(scene_of(path, resampling="bilinear"), wish)
    found, valid = read(scene)
    source = grid_of(path)
    x, y = centres(scene.grid, str(source.crs))
    back = ~source.affine
    cols, rows = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    height, width = source.shape
    inner = (rows > 2) & (rows < height - 2) & (cols > 2) & (cols < width - 2)
    assert inner.sum() > 1000
    assert valid[inner].all()
    assert not valid[(rows < 0) | (rows > height) | (cols < 0) | (cols > width)].any()
    error = np.abs(found - expected_ramp(scene.grid, path))[inner]
    # Where pixels grow in one direction, GDAL's kernels do, by whole source pixels.
    assert error.max() < (0.02 if min(_scales_of(scene)) >= 1 else 1.0)


def _scales_of(scene):
    band = scene.bands["red"]
    return _scales(Warp(band.uri, (1,), band.dtype, band.grid, scene.grid, "bilinear"))


@pytest.mark.parametrize("area_or_point", ["Area", "Point"])
def test_a_checkerboard_comes_square_by_square(tmp_path, area_or_point):
    board = np.indices((40, 50)).sum(axis=0) % 2
    stored = (board * 100 + RNG.integers(0, 50, board.shape)).astype(np.uint8)
    path = write(tmp_path / "board.tif", stored, tags={"AREA_OR_POINT": area_or_point})
    with rasterio.open(path) as file:
        assert file.tags()["AREA_OR_POINT"] == area_or_point
        # GeoTIFF's tie point is a pixel's centre then; GDAL and geoseg say corners.
        assert file.transform == NORTH_UP
    scene = place_scene(scene_of(path, resampling="nearest"), GridWish("EPSG:32630", (6.0, 6.0)))
    found, valid = read(scene)
    x, y = centres(scene.grid, UTM)
    cols, rows = (x - NORTH_UP.c) / 10, (NORTH_UP.f - y) / 10
    sure = valid & (np.abs(cols % 1 - 0.5) < 0.4999) & (np.abs(rows % 1 - 0.5) < 0.4999)
    assert sure.sum() > 4000
    rows, cols = rows.astype(int), cols.astype(int)
    assert np.array_equal(found[sure], stored[rows[sure], cols[sure]])
    assert np.array_equal(valid, (x > 500_000) & (x < 500_500) & (y < 5_900_000) & (y > 5_899_600))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("size", [8.0, 27.0])
def test_resampling_is_that_of_gdals_warp(tmp_path, resampling, size):
    stored = RNG.integers(1, 10_000, (90, 100)).astype(np.uint16)
    path = write(tmp_path / "a.tif", stored)
    scene = place_scene(scene_of(path, resampling=resampling), GridWish("EPSG:3035", (size, size)))
    found, valid = read(scene)
    grid = scene.grid
    scales = dict(zip(("YSCALE", "XSCALE"), map(str, _scales_of(scene)), strict=True))
    wanted, _ = reproject(
        stored, np.zeros(grid.shape, np.uint16), src_transform=NORTH_UP, src_crs=UTM,
        dst_transform=grid.affine, dst_crs="EPSG:3035", resampling=Resampling[resampling],
        tolerance=0, **scales,
    )  # fmt: skip
    # Where a centre lies on an edge, one of two neighbours is as near as the other.
    x, y = centres(grid, UTM)
    off = np.stack([(x - NORTH_UP.c) / 10 % 1, (NORTH_UP.f - y) / 10 % 1])
    sure = valid & (np.abs(off - 0.5) < 0.499).all(axis=0)
    assert sure.sum() > 0.5 * valid.size
    difference = np.abs(found.astype(int) - wanted)[sure if resampling == "nearest" else valid]
    assert difference.max() <= (0 if resampling == "nearest" else 1)


def test_auto_is_bilinear_or_the_mean_of_all_pixels_below(tmp_path):
    stored = RNG.integers(1, 10_000, (60, 60)).astype(np.uint16)
    path = write(tmp_path / "a.tif", stored)
    thrice = GridWish(resolution=(30.0, 30.0), anchor=(500_000, 5_900_000))
    coarse = read(place_scene(scene_of(path), thrice))[0]
    means = stored.reshape(20, 3, 20, 3).mean(axis=(1, 3))
    assert np.abs(coarse - means).max() <= 0.5 + 1e-9
    for size, same in ((20.0, "average"), (15.0, "bilinear"), (4.0, "bilinear")):
        wish = GridWish("EPSG:3035", (size, size))
        auto, named = (
            read(place_scene(scene_of(path, resampling=how), wish)) for how in ("auto", same)
        )
        assert np.array_equal(auto[0], named[0]), size


@given(
    x=st.floats(-1e6, 1e6), y=st.floats(-5e6, 5e6), turn=st.floats(0, 90),
    size=st.sampled_from([0.3, 7.0, 10.0, 30.0]), corner=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)  # fmt: skip
def test_grids_share_pixel_edges_and_are_as_small_as_can_be(x, y, turn, size, corner):
    transform = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(10, -10)
    scene = on(GeoBox((30, 20), transform, UTM))
    grid = target_grid(scene, GridWish(resolution=(size, size), anchor=corner))
    a = grid.affine
    assert (a.a, a.b, a.d, a.e) == (size, 0, 0, -size)
    for edge, anchor in ((a.c, corner[0]), (a.f, corner[1])):
        away = (edge - anchor) / size
        assert abs(away - round(away)) < 1e-6
    corners = [transform @ at for at in ((0, 0), (20, 0), (20, 30), (0, 30))]
    places = [~a @ corner for corner in corners]
    for k, count in ((0, grid.shape[1]), (1, grid.shape[0])):
        low, high = min(p[k] for p in places), max(p[k] for p in places)
        assert -0.002 < low < 1
        assert count - 1 < high < count + 0.002


def test_neighbours_of_any_kind_lie_on_one_lattice():
    wish = GridWish("EPSG:3035", (10.0, 10.0))
    scenes = [
        on(GeoBox((100, 100), NORTH_UP, UTM)),
        on(GeoBox((90, 80), Affine(15, 0, 100_015, 0, -15, 5_900_015), "EPSG:32630")),
        on(GeoBox((90, 80), DEGREES, "EPSG:4326")),
    ]
    for grid in (target_grid(scene, wish) for scene in scenes):
        assert (grid.affine.a, grid.affine.e) == (10, -10)
        assert (grid.affine.c % 10, grid.affine.f % 10) == (0, 0)
    # Metres are the same number of degrees everywhere.
    wish = GridWish("EPSG:4326", (10.0, 10.0))
    one, other = (target_grid(scene, wish) for scene in scenes[:2])
    assert one.affine.a == other.affine.a == -one.affine.e == 10 / 111_320
    assert (one.affine.c - other.affine.c) / one.affine.a == pytest.approx(
        round((one.affine.c - other.affine.c) / one.affine.a), abs=1e-6
    )


def test_a_grid_that_is_there_already_changes_nothing():
    scene = on(GeoBox((100, 100), NORTH_UP, UTM))
    for wish in (GridWish("utm"), GridWish(UTM, (10.0, 10.0)), GridWish()):
        assert place_scene(scene, wish) is scene


def test_pixels_that_are_pixels_of_the_file_are_copied(tmp_path):
    """Bilinear would mix them if it were asked."""
    stored = RNG.integers(0, 255, (40, 50)).astype(np.uint8)
    mask = np.where(RNG.random((40, 50)) < 0.1, 0, 255).astype(np.uint8)
    path = write(tmp_path / "a.tif", stored, mask=mask)
    like = write(tmp_path / "like.tif", np.zeros((60, 20), np.uint8), transform=NORTH_UP @ Affine.translation(35, -7))  # fmt: skip
    scene = scene_of(path, [Mask(path, 0, grid_of(path), "alpha")], resampling="bilinear")
    placed = place_scene(scene, GridWish(like=like))
    assert placed.grid == grid_of(like)
    found, valid = read(placed)
    wanted = np.zeros((60, 20), bool)
    wanted[7:47, :15] = mask[:, 35:] > 0
    assert np.array_equal(valid, wanted)
    assert np.array_equal(found[7:47, :15][valid[7:47, :15]], stored[:, 35:][mask[:, 35:] > 0])


def test_masks_hide_as_far_on_the_ground():
    grid = GeoBox((200, 200), NORTH_UP, UTM)
    coarse = GridWish(resolution=(20.0, 20.0))
    mask = Mask("scl.tif", 1, grid, "values", (3,), dilate=7)
    (placed,) = place_scene(on(grid, masks=(mask,)), coarse).masks
    assert placed.dilate == 4
    # What was said in metres is not rounded twice.
    said = MaskRef("scl", dilate=61, dilate_unit="m")
    (placed,) = place_scene(on(grid, masks=(mask,)), GridWish(resolution=(5.0, 5.0)), mask=said).masks  # fmt: skip
    assert placed.dilate == 13
    # Web mercator's metres are short ones at 53° north.
    (placed,) = place_scene(on(grid, masks=(mask,)), GridWish("EPSG:3857", (10.0, 10.0))).masks
    assert placed.dilate == 12
    (none,) = place_scene(on(grid, masks=(Mask("a", 1, grid, "alpha"),)), coarse).masks
    assert none.dilate == 0


@pytest.mark.parametrize("wish", [GridWish("EPSG:3035", (10.0, 10.0)), GridWish(like="like.tif")])
def test_the_end_of_a_mask_does_not_grow(tmp_path, monkeypatch, wish):
    """Number 0 is hidden, and 0 is what GDAL gives beside a file; so it must not be dilated."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "like.tif", np.zeros((60, 70), np.uint8), transform=NORTH_UP @ Affine.translation(-9, -8))  # fmt: skip
    path = write(tmp_path / "a.tif", np.ones((40, 50), np.uint8))
    scl = np.full((40, 50), 4, np.uint8)
    scl[20, 25] = 0
    path_of_mask = write(tmp_path / "scl.tif", scl)
    mask = Mask(path_of_mask, 1, grid_of(path_of_mask), "values", (0,), dilate=3)
    _, valid = read(place_scene(scene_of(path, [mask]), wish))
    assert 2000 - valid.sum() == pytest.approx(29, abs=0 if wish.like else 9)


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


@pytest.mark.parametrize(
    "wish",
    [
        GridWish("EPSG:32630"),
        GridWish("EPSG:4326"),
        GridWish(like="like.tif"),
        GridWish(anchor=(3, 3)),
    ],
)
def test_only_windows_without_data_are_left_out(tmp_path, monkeypatch, wish):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "like.tif", np.zeros((300, 400), np.uint8), transform=NORTH_UP @ Affine.translation(-90, -80))  # fmt: skip
    path = write(tmp_path / "a.tif", np.ones((120, 150), np.uint8), transform=ROTATED)
    scene = place_scene(scene_of(path), wish)
    _, valid = read(scene)
    area = where_data_can_be(scene)
    left_out = 0
    for window in blocks(scene.grid.shape, 16):
        if not area_touches(area, scene.grid, window):
            left_out += 1
            assert not valid[window.slices].any()
    assert left_out > 5
    assert where_data_can_be(scene_of(path)) is None


def test_what_is_refused(tmp_path):
    here = on(GeoBox((100, 100), NORTH_UP, UTM))
    across = on(GeoBox((300, 300), Affine(100, 0, 720_000, 0, -100, 5_000_000), "EPSG:32660"))
    world = on(GeoBox((31, 360), Affine(1, 0, -180, 0, -1, 60), "EPSG:4326"))
    far = write(tmp_path / "far.tif", np.ones((4, 4), np.uint8), transform=DEGREES, crs="EPSG:4326")
    refused = [
        (here, GridWish("EPSG:999999"), "grid.crs: EPSG:999999 is not understood"),
        (here, GridWish("EPSG:4978"), "maps nothing to a plane"),
        (
            here,
            GridWish(resolution=(0.1, 0.1), degrees=True),
            "0.1 deg; EPSG:32629 counts in metre",
        ),
        (here, GridWish(resolution=(1e-5, 1e-5)), "set a coarser grid.resolution"),
        (here, GridWish(like=str(tmp_path / "no.tif")), r"grid.like: .*no.tif: no such file"),
        (across, GridWish(like=far), "does not touch .*far.tif"),
        (across, GridWish("EPSG:3857"), "along which EPSG:3857 .* is cut, like the antimeridian"),
        (across, GridWish("EPSG:6933"), "along which EPSG:6933 .* is cut"),
        (on(GeoBox((4, 4), NORTH_UP, None)), GridWish("utm"), "has no CRS"),
        (
            world,
            GridWish("utm"),
            "reaches 180 degrees of longitude from 3, the middle of EPSG:32631",
        ),
        (world, GridWish("EPSG:2193"), "from 173, the middle of EPSG:2193 .*EPSG:6933 for a large"),
        (here, GridWish("EPSG:32650"), "degrees of longitude from 117, .*utm for a small scene"),
    ]
    for scene, wish, message in refused:
        with pytest.raises(SceneError, match=message):
            place_scene(scene, wish)
    clipped = Scene("s", here.bands, here.grid, (), None, None, b"area")
    with pytest.raises(ValueError, match="place it before it is clipped"):
        place_scene(clipped, GridWish("utm"))
