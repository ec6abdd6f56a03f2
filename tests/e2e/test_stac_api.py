"""STAC APIs: two real servers on this machine, and servers that are ill, down or in a loop."""

import http.server
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import pytest
from packages import BANDS, write_package
from rasters import NORTH_UP, write
from stac_servers import filtering, free_port, plain

from geoseg.api.samples import write_sample
from geoseg.cli import run
from geoseg.errors import CatalogError
from geoseg.grid import full_window
from geoseg.io import stac_api, stac_http
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import MaskRef
from geoseg.io.stac import StacSource, read_items
from geoseg.io.stac_query import StacQuery

FIRST = datetime(2024, 6, 1, 10, tzinfo=UTC)
COUNT = 23


@pytest.fixture(autouse=True)
def _small_pages_and_no_waits(monkeypatch):
    monkeypatch.setattr(stac_api, "PAGE", 7)
    monkeypatch.setattr(stac_http, "BACKOFF", 0.0)


def made(number, path):
    """Item ``number``: one day and one degree after the last; each fourth says no cloud cover."""
    cloud = {} if number % 4 == 3 else {"eo:cloud_cover": number * 4.0}
    west = float(number)
    item = pystac.Item(
        f"item{number:02d}",
        {
            "type": "Polygon",
            "coordinates": [
                [[west, 50], [west + 0.9, 50], [west + 0.9, 51], [west, 51], [west, 50]]
            ],
        },
        [west, 50.0, west + 0.9, 51.0],
        FIRST + timedelta(days=number),
        {"proj:code": "EPSG:32629", "proj:shape": [4, 5], "proj:transform": list(NORTH_UP)[:6]}
        | cloud,
    )
    fields = {"eo:bands": [{"name": "red", "common_name": "red"}]}
    fields["raster:bands"] = [{"data_type": "uint16", "nodata": 0}]
    item.add_asset("red", pystac.Asset(path, media_type="image/tiff", extra_fields=fields))
    return item


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("api")
    path = write(root / "red.tif", np.ones((4, 5), np.uint16), nodata=0)
    catalog = pystac.Catalog("root", "all of it")
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    for name in ("early", "late"):
        catalog.add_child(pystac.Collection(name, "some", extent, license="other"))
    for number in range(COUNT):
        name = "early" if number < 15 else "late"
        catalog.get_child(name).add_item(made(number, path))
    items = [item.to_dict(include_self_link=False) for item in catalog.get_items(recursive=True)]
    listed = {"type": "FeatureCollection", "features": [item | {"links": []} for item in items]}
    (root / "items.json").write_text(json.dumps(listed))
    catalog.normalize_and_save(str(root / "static"), pystac.CatalogType.SELF_CONTAINED)
    return root


@pytest.fixture(scope="module")
def servers(folder):
    with (
        filtering(folder / "static" / "catalog.json") as one,
        plain(folder / "items.json") as two,
    ):
        yield {"filtering": one, "plain": two, "static": str(folder / "static" / "catalog.json")}


QUERIES = {
    "all": {},
    "collection": {"collections": ("late",)},
    "ids": {"ids": ("item03", "item20")},
    "time": {"time": (FIRST + timedelta(days=4), FIRST + timedelta(days=9))},
    "open time": {"time": (FIRST + timedelta(days=18), None)},
    "area": {"bbox": (3.2, 50.2, 5.5, 50.4)},
    "clouds": {"max_cloud": 20.0},
    "no clouds": {"max_cloud": 0.0},
    "together": {"collections": ("early",), "max_cloud": 33.0, "bbox": (2.0, 0.0, 11.0, 90.0)},
}


