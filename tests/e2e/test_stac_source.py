"""Static STAC catalogs from disk and from a real server, in the dialects that are about."""

import functools
import http.server
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from rasters import NORTH_UP, write

from geoseg.errors import CatalogError, SceneError
from geoseg.grid import full_window
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef, MaskRef, Overrides
from geoseg.io.stac import StacSource

STORED = np.arange(1, 31, dtype=np.uint16).reshape(5, 6)
MADE = [("b_item", 3, 10), ("a_item", 3, 80), ("c_item", 1, 10), ("d_item", 2, None)]


def asset(path, common, *, complete, **said):
    """A band in the way of STAC 1.0 extensions, with or without all that opening would tell."""
    fields = {"eo:bands": [{"name": common, "common_name": common}]}
    if complete:
        with rasterio.open(path) as file:
            fields |= {
                "proj:shape": list(file.shape),
                "proj:transform": list(file.transform)[:6],
                "raster:bands": [{"data_type": file.dtypes[0], "nodata": 0} | said],
            }
    return pystac.Asset(
        path.name, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields
    )


def item(folder, name, day, cloud, *, complete):
    files = {}
    for common, factor in (("red", 1), ("nir", 2)):
        path = folder / name / f"{common}.tif"
        write(path, STORED, transform=NORTH_UP @ Affine.scale(factor), nodata=0)
        files[common] = asset(path, common, complete=complete)
    scl = np.full((5, 6), 4, np.uint8)
    scl[0, 0] = 9
    write(folder / name / "scl.tif", scl)
    files["scl"] = pystac.Asset("scl.tif", media_type=pystac.MediaType.COG, roles=["data"])
    files["thumbnail"] = pystac.Asset("t.png", media_type="image/png", roles=["thumbnail"])
    made = pystac.Item(
        name,
        {"type": "Point", "coordinates": [-9, 53]},
        [-9.1, 52.9, -8.9, 53.1],
        datetime(2024, 6, day, tzinfo=UTC),
        {"proj:code": "EPSG:32629"} | ({} if cloud is None else {"eo:cloud_cover": cloud}),
    )
    made.assets = files
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("catalog")
    catalog = pystac.Catalog("root", "all of it")
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    for collection, names in (("one", MADE[:3]), ("two", MADE[3:])):
        child = pystac.Collection(collection, "some", extent)
        catalog.add_child(child)
        for number, (name, day, cloud) in enumerate(names):
            child.add_item(item(root / collection, name, day, cloud, complete=number == 0))
    catalog.normalize_and_save(str(root), pystac.CatalogType.SELF_CONTAINED)
    return root


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves byte ranges, as real servers do; GDAL needs them."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        path = self.translate_path(self.path)
        if not wanted.startswith("bytes="):
            super().do_GET()
            return
        try:
            content = Path(path).read_bytes()
        except OSError:
            self.send_error(404)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start : end + 1])


@pytest.fixture(scope="module")
def server(folder):
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(params=["disk", "http"])
def catalog(request, folder):
    base = str(folder) if request.param == "disk" else request.getfixturevalue("server")
    return f"{base}/catalog.json"


def test_scenes_by_date_then_id(catalog):
    scenes = StacSource(catalog).scenes(["red", "nir"])
    assert [scene.id for scene in scenes] == ["c_item", "d_item", "a_item", "b_item"]
    assert scenes[0].acquired == datetime(2024, 6, 1, tzinfo=UTC)
    assert scenes[0].grid.affine == NORTH_UP


def test_pixels_from_disk_and_server(catalog):
    mask = MaskRef("scl", dilate=10, dilate_unit="m")
    for scene in StacSource(catalog, mask=mask).scenes(["nir", "red"]):
        pixels = ScenePixels(scene)
        patch = pixels.read(["red", "nir"], full_window(scene.grid))
        pixels.close()
        assert (patch.values[0] == np.where(patch.valid, STORED, 0)).all()
        assert patch.valid.sum() == 30 - 3
        assert scene.bands["nir"].grid.affine == NORTH_UP @ Affine.scale(2)


