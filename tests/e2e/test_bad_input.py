"""Bad scenes, areas and catalogs: one clear error, exit code 2, and nothing is written."""

import json
import socket
import warnings
import zipfile

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from packages import BANDS, write_package
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from refusals import Cases, Desk, check_refused


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


SAFE = "S2A_MSIL2A_20240601T100031_N0510_R122_T33UUP_20240601T140000.SAFE"
SAFE_METADATA = """<?xml version="1.0"?>
<Product><PRODUCT_START_TIME>2024-06-01T10:00:31.024Z</PRODUCT_START_TIME>
<PROCESSING_BASELINE>05.10</PROCESSING_BASELINE>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
<BOA_ADD_OFFSET band_id="1">-1000</BOA_ADD_OFFSET></Product>"""

MARS = (
    'GEOGCS["Mars 2000",DATUM["Mars 2000",SPHEROID["Mars 2000",3396190,169.9]],'
    'PRIMEM["Reference meridian",0],UNIT["degree",0.0174532925199433]]'
)

case = Cases()


# --- scenes -----------------------------------------------------------------------------------


def _cut(desk: Desk, share: float, **options) -> list[str]:
    request = desk.workflow()
    desk.scene(side=300, **options)
    path = desk.folder / "in/scene.tif"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return request


@case("in/scene.tif", "truncated", "bytes are missing", "get the file again")
def a_scene_cut_in_the_middle(desk):
    return _cut(desk, 0.5)


@case("in/scene.tif", "truncated")
def a_scene_cut_just_before_its_end(desk):
    return _cut(desk, 0.999, tiled=True, blockxsize=64, blockysize=64, compress="deflate")


@case("in/scene.tif", "not a raster that can be read")
def a_scene_cut_in_its_header(desk):
    return _cut(desk, 100 / (300 * 300 * 12))


@case("in/scene.tif", "not a raster that can be read")
def a_scene_cut_after_its_magic_number(desk):
    return _cut(desk, 8 / (300 * 300 * 12))


@case("in/scene.tif", "not a raster that can be read")
def text_called_tif(desk):
    request = desk.workflow()
    desk.write("in/scene.tif", "this is no image\n")
    return request


@case("in/scene.tif", "georeference")
def a_png_called_tif(desk):
    request = desk.workflow()
    desk.scene(driver="PNG", bands=3, dtype="uint8")
    (desk.folder / "in/scene.tif.aux.xml").unlink()
    return request


