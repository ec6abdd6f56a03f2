"""Workers of a host that shares nothing with the client but a store: networks come, products go."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import s3_server
from interrupting import Case

from geoseg.models.engines import is_installed

pytestmark = [pytest.mark.long, pytest.mark.cluster]
TELLS = {"run.json", "report.html", "item.json", "project.qgz"}
"""What says how long it took, and where scenes lie."""


@pytest.fixture(scope="module", params=s3_server.KINDS)
def store(tmp_path_factory, request):
    running = s3_server.start(tmp_path_factory.mktemp("store"), request.param)
    yield running
    running.end()


@pytest.fixture(scope="module")
def case(tmp_path_factory, chaos_package):
    case = Case(tmp_path_factory.mktemp("local"), chaos_package)
    for seed in range(2):
        case.write_scene(seed=seed, path=case.folder / f"scene-{seed}.tif")
    case.scene.unlink()
    case.data["input"] |= {"path": f"{case.folder}/scene-*.tif"}
    return case


def geoseg(case, folder, directory, env, **more):
    data = case.data | {"output": case.data["output"] | {"directory": f"{directory}/{{scene}}"}}
    path = folder / "w.yaml"
    path.write_text(json.dumps(data | more))
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "run", str(path)],
        env=os.environ | env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def site(store, tmp_path):
    """The address of a scheduler, with a worker that sees nothing of what the client keeps."""
    (tmp_path / "here").mkdir()
    apart = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {tmp_path / "here"} && exec "$@"']
    if subprocess.run([*apart, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file systems of one's own here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address, fixed = f"tcp://127.0.0.1:{port}", ("--host", "127.0.0.1", "--no-dashboard")
    env = os.environ | store.env | hidden(tmp_path / "there")
    dask = [sys.executable, "-m", "distributed.cli.dask_"]
    commands = (
        ("scheduler", "--port", port, *fixed),
        ("worker", address, "--no-nanny", "--nthreads", "2", *fixed),
    )
    processes = [
        subprocess.Popen(
            [*apart, "sh", *dask[:-1], dask[-1] + what, *args],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, cwd="/",
        )
        for what, *args in commands
    ]  # fmt: skip
    yield address
    for process in reversed(processes):
        process.kill()
        process.wait()


def hidden(cache):
    return {"GEOSEG_CACHE": str(cache), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def bytes_of(folder):
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and ".geoseg" not in p.parts]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files if p.name not in TELLS}


def test_products_are_made_where_blocks_are(store, case, site, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    cluster = {"kind": "address", "address": site}
    begun = len(store.requests())
    geoseg(case, tmp_path, "s3://maps/w", store.env | hidden(here), cluster=cluster)
    asked = store.requests()[begun:]
    made = {path for method, path, _ in asked if method == "PUT" and path.endswith("/maker")}
    assert len(made) == 2
    geoseg(case, tmp_path, tmp_path / "local", hidden(here), cluster={"workers": 1})
    store.fetch("w", tmp_path / "fetched")
    found = bytes_of(tmp_path / "fetched")
    assert found == bytes_of(tmp_path / "local")
    for scene in ("scene-0", "scene-1"):
        item = json.loads((tmp_path / "fetched" / scene / "item.json").read_text())
        for asset in item["assets"].values():
            assert (tmp_path / "fetched" / scene / asset["href"]).is_file()
    assert not [key for key in store.keys("w") if "/.geoseg/" in key and "/kept/" not in key]
    for cache in (here, there):
        assert not list(cache.rglob("outputs/**/*.*")), cache
    again = geoseg(case, tmp_path, "s3://maps/w", store.env | hidden(here), cluster=cluster)
    assert again.count("(up to date)") == 2


@pytest.mark.skipif(not is_installed("openvino"), reason="OpenVINO is not installed")
def test_networks_in_int8_come_to_workers(store, case, site, tmp_path):
    model = {"path": str(case.model), "engine": "openvino", "precision": "int8", "agreement": 0.3}
    cluster = {"kind": "address", "address": site}
    env = store.env | hidden(tmp_path / "here")
    told = geoseg(case, tmp_path, "s3://maps/i", env, cluster=cluster, model=model)
    assert told.count("openvino int8, as asked") == 2
    mine = {path.name for path in Path(tmp_path / "there" / "quantized").glob("*.onnx")}
    assert len(mine) == 2
    kept = {key.rpartition("/")[2] for key in store.keys("i") if key.endswith(".onnx")}
    assert kept == mine
    # Another client goes on with the same networks, as they are kept.
    env = store.env | hidden(tmp_path / "other")
    again = geoseg(case, tmp_path, "s3://maps/i", env, cluster=cluster, model=model)
    assert again.count("(up to date)") == 2