def test_complete_metadata_open_no_file(folder):
    (scene,) = StacSource(str(folder / "catalog.json"), ids=("b_item",)).scenes(["red"])
    hidden = [
        path.rename(path.with_suffix(".gone")) for path in (folder / "one/b_item").glob("*.tif")
    ]
    try:
        assert StacSource(str(folder / "catalog.json"), ids=("b_item",)).scenes(["red"]) == [scene]
    finally:
        for path in hidden:
            path.rename(path.with_suffix(".tif"))
    band = scene.bands["red"]
    assert (band.dtype, band.nodata, band.grid.shape) == ("uint16", 0, (5, 6))


@pytest.mark.parametrize(
    ("wish", "ids"),
    [
        ({"collections": ("two",)}, ["d_item"]),
        ({"ids": ("a_item", "c_item")}, ["c_item", "a_item"]),
        ({"max_cloud": 50}, ["c_item", "d_item", "b_item"]),
        ({"time": (datetime(2024, 6, 2, tzinfo=UTC), None)}, ["d_item", "a_item", "b_item"]),
        ({"time": (None, datetime(2024, 6, 2))}, ["c_item", "d_item"]),  # noqa: DTZ001 (without zone)
        ({"bbox": (-8.95, 53.0, 0, 60)}, ["c_item", "d_item", "a_item", "b_item"]),
    ],
)
def test_filters(folder, wish, ids):
    items = StacSource(str(folder / "catalog.json"), **wish).items()
    assert [found.id for found in items] == ids


def test_nothing_matches(folder):
    source = StacSource(
        str(folder / "catalog.json"),
        collections=("one",),
        time=(datetime(2024, 6, 3, tzinfo=UTC), None),
        max_cloud=5,
    )
    with pytest.raises(CatalogError) as caught:
        source.scenes(["red"])
    assert str(caught.value).endswith(
        "none of 4 items matches; left out: 2 by max_cloud 5, 1 by time 2024-06-03/.., "
        "1 by collections [one]; the catalog has items of: one, two"
    )
    with pytest.raises(CatalogError, match=r"4 by area"):
        StacSource(str(folder / "catalog.json"), bbox=(0, 0, 1, 1)).items()


def test_item_collections_items_and_collections(folder, tmp_path):
    whole = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = [found.full_copy() for found in whole.get_items(recursive=True)]
    for found in items:
        found.make_asset_hrefs_absolute()
    pystac.ItemCollection(items).save_object(str(tmp_path / "search.json"))
    assert len(StacSource(str(tmp_path / "search.json")).scenes(["red"])) == 4
    assert len(StacSource(str(folder / "one/collection.json")).scenes(["red"])) == 3
    single = StacSource(str(folder / "one/a_item/a_item.json"))
    assert [scene.id for scene in single.scenes(["red"])] == ["a_item"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("{}", "not a STAC catalog"),
        ("[]", "not a STAC catalog"),
        ('{"type": "FeatureCollection", "features": []}', "has no items"),
        ('{"type": "FeatureCollection", "features": [{}]}', "not a STAC catalog"),
        ('{"type": "Catalog", "conformsTo": []}', "is a STAC API that cannot search"),
    ],
)
def test_what_is_no_catalog(tmp_path, content, message):
    path = tmp_path / "catalog.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CatalogError, match=rf"catalog\.json: .*{message}"):
        StacSource(str(path)).items()


def test_links_that_lead_nowhere(folder, server, tmp_path):
    with pytest.raises(CatalogError, match=r"none\.json: cannot be read .*404"):
        StacSource(f"{server}/none.json").items()
    broken = json.loads((folder / "one/collection.json").read_text())
    (tmp_path / "collection.json").write_text(json.dumps(broken))
    with pytest.raises(CatalogError, match=r"b_item\.json: cannot be read \(No such file"):
        StacSource(str(tmp_path / "collection.json")).items()


