"""Whole runs on files of a server: the same products, counted, and without anybody's secrets."""

import json
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
from packages import BANDS, write_package
from range_server import Faults, serving
from rasters import write

from geoseg import api
from geoseg.api.pipeline import run_plan
from geoseg.grid import blocks
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.run.base import Done
from geoseg.run.reporter import Silent
from geoseg.run.serial import Serial
from geoseg.scene import Scene

pytestmark = pytest.mark.cluster

SECRET = "hunter2xyz"  # noqa: S105 (what must not be seen)
SIGNED = f"?sig={SECRET}%3D&se=2030-01-01"


class Said(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    random = np.random.default_rng(2)
    values = random.integers(200, 4000, (len(BANDS), 400, 500)).astype(np.uint16)
    write(root / "scene.tif", values, nodata=0, driver="COG", blocksize=128, compress="deflate")
    return root


def planned(path, out, model, **run):
    data = {
        "geoseg": 1,
        "name": "served",
        "input": {
            "kind": "files", "path": path, "bands": list(BANDS), "scale": 1e-4,
            "units": "reflectance",
        },
        "model": {"path": str(model)},
        "tiling": {"size": 192, "margin": 48, "block": 192},
        "output": {"directory": str(out)},
        "cluster": {"workers": 1, "dashboard": False},
        "run": {"on_error": "stop", **run},
    }  # fmt: skip
    path = out.parent / f"{out.name}.yaml"
    path.write_text(json.dumps(data))
    return api.plan(path)


@pytest.fixture(scope="module")
def local(folder, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    run_plan(planned(str(folder / "scene.tif"), out, model), Silent())
    return out


def rasters(out):
    found = {}
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(out / name) as file:
            found[name] = file.read(1)
    return found


def test_a_run_counts_and_keeps_secrets(folder, model, local, tmp_path):
    with serving(folder) as server:
        base = server.url.replace("//", f"//me:{SECRET}@")
        said, out = Said(), tmp_path / "out"
        plan = planned(f"{base}/scene.tif{SIGNED}", out, model)
        run_plan(plan, said)
        asked, sent = server.requests, server.sent
        again = run_plan(planned(f"{base}/scene.tif{SIGNED}0", out, model), said)
    assert not again.scenes[0].fresh, "a new signature is no new file"
    record = json.loads((out / "run.json").read_text())
    requests = record["remote"]["requests"]
    assert record["remote"] == {"requests": requests, "bytes": sent}
    # GDAL counts ranges that it asks for at once as one request.
    assert 0 < requests <= asked
    line = f"scene scene: {requests} requests to servers, {sent / 1e6:.1f} MB received"
    assert line in said.lines
    assert record["inputs"] == [{"href": f"{server.url}/scene.tif"}]
    for name, values in rasters(local).items():
        assert np.array_equal(rasters(out)[name], values), name
    for text in (*said.lines, *everything(tmp_path / "out")):
        assert SECRET not in text


def everything(folder):
    """All that lies below a folder, unpacked."""
    for path in folder.rglob("*"):
        yield path.name
        if path.suffix == ".qgz":
            with zipfile.ZipFile(path) as packed:
                yield from (packed.read(name).decode() for name in packed.namelist())
        elif path.is_file():
            yield path.read_bytes().decode("latin-1")


def test_a_bad_server_gives_the_same_map(folder, model, local, tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    # Outlives what GDAL tries: only another try of the block helps.
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    with serving(folder) as server:
        plan = planned(f"{server.url}/scene.tif", tmp_path / "out", model, retries=5)
        server.reset(Faults(drops=0.2, unavailable=0.2, busy=0.1, reset=0.1, times=3))
        run_plan(plan, Silent())
        assert server.failed > 3
    for name, values in rasters(local).items():
        assert np.array_equal(rasters(tmp_path / "out")[name], values), name


@dataclass(frozen=True)
class Reading:
    """A job that does nothing but read. Implements :class:`geoseg.run.base.Job`."""

    scene: Scene
    key: str = "reading"

    def open(self):
        return _Reads(ScenePixels(self.scene))


class _Reads:
    def __init__(self, pixels):
        self.pixels = pixels

    def __call__(self, block):
        patch = self.pixels.read(list(BANDS), block)
        return {"sum": int(patch.values.sum(dtype=np.int64))}

    def close(self):
        self.pixels.close()


def test_a_block_is_tried_again_when_gdal_has_given_up(folder, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with serving(folder) as server:
        base = server.url.replace("//", f"//me:{SECRET}@")
        (scene,) = FilesSource((f"{base}/scene.tif{SIGNED}",), BANDS).scenes(BANDS)
        todo = list(blocks(scene.grid.shape, 200))
        server.reset(Faults(unavailable=0.5, times=2))
        outcomes = list(Serial(2, retries=8).run(Reading(scene), todo))
        assert server.failed > 1
        assert [type(outcome) for outcome in outcomes] == [Done] * len(todo)
        server.reset(Faults(status=503))
        (failed,) = Serial(1, retries=1).run(Reading(scene), todo[-1:])
    assert failed.error == (
        f"scene scene: {server.url}/scene.tif was not delivered at rows 200-400, columns 400-500 "
        f"(HTTP 503 Service Unavailable); what is done is kept, run again to go on"
    )
    assert "HTTP response code: 503" in failed.traceback
    assert SECRET not in failed.traceback
