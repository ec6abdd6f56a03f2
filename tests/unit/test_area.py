"""Areas of interest: read, reprojected, clipped to scenes, refused."""

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasters import NORTH_UP, ROTATED, SOUTH_UP, band_of, write

from geoseg.errors import AreaError
from geoseg.grid import Window, full_window
from geoseg.io.area import AreaRef, area_touches, clip_scene, lonlat_bounds, read_area
from geoseg.io.reader import ScenePixels
from geoseg.scene import Band, Scene


def scene_on(transform=NORTH_UP, shape=(100, 120), crs="EPSG:32629"):
    grid = GeoBox(shape, transform, crs)
    return Scene("s", {"red": Band("s.tif", 1, grid, "uint8")}, grid)


def part(transform, x0, y0, x1, y1):
    """A rectangle of pixels as a polygon."""
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return shapely.Polygon([transform @ corner for corner in corners])


def valid_pixels(tmp_path, area, transform=NORTH_UP):
    path = write(tmp_path / "s.tif", np.ones((100, 120), np.uint8), transform=transform)
    band = band_of(path)
    pixels = ScenePixels(clip_scene(Scene("s", {"red": band}, band.grid), area))
    patch = pixels.read(["red"], full_window(band.grid))
    pixels.close()
    return patch.valid


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_pixel_centres_decide(tmp_path, transform):
    wkt = part(transform, 10.4, 20.6, 50.4, 30.4).wkt
    expected = np.zeros((100, 120), bool)
    expected[21:30, 10:50] = True
    assert np.array_equal(
        valid_pixels(tmp_path, AreaRef(wkt=wkt, crs="EPSG:32629"), transform), expected
    )


def test_files_are_united_and_made_valid(tmp_path):
    bow = [(0, 0), (40, 20), (40, 0), (0, 20)]
    shapes = [
        shapely.Polygon([NORTH_UP @ corner for corner in bow]),
        part(NORTH_UP, 60, 0, 80, 10),
        part(NORTH_UP, 70, 0, 90, 10),
        None,
        shapely.Polygon(),
    ]
    table = geopandas.GeoDataFrame({"a": range(5)}, geometry=shapes, crs="EPSG:32629")
    for name in ("area.gpkg", "area.geojson"):
        table.to_crs(4326 if name.endswith("json") else 32629).to_file(tmp_path / name)
        found = valid_pixels(tmp_path, AreaRef(str(tmp_path / name)))
        assert found[:10, 60:90].all()
        assert not found[:, 90:].any()
        assert not found[:, 50:60].any()
        assert found[10, 2]
        assert not found[1, 20]


def test_long_edges_are_curved_as_they_are(tmp_path):
    """A parallel drawn with two points bends by many pixels in UTM; centres tell."""
    transform = Affine(100, 0, 400_000, 0, -100, 6_700_000)
    box = (-12.5, 60.0, -5.5, 60.2)
    path = write(tmp_path / "s.tif", np.ones((500, 700), np.uint8), transform=transform)
    band = band_of(path)
    scene = clip_scene(Scene("s", {"red": band}, band.grid), AreaRef(bbox=box))
    pixels = ScenePixels(scene)
    found = pixels.read(["red"], full_window(band.grid)).valid
    pixels.close()
    cols, rows = np.meshgrid(np.arange(700) + 0.5, np.arange(500) + 0.5)
    change = pyproj.Transformer.from_crs(32629, 4326, always_xy=True)
    lon, lat = change.transform(*(transform @ (cols, rows)))
    expected = (lon > box[0]) & (lon < box[2]) & (lat > box[1]) & (lat < box[3])
    tolerance = 1e-4  # degrees: 0.1 pixel
    clear = np.minimum(np.abs(lat - box[1]), np.abs(lat - box[3])) > tolerance
    assert expected.any()
    assert np.array_equal(found[clear], expected[clear])


def test_a_country_does_not_hinder(tmp_path):
    world = AreaRef(bbox=(-180, -90, 180, 90))
    assert valid_pixels(tmp_path, world).all()