def test_a_catalog_that_links_to_itself(tmp_path):
    links = [{"rel": "child", "href": "./catalog.json"}]
    content = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "x",
        "description": "",
        "links": links,
    }
    (tmp_path / "catalog.json").write_text(json.dumps(content))
    with pytest.raises(CatalogError, match="has no items"):
        StacSource(str(tmp_path / "catalog.json")).items()


def from_fields(tmp_path, assets, **properties):
    """A source of one item whose assets are given as JSON; each file exists."""
    for said in assets.values():
        path = tmp_path / said["href"]
        if not path.exists() and path.suffix == ".tif":
            write(path, np.ones((4, 4, 5), np.uint16), nodata=0)
    content = {
        "type": "Feature",
        "stac_version": properties.pop("version", "1.0.0"),
        "id": properties.pop("id", "x"),
        "geometry": None,
        "properties": {"datetime": "2024-01-01T00:00:00Z"} | properties,
        "links": [],
        "assets": assets,
    }
    (tmp_path / "item.json").write_text(json.dumps(content))
    return str(tmp_path / "item.json")


def bands_of(source, wanted):
    (scene,) = source.scenes(wanted)
    return scene, {n: (b.uri.rpartition("/")[2], b.index) for n, b in scene.bands.items()}


def test_stac_1_1_bands_of_one_asset(tmp_path):
    said = [{"name": "one"}, {"eo:common_name": "green"}, {"name": "n", "eo:common_name": "nir"}]
    said[2] |= {"raster:scale": 0.5, "raster:offset": -1, "nodata": 7, "data_type": "uint16"}
    href = from_fields(tmp_path, {"data": {"href": "a.tif", "bands": said}}, version="1.1.0")
    scene, found = bands_of(StacSource(href), ["nir", "green"])
    assert found == {"nir": ("a.tif", 3), "green": ("a.tif", 2)}
    nir = scene.bands["nir"]
    assert (nir.scale, nir.offset, nir.nodata) == (0.5, -1, 7)
    chosen = StacSource(href, bands={"nir": BandRef("data", 4), "green": BandRef("data")})
    assert bands_of(chosen, ["nir", "green"])[1] == {"nir": ("a.tif", 4), "green": ("a.tif", 2)}


def test_the_finest_asset_that_is_no_picture(tmp_path):
    def said(href, **more):
        return {"href": href, "eo:bands": [{"name": "B02", "common_name": "blue"}]} | more

    jp2 = "image/jp2"
    assets = {
        "B02_60m": said("c.tif", gsd=60),
        "B02_jp2": said("a.jp2", gsd=10, type=jp2),
        "B02_10m": said("a.tif", gsd=10),
        "visual": said("v.tif", gsd=1, roles=["visual"]),
        "preview": said("p.tif"),
    }
    assert bands_of(StacSource(from_fields(tmp_path, assets)), ["blue"])[1] == {
        "blue": ("a.tif", 1)
    }


def test_bands_by_asset_key(tmp_path):
    sentinel = {key: {"href": f"{key}.tif"} for key in ("B04", "B8A", "B05", "B06", "SCL")}
    sentinel["B05"]["eo:bands"] = [{"name": "B05", "common_name": "rededge"}]
    href = from_fields(tmp_path, sentinel)
    _, found = bands_of(StacSource(href), ["nir", "red", "rededge071", "rededge075"])
    assert {name: file for name, (file, _) in found.items()} == {
        "nir": "B8A.tif",
        "red": "B04.tif",
        "rededge071": "B05.tif",
        "rededge075": "B06.tif",
    }
    landsat = {key: {"href": f"{key}.tif"} for key in ("SR_B5", "QA_PIXEL")}
    href = from_fields(tmp_path, landsat, platform="landsat-9")
    scene, found = bands_of(StacSource(href, mask=MaskRef("qa_pixel")), ["nir"])
    assert found == {"nir": ("SR_B5.tif", 1)}
    assert scene.masks[0].uri.endswith("QA_PIXEL.tif")


