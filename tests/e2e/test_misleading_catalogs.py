"""Catalogs that point where they may not: to files of this machine, and into its network."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from packages import BANDS, write_package
from rasters import write
from refusals import Cases, Desk, check_refused

import geoseg.cli
from geoseg.errors import CatalogError
from geoseg.io import guarded_http
from geoseg.io.stac import read_items
from geoseg.io.stac_http import PatientIO
from geoseg.io.stac_query import StacQuery
from geoseg.workflow.template import safe_name

ELSEWHERE = "http://127.0.0.2"
"""Another host than the catalog's, and as private."""


class Site(BaseHTTPRequestHandler):
    """Answers with what ``pages`` say: a body, or where else to ask."""

    pages: dict[str, object] = {}  # noqa: RUF012 - filled by each test
    asked: list[str] = []  # noqa: RUF012 - same

    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def do_GET(self):
        self.asked.append(self.path)
        page = self.pages.get(self.path)
        if isinstance(page, str):
            self.send_response(302)
            self.send_header("Location", page)
            self.end_headers()
            return
        body = page if isinstance(page, bytes) else json.dumps(page).encode()
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@contextmanager
def serving(host="127.0.0.1"):
    server = ThreadingHTTPServer((host, 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    Site.pages, Site.asked = {}, []
    yield f"http://{host}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site():
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


def item(href: str, **more) -> dict[str, object]:
    assets = {
        name: {
            "href": href,
            "type": "image/tiff",
            "roles": ["data"],
            "eo:bands": [{"common_name": name}],
        }
        for name in BANDS
    }
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "june",
        "geometry": {"type": "Point", "coordinates": [0, 0]}, "bbox": [-10, 50, 10, 60],
        "properties": {"datetime": "2024-06-01T10:00:00Z"}, "links": [], "assets": assets,
    } | more  # fmt: skip


def collection(*items: dict[str, object]) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(items)}


def catalog(*links: tuple[str, str]) -> dict[str, object]:
    return {
        "type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c",
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }  # fmt: skip


case = Cases()


def _asset(name: str, href: str, *said: str, **more) -> None:
    """An item on a server whose files are at ``href``."""

    def make(desk: Desk, site: str) -> list[str]:
        Site.pages["/items.json"] = collection(item(href, **more))
        return desk.stac(catalog=f"{site}/items.json")

    make.__name__ = name
    case("june", *said)(make)


_asset("a_file_by_its_url", "file:///etc/passwd", "file of this machine")
_asset("a_file_that_hides_behind_self", "scene.tif", "file of this machine",
       links=[{"rel": "self", "href": "/etc/item.json"}])  # fmt: skip
_asset("another_host_of_the_network", f"{ELSEWHERE}/a.tif", "private network (127.0.0.2)")
_asset("metadata_of_the_machine", "http://169.254.169.254/latest", "private network")
_asset("gdals_own_files", "/vsimem/a.tif", "special files")
_asset("a_vrt_in_the_address", "<VRTDataset/>", "neither a path nor an address")
_asset("the_memory_of_this_process", "MEM:::DATAPOINTER=1")


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, site, capfd, make, said):
    check_refused(desk, make(desk, site), said, capfd)


def read(address: str) -> list[str]:
    return [found.id for found in read_items(address, StacQuery())]


def test_a_catalog_on_a_server_may_link_to_itself(site):
    Site.pages["/c.json"] = catalog(("item", "./june.json"))
    Site.pages["/june.json"] = item(f"{site}/a.tif")
    assert read(f"{site}/c.json") == ["june"]


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("file:///etc/hostname", "on another machine"),
        (f"{ELSEWHERE}:9/june.json", r"private network \(127\.0\.0\.2\)"),
        ("http://169.254.169.254/june.json", "private network"),
    ],
)
def test_links_that_are_not_followed(site, href, said):
    Site.pages["/c.json"] = catalog(("item", href))
    with pytest.raises(CatalogError, match=said):
        read(f"{site}/c.json")


def test_redirects_are_judged_at_each_hop(site):
    Site.pages["/c.json"] = "/moved.json"
    Site.pages["/moved.json"] = "http://169.254.169.254/latest"
    with pytest.raises(CatalogError, match=r"is not followed: it leads to 169\.254\.169\.254"):
        read(f"{site}/c.json")
    assert Site.asked == ["/c.json", "/moved.json"]


def test_a_host_that_is_allowed_is_followed(site, monkeypatch):
    with serving("127.0.0.2") as other:
        Site.pages["/c.json"] = catalog(("item", f"{other}/june.json"))
        Site.pages["/june.json"] = item("https://example.com/a.tif")
        monkeypatch.setenv("GEOSEG_ALLOW_HOSTS", "127.0.0.2")
        assert read(f"{site}/c.json") == ["june"]


def test_a_name_with_two_answers_is_judged_by_its_peer(site, monkeypatch):
    """The look-up says it is public, the connection is not: DNS that is rebound."""
    monkeypatch.setattr(guarded_http, "private", lambda *_args, **_kwargs: None)
    Site.pages["/c.json"] = catalog()
    io = PatientIO("https://example.com/c.json")
    with pytest.raises(CatalogError, match=r"answers from 127\.0\.0\.1, which is within a private"):
        io.read_json(f"{site}/c.json")
    assert Site.asked == [], "nothing was sent"


def test_a_local_catalog_may_name_files_but_what_it_links_to_may_not(site, desk):
    write(desk.folder / "in/scene.tif", np.ones((6, 8, 8), "uint16"))
    desk.write("in/here.json", json.dumps(collection(item("./scene.tif"))))
    assert read("in/here.json") == ["june"]
    Site.pages["/june.json"] = item("/etc/passwd")
    desk.write("in/there.json", json.dumps(catalog(("item", f"{site}/june.json"))))
    with pytest.raises(CatalogError, match="private network"):
        read("in/there.json")


def test_an_answer_without_end_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(guarded_http, "LARGEST", 1000)
    Site.pages["/c.json"] = catalog(("self", "x" * 2000))
    with pytest.raises(CatalogError, match="its answer is larger than"):
        read(f"{site}/c.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
        (b"\xff\xfe", "not text"),
        (b"{", "not JSON"),
    ],
)
def test_catalogs_that_no_parser_takes(desk, content, said):
    desk.write("in/catalog.json", content)
    with pytest.raises(CatalogError, match=said):
        read("in/catalog.json")


@pytest.mark.parametrize(
    "name",
    ["../../etc", "..", ".", "/etc/passwd", "a/../b", "a\0b", "a\nb", "-rf", "~root", "C:\\x"],
)
def test_ids_become_the_name_of_one_folder(name):
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set("/\\\0\n~:")


def test_an_id_does_not_lead_out_of_the_output(desk, capfd):
    desk.scene("in/scene.tif")
    desk.write("in/catalog.json", json.dumps(collection(item("./scene.tif", id="../../../evil"))))
    request = desk.stac()
    settings = json.loads((desk.folder / "test.yaml").read_text())
    settings["output"] = {"directory": "out/{scene}"}
    settings["input"] |= {"units": "reflectance", "scale": 0.0001}
    settings["input"]["bands"] = dict.fromkeys(BANDS, "blue")
    desk.write("test.yaml", json.dumps(settings))
    assert geoseg.cli.run(["plan", *request[1:], "--json"]) == 0
    (scene,) = json.loads(capfd.readouterr().out)["scenes"]
    out = desk.folder / "out"
    assert Path(scene["directory"]).resolve().parent == out.resolve()