@pytest.mark.parametrize("kind", ["filtering", "plain"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_server_finds_what_the_same_catalog_on_disk_has(servers, kind, name):
    expected = [i.id for i in StacSource(servers["static"], **QUERIES[name]).items()]
    assert [i.id for i in StacSource(servers[kind], **QUERIES[name]).items()] == expected
    assert expected


def test_only_a_server_that_knows_cql2_is_asked_for_clouds(servers):
    clear = StacQuery(max_cloud=20.0)
    found = {kind: len(list(read_items(servers[kind], clear))) for kind in servers}
    assert found == {"filtering": 6 + 5 - 1, "plain": COUNT, "static": COUNT}


def test_scenes_of_a_server_are_read(servers):
    scenes = StacSource(servers["filtering"], ids=("item02",)).scenes(["red"])
    assert [(s.id, s.acquired) for s in scenes] == [("item02", FIRST + timedelta(days=2))]
    assert scenes[0].grid.affine == NORTH_UP


def test_a_collection_of_a_server_is_searched(servers):
    source = StacSource(servers["filtering"] + "collections/late", max_cloud=70.0)
    assert {i.collection_id for i in source.items()} == {"late"}


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"collections": ("lat",)}, "no collection 'lat', did you mean 'late'? it has "),
        (
            {"collections": ("early",), "bbox": (100.0, 0.0, 101.0, 1.0)},
            "nothing matches area (collections [early] would be met)",
        ),
        ({"time": (datetime(2030, 1, 1, tzinfo=UTC), None)}, "nothing matches time 2030-01-01/.."),
        ({"ids": ("nobody",)}, "nothing matches ids [nobody]"),
        (
            {"collections": ("late",), "bbox": (21.0, 50.0, 22.5, 51.0), "max_cloud": 5.0},
            "nothing matches max_cloud 5 (collections [late] and area would be met)",
        ),
        ({"max_items": 9}, "more than 9 items match; narrow the area, the time"),
    ],
)
def test_nothing_or_too_much_is_told_with_its_reason(servers, wish, message):
    with pytest.raises(CatalogError) as caught:
        StacSource(servers["filtering"], **wish).items()
    assert str(caught.value).startswith(servers["filtering"])
    assert message in str(caught.value)


def test_more_items_than_are_allowed_on_disk_are_refused_too(servers):
    with pytest.raises(CatalogError, match=r"23 items match, input\.max_items is 22"):
        StacSource(servers["static"], max_items=22).items()
    assert len(StacSource(servers["static"], max_items=23).items()) == 23


class _Ill(http.server.BaseHTTPRequestHandler):
    """Answers what the test wants, and counts."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body, headers = self.server.answer(self.path, len(self.server.asked))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()


@contextmanager
def ill(answer):
    """A server that answers ``(status, body, headers)``; yields its address and its requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ill) as server:
        server.answer, server.asked = answer, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", server.asked
        finally:
            server.shutdown()
            thread.join()


def landing(address, **more):
    links = [{"rel": "search", "href": f"{address}search", "method": "POST"}]
    return {"type": "Catalog", "id": "x", "conformsTo": [], "links": links} | more


def as_json(content):
    return 200, json.dumps(content).encode(), {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("answer", "message", "requests"),
    [
        ((404, b"", {}), "cannot be read (HTTP 404)", 1),
        ((403, b'{"detail": "no key"}', {}), "cannot be read (HTTP 403: no key)", 1),
        ((500, b"<html><p>Oh dear</p>", {}), "cannot be read (HTTP 500: Oh dear)", 5),
        ((503, b"", {}), "cannot be read (HTTP 503)", 5),
        ((200, b"<html>", {}), "not JSON (line 1, column 1: Expecting value)", 1),
        ((200, b"\xff\xfe", {}), "cannot be read (", 1),
        ((200, b"[]", {}), "not a STAC catalog (it holds no keys and values)", 1),
    ],
)
def test_a_server_that_is_ill_is_told_in_one_line(answer, message, requests):
    with ill(lambda _path, _count: answer) as (address, asked):
        with pytest.raises(CatalogError) as caught:
            StacSource(address).items()
        assert len(asked) == requests
    assert str(caught.value).startswith(f"{address}: {message}")


def test_a_server_that_is_down_is_told_in_one_line():
    address = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(CatalogError) as caught:
        StacSource(address).items()
    assert str(caught.value) == f"{address}: cannot be read (Connection refused)"


