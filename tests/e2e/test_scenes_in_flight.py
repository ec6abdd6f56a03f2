"""Many scenes at once on a real cluster: overlap, the same bytes, failures that stay alone, stops."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from packages import write_package
from test_run import BYTES

import geoseg
from geoseg.api import making
from geoseg.api.states import find_runs
from geoseg.cli import run as command
from geoseg.errors import GeosegError, ProductError
from geoseg.grid import Window
from geoseg.io.atomic import write_bytes
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.on_dask import OnDask

pytestmark = pytest.mark.cluster

SCENES, BLOCKS_OF_ONE = 6, 2
NAMES = [f"s{number}" for number in range(SCENES)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Small scenes, two of them different."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(2):
        write_sample(SampleSpec((96, 130), seed=seed, clouds=False), folder / f"kind{seed}")
    for number, name in enumerate(NAMES):
        os.link(folder / f"kind{number % 2}" / "scene.tif", folder / f"{name}.tif")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def cluster():
    with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
        connected.client.get_task_stream()  # kept from now on
        yield connected.client


def workflow(folder: Path, scenes: Path, model: Path, cluster, **run) -> Path:
    data = {
        "geoseg": 1,
        "name": "flight",
        "input": {
            "kind": "files",
            "path": str(scenes / "*.tif"),
            "units": "reflectance",
        },
        "model": {"path": str(model)},
        "tiling": {"size": 128, "margin": 48, "block": 96},
        "output": {
            "directory": str(folder / "out" / "{scene}"),
            "vector": {"formats": ["gpkg", "geoparquet"]},
        },
        "cluster": {"kind": "address", "address": cluster.scheduler.address}
        if cluster
        else {"workers": 2, "dashboard": False},
        "run": run,
    }
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(data))
    return path


def contents(out: Path) -> dict[str, bytes]:
    return {
        f"{place.name}/{name}": (place / name).read_bytes()
        for place in sorted(out.iterdir())
        if place.is_dir() and not place.name.startswith(".")
        for name in BYTES
    }


@dataclass(frozen=True)
class Flown:
    """A run of all scenes at once, and when its tasks were done."""

    out: Path
    tasks: list


@pytest.fixture(scope="module")
def flown(tmp_path_factory, scenes, model, cluster):
    folder = tmp_path_factory.mktemp("flown")
    begun = time.time()
    path = workflow(folder, scenes, model, cluster)
    assert len(geoseg.run(path).scenes) == SCENES
    return Flown(folder / "out", cluster.get_task_stream(start=begun))


@pytest.fixture(scope="module")
def wanted(tmp_path_factory, scenes, model, cluster):
    """What comes of one scene after the other, whose products the client makes."""
    folder = tmp_path_factory.mktemp("lonely")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "fits_workers", lambda _plan, _task: False)
        geoseg.run(workflow(folder, scenes, model, cluster, scenes_at_once=1))
    return contents(folder / "out")


def test_at_once_they_become_the_same_bytes_as_one_by_one(flown, wanted):
    assert len(wanted) == SCENES * len(BYTES)
    assert contents(flown.out) == wanted


def of(flown, stage, scene):
    """When tasks of a stage of a scene began and ended, by the workers' clocks."""
    return [
        (step["start"], step["stop"])
        for task in flown.tasks
        if str(task["key"]).startswith(f"('geoseg-{stage}-{scene}-")
        for step in task["startstops"]
        if step["action"] == "compute"
    ]


def test_the_next_scene_is_read_before_the_one_before_is_done(flown):
    overlaps = 0
    for one, other in pairwise(NAMES):
        (made,) = of(flown, "products", one)
        for stage in ("segment", "trace"):
            assert len(of(flown, stage, one)) == BLOCKS_OF_ONE
        overlaps += min(of(flown, "segment", other))[0] < made[1]
    assert overlaps == SCENES - 1