GRIDS_AROUND = {
    "zone 60": (Affine(100, 0, 734_000, 0, -100, 5_000_000), "EPSG:32660", (179.98, 45.085, -179.978, 45.105)),
    "zone 1": (Affine(100, 0, 262_000, 0, -100, 5_000_000), "EPSG:32601", (179.98, 45.085, -179.978, 45.105)),
    "degrees beyond 180": (Affine(0.01, 0, 179.7, 0, -0.01, 45.1), "EPSG:4326", (179.98, 44.95, -179.77, 45.05)),
    "degrees below -180": (Affine(0.01, 0, -180.3, 0, -0.01, 45.1), "EPSG:4326", (179.98, 44.95, -179.77, 45.05)),
    "0 to 360": (Affine(0.01, 0, 200, 0, -0.01, 45.1), "EPSG:4326", (-159.9, 44.95, -159.8, 45.05)),
    "antarctic": (Affine(9_000, 0, -180_000, 0, -9_000, 180_000), "EPSG:3031", (170, -89.5, -170, -88)),
    "arctic, all around": (Affine(9_000, 0, -180_000, 0, -9_000, 180_000), "EPSG:3413", (-180, 89, 180, 90)),
    "the world": (Affine(9_000, 0, -180_000, 0, -9_000, 180_000), "EPSG:3413", (-180, -90, 180, 90)),
    "the world, zone 60": (Affine(100, 0, 734_000, 0, -100, 5_000_000), "EPSG:32660", (-180, -90, 180, 90)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("transform", "crs", "bbox"), GRIDS_AROUND.values(), ids=GRIDS_AROUND.keys()
)
def test_antimeridian_and_poles(tmp_path, transform, crs, bbox):
    path = write(tmp_path / "s.tif", np.ones((40, 40), np.uint8), transform=transform, crs=crs)
    band = band_of(path)
    scene = clip_scene(Scene("s", {"red": band}, band.grid), AreaRef(bbox=bbox))
    pixels = ScenePixels(scene)
    found = pixels.read(["red"], full_window(band.grid)).valid
    pixels.close()
    rows, cols = np.indices((40, 40)) + 0.5
    change = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    lon, lat = change.transform(*(transform @ (cols, rows)))
    west, south, east, north = bbox
    span = 360 if east - west == 360 else (east - west) % 360
    off = (lon - west) % 360
    wanted = (off < span) & (lat > south) & (lat < north)
    near = np.minimum(np.abs(off - span), np.abs(lat - south)) < 1e-4
    assert wanted.any()
    assert np.array_equal(found[~near], wanted[~near])


@given(st.integers(0, 99), st.integers(0, 119), st.integers(1, 40), st.integers(1, 40))
def test_touches_is_never_wrong_about_pixels(y, x, height, width):
    wkt = part(ROTATED, 30.2, 30.7, 60.1, 70.9).wkt
    scene = clip_scene(scene_on(ROTATED), AreaRef(wkt=wkt, crs="EPSG:32629"))
    window = Window(y, x, min(100, y + height), min(120, x + width))
    inside = Window(31, 30, 71, 60)
    if window & inside:
        assert area_touches(scene.area, scene.grid, window)
    if not (window & Window(30, 30, 71, 61)):
        assert not area_touches(scene.area, scene.grid, window)


def save(path, shapes, **options):
    geopandas.GeoDataFrame(geometry=shapes, crs=options.pop("crs", 4326)).to_file(path, **options)
    return str(path)


def test_layers(tmp_path):
    path = tmp_path / "two.gpkg"
    save(path, [shapely.box(0, 0, 1, 1)], layer="one")
    save(path, [shapely.box(2, 2, 3, 3)], layer="two")
    shape, crs = read_area(AreaRef(str(path), layer="two"))
    assert shape.bounds == (2, 2, 3, 3)
    assert crs == "EPSG:4326"
    with pytest.raises(AreaError, match=r"no layer three; it has one, two"):
        read_area(AreaRef(str(path), layer="three"))
    with pytest.raises(AreaError, match=r"several layers .one, two.; say which with area\.layer"):
        read_area(AreaRef(str(path)))
    save(tmp_path / "more.gpkg", [shapely.Point(0, 0)], layer="places")
    save(tmp_path / "more.gpkg", [shapely.box(0, 0, 1, 1)], layer="lake")
    assert read_area(AreaRef(str(tmp_path / "more.gpkg")))[0].area == 1


def test_what_cannot_be_an_area(tmp_path):
    empty = save(tmp_path / "empty.gpkg", [])
    points = save(tmp_path / "points.gpkg", [shapely.Point(0, 0)])
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        bare = save(tmp_path / "bare.gpkg", [shapely.box(0, 0, 1, 1)], crs=None)
    text = tmp_path / "text.gpkg"
    text.write_text("hello")
    refused = {
        AreaRef(empty): "has no features",
        AreaRef(points): "has no polygons, only Point",
        AreaRef(bare): r"bare\.gpkg: has no CRS; say which it is with area\.crs",
        AreaRef(str(text)): "not a vector file that can be read",
        AreaRef(str(tmp_path / "none.gpkg")): "no such file",
        AreaRef(wkt="POLYGON ((0 0, 1"): r"area\.wkt: not WKT",
        AreaRef(wkt="POLYGON EMPTY"): "has no polygons, only empty shapes",
        AreaRef(wkt="POINT (0 0)"): "has no polygons, only Point",
        AreaRef(bbox=(0, 3, 1, 1)): r"is not \[west, south, east, north\]",
        AreaRef(bbox=(3, 0, 1, 1)): "would reach over 358 degrees across the antimeridian",
        AreaRef(bbox=(3, 0, 1, 1), crs="EPSG:32629"): r"is not \[west, south, east, north\]",
        AreaRef(bbox=(0, 0, 1, 1), crs="EPSG:999999"): "the CRS EPSG:999999 is not understood",
    }
    for area, message in refused.items():
        with pytest.raises(AreaError, match=message):
            read_area(area)
    assert read_area(AreaRef(bare, crs="EPSG:4326"))[0].area == 1
    with pytest.raises(AreaError, match="exactly one of file, bbox and wkt"):
        AreaRef()


def test_beside_the_scene():
    with pytest.raises(
        AreaError,
        match=r"area\.bbox: does not touch scene s; it reaches over \[0, 0, 1, 1\] in EPSG:4326, the scene over \[500000, 5899000, 501200, 5900000\] in EPSG:32629",
    ):
        clip_scene(scene_on(), AreaRef(bbox=(0, 0, 1, 1)))
    beside = part(NORTH_UP, 120, 0, 130, 10).wkt
    with pytest.raises(AreaError, match=r"no pixel centre|does not touch"):
        clip_scene(scene_on(), AreaRef(wkt=beside, crs="EPSG:32629"))


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_cut_to_the_bounds_without_resampling(tmp_path, transform):
    stored = np.random.default_rng(2).integers(0, 255, (100, 120)).astype(np.uint8)
    band = band_of(write(tmp_path / "s.tif", stored, transform=transform))
    scene = Scene("s", {"red": band}, band.grid)
    shapes = [part(transform, 10.4, 20.6, 50.4, 30.4), part(transform, 60, 90, 70.5, 140)]
    area = AreaRef(wkt=shapely.union_all(shapes).wkt, crs="EPSG:32629")
    whole, cut = clip_scene(scene, area), clip_scene(scene, area, cut=True)
    assert cut.grid.shape == (80, 61)
    assert cut.grid.affine.almost_equals(transform @ Affine.translation(10, 20), 1e-6)
    patches = []
    for one in (whole, cut):
        pixels = ScenePixels(one)
        patches.append(pixels.read(["red"], full_window(one.grid)))
        pixels.close()
    assert patches[0].valid.sum() == patches[1].valid.sum() == 9 * 40 + 10 * 10
    assert np.array_equal(patches[0].valid[20:, 10:71], patches[1].valid)
    assert np.array_equal(patches[0].values[:, 20:, 10:71], patches[1].values)


def test_cut_on_the_edges_of_pixels_takes_no_more():
    area = AreaRef(wkt=part(NORTH_UP, 10, 20, 50, 30).wkt, crs="EPSG:32629")
    assert clip_scene(scene_on(), area, cut=True).grid.shape == (10, 40)
    # One pixel's centre is enough.
    area = AreaRef(wkt=part(NORTH_UP, 10.4, 20.4, 10.6, 20.6).wkt, crs="EPSG:32629")
    assert clip_scene(scene_on(), area, cut=True).grid.shape == (1, 1)


def test_slivers_between_centres():
    sliver = part(NORTH_UP, 3.6, 0, 4.4, 50).wkt
    with pytest.raises(AreaError, match="no pixel centre of scene s lies in it"):
        clip_scene(scene_on(), AreaRef(wkt=sliver, crs="EPSG:32629"))


def test_lonlat_bounds():
    bounds = lonlat_bounds(AreaRef(bbox=(500_000, 5_800_000, 510_000, 5_810_000), crs="EPSG:32629"))
    assert bounds == pytest.approx((-9, 52.349, -8.853, 52.438), abs=0.01)


def test_lonlat_bounds_take_the_shortest_way_around(tmp_path):
    boxes = [(170, 1, 180, 2), (-180, 0, -175, 1), (-178, -3, -171, 0), (165, 0, 166, 1)]
    path = save(tmp_path / "a.gpkg", [shapely.box(*box) for box in boxes])
    bounds = {
        AreaRef(path): (165, -3, -171, 2),
        AreaRef(bbox=(179, 0, -179, 1)): (179, 0, -179, 1),
        AreaRef(bbox=(-180, 0, 180, 1)): (-180, 0, 180, 1),
        AreaRef(bbox=(179, 0, 181, 1)): (179, 0, -179, 1),
        AreaRef(bbox=(734_000, 4_900_000, 740_000, 4_901_000), crs="EPSG:32660"): (
            179.93, 44.21, -179.99, 44.23,
        ),
    }  # fmt: skip
    for area, wanted in bounds.items():
        assert lonlat_bounds(area) == pytest.approx(wanted, abs=0.01)
