"""Scenes made one: periods, a grid for all, one scale, and only few files open."""

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasters import NORTH_UP, UTM, band_of, write

from geoseg.errors import SceneError
from geoseg.grid import Window, full_window
from geoseg.io import members
from geoseg.io.combining import Combination, Placing, combine_scenes, deepest
from geoseg.io.footprint import footprint
from geoseg.io.opening import open_pixels
from geoseg.io.periods import by_period
from geoseg.io.target_grid import GridWish
from geoseg.plan import bytes_per_pixel, combining_bytes
from geoseg.scene import Mask, Scene
from geoseg.testing import fake_card

MEDIAN = Combination("median")


def dated(*days):
    return [Scene(f"s{k}", {}, None, acquired=day) for k, day in enumerate(days)]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "names", "starts"),
    [
        ("month", ["2023-12", "2024-02", "2024-03"], ["2023-12-01", "2024-02-01", "2024-03-01"]),
        ("quarter", ["2023-Q4", "2024-Q1"], ["2023-10-01", "2024-01-01"]),
        ("year", ["2023", "2024"], ["2023-01-01", "2024-01-01"]),
        (
            timedelta(days=16),
            ["2023-12-19-16d", "2024-02-18-16d", "2024-03-21-16d"],
            ["2023-12-19", "2024-02-18", "2024-03-21"],
        ),
        ("all", ["20231231-20240331"], ["2023-12-31T23:30"]),
    ],
)
def test_scenes_are_sorted_by_the_calendar(period, names, starts):
    days = ["2024-03-31T12:00", "2023-12-31T23:30", "2024-02-29T01:00"]
    found = by_period(dated(*map(at, days)), period, dated=False)
    assert [group.name for group in found] == names
    assert [group.start for group in found] == [at(start) for start in starts]
    assert sum(len(group.scenes) for group in found) == 3