def test_its_status_says_what_came_of_all(flown, capsys):
    (status,) = find_runs(flown.out)
    told = ("state", "scenes", "made", "there", "failed", "waiting", "in_flight")
    assert [status[key] for key in told] == ["done", SCENES, SCENES, 0, 0, 0, ()]
    assert status["blocks"] == status["done_blocks"] == BLOCKS_OF_ONE * SCENES
    assert command(["status", str(flown.out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["runs"][0]["made"] == SCENES
    assert {one["state"] for one in said["outputs"]} == {"done"}
    assert command(["status", str(flown.out)]) == 0
    assert f"flight: done, {SCENES}/{SCENES} scenes ({SCENES} made)" in capsys.readouterr().out


def test_parts_made_side_by_side_are_the_same_bytes(
    tmp_path, scenes, model, cluster, wanted, monkeypatch
):
    """As those of a large scene, which has several processes to itself."""
    monkeypatch.setattr(making, "LARGE", 0)
    begun = time.time()
    geoseg.run(workflow(tmp_path, scenes, model, cluster))
    assert contents(tmp_path / "out") == wanted
    stream = Flown(tmp_path, cluster.get_task_stream(start=begun))
    assert [len(of(stream, stage, "s0")) for stage in ("products", "finish")] == [3, 1]


def test_a_worker_of_an_earlier_run_puts_nothing_into_this_one(tmp_path):
    """As one that makes a product while its client was killed and the next run has begun."""
    folder = tmp_path / "out"
    (folder / ".geoseg").mkdir(parents=True)
    (folder / ".geoseg" / making.MAKER).write_text("the next run")
    task = SimpleNamespace(directory=folder)
    late = SimpleNamespace(products=SimpleNamespace(task=task), mark="an earlier run", place=None)
    with making._only_while_ours(late), pytest.raises(ProductError, match="another run makes"):
        write_bytes(folder / "classes.tif", b"late")
    write_bytes(folder / "item.json", b"ours")
    assert sorted(path.name for path in folder.iterdir()) == [".geoseg", "item.json"]


@pytest.fixture
def spoilt(tmp_path, scenes):
    """The scenes, the third of which breaks off where its pixels are."""
    (tmp_path / "in").mkdir()
    for name in NAMES:
        data = (scenes / f"{name}.tif").read_bytes()
        if name == "s2":
            data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
        (tmp_path / "in" / f"{name}.tif").write_bytes(data)
    return tmp_path / "in"


def test_a_scene_that_fails_leaves_the_others_alone(tmp_path, spoilt, model, cluster):
    result = geoseg.run(workflow(tmp_path, spoilt, model, cluster, on_error="skip_scene"))
    assert [scene.scene for scene in result.scenes] == NAMES
    assert [scene.scene for scene in result.failed] == ["s2"]
    assert result.exit_code == 4
    assert not (tmp_path / "out/s2/item.json").exists()
    assert all((tmp_path / "out" / n / "item.json").exists() for n in NAMES if n != "s2")
    (status,) = find_runs(tmp_path / "out")
    assert (status["failures"], status["failed"], status["made"]) == (("s2",), 1, SCENES - 1)


def test_where_it_shall_stop_none_is_begun_after_it(tmp_path, spoilt, model, cluster):
    path = workflow(tmp_path, spoilt, model, cluster, scenes_at_once=2)
    with pytest.raises(GeosegError, match="segment: block rows"):
        geoseg.run(path)
    (status,) = find_runs(tmp_path / "out")
    assert status["state"] == "failed"
    assert status["waiting"] > 0
    assert not (tmp_path / f"out/{NAMES[-1]}/item.json").exists()


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)]
)
def test_stopped_with_several_under_way_it_goes_on(tmp_path, scenes, model, wanted, how):
    path = workflow(tmp_path, scenes, model, None, scenes_at_once=3)
    started = subprocess.Popen(
        [sys.executable, "-m", "geoseg", "run", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("out/*/.geoseg/segment.jsonl"))) < 2:
        assert time.monotonic() < until
        assert started.poll() is None, started.communicate()[0]
        time.sleep(0.01)
    started.send_signal(how)
    said, _ = started.communicate(timeout=120)
    assert started.returncode == (130 if how == signal.SIGINT else -how), said
    if how == signal.SIGINT:
        assert f"of {SCENES} scenes to go" in said
    (status,) = find_runs(tmp_path / "out")
    assert status["state"] == ("stopped" if how == signal.SIGINT else "lost")
    assert command(["run", str(path), "-q"]) == 0
    assert contents(tmp_path / "out") == wanted


@dataclass(frozen=True)
class Tells:
    """A job whose blocks say when they were done."""

    key: str

    def open(self):
        return self

    def __call__(self, block):
        begun = time.time()
        time.sleep(0.05)
        return {"begun": begun, "row": block.y0}

    def close(self):
        pass


BLOCKS = [Window(row, 0, row + 1, 1) for row in range(40)]


def test_two_jobs_at_once_hear_their_own_answers_and_the_first_goes_first(cluster):
    came = {}

    def work(priority):
        executor = OnDask(cluster, priority=priority)
        came[priority] = list(executor.run(Tells(f"tells{priority}"), BLOCKS))

    threads = [Thread(target=work, args=(priority,)) for priority in (0, 1)]
    threads[0].start()
    while not any("geoseg-tells0" in str(key) for key in list(cluster.futures)):
        time.sleep(0.005)
    threads[1].start()
    for thread in threads:
        thread.join()
    for outcomes in came.values():
        assert sorted(one.report["row"] for one in outcomes) == list(range(40))
    middle = {p: sorted(o.report["begun"] for o in came[p])[20] for p in came}
    assert middle[1] < middle[0], "although it was begun later"