def test_bands_by_the_files_own_descriptions(tmp_path):
    write(tmp_path / "a.tif", np.ones((2, 4, 5), np.uint8), names=("red", "nir"))
    href = from_fields(tmp_path, {"image": {"href": "a.tif"}})
    scene, found = bands_of(StacSource(href), ["nir"])
    assert found == {"nir": ("a.tif", 2)}
    assert scene.units == "dn"


BLUE = [{"name": "B02", "common_name": "blue"}]
EARTH_SEARCH = {"scale": 1e-4, "offset": -0.1, "nodata": 0, "data_type": "uint16"}


@pytest.mark.parametrize(
    ("raster", "properties", "roles", "expected"),
    [
        (EARTH_SEARCH, {}, ["data", "reflectance"], (1e-4, -0.1, "reflectance")),
        (
            EARTH_SEARCH,
            {"earthsearch:boa_offset_applied": True},
            ["data", "reflectance"],
            (1e-4, 0, "reflectance"),
        ),
        (None, {"s2:processing_baseline": "05.09"}, ["data"], (1e-4, -0.1, "reflectance")),
        (None, {"s2:processing_baseline": "02.14"}, ["data"], (1e-4, 0, "reflectance")),
        (None, {}, ["data", "reflectance"], (1, 0, None)),
        ({"scale": 0.01}, {}, ["data"], (0.01, 0, None)),
    ],
)
def test_what_sentinel_2_numbers_mean(tmp_path, raster, properties, roles, expected):
    said = {"href": "a.tif", "eo:bands": BLUE, "roles": roles}
    if raster:
        said["raster:bands"] = [raster]
    href = from_fields(tmp_path, {"blue": said}, constellation="sentinel-2", **properties)
    (scene,) = StacSource(href).scenes(["blue"])
    band = scene.bands["blue"]
    assert (band.scale, band.offset, scene.units) == expected
    overrides = Overrides(scale=2, offset=3, nodata="none", units="dn", resampling="cubic")
    (scene,) = StacSource(href, overrides=overrides).scenes(["blue"])
    band = scene.bands["blue"]
    assert (band.scale, band.offset, band.nodata, scene.units) == (2, 3, None, "dn")
    assert band.resampling == "cubic"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "scene x: no band nir; it has red"),
        ({"bands": {"nir": BandRef("B8")}}, "scene x: no asset B8 for band nir; it has red, scl"),
        ({"bands": ("red",)}, "scene x: no band nir; it has red"),
    ],
)
def test_bands_that_are_not_there(tmp_path, source, message):
    href = from_fields(tmp_path, {"red": {"href": "a.tif"}, "scl": {"href": "s.tif"}})
    with pytest.raises(SceneError, match=message):
        StacSource(href, **source).scenes(["nir"])


def test_masks_and_files_that_are_not_there(tmp_path):
    href = from_fields(tmp_path, {"red": {"href": "a.tif"}, "green": {"href": "none.tiff"}})
    with pytest.raises(
        SceneError, match=r"no asset scl for the mask; say which with input\.mask\.asset"
    ):
        StacSource(href, mask=MaskRef("scl")).scenes(["red"])
    with pytest.raises(SceneError, match=r"none\.tiff: no such file"):
        StacSource(href).scenes(["green"])


def test_catalog_entries_that_are_wrong(tmp_path):
    said = {
        "href": "a.tif",
        "proj:epsg": 32629,
        "proj:shape": [4, 9],
        "proj:transform": list(NORTH_UP)[:6],
        "raster:bands": [{"data_type": "uint16", "nodata": 0}],
    }
    (scene,) = StacSource(from_fields(tmp_path, {"red": said})).scenes(["red"])
    pixels = ScenePixels(scene)
    with pytest.raises(SceneError, match="its catalog entry is wrong"):
        pixels.read(["red"], full_window(scene.grid))
    pixels.close()
