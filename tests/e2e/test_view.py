"""geoseg view: a map of products in a real browser, from a server that answers nobody else."""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
import shapely
from chromium import browser, needs_browser
from map_products import GRID, alert_batch, write_alerts, write_product
from rasterio.warp import transform

from geoseg.api.viewer.layers import find_products
from geoseg.api.viewer.reviewing import Desk
from geoseg.api.viewer.routes import Map
from geoseg.api.viewer.server import MapServer

pytest.importorskip("rio_tiler")
# rasterio 1.4 multiplies transforms as affine 3 would rather not; rio-tiler makes it do so.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("view")
    write_product(place, "2024-05-01")
    write_product(place, "2024-08-01", seed=3)
    return place


@contextmanager
def serving(*places, desk=None):
    """A server of some products, in this process."""
    with MapServer(Map(find_products(places), desk or Desk("Anna"))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
            server.shown.close()


@pytest.fixture(scope="module")
def server(folder):
    alerts = write_alerts(folder / "alerts.gpkg")
    places = (folder / "map-2024-05-01", folder / "map-2024-08-01", alerts)
    with serving(*places) as running:
        yield running


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """One browser for all pages."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(server, tab):
    """The page, once for all tests that only look."""
    shown = tab.page(server.address, size=(1100, 800))
    shown.until("window.view?.ready && view.maps.left.areTilesLoaded()")
    return shown


def fetched(address, *, data=None, **headers):
    """Status, headers and content of an answer."""
    request = urllib.request.Request(address, data=data, headers=headers)  # noqa: S310 (our own)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (likewise)
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def color_at(page, x, y):
    """What the left map has drawn at a place of its window, ``[red, green, blue]``."""
    return page.js(
        "new Promise((done) => { const map = view.maps.left; map.once('render', () => {"
        "const gl = map.getCanvas().getContext('webgl2'); const pixel = new Uint8Array(4);"
        f"gl.readPixels({x}, map.getCanvas().height - {y}, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);"
        "done([...pixel].slice(0, 3)); }); map.triggerRepaint(); })"
    )


def place_of(page, lon, lat):
    """Where a place in degrees is in the window."""
    point = page.js(f"(({{x, y}}) => [x, y])(view.maps.left.project([{lon}, {lat}]))")
    return round(point[0]), round(point[1])


SHOWN = "view.maps.polygons.features.map((one) => one.id).sort().join()"


@needs_browser
def test_the_map_shows_the_colours_of_the_product_and_of_what_was_clicked(page, server):
    page.choose("polygons", "")
    page.choose("left", "1.r1")
    page.until("view.maps.left.loaded() && view.maps.left.areTilesLoaded()")
    catalog = json.loads(fetched(server.address + "catalog.json")[2])
    colors = {c["name"]: c["color"] for c in catalog["products"][1]["rasters"][1]["classes"]}
    seen = set()
    for lon, lat in ((-8.975, 53.24), (-8.97, 53.232), (-8.96, 53.241), (-8.955, 53.236)):
        asked = f"point.json?lon={lon}&lat={lat}"
        said = {one["id"]: one["value"] for one in json.loads(fetched(server.address + asked)[2])}
        color = colors[said["1.r1"]]
        x, y = place_of(page, lon, lat)
        assert color_at(page, x, y) == [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        page.click(x, y)
        page.until(f"document.getElementById('here').textContent.includes({said['1.r1']!r})")
        seen.add(color)
    assert len(seen) > 1
    assert page.js("document.querySelectorAll('#legend .class').length") == 3


@needs_browser
def test_classes_can_be_left_out_and_layers_be_swiped(page):
    page.choose("left", "1.r1")
    page.js("document.querySelectorAll('#legend input').forEach((box) => box.click())")
    page.until("view.maps.left.loaded() && view.maps.left.areTilesLoaded()")
    x, y = place_of(page, -8.97, 53.24)
    page.until("view.maps.left.loaded()")
    assert color_at(page, x, y) == [238, 240, 242]  # the ground
    page.choose("right", "2.r2")
    page.until("view.maps.shown.right?.id === '2.r2' && view.maps.right.areTilesLoaded()")
    assert not page.js("document.getElementById('swipe').hidden")
    page.choose("swipe", "250")
    assert "25" in page.js("document.getElementById('swipe').getAttribute('aria-valuetext')")
    before = page.js("view.maps.right.getCenter().lng")
    page.js("void view.maps.left.jumpTo({center: [-8.96, 53.24], zoom: 14})")
    assert page.js("view.maps.right.getCenter().lng") == pytest.approx(-8.96) != before
    page.choose("right", "")
    page.until("view.maps.right === null && document.getElementById('right-map').hidden")
    page.js("void view.maps.left.fitBounds(view.maps.extent, {animate: false})")


@needs_browser
def test_polygons_are_filtered_and_tell_their_evidence(page):
    page.choose("left", "1.r1")
    page.choose("polygons", "0.v0")
    page.js("void view.maps.left.fitBounds(view.maps.extent, {animate: false})")
    page.until("view.maps.polygons.features.length === 6")
    page.choose("area", "3")
    page.until("view.maps.polygons.features.length === 4")
    page.choose("confidence", "75")
    page.until(f"{SHOWN} === '5,6'")
    page.choose("confidence", "0")
    page.choose("area", "0")
    page.choose("first", "2022-01-18")
    page.choose("last", "2022-01-28")
    page.until(f"{SHOWN} === '2,3'")
    assert "2 of 6 polygons" in page.until("document.getElementById('count').textContent")
    for key in ("first", "last"):
        page.choose(key, "")
    page.js("document.querySelector('#classes input').click()")
    page.until("view.maps.polygons.features.length === 3")
    page.js("document.querySelector('#classes input').click()")
    page.until("view.maps.polygons.features.length === 6 && view.maps.left.loaded()")
    ring = page.js("view.maps.polygons.features[0].geometry.coordinates[0]")
    middle = [sum(xy[axis] for xy in ring[:4]) / 4 for axis in (0, 1)]
    page.until("view.maps.left.queryRenderedFeatures({layers: ['polygons']}).length >= 6")
    page.click(*place_of(page, *middle))
    told = page.until(
        "!document.getElementById('facts').hidden && document.getElementById('facts').innerText"
    )
    assert "Alert\t2022-005" in told
    assert "First detection\t2022-02-27" in told
    assert "High confidence" in page.js("document.getElementById('h-evidence').textContent")


def sieve(folder):
    """A square of forest loss with 1600 holes, and the middles of some holes in degrees."""
    x0, y0, batch = GRID.affine.c, GRID.affine.f - 2800, alert_batch(1)
    at = [(x0 + 60 * i, y0 + 60 * j) for i in range(1, 41) for j in range(1, 41)]
    holes = [shapely.box(x, y, x + 30, y + 30).exterior.coords[:] for x, y in at]
    shape = shapely.Polygon(shapely.box(x0, y0, x0 + 2500, y0 + 2500).exterior.coords, holes)
    batch = batch.set_column(0, "geometry", pa.array([shapely.to_wkb(shape)], pa.binary()))
    xs, ys = np.array(at[::97]).T
    places = np.column_stack(transform(GRID.crs.wkt, "EPSG:4326", xs + 15, ys + 15))
    return write_alerts(folder / "sieve.gpkg", batch), places


@needs_browser
def test_all_holes_of_a_polygon_stay_free_however_many_there_are(tab, tmp_path):
    path, places = sieve(tmp_path)
    with serving(path) as running:
        page = tab.page(running.address, size=(1100, 800))
        page.until("window.view?.ready")
        page.choose("polygons", "0.v0")
        page.choose("fill", "100")
        page.until("view.maps.polygons.features.length > 1 && view.maps.left.loaded()")
        page.until("view.maps.left.queryRenderedFeatures({layers: ['polygons']}).length > 1")
        found = {tuple(color_at(page, *place_of(page, *place))) for place in places}
        assert found == {(238, 240, 242)}  # the ground
        page.call("Page.close")


@needs_browser
def test_nothing_comes_from_elsewhere_and_nothing_is_complained_about(page, server):
    hosts = {urlsplit(url).netloc for url in page.requests if url.startswith(("http", "ws"))}
    assert hosts == {urlsplit(server.address).netloc}
    assert any("/tiles/" in url for url in page.requests)
    assert page.complaints == []


@needs_browser
def test_it_fits_a_phone_and_a_dark_room(server, tab, page):
    page.shape(390, 844)
    try:
        page.until("innerWidth === 390 && view.maps.left.getContainer().clientWidth === 390")
        assert page.js("document.documentElement.scrollWidth") == 390
        page.js("document.getElementById('fold').click()")
        assert page.until("view.maps.left.getContainer().clientHeight") > 700
        page.js("document.getElementById('fold').click()")
    finally:
        page.shape(1100, 800)
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    page.until("view.maps.left.getPaintProperty('ground', 'background-color') === '#121416'")
    assert page.js("getComputedStyle(document.body).backgroundColor") == "rgb(28, 31, 34)"
    page.call("Emulation.setEmulatedMedia", features=[])


def test_only_who_knows_the_secret_is_answered(server):
    url = urlsplit(server.address)
    host = url.netloc
    status, headers, content = fetched(server.address)
    assert status == 200
    assert b"geoseg view" in content
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert not [name for name in headers if name.startswith("Access-Control")]
    for address in (
        f"http://{host}/",
        f"http://{host}/wrong/",
        f"http://{host}/wrong/catalog.json",
    ):
        assert fetched(address)[0] == 404
    # A name that somebody else's server has made point to this machine.
    assert fetched(server.address, Host=f"evil.example:{url.port}")[0] == 404
    assert fetched(server.address + "catalog.json", Host=f"localhost:{url.port}")[0] == 200
    for path in ("../secret", "%2e%2e/%2e%2e/etc/passwd", "maplibre/../../server.py", "maplibre/"):
        assert fetched(server.address + path)[0] == 404


def test_reviews_are_taken_from_our_own_page_only(server):
    address, body = server.address + "reviews/0.v0", json.dumps({"id": "2022-001"}).encode()
    kind = {"Content-Type": "application/json"}
    own = server.address.split("/")[2]
    for headers in (kind, {**kind, "Origin": "null"}, {**kind, "Origin": "http://evil.example"}):
        assert fetched(address, data=body, **headers)[0] == 403
    plain = {"Content-Type": "text/plain", "Origin": f"http://{own}"}
    assert fetched(address, data=body, **plain)[0] == 400
    assert fetched(address, data=b"[" * 70_000, **kind, Origin=f"http://{own}")[0] == 400
    status, _, content = fetched(address, data=b"[]", **kind, Origin=f"http://{own}")
    assert status == 400
    assert "JSON object" in json.loads(content)["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("tiles/1.r1/0/0/0", 200),
        ("tiles/1.r1/3/8/0", 400),
        ("tiles/1.r1/3/x/0", 404),
        ("tiles/9.r9/0/0/0", 404),
        ("tiles/1.r1/2/0/0?classes=a", 400),
        ("polygons/1.v0?box=0,0,1&pixel=1", 400),
        ("polygons/1.v0?box=0,0,1,1&pixel=nan", 400),
        ("polygons/9.v0?box=0,0,1,1&pixel=1", 404),
        ("polygon/1.v0/999999", 400),
        ("point.json?lon=1e400&lat=0", 400),
    ],
)
def test_questions_without_sense_get_an_answer(server, path, status):
    found, _, content = fetched(server.address + path)
    assert found == status
    if status != 200:
        assert json.loads(content)["message"]


def test_the_command_tells_its_address_and_ends_by_ctrl_c(folder):
    words = [sys.executable, "-m", "geoseg", "view", str(folder / "map-2024-05-01"), "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        status, _, content = fetched(address + "catalog.json")
        assert status == 200
        assert [one["name"] for one in json.loads(content)["products"]] == ["map-2024-05-01"]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (out, "Ctrl-C ends it" in err) == ("", True)
