"""Public archives by name: each of their collections, with a stored item of its kind."""

import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pystac
import pytest
from conftest import ROOT
from rasters import NORTH_UP, write

from geoseg.errors import CatalogError, SceneError
from geoseg.grid import full_window
from geoseg.io import archive as archive_module
from geoseg.io.archive import archive_names, find_archive, load_archive
from geoseg.io.asset_address import asset_href
from geoseg.io.headers import read_header
from geoseg.io.reader import ScenePixels
from geoseg.io.stac_item import item_scene, offered_bands

ITEMS = ROOT / "tests" / "data" / "stac_items"
KNOWN = [(name, key) for name in archive_names() for key in load_archive(name).collections]
LANDSAT, HLS = (2.75e-05, -0.2, 0), (1e-4, 0, -9999)
NAIP = dict.fromkeys(("red", "nir"), (1, 0, None))

# For each: the asset or band number, then scale, offset and nodata of each band; units; mask.
EXPECTED = {
    ("copernicus", "sentinel-2-l1c"): (
        {"red": "B04", "nir": "B08", "rededge071": "B05"}, (1e-4, -0.1, 0), None, ()
    ),
    ("copernicus", "sentinel-2-l2a"): (
        {"red": "B04_10m", "nir": "B08_10m", "rededge071": "B05_20m", "swir16": "B11_20m"},
        (1e-4, -0.1, 0), "SCL_20m", (0, 1, 3, 8, 9, 10),
    ),
    ("earth-search", "landsat-c2-l2"): (
        {"red": "red", "nir": "nir08", "swir16": "swir16"}, LANDSAT, "qa_pixel", (0, 1, 3, 4)
    ),
    ("earth-search", "naip"): ({"red": "image", "nir": "image"}, (1, 0, None), None, ()),
    ("earth-search", "sentinel-2-c1-l2a"): (
        {"red": "red", "nir": "nir", "rededge071": "rededge1"},
        (1e-4, -0.1, 0), "scl", (0, 1, 3, 8, 9, 10),
    ),
    ("earth-search", "sentinel-2-l1c"): (
        {"red": "red", "nir": "nir", "rededge071": "rededge1"}, (1e-4, -0.1, 0), None, ()
    ),
    ("earth-search", "sentinel-2-l2a"): (  # its files need no offset any more
        {"red": "red", "nir": "nir", "rededge071": "rededge1", "nir08": "nir08"},
        (1e-4, 0, 0), "scl", (0, 1, 3, 8, 9, 10),
    ),
    ("hls", "HLSL30_2.0"): (
        {"red": "B04", "nir": "B05", "nir08": "B05", "swir16": "B06"}, HLS, "Fmask", (1, 2, 3)
    ),
    ("hls", "HLSS30_2.0"): (
        {"red": "B04", "nir": "B08", "nir08": "B8A", "rededge071": "B05"}, HLS, "Fmask", (1, 2, 3)
    ),
    ("landsat", "landsat-c2l2-sr"): (
        {"red": "red", "nir": "nir08", "swir16": "swir16"}, LANDSAT, "qa_pixel", (0, 1, 3, 4)
    ),
    ("planetary-computer", "hls2-l30"): (
        {"red": "B04", "nir": "B05", "nir08": "B05", "swir16": "B06"}, HLS, "Fmask", (1, 2, 3)
    ),
    ("planetary-computer", "hls2-s30"): (
        {"red": "B04", "nir": "B08", "nir08": "B8A", "rededge071": "B05"}, HLS, "Fmask", (1, 2, 3)
    ),
    ("planetary-computer", "landsat-c2-l2"): (
        {"red": "red", "nir": "nir08", "swir16": "swir16"}, LANDSAT, "qa_pixel", (0, 1, 3, 4)
    ),
    ("planetary-computer", "naip"): ({"red": "image", "nir": "image"}, (1, 0, None), None, ()),
    ("planetary-computer", "sentinel-2-l2a"): (
        {"red": "B04", "nir": "B08", "nir08": "B8A", "rededge071": "B05"},
        (1e-4, -0.1, 0), "SCL", (0, 1, 3, 8, 9, 10),
    ),
}  # fmt: skip


def stored(archive, collection):
    return pystac.Item.from_file(str(ITEMS / f"{archive}__{collection}.json"))


def with_files(item, folder):
    """``item`` with a small file for each raster; where they lie is not said any more."""
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    for key in ("proj:shape", "proj:transform"):
        content["properties"].pop(key, None)
    for key, asset in content["assets"].items():
        for place in ("proj:shape", "proj:transform", "alternate"):
            asset.pop(place, None)
        count = len(asset.get("eo:bands", [0]))
        quality = key.lower().startswith(("scl", "qa", "fmask"))
        values = np.full((count, 4, 5), 4 if "scl" in key.lower() else 0 if quality else 5000)
        dtype = "uint8" if quality or count == 4 else "uint16" if "HLS" not in item.id else "int16"
        if key == "qa_pixel":
            dtype = "uint16"
        stored_as = (values % 256 if dtype == "uint8" else values).astype(dtype)
        asset["href"] = write(folder / key / "a.tif", stored_as, transform=NORTH_UP)
    return pystac.Item.from_dict(content)