def test_a_busy_server_is_asked_again(folder):
    """429 with Retry-After for the landing page, 503 for the search, then answers."""
    features = json.loads((folder / "items.json").read_text())["features"]
    place = {}

    def answer(path, count):
        if count in (1, 3):
            return (429, b"", {"Retry-After": "0"}) if count == 1 else (503, b"", {})
        if path == "/":
            return as_json(landing(place["address"]))
        return as_json({"type": "FeatureCollection", "features": features, "links": []})

    with ill(answer) as (address, asked):
        place["address"] = address
        assert len(StacSource(address).items()) == COUNT
        assert asked == ["/", "/", "/search", "/search"]


def test_pages_that_go_round_in_a_circle_end(folder):
    features = json.loads((folder / "items.json").read_text())["features"][:7]
    place = {}

    def answer(path, _count):
        if path == "/":
            return as_json(landing(place["address"]))
        following = {"rel": "next", "href": f"{place['address']}search", "method": "POST"}
        return as_json({"type": "FeatureCollection", "features": features, "links": [following]})

    with ill(answer) as (address, asked):
        place["address"] = address
        with pytest.raises(CatalogError, match="pages go round in a circle after 7 items"):
            StacSource(address).items()
        assert len(asked) == 3


def test_a_search_that_answers_something_else(folder):
    place = {}

    def answer(path, _count):
        if path == "/":
            return as_json(landing(place["address"]))
        return as_json({"type": "FeatureCollection", "features": [{"id": 1}], "links": []})

    with ill(answer) as (address, _):
        place["address"] = address
        with pytest.raises(CatalogError, match="answers a search with no STAC items"):
            StacSource(address).items()


def test_the_pages_of_a_saved_search_are_all_read(folder):
    features = json.loads((folder / "items.json").read_text())["features"]
    place = {}

    def answer(path, _count):
        start = int(path.rpartition("=")[2]) if "=" in path else 0
        links = [{"rel": "next", "href": f"{place['address']}search?from={start + 9}"}]
        page = features[start : start + 9]
        more = links if start + 9 < len(features) else []
        return as_json({"type": "FeatureCollection", "features": page, "links": more})

    with ill(answer) as (address, asked):
        place["address"] = address
        assert len(StacSource(f"{address}search").items()) == COUNT
        assert len(asked) == 3


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A synthetic scene in its catalog."""
    return Path(write_sample(tmp_path_factory.mktemp("sample"), size="96", seed=3)).parent


def pixels_of(source):
    (scene,) = source.scenes(BANDS)
    pixels = ScenePixels(scene)
    patch = pixels.read(BANDS, full_window(scene.grid))
    pixels.close()
    return scene, patch


def test_a_workflow_on_an_api_reads_the_pixels_that_lie_on_disk(sample, tmp_path, capsys):
    model = write_package(tmp_path)
    with filtering(sample / "catalog.json") as address:
        mask = MaskRef("scl")
        there, read = pixels_of(StacSource(address, mask=mask))
        here, expected = pixels_of(StacSource(str(sample / "catalog.json"), mask=mask))
        assert there.grid == here.grid
        assert (read.values == expected.values).all()
        assert (read.valid == expected.valid).all()
        assert not read.valid.all()
        told = []
        for more in ({"max_cloud": 100}, {"collections": ["none"]}, {"time": "2001-02-03"}):
            data = {
                "geoseg": 1,
                "name": "api",
                "input": {"kind": "stac", "catalog": address, "mask": {"method": "scl"}} | more,
                "model": {"path": str(model)},
                "output": {"directory": str(tmp_path / "out")},
            }
            path = tmp_path / "w.yaml"
            path.write_text(json.dumps(data))
            told.append((run(["plan", str(path)]), *capsys.readouterr()))
    assert told[0][0] == 0
    assert told[0][1].splitlines()[1].startswith(f"{here.id} -> ")
    assert [code for code, _, _ in told[1:]] == [2, 2]
    assert "input.catalog: http://127.0.0.1" in told[1][2]
    assert "nothing matches time 2001-02-03/2001-02-03" in told[2][2]
    assert not (tmp_path / "out").exists()
