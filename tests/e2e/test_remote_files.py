"""Files on servers that are slow, break off, are busy or know no ranges: the same pixels."""

import numpy as np
import pytest
from affine import Affine
from range_server import Faults, serving
from rasters import NORTH_UP, write

from geoseg.errors import RemoteError, SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef
from geoseg.io.traffic import METER
from geoseg.io.vrt import Warp
from geoseg.io.whole_files import fetch, sends_parts

COG = {"driver": "COG", "blocksize": 128, "compress": "deflate"}
FAULTS = {
    "slow": Faults(latency=0.05, bandwidth=4e6),
    "drops": Faults(drops=0.4),
    "busy": Faults(busy=0.5, times=1),
    "unavailable": Faults(unavailable=0.6),
    "reset": Faults(reset=0.5),
    "short": Faults(short=0.5),
    "all": Faults(drops=0.15, busy=0.1, unavailable=0.1, reset=0.1, short=0.1),
    "no ranges": Faults(ranges=False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene of two files: one on its grid, one with pixels of twice the size."""
    root = tmp_path_factory.mktemp("served")
    random = np.random.default_rng(1)
    fine = random.integers(1, 60_000, (2, 500, 600)).astype(np.uint16)
    fine[:, 100:130, 200:260] = 0
    coarse = random.integers(1, 60_000, (250, 300)).astype(np.uint16)
    write(root / "fine.tif", fine, nodata=0, **COG)
    write(root / "coarse.tif", coarse, nodata=0, transform=NORTH_UP @ Affine.scale(2), **COG)
    return root


@pytest.fixture(scope="module")
def running(folder):
    with serving(folder) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    """Started once; as if it had never been asked before."""
    running.reset()
    # Nobody needs to wait for a server of our own.
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setattr("geoseg.io.remote.FIRST_PAUSE", 0.01)
    return running


def scene_at(base, query=""):
    bands = {
        "red": BandRef(f"{base}/fine.tif{query}", 1),
        "green": BandRef(f"{base}/fine.tif{query}", 2),
        "swir16": BandRef(f"{base}/coarse.tif{query}"),
    }
    (scene,) = FilesSource(bands=bands).scenes(list(bands))
    return scene


def read(scene, window=None):
    pixels = ScenePixels(scene)
    try:
        return pixels.read(list(scene.bands), window or full_window(scene.grid))
    finally:
        pixels.close()


@pytest.fixture(scope="module")
def local(folder):
    return read(scene_at(folder))


def test_a_server_is_asked_whether_it_sends_parts(server):
    """GDAL tells of it on threads of its own, where nobody hears it."""
    assert sends_parts(f"{server.url}/fine.tif")
    server.reset(Faults(ranges=False))
    assert not sends_parts(f"{server.url}/fine.tif")
    assert sends_parts(f"{server.url}/none.tif"), "what is not there says nothing of parts"


def test_what_was_fetched_whole_is_read_from_its_copy_on_other_grids_too(server):
    uri = f"{server.url}/coarse.tif?case=fetched_later"
    grid = GeoBox((250, 300), NORTH_UP @ Affine.scale(2), "EPSG:32629")
    warp = Warp(uri, (1,), "uint16", grid, GeoBox((500, 600), NORTH_UP, "EPSG:32629"), "nearest")
    assert server.url in warp.xml()
    fetch(uri)
    assert server.url not in warp.xml()


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_pixels_are_those_of_local_files(server, local, faults, request):
    # Another query is another file for GDAL, which remembers what it has read.
    query = f"?case={request.node.callspec.id.replace(' ', '_')}"
    server.reset(faults)
    patch = read(scene_at(server.url, query))
    assert np.array_equal(patch.values, local.values)
    assert np.array_equal(patch.valid, local.valid)
    if faults.ranges and not faults.latency:
        assert server.failed > 0, "the server has spoilt nothing: the test shows nothing"


@pytest.mark.parametrize("threads", ["1", "4"])
def test_ranges_of_a_read_are_merged_in_workers_too(server, local, threads, monkeypatch):
    """Each of GDAL's threads that unpack would ask for one tile at a time: 20 a band, here."""
    monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    scene = scene_at(server.url, f"?case=threads{threads}")
    server.reset()
    patch = read(scene)
    assert server.requests < 10
    assert np.array_equal(patch.values, local.values)


def test_an_answer_that_broke_off_is_not_kept(server, local):
    scene = scene_at(server.url, "?case=kept")
    pixels = ScenePixels(scene)
    pixels.read(["red"], Window(0, 0, 10, 10))
    server.reset(Faults(drops=1, times=10**6))
    with pytest.raises(RemoteError, match=r"fine.tif\?case=kept was not delivered at rows 0-500"):
        pixels.read(["red"], full_window(scene.grid))
    server.reset()
    again = pixels.read(list(scene.bands), full_window(scene.grid))
    pixels.close()
    assert np.array_equal(again.values, local.values)


@pytest.mark.parametrize(("status", "words"), [(503, "Service Unavailable"), (429, "Too Many")])
def test_a_server_that_stays_busy_may_be_asked_later(server, local, status, words):
    scene = scene_at(server.url, f"?case={status}")
    server.reset(Faults(status=status))
    with pytest.raises(RemoteError, match=rf"\(HTTP {status} {words}"):
        read(scene)
    with pytest.raises(RemoteError, match=rf"cannot be read now \(HTTP {status} {words}"):
        scene_at(server.url, f"?case={status}b")
    server.reset()
    assert np.array_equal(read(scene).values, local.values)


def test_a_server_that_does_not_answer_is_not_waited_for(server, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    server.reset(Faults(latency=4))
    with pytest.raises(RemoteError, match=r"cannot be read now \(Operation too slow"):
        scene_at(server.url, "?case=mute")
    assert server.requests == 2


@pytest.mark.parametrize(("status", "words"), [(404, "Not Found"), (403, "Forbidden")])
def test_what_is_not_there_is_asked_for_once(server, status, words):
    server.reset(Faults(status=status))
    with pytest.raises(SceneError, match=rf"fine.tif.*\(HTTP {status} {words}\)"):
        scene_at(server.url, f"?case={status}")
    assert server.requests <= 2


def test_what_is_no_raster(server, folder):
    (folder / "page.tif").write_text("<html>")
    with pytest.raises(SceneError, match=r"page.tif: not a raster"):
        FilesSource((f"{server.url}/page.tif",), ("red",)).scenes(["red"])


def test_a_header_is_asked_for_once_by_all_threads(server):
    scene_at(server.url, "?case=header")
    first = server.requests
    scene_at(server.url, "?case=header")
    assert first <= 4
    assert server.requests == first


def test_requests_and_bytes_are_counted(server):
    METER.take()
    read(scene_at(server.url, "?case=counted"))
    traffic = METER.take()
    assert (traffic.requests, traffic.bytes) == (server.requests, server.sent)
    assert METER.take().requests == 0


def test_settings_of_the_user_go_first(server, monkeypatch):
    server.reset(Faults(status=503))
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with pytest.raises(RemoteError):
        scene_at(server.url, "?case=mine")
    assert server.requests == 1