@pytest.mark.parametrize(("name", "collection"), KNOWN)
def test_every_collection_is_read_as_its_numbers_are_meant(name, collection, tmp_path):
    assets, (scale, offset, nodata), mask, hidden = EXPECTED[name, collection]
    archive = load_archive(name)
    item = with_files(stored(name, collection), tmp_path)
    own_mask = archive.mask(item.collection_id)
    scene = item_scene(item, list(assets), mask=own_mask, archive=archive)
    found = {band: Path(b.uri).parent.name for band, b in scene.bands.items()}
    assert found == assets
    for band in scene.bands.values():
        assert (band.scale, band.offset, band.nodata) == (scale, offset, nodata)
    assert scene.units == ("dn" if collection == "naip" else "reflectance")
    assert [Path(m.uri).parent.name for m in scene.masks] == ([mask] if mask else [])
    assert [m.values for m in scene.masks] == ([hidden] if mask else [])
    pixels = ScenePixels(scene)
    patch = pixels.read(["red"], full_window(scene.grid))
    pixels.close()
    assert patch.valid.all()
    stored_number = 5000 % 256 if collection == "naip" else 5000
    assert (patch.values[0] == stored_number).all()


@pytest.mark.parametrize(("name", "collection"), KNOWN)
def test_every_collection_offers_the_bands_that_its_item_has(name, collection):
    archive = load_archive(name)
    item = stored(name, collection)
    offered = offered_bands(item, archive)
    known = archive.collections[collection].bands
    there = {n: b for n, b in known.items() if b.asset in item.assets}
    assert {n: offered[n] for n in there} == {n: (b.asset, b.index) for n, b in there.items()}
    assert len(there) >= 3
    mask = archive.mask(collection)
    assert mask is None or mask.path in item.assets


@pytest.mark.parametrize(
    ("name", "collection", "key", "address"),
    [
        ("landsat", "landsat-c2l2-sr", "red", "s3://usgs-landsat/collection02/"),
        ("earth-search", "landsat-c2-l2", "red", "s3://usgs-landsat/collection02/"),
        ("earth-search", "sentinel-2-l2a", "red", "https://sentinel-cogs.s3."),
        ("copernicus", "sentinel-2-l2a", "B04_10m", "s3://eodata/Sentinel-2/MSI/L2A/"),
        ("hls", "HLSS30_2.0", "B04", "https://data.lpdaac.earthdatacloud.nasa.gov/"),
        (
            "planetary-computer", "naip", "image",
            "/vsicurl?pc_url_signing=yes&pc_collection=naip&url=https://naipeuwest.blob.core",
        ),
    ],
)  # fmt: skip
def test_where_files_are_opened(name, collection, key, address):
    archive = load_archive(name)
    full = archive.complete(stored(name, collection))
    assert asset_href(full, key, archive).startswith(address)


def test_an_archive_is_found_by_its_name_and_by_its_address(tmp_path, monkeypatch):
    archive = load_archive("earth-search")
    assert find_archive("earth-search") is archive
    assert find_archive("https://earth-search.aws.element84.com/v1/") is archive
    assert find_archive("https://example.org/v1") is None
    assert find_archive("catalogs/models.json") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "earth-search").mkdir()
    assert find_archive("earth-search") is None
    with pytest.raises(CatalogError, match="no such file or archive, did you mean 'copernicus'"):
        find_archive("copernikus")
    with pytest.raises(CatalogError, match="no public archive is called x; there are copernicus, "):
        load_archive("x")


@pytest.mark.parametrize(
    ("name", "collection", "environment", "message"),
    [
        ("earth-search", "sentinel-2-l2a", {}, None),
        ("earth-search", "naip", {}, "without AWS_REQUEST_PAYER in the environment"),
        ("earth-search", "naip", {"AWS_REQUEST_PAYER": "requester"}, None),
        (
            "copernicus", "sentinel-2-l2a", {"AWS_ACCESS_KEY_ID": "key-1"},
            "AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT=eodata.dataspace.copernicus.eu, AWS_VIRTUAL_",
        ),
        ("hls", "HLSS30_2.0", {"GDAL_HTTP_BEARER": "secret-1"}, None),
        (
            "hls", "HLSS30_2.0", {"GDAL_HTTP_COOKIEJAR": "secret-1"},
            "without GDAL_HTTP_BEARER or GDAL_HTTP_COOKIEFILE and GDAL_HTTP_COOKIEJAR or ",
        ),
    ],
)  # fmt: skip
def test_what_opening_files_needs_is_asked_for_first(name, collection, environment, message):
    archive = load_archive(name)
    if message is None:
        archive.check_access([collection], environment)
        return
    with pytest.raises(CatalogError) as caught:
        archive.check_access([collection], environment)
    assert message in str(caught.value)
    assert not any(value in str(caught.value) for value in environment.values())


class _Signed(http.server.BaseHTTPRequestHandler):
    """Gives tokens to anybody, and files to those who have one."""

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/token/"):
            body = b'{"msft:expiry": "2999-01-01T00:00:00Z", "token": "sig=hush"}'
        elif self.path.endswith("?sig=hush"):
            body = self.server.file
        else:
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def test_planetary_computer_signs_as_files_are_opened(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", np.ones((4, 5), np.uint8))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Signed) as server:
        server.file, server.asked = Path(path).read_bytes(), []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("VSICURL_PC_SAS_TOKEN_URL", f"{host}/token/")
        href = f"{host}/x.blob.core.windows.net/a.tif"
        address = load_archive("planetary-computer").address(href, "naip")
        try:
            assert read_header(address).grid.affine == NORTH_UP
            with pytest.raises(SceneError, match="403"):
                read_header(href.replace("a.tif", "b.tif"))
        finally:
            server.shutdown()
            thread.join()
    assert server.asked[0] == "/token/naip"
    assert "sig=" not in address


def test_the_files_of_archives_say_what_they_must():
    for path in sorted(Path(archive_module.__file__).with_name("archives").glob("*.json")):
        said = json.loads(path.read_text("utf-8"))
        assert said["url"].startswith("https://")
        assert said["about"].startswith("https://")
        assert all(collection["bands"] for collection in said["collections"].values())
    assert {f"{a}__{c}.json" for a, c in KNOWN} == {p.name for p in ITEMS.glob("*.json")}
