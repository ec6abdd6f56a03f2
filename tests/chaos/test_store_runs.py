"""Runs whose products and blocks are in a store: as on disk, gone on with, refused, disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import s3_server
from interrupting import Case, CutOff

from geoseg.api.making import fits_workers
from geoseg.api.planning import plan_workflow
from geoseg.errors import GeosegError, InputError, LockedError
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import forget_client
from geoseg.run import store_lock
from geoseg.run.ledger_segments import _known
from geoseg.run.store_lock import StoreLock
from geoseg.workflow.loading import from_data

TELLS = {"run.json", "report.html"}
"""What says how long it took, and where."""
BLOCKS = 9


@pytest.fixture(scope="module", params=s3_server.KINDS)
def store(tmp_path_factory, request):
    running = s3_server.start(tmp_path_factory.mktemp("store"), request.param)
    yield running
    running.end()


@pytest.fixture(scope="module")
def local(tmp_path_factory, chaos_package):
    """An undisturbed run into a folder: the case, and its products."""
    case = Case(tmp_path_factory.mktemp("local"), chaos_package)
    case.data["output"] |= {"project": True, "raster": {"zarr": True}}
    case.run()
    return SimpleNamespace(case=case, products=bytes_of(case.out))


def bytes_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".geoseg" not in p.parts and p.name not in TELLS
    }


@pytest.fixture
def host(store, tmp_path, monkeypatch):
    """Become another machine, as far as its files tell."""
    numbers = iter(range(100))

    def become():
        monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / f"host-{next(numbers)}"))
        _known.clear()

    for name in ("AWS_PROFILE", "AWS_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    forget_client()
    become()
    yield become
    store.disturb()
    forget_client()


def test_products_are_those_of_a_folder(store, host, local, tmp_path):
    begun = len(store.requests())
    local.case.run(directory="s3://maps/one")
    asked = store.requests()[begun:]
    store.fetch("one", tmp_path / "fetched")
    found = bytes_of(tmp_path / "fetched")
    assert found.keys() == local.products.keys()
    different = {name for name in found if found[name] != local.products[name]}
    # These two name the scene, which lies beside a folder and not beside a bucket.
    assert different <= {"project.qgz", "item.json"}
    item = json.loads(found["item.json"])
    for asset in item["assets"].values():
        assert (tmp_path / "fetched" / asset["href"]).exists(), asset["href"]
    (scene,) = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert scene == str(local.case.scene)
    assert not store.keys("one/.geoseg")
    assert asked[-1][1].endswith("/one/.geoseg/lock")
    assert not list((tmp_path / "host-0").rglob("*.tif"))
    written = [path for method, path, _ in asked if method == "PUT" and "/one/" in path]
    assert written.index("/maps/one/item.json") == max(
        i for i, path in enumerate(written) if ".geoseg" not in path
    )
    check_requests(asked)
    begun = len(store.requests())
    host()
    heard = local.case.run(directory="s3://maps/one")
    assert any("up to date" in said for said in heard.said)
    assert {method for method, path, _ in store.requests()[begun:] if "lock" not in path} == {
        "GET",
        "HEAD",
    }


def check_requests(asked):
    """No listing but a few of the begin and the end; all others bounded by the blocks."""
    listings = [path for method, path, _ in asked if method == "GET" and "list-type" in path]
    assert len(listings) <= 10, listings
    of_blocks = [path for _, path, _ in asked if "work-" in path or "arcs-" in path]
    of_blocks = [path for path in of_blocks if "list-type" not in path]
    print(f"{len(of_blocks)} requests for {BLOCKS} blocks, {len(listings)} listings")  # noqa: T201 (with -s: figures)
    assert len(of_blocks) <= 24 * BLOCKS, len(of_blocks)


@pytest.mark.long
def test_another_machine_goes_on(store, host, local, tmp_path):
    local.case.run(CutOff("trace", 5), directory="s3://maps/two")
    assert "two/item.json" not in store.keys("two")
    host()
    # And the server stumbles: in the middle of blocks, and of products.
    store.disturb(status=503, methods=["PUT"], match="arcs-|item.json", times=2)
    heard = local.case.run(directory="s3://maps/two")
    assert json.loads(store.faults.read_text())["times"] == 0
    assert heard.before["segment"] == heard.before["refine"] == BLOCKS
    assert heard.before["trace"] == 5
    store.fetch("two", tmp_path / "fetched")
    assert bytes_of(tmp_path / "fetched")["classes.tif"] == local.products["classes.tif"]
    assert bytes_of(tmp_path / "fetched")["polygons.gpkg"] == local.products["polygons.gpkg"]


@pytest.mark.long
def test_damaged_objects_are_done_again(store, host, local, tmp_path):
    local.case.run(CutOff("trace", 9), directory="s3://maps/three")
    keys = list(store.keys("three/.geoseg"))
    chunk = next(key for key in keys if key.endswith("/classes/1.1"))
    arcs = next(key for key in keys if key.endswith(".npz"))
    store.client().put_object(Bucket=s3_server.BUCKET, Key=chunk, Body=b"no chunk")
    store.client().delete_object(Bucket=s3_server.BUCKET, Key=arcs)
    host()
    heard = local.case.run(directory="s3://maps/three")
    assert "segment: 1 of 9 stored blocks are damaged" in heard.text
    store.fetch("three", tmp_path / "fetched")
    assert bytes_of(tmp_path / "fetched")["polygons.gpkg"] == local.products["polygons.gpkg"]


@pytest.mark.long
def test_blocks_alone_in_a_store(store, host, local, tmp_path):
    local.case.data["run"] = {"work": "s3://maps/blocks"}
    out = tmp_path / "out"
    try:
        local.case.run(CutOff("segment", 4), directory=out)
        chunks = [key for key in store.keys("blocks") if "/classes/" in key]
        assert len(chunks) >= 4
        assert not list((out / ".geoseg").glob("work*"))
        heard = local.case.run(directory=out)
    finally:
        del local.case.data["run"]
    assert heard.before["segment"] == 4
    assert not store.keys("blocks")
    assert bytes_of(out)["classes.tif"] == local.products["classes.tif"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system")  # noqa: S108 (one that is there)
def test_blocks_on_another_file_system(host, local, tmp_path):
    work = Path(tempfile.mkdtemp(dir="/dev/shm")) / "work"
    local.case.data["run"] = {"work": str(work)}
    try:
        local.case.run(CutOff("trace", 4), directory=tmp_path / "out")
        assert list(work.glob("*/work-*.zarr"))
        heard = local.case.run(directory=tmp_path / "out")
    finally:
        del local.case.data["run"]
    assert heard.before["trace"] == 4
    assert not list(work.iterdir())
    shutil.rmtree(work.parent)
    assert bytes_of(tmp_path / "out")["polygons.gpkg"] == local.products["polygons.gpkg"]


@pytest.mark.parametrize("where", ["store", "work", "folder"])
def test_who_makes_the_products(host, local, tmp_path, where):
    data = local.case.data | {"output": {"directory": str(tmp_path / "out")}}
    if where == "store":
        data["output"] = {"directory": "s3://maps/made"}
    if where == "work":
        data["run"] = {"work": str(tmp_path / "work")}
    plan = plan_workflow(from_data(data))
    # Workers that keep their blocks elsewhere need not see the folder of the products.
    assert fits_workers(plan, plan.tasks[0]) == (where != "work")


def test_who_holds_it_is_said(store, host, local):
    lock = StoreLock(BucketPath.of("s3://maps/held"))
    lock.acquire()
    with pytest.raises(LockedError, match=r"^s3://maps/held: process \d+ on .* holds this output"):
        local.case.run(directory="s3://maps/held")
    assert list(store.keys("held")) == ["held/.geoseg/lock"]
    lock.release()
    assert not store.keys("held")


@pytest.mark.long
def test_a_server_that_goes_on_failing(store, host, local, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    forget_client()
    store.disturb(status=503, methods=["PUT"], match="arcs-", times=1000)
    with pytest.raises(GeosegError, match=r"HTTP 503 SlowDown .*asked 2 times") as caught:
        local.case.run(directory="s3://maps/broken")
    assert "\n" not in str(caught.value)
    store.disturb()
    heard = local.case.run(directory="s3://maps/broken")
    assert heard.before["segment"] == BLOCKS
    assert "broken/item.json" in store.keys("broken")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"directory": "s3://nobody-has-this/a"}, "there is no such bucket"),
        ({"directory": "s3://maps/a", "no": ["AWS_ACCESS_KEY_ID"]}, "no keys are found"),
        ({"directory": "s3://maps/a", "url": "http://127.0.0.1:9"}, "cannot be listed"),
    ],
)
def test_what_cannot_be_is_refused_before_anything(store, host, local, monkeypatch, change, said):
    before, asked = store.keys(), len(store.requests())
    for name in change.get("no", ()):
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    if "url" in change:
        monkeypatch.setenv("AWS_ENDPOINT_URL", change["url"])
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_client()
    monkeypatch.setattr("geoseg.api.places._answered", set())
    data = local.case.data | {"output": {"directory": change["directory"]}}
    with pytest.raises(InputError, match=rf"^output\.directory: s3://.*{said}") as caught:
        plan_workflow(from_data(data))
    assert s3_server.KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert "PUT" not in {method for method, _, _ in store.requests()[asked:]}
    assert store.keys() == before


@pytest.mark.long
@pytest.mark.cluster
def test_killed_and_gone_on_with(store, host, local, tmp_path):
    """kill -9 of the client of a cluster, a second client meanwhile, then the same command."""
    output = local.case.data["output"] | {"directory": "s3://maps/killed"}
    data = local.case.data | {"output": output, "cluster": {"workers": 2, "dashboard": False}}
    (tmp_path / "wf.yaml").write_text(json.dumps(data))
    command = [sys.executable, "-m", "geoseg", "run", str(tmp_path / "wf.yaml")]
    first = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not any("/classes/1." in key for key in store.keys("killed")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGSTOP)  # so that it does not end while the second one begins
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert second.returncode == 75, second.stderr
    assert f"s3://maps/killed: process {first.pid} on " in second.stderr
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert "killed/item.json" not in store.keys("killed")
    third = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert third.returncode == 0, third.stderr
    store.fetch("killed", tmp_path / "fetched")
    found = bytes_of(tmp_path / "fetched")
    assert {name for name in found if found[name] != local.products[name]} <= {
        "project.qgz", "item.json",
    }  # fmt: skip
    assert not [key for key in store.keys("killed/.geoseg") if not key.endswith("/state/kept")]


def test_locks_and_clocks(store, host):
    place = BucketPath.of("s3://maps/lock")
    first = StoreLock(place, beat=30, stale=1)
    first._told["machine"] = "another"
    first.acquire()
    with pytest.raises(LockedError, match="last sign"):
        StoreLock(place, beat=30, stale=60).acquire()
    time.sleep(2.2)  # times of objects are whole seconds
    second = StoreLock(place, beat=30, stale=1)
    second.acquire()
    first._sign()
    with pytest.raises(LockedError, match="was taken over by another run"):
        first.confirm()
    first.release()
    assert store.keys("lock")  # it is not the first one's to remove
    second.confirm()
    second.release()
    assert not store.keys("lock")


def test_a_server_that_ignores_conditions(store, host, local, monkeypatch):
    if store.behind is not None:
        pytest.skip("what was signed cannot be taken out on the way")
    monkeypatch.setattr(store_lock, "_sound", set())
    store.disturb(deaf=True)
    with pytest.raises(InputError, match="ignores conditions of writes"):
        local.case.run(directory="s3://maps/careless")
    assert not store.keys("careless")


def test_only_one_of_many_takes_it(store, host):
    place = BucketPath.of("s3://maps/many")
    locks, held = [StoreLock(place) for _ in range(8)], []

    def take(lock):
        try:
            lock.acquire()
            held.append(lock)
        except LockedError:
            pass

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1
    held[0].release()