@case("in/scene.tif", "not a raster that can be read")
def a_zip_called_tif(desk):
    request = desk.workflow()
    with zipfile.ZipFile(desk.folder / "in/scene.tif", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return request


@case("in/scene.tif", "the file is empty", "get it again")
def an_empty_file(desk):
    request = desk.workflow()
    desk.write("in/scene.tif", b"")
    return request


@case("in/scene.tif", "another body than the Earth (Mars", "3396 km")
def a_scene_of_mars(desk):
    request = desk.workflow()
    desk.scene(crs=MARS, transform=Affine(0.01, 0, 10, 0, -0.01, 5))
    return request


@case("in/deep", "a folder without rasters", "write deep/**/*.tif")
def a_folder_of_folders_as_scenes(desk):
    (desk.folder / "in/deep/er").mkdir(parents=True)
    return desk.workflow(input={"path": "in/deep"})


@case("in/scenes.tif", "no such file", "did you mean in/scene.tif?")
def a_misspelt_scene(desk):
    return desk.workflow(input={"path": "in/scenes.tif"})


@case("scenes/a.tif", "no such file", "there is no folder", "/scenes")
def a_scene_in_a_folder_that_is_not_there(desk):
    return desk.workflow(input={"path": "scenes/a.tif"})


@case("in/none.tif", "no such file in ", "/in")
def a_missing_scene(desk):
    return desk.workflow(input={"path": "in/none.tif"})


@case("in/*.jp2", "no file matches", "holds scene.tif")
def a_pattern_without_files(desk):
    return desk.workflow(input={"path": "in/*.jp2"})


@case("input.bands", "swir22", "which the model needs")
def bands_that_the_model_does_not_know(desk):
    names = ["blau", "green", "red", "nir", "swir16", "ultra"]
    return desk.workflow(input={"bands": names})


@case("in/scene.tif", "names 6 bands", "the file has 4")
def fewer_bands_than_names(desk):
    desk.scene(bands=4)
    return desk.workflow()


@case("in/scene.tif", "no band 9 for swir22", "bands 1 to 6")
def a_band_number_out_of_range(desk):
    numbers = {name: {"index": i} for i, name in enumerate(BANDS, 1)} | {"swir22": {"index": 9}}
    return desk.workflow(input={"bands": numbers})


@case("scene", "bands")
def a_file_that_names_no_bands(desk):
    return desk.workflow(input={"bands": ...})


@case("in/scene.tif", "no CRS", "input.crs: EPSG:")
def no_crs(desk):
    desk.scene(crs=None)
    return desk.workflow()


@case("in/scene.tif", "EPSG:32629", "input.crs says EPSG:32630", "leave input.crs out")
def another_crs_than_the_files(desk):
    return desk.workflow(input={"crs": "EPSG:32630"})


@case("EPSG:99999", "not understood")
def a_crs_that_does_not_exist(desk):
    desk.scene(crs=None)
    return desk.workflow(input={"crs": "EPSG:99999"})


@case("in/scene.tif", "ground control points", "gdalwarp")
def only_ground_control_points(desk):
    points = [GroundControlPoint(r, c, c * 10.0, r * 10.0) for r, c in ((0, 0), (0, 9), (9, 0))]
    request = desk.workflow()
    with rasterio.open(
        desk.folder / "in/scene.tif", "w", driver="GTiff", width=10, height=10, count=6,
        dtype="uint16", gcps=points, crs="EPSG:32629",
    ) as file:  # fmt: skip
        file.write(np.ones((6, 10, 10), "uint16"))
    return request


@case("in/scene.tif", "no geotransform", "georeference it first")
def no_geotransform(desk):
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        desk.scene(transform=Affine.identity())
    return desk.workflow()


@case("in/scene.tif", "complex64", "magnitude")
def complex_numbers(desk):
    desk.scene(dtype="complex64")
    return desk.workflow()


@case("scene", "units", "reflectance", "input.units")
def floats_without_units(desk):
    desk.scene(dtype="float32")
    return desk.workflow(input={"units": ..., "scale": ...})


@case("scene", "reflectance", "input.scale")
def stored_numbers_for_a_reflectance_model(desk):
    return desk.workflow(input={"units": "dn", "scale": ...})


@case("scene", "dn", "reflectance")
def reflectance_for_a_model_of_stored_numbers(desk):
    stored = write_package(desk.folder / "models", "stored", units="dn")
    return desk.workflow(model={"path": str(stored)})


@case("test.yaml:1:", "input.date", "'2024-13-01'")
def a_scene_date_that_does_not_exist(desk):
    return desk.workflow(input={"date": "2024-13-01"})


@case("mask", "no such file")
def a_missing_mask(desk):
    return desk.workflow(input={"mask": {"method": "scl", "path": "in/mask.tif"}})


@case("in/scene.tif", "no band 12 for mask", "bands 1 to 6")
def a_mask_band_out_of_range(desk):
    return desk.workflow(input={"mask": {"method": "scl", "index": 12}})


@case(SAFE.removesuffix(".SAFE"), "no band green, swir16, swir22", "it has blue, red, nir")
def a_safe_folder_without_a_band(desk):
    images = f"in/{SAFE}/GRANULE/L2A_T33UUP/IMG_DATA/R10m"
    options = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
    for band in ("B02", "B04", "B08"):
        desk.scene(f"{images}/T33UUP_20240601T100031_{band}_10m.jp2", bands=1, **options)
    desk.write(f"in/{SAFE}/MTD_MSIL2A.xml", SAFE_METADATA)
    return ["predict", f"in/{SAFE}", "out", "--model", desk.model]


# --- areas ------------------------------------------------------------------------------------


def _area(desk: Desk, shapes: list[shapely.Geometry], **options) -> str:
    path = desk.folder / "in/area.gpkg"
    path.parent.mkdir(exist_ok=True)
    frame = geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32629")
    frame.to_file(path, layer="lake", engine="pyogrio", **options)
    return "in/area.gpkg"


@case("in/area.gpkg", "no such file")
def a_missing_area(desk):
    return desk.workflow(area={"file": "in/area.gpkg"})


@case("in/area.gpkg", "no features")
def an_area_without_features(desk):
    desk.scene()
    return desk.workflow(area={"file": _area(desk, [], geometry_type="Polygon")})


@case("in/area.gpkg", "no polygons", "Point")
def an_area_of_points(desk):
    desk.scene()
    return desk.workflow(area={"file": _area(desk, [shapely.Point(500_000, 5_900_000)])})


@case("in/area.gpkg", "does not touch scene scene", "EPSG:32629")
def an_area_beside_the_scene(desk):
    desk.scene()
    return desk.workflow(area={"file": _area(desk, [shapely.box(0, 0, 1, 1)])})


@case("in/area.gpkg", "no layer laek", "it has lake")
def an_area_with_an_unknown_layer(desk):
    desk.scene()
    file = _area(desk, [shapely.box(0, 0, 1, 1)])
    return desk.workflow(area={"file": file, "layer": "laek"})


@case("in/area.geojson", "not a vector file that can be read")
def an_area_that_is_no_vector_file(desk):
    desk.scene()
    return desk.workflow(area={"file": desk.write("in/area.geojson", "no shapes")})


@case("area.wkt", "not WKT", "end of stream")
def an_area_of_broken_wkt(desk):
    return desk.workflow(area={"wkt": "POLYGON ((0 0, 1 1"})


@case("area.wkt", "expected POLYGON")
def an_area_that_is_a_point(desk):
    return desk.workflow(area={"wkt": "POINT (0 0)"})


@case("test.yaml:", "area.bbox", "west < east", "[-9.1, 53, -9.2, 53.1]")
def a_box_with_its_sides_swapped(desk):
    return desk.workflow(area={"bbox": [-9.1, 53.0, -9.2, 53.1]})


@case("test.yaml:", "area.bbox", "degrees")
def a_box_in_metres_without_a_crs(desk):
    return desk.workflow(area={"bbox": [500_000, 5_800_000, 600_000, 5_900_000]})


# --- catalogs ---------------------------------------------------------------------------------


@case("in/catalog.json", "cannot be read")
def a_missing_catalog(desk):
    return desk.stac()


@case("in/catalog.json", "not JSON")
def a_catalog_that_is_not_json(desk):
    desk.write("in/catalog.json", "<html>404</html>")
    return desk.stac()


@case("in/catalog.json", "not a STAC catalog")
def json_that_is_no_catalog(desk):
    desk.write("in/catalog.json", '{"type": "FeatureCollections"}')
    return desk.stac()


@case("in/catalog.json", "not a STAC catalog")
def a_catalog_that_is_a_list(desk):
    desk.write("in/catalog.json", "[1, 2]")
    return desk.stac()


@case("in/catalog.json", "has no items")
def a_catalog_without_items(desk):
    desk.write("in/catalog.json", '{"type": "FeatureCollection", "features": []}')
    return desk.stac()


def _items(desk: Desk, *assets: str) -> None:
    """A catalog of one item whose assets are bands of a file."""
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "june",
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "bbox": [-10, 50, 10, 60],
        "properties": {"datetime": "2024-06-01T10:00:00Z", "eo:cloud_cover": 80},
        "links": [],
        "assets": {
            name: {"href": "./scene.tif", "roles": ["data"], "eo:bands": [{"common_name": name}]}
            for name in assets
        },
    }
    catalog = {"type": "FeatureCollection", "features": [item]}
    desk.write("in/catalog.json", json.dumps(catalog))


@case("in/catalog.json", "none of 1 items matches", "max_cloud 20")
def a_catalog_without_a_matching_item(desk):
    _items(desk, *BANDS)
    return desk.stac(max_cloud=20)


@case("june", "no band", "swir22")
def an_item_without_a_band(desk):
    _items(desk, "blue", "green", "red", "nir", "swir16")
    return desk.stac()


@case("in/scene.tif", "no such file")
def an_item_whose_file_is_missing(desk):
    _items(desk, *BANDS)
    return desk.stac()


@case("127.0.0.1", "cannot be read (Connection refused)")
def a_catalog_on_a_server_that_does_not_answer(desk):
    return desk.stac(catalog=f"http://127.0.0.1:{_closed_port()}/catalog.json")


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)