def test_the_calendar_is_utcs():
    east = datetime(2024, 2, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    assert [g.name for g in by_period(dated(east), "month", dated=True)] == ["2024-01"]


def test_scenes_without_dates_are_only_combined_where_dates_do_not_matter():
    scenes = dated(at("2024-01-01"), None)
    (group,) = by_period(scenes, "all", dated=False)
    assert (group.name, group.start, len(group.scenes)) == ("all", None, 2)
    for period, needed in (("all", True), ("month", False)):
        with pytest.raises(SceneError, match="scene s1: has no date"):
            by_period(scenes, period, dated=needed)


def scene_in(path: Path, values, *, transform=NORTH_UP, crs=UTM, day=1, **band) -> Scene:
    write(path, np.asarray(values), transform=transform, crs=crs, nodata=0)
    found = band_of(str(path), 1, **band)
    return Scene(path.stem, {"red": found}, found.grid, (), datetime(2024, 1, day, tzinfo=UTC))


def ones(rows, cols):
    return np.ones((rows, cols), np.uint16)


def test_the_grid_is_around_all_in_the_finest_pixels(tmp_path):
    coarse = scene_in(tmp_path / "a.tif", ones(10, 10), transform=NORTH_UP @ Affine.scale(2))
    fine = scene_in(
        tmp_path / "b.tif", ones(12, 9), transform=Affine.translation(-35, 25) @ NORTH_UP, day=2
    )
    scene = combine_scenes([coarse, fine], MEDIAN, name="c", acquired=None)
    assert scene.grid.crs == coarse.grid.crs
    # 5 m apart: a pixel more than the 20 columns and rows, and those before them.
    assert scene.grid.shape == (23, 24)
    assert scene.grid.affine == fine.grid.affine
    assert scene.combined.windows[1] & Window(0, 0, 12, 9) == Window(0, 0, 12, 9)


def test_scenes_of_two_zones_come_onto_one_grid(tmp_path):
    """The same place of 800 m at 6 degrees west, as each zone has it."""
    east = Affine(10, 0, 699_000, 0, -10, 5_900_000)
    west = Affine(10, 0, 298_500, 0, -10, 5_900_700)
    one = scene_in(tmp_path / "a.tif", ones(80, 80), transform=east)
    other = scene_in(tmp_path / "b.tif", ones(80, 80), transform=west, crs="EPSG:32630", day=2)
    wish = GridWish("utm", (20.0, 20.0))
    scene = combine_scenes([one, other], MEDIAN, name="c", acquired=None, placing=Placing(wish))
    assert scene.grid.crs.epsg == 32629
    assert scene.grid.affine.c % 20 == scene.grid.affine.f % 20 == 0
    pixels = open_pixels(scene)
    patch = pixels.read(["red"], full_window(scene.grid))
    pixels.close()
    assert patch.observations.max() == 2
    assert (patch.observations[patch.valid] >= 1).all()
    assert (patch.values[:, patch.valid] == 1).all()


ACROSS = {
    "both in degrees": ("EPSG:4326", "EPSG:4326", None),
    "the east as utm": ("EPSG:4326", "EPSG:32601", "EPSG:4326"),
    "the west as utm": ("EPSG:32660", "EPSG:4326", "EPSG:4326"),
    "both as utm": ("EPSG:32660", "EPSG:32601", "EPSG:4326"),
    "degrees in a zone": ("EPSG:4326", "EPSG:4326", "utm"),
}


@pytest.mark.parametrize(("west", "east", "crs"), ACROSS.values(), ids=ACROSS.keys())
@pytest.mark.parametrize("flip", [False, True])
def test_the_antimeridian_is_no_border(tmp_path, west, east, crs, flip):
    """Scenes on both sides of 180 degrees, in whatever order, become one narrow grid."""
    places = {
        "west": (
            Affine(0.01, 0, 179.6, 0, -0.01, 10),
            Affine(1100, 0, 785_000, 0, -1100, 1_106_000),
        ),
        "east": (
            Affine(0.01, 0, -180, 0, -0.01, 10),
            Affine(1100, 0, 171_000, 0, -1100, 1_106_000),
        ),
    }
    scenes = []
    for number, (side, code) in enumerate((("west", west), ("east", east)), 1):
        transform = places[side][code != "EPSG:4326"]
        values = np.full((40, 40), number, np.uint8)
        values[:2] = 0
        path = write(tmp_path / f"{side}.tif", values, transform=transform, crs=code, nodata=0)
        band = band_of(path)
        mask = Mask(path, 1, band.grid, "values", (0,), 1)
        scenes.append(Scene(side, {"a": band}, band.grid, (mask,)))
    wish = None if crs is None else GridWish(crs)
    scene = combine_scenes(
        scenes[::-1] if flip else scenes, Combination("latest"), name="x", acquired=None,
        placing=Placing(wish),
    )  # fmt: skip
    assert max(scene.grid.shape) < 100
    assert all(min(window.shape) > 30 for window in scene.combined.windows)
    pixels = open_pixels(scene)
    patch = pixels.read(["a"], full_window(scene.grid))
    pixels.close()
    lon, lat = footprint(scene.grid)[1][::2], footprint(scene.grid)[1][1::2]
    assert lon[0] > 179
    assert lon[1] < -179
    assert lat == pytest.approx((9.6, 10.0), abs=0.05)
    found = patch.values[0]
    middle = found[found.shape[0] // 2]
    seen = middle[middle > 0]
    assert len(seen) > 0.9 * scene.grid.shape[1]
    assert np.flatnonzero(seen == 1).max() < np.flatnonzero(seen == 2).min(), "west, then east"
    assert (patch.valid == (found > 0)).all()
    assert abs(int((seen == 1).sum()) - int((seen == 2).sum())) < 8
    assert not patch.valid[0].any(), "the mask is turned with its scene"


def test_scenes_all_around_the_globe_stay_where_they_are(tmp_path):
    scenes = []
    for lon in (-170, -60, 50, 160):
        transform = Affine(0.1, 0, lon, 0, -0.1, 10)
        path = write(tmp_path / f"{lon}.tif", np.ones((4, 4), np.uint8), transform=transform, crs="EPSG:4326")  # fmt: skip
        scenes.append(Scene(str(lon), {"a": band_of(path)}, band_of(path).grid))
    scene = combine_scenes(scenes, MEDIAN, name="x", acquired=None)
    pixels = open_pixels(scene)
    assert pixels.read(["a"], full_window(scene.grid)).valid.sum() == 64
    pixels.close()


def test_numbers_stay_as_stored_where_all_scenes_mean_the_same_by_them(tmp_path):
    scenes = [scene_in(tmp_path / f"{k}.tif", ones(4, 5) * k, scale=1e-4, offset=-0.1) for k in (1, 2, 4)]  # fmt: skip
    band = combine_scenes(scenes, MEDIAN, name="c", acquired=None).bands["red"]
    assert (band.dtype, band.scale, band.offset) == ("uint16", 1e-4, -0.1)


def test_numbers_of_other_scales_are_combined_as_physical_values(tmp_path):
    """Sentinel-2 before and since processing baseline 04.00: the same reflectance, 1000 apart."""
    before = scene_in(tmp_path / "a.tif", ones(4, 5) * 2000, scale=1e-4)
    since = scene_in(tmp_path / "b.tif", ones(4, 5) * 3200, scale=1e-4, offset=-0.1, day=2)
    scene = combine_scenes([before, since], MEDIAN, name="c", acquired=None)
    band = scene.bands["red"]
    assert (band.dtype, band.scale, band.offset) == ("float32", 1, 0)
    pixels = open_pixels(scene)
    patch = pixels.read(["red"], full_window(scene.grid))
    pixels.close()
    np.testing.assert_allclose(patch.values, 0.21, rtol=1e-6)
    assert patch.scale.tolist() == [1.0]


def test_what_does_not_fit_together_is_refused(tmp_path):
    one = scene_in(tmp_path / "a.tif", ones(4, 5))
    other = scene_in(tmp_path / "b.tif", ones(4, 5), day=2)
    wrong = [
        (replace(other, units="reflectance"), "scene b: its numbers are reflectance, those of a"),
        (replace(other, bands={"nir": other.bands["red"]}), "scene b: no band red"),
        (replace(other, grid=type(other.grid)((4, 5), NORTH_UP, None)), "scene b: has no CRS"),
    ]
    for scene, message in wrong:
        with pytest.raises(SceneError, match=message):
            combine_scenes([one, scene], MEDIAN, name="c", acquired=None)
    far = scene_in(tmp_path / "c.tif", ones(4, 5), transform=Affine(0.1, 0, 5e6, 0, -0.1, 5e6))
    with pytest.raises(SceneError, match="pixels around all scenes; say with area"):
        combine_scenes([one, far], MEDIAN, name="c", acquired=None)
    with pytest.raises(SceneError, match="c: there are no scenes"):
        combine_scenes([], MEDIAN, name="c", acquired=None)


windows = st.builds(
    lambda y, x, h, w: Window(y, x, y + h, x + w), *[st.integers(0, 12)] * 2, *[st.integers(0, 8)] * 2
)  # fmt: skip


@given(parts=st.lists(windows, max_size=6), side=st.integers(1, 9))
def test_depth_is_what_any_square_touches(parts, side):
    squares = (Window(y, x, y + side, x + side) for y in range(-9, 22) for x in range(-9, 22))
    wanted = max(sum(bool(square & part) for part in parts) for square in squares)
    assert deepest(tuple(parts), side) == wanted


def test_only_scenes_in_the_window_are_opened(tmp_path):
    there = scene_in(tmp_path / "a.tif", ones(20, 20))
    gone = scene_in(
        tmp_path / "b.tif", ones(20, 20), transform=Affine.translation(600, 0) @ NORTH_UP, day=2
    )
    scene = combine_scenes([there, gone], MEDIAN, name="c", acquired=None)
    (tmp_path / "b.tif").unlink()
    pixels = open_pixels(scene)
    assert pixels.read(["red"], Window(0, 0, 20, 40)).valid.sum() == 400
    with pytest.raises(SceneError, match="scene b"):
        pixels.read(["red"], full_window(scene.grid))
    pixels.close()


def test_few_scenes_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "KEPT_OPEN", 3)
    scenes = [scene_in(tmp_path / f"{k:02d}.tif", ones(4, 5) * (k + 1)) for k in range(9)]
    pixels = open_pixels(combine_scenes(scenes, MEDIAN, name="c", acquired=None))
    before = open_files(tmp_path)
    for _ in range(2):
        assert (pixels.read(["red"], Window(0, 0, 4, 5)).values == 5).all()
        assert open_files(tmp_path) - before == 3
    pixels.close()
    assert open_files(tmp_path) == before
    with pytest.raises(ValueError, match="closed"):
        pixels.read(["red"], Window(0, 0, 4, 5))


def open_files(folder):
    """How many files of ``folder`` this process holds open."""
    links = Path("/proc/self/fd").iterdir()
    return sum(str(link.readlink()).startswith(str(folder)) for link in links if link.is_symlink())


@pytest.mark.parametrize("rule", ["median", "best_pixel", "max_ndvi", "latest"])
def test_a_window_takes_the_memory_that_was_planned(tmp_path, rule):
    random = np.random.default_rng(3)
    scenes = []
    for k in range(6):
        values = random.integers(1, 4000, (2, 400, 400)).astype(np.uint16)
        path = write(tmp_path / f"{k}.tif", values, nodata=7)
        bands = {"red": band_of(path, 1, scale=1e-4), "nir": band_of(path, 2, scale=1e-4)}
        grid = bands["red"].grid
        scenes.append(Scene(f"{k}", bands, grid, (), datetime(2024, 1, k + 1, tzinfo=UTC)))
    scene = combine_scenes(scenes, Combination(rule), name="c", acquired=None)
    card = fake_card("two", bands=("red", "nir"))
    pixels = open_pixels(scene)
    pixels.read(["red", "nir"], Window(0, 0, 30, 40))  # compiles
    tracemalloc.start()
    patch = pixels.read(["red", "nir"], Window(70, 70, 326, 326))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pixels.close()
    planned = combining_bytes(scene, card, 256, 256) + 256**2 * (bytes_per_pixel(scene, card) + 2)
    assert patch.values.nbytes < peak <= planned
    assert planned < 2.5 * peak, "no more than it takes, by far"
