"""Real scenes: awkward files, SAFE, Landsat, NAIP, drone; each is read, or refused in one line."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.api import vectorize
from geoseg.errors import SceneError
from geoseg.grid import Window, full_window
from geoseg.io.area import AreaRef, clip_scene
from geoseg.io.files import FilesSource
from geoseg.io.footprint import footprint
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef, MaskRef

pytestmark = pytest.mark.data

REFUSED = {
    "README.md": "not a raster that can be read",
    "rasterio__corrupt.tif": "truncated, at least",
    "rasterio__float_nan.tif": "no CRS; say which it is with input.crs",
    "rasterio__rotated.tif": "no CRS; say which it is with input.crs",
    "rio-tiler__cog_gcps.tif": "has ground control points but no geotransform",
    "rioxarray__test_rpcs.tif": "has RPCs but no geotransform",
}


def read(scene, window=None):
    pixels = ScenePixels(scene)
    at = full_window(scene.grid) if window is None else window
    patch = pixels.read(list(scene.bands), at)
    pixels.close()
    return patch


def test_awkward_files(data_dir):
    refused, seen = {}, 0
    for path in sorted((data_dir / "awkward").iterdir()):
        try:
            (scene,) = FilesSource((str(path),), ("first",)).scenes(["first"])
            patch = read(scene, full_window(scene.grid) & Window(0, 0, 1024, 1024))
        except SceneError as error:
            refused[path.name] = str(error)
            continue
        seen += 1
        assert np.isfinite(patch.values).all(), path
        with rasterio.open(path) as file:
            at = tuple((0, n) for n in patch.valid.shape)
            shown = (file.read_masks(1, window=at) > 0) & np.isfinite(file.read(1, window=at))
        assert np.array_equal(patch.valid, shown), path
        assert (patch.values[:, ~patch.valid] == 0).all(), path
    for name, message in refused.items():
        assert message.startswith(str(data_dir / "awkward" / name))
        assert "\n" not in message
        assert REFUSED[name] in message
    assert seen >= 14


def test_awkward_files_have_the_properties_that_they_are_there_for(data_dir):
    def first(name, window=None):
        path = str(data_dir / "awkward" / name)
        (scene,) = FilesSource((path,), ("first",)).scenes(["first"])
        return scene, read(scene, window)

    scene, patch = first("rio-tiler__inverted_lat.tif")
    assert scene.grid.affine.e > 0, "south-up stays south-up: windows are the file's"
    assert not patch.valid.any()
    scene, _ = first("rioxarray__2d_test.tif")
    assert scene.grid.affine.b != 0
    scene, patch = first("rio-tiler__cog_nodata_nan.tif")
    assert 0 < patch.valid.mean() < 1
    assert (patch.values[:, patch.valid] != 0).all()
    scene, patch = first("rasterio__alpha.tif", Window(0, 0, 300, 300))
    assert not patch.valid.any()
    scene, _ = first("test-data__nz_habitat_anticross_4326_1deg.tif")
    geometry, (west, _, east, _) = footprint(scene.grid)
    assert (geometry["type"], west, east) == ("Polygon", -180, 180)
    scene, _ = first("rio-tiler__cog_dateline.tif", Window(0, 0, 64, 64))
    geometry, (west, _, east, _) = footprint(scene.grid)
    assert geometry["type"] == "MultiPolygon"
    assert west > east, "it crosses the antimeridian"
    scene, _ = first("test-data__no_pixelscale_or_tiepoints.tiff")
    assert scene.grid.affine.a == pytest.approx(0.01, rel=0.05)
    scene, patch = first("rio-cogeo__image_webp.tif")
    assert (patch.valid.all(), scene.bands["first"].dtype) == (True, "uint8")


def test_awkward_files_as_maps(data_dir, tmp_path):
    """Outlined is what holds class codes; all else is refused in one line."""
    said = {
        "rasterio__alpha.tif": "is a colour image",
        "rasterio__corrupt.tif": "truncated, at least 8854 bytes are missing",
        "rasterio__float_nan.tif": "no CRS; give it one first",
        "rio-tiler__cog_gcps.tif": "has ground control points but no geotransform",
        "rio-tiler__inverted_lat.tif": "its first band is float32, not class codes",
        "rioxarray__test_rpcs.tif": "has RPCs but no geotransform",
    }
    for name, words in said.items():
        with pytest.raises(SceneError) as caught:
            vectorize(data_dir / "awkward" / name, tmp_path / "out.gpkg")
        assert str(caught.value).startswith(str(data_dir / "awkward" / name))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_files_without_crs_can_be_told(data_dir):
    path = data_dir / "awkward" / "rasterio__float_nan.tif"
    (scene,) = FilesSource((str(path),), ("first",), crs="EPSG:32601").scenes(["first"])
    with rasterio.open(path) as file:
        assert np.array_equal(read(scene).valid, np.isfinite(file.read(1)))


def test_alpha_masks_and_scales_of_awkward_files(data_dir):
    def first(name):
        (scene,) = FilesSource((str(data_dir / "awkward" / name),)).scenes(["red", "blue"])
        return scene, read(scene)

    scene, patch = first("rasterio__RGBA.uint16.tif")
    assert {n: b.index for n, b in scene.bands.items()} == {"red": 3, "blue": 1}
    with rasterio.open(scene.sources[0]) as file:
        assert np.array_equal(patch.valid, file.read(4) > 0)
    scene, patch = first("rio-tiler__cog_rgb_mask.tif")
    with rasterio.open(scene.sources[0]) as file:
        assert np.array_equal(patch.valid, file.dataset_mask() > 0)
    path = str(data_dir / "awkward" / "rio-tiler__cog_scale.tif")
    (scene,) = FilesSource((path,), ("a", "b")).scenes(["a", "b"])
    assert [(b.scale, b.offset) for b in scene.bands.values()] == [(1e-4, 1000), (1e-3, 2000)]


@pytest.fixture
def safe(data_dir):
    return str(data_dir / "s2_l2a_T29UNU_safe" / "*.SAFE")


def test_sentinel_2_safe(safe):
    mask = MaskRef("scl", dilate=60, dilate_unit="m")
    wanted = ["blue", "green", "red", "nir", "swir16", "swir22"]
    (scene,) = FilesSource((safe,), mask=mask).scenes(wanted)
    assert scene.acquired == datetime(2022, 10, 5, 11, 54, 11, 24_000, tzinfo=UTC)
    assert scene.bands["nir"].uri.endswith("B8A_60m.jp2")
    assert [m.grid.shape for m in scene.masks] == [(5490, 5490)]
    window = Window(900, 700, 1300, 1200)
    patch = read(scene, window)
    assert 0 < patch.valid.mean() < 1
    for name, values in zip(scene.bands, patch.values, strict=True):
        with rasterio.open(scene.bands[name].uri) as file:
            stored = file.read(1, window=((900, 1300), (700, 1200)))
        assert np.array_equal(values[patch.valid], stored[patch.valid])
        assert (stored[patch.valid] != 0).all()
    reflectance = patch.values * patch.scale[:, None, None] + patch.offset[:, None, None]
    assert 0 < np.median(reflectance[0][patch.valid]) < 0.4
    with pytest.raises(SceneError, match="no band coastal"):
        FilesSource((safe,)).scenes(["coastal"])


def test_scl_is_nearest_and_windows_agree(safe):
    (scene,) = FilesSource((safe,), mask=MaskRef("scl")).scenes(["blue"])
    mask = scene.masks[0]
    with (
        rasterio.open(mask.uri) as source,
        WarpedVRT(
            source,
            crs=source.crs,
            transform=scene.grid.affine,
            height=scene.grid.shape[0],
            width=scene.grid.shape[1],
            resampling=Resampling.nearest,
            tolerance=1e-9,
        ) as warped,
    ):
        codes = warped.read(1, window=((0, 1830), (600, 1100)))
    with rasterio.open(scene.bands["blue"].uri) as file:
        blue = file.read(1, window=((0, 1830), (600, 1100)))
    expected = ~np.isin(codes, mask.values) & (blue != 0)
    patch = read(scene, Window(0, 600, 1830, 1100))
    assert np.array_equal(patch.valid, expected)
    small = read(scene, Window(1001, 777, 1100, 1003))
    assert np.array_equal(small.values, patch.values[:, 1001:1100, 177:403])


def test_landsat_bands_by_file(data_dir):
    folder = f"{data_dir}/landsat8_scene_overviews_qa"
    numbers = {"blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
    bands = {n: BandRef(f"{folder}/{{scene}}_SR_B{i}.TIF") for n, i in numbers.items()}
    source = FilesSource(
        bands=bands,
        scale=0.0000275,
        offset=-0.2,
        units="reflectance",
        mask=MaskRef("qa_pixel", f"{folder}/{{scene}}_QA_PIXEL.TIF"),
    )
    scenes = source.scenes(["nir", "red", "swir16"])
    assert [scene.acquired.year for scene in scenes] == [2019, 2013]
    assert [list(scene.bands) for scene in scenes] == [["nir", "red", "swir16"]] * 2
    # One is very cloudy, of the other nothing but cloud is to be seen.
    for scene, share in zip(scenes, (0.0814, 0), strict=True):
        patch = read(scene)
        assert patch.valid.mean() == pytest.approx(share, abs=1e-4)
        with rasterio.open(scene.masks[0].uri) as file:
            assert (file.read(1)[patch.valid] & 0b11011 == 0).all()


def test_naip_and_drone(data_dir):
    naip = str(data_dir / "naip_north_dakota_wetlands" / "*.tif")
    scenes = FilesSource((naip,), ("red", "green", "blue", "nir")).scenes(["nir", "red"])
    assert [scene.acquired.year for scene in scenes] == [2009, 2017]
    for scene in scenes:
        assert scene.units == "dn"
        assert scene.masks == ()
        assert read(scene).valid.mean() > 0.9
    drone = str(data_dir / "drone_oam_kampala_7cm" / "ortho.tif")
    (scene,) = FilesSource((drone,)).scenes(["red", "green", "blue"])
    assert scene.units == "dn"
    assert read(scene, Window(0, 0, 256, 256)).values.shape == (3, 256, 256)


def test_an_area_from_a_file(data_dir):
    folder = data_dir / "drone_oam_kampala_7cm"
    (scene,) = FilesSource((str(folder / "ortho.tif"),)).scenes(["red"])
    # One of its polygons is invalid.
    clipped = clip_scene(scene, AreaRef(str(folder / "buildings.geojson")))
    share = read(clipped).valid.mean()
    assert 0.02 < share < 0.9
