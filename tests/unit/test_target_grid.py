"""Scenes on another grid: where pixels come to lie, what they hold, and what is refused."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from ramps import centres, expected_ramp, on, ramp, read, scene_of
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, UTM, grid_of, write

from geoseg.errors import SceneError
from geoseg.grid import blocks
from geoseg.io.area import area_touches
from geoseg.io.refs import MaskRef
from geoseg.io.target_grid import GridWish, place_scene, target_grid, where_data_can_be
from geoseg.io.vrt import Warp, _scales
from geoseg.scene import Mask, Scene

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
