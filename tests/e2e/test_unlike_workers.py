"""Workers that are not like the client: there from the beginning, or coming while a run goes on."""

import json
import logging
from types import SimpleNamespace

import pytest
from conftest import ROOT
from small_runs import geoseg
from test_cluster_processes import Site, WhoWorks, spec

from geoseg.api import pipeline
from geoseg.api.crew import Crew
from geoseg.api.planning import plan_workflow
from geoseg.errors import ClusterError
from geoseg.grid import Window
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.run.attending import LOG
from geoseg.run.base import Done
from geoseg.run.cluster import connect
from geoseg.run.clusters import probe
from geoseg.run.clusters.joining import Joining, expect
from geoseg.run.clusters.probe import Needs, installed
from geoseg.run.on_dask import OnDask
from geoseg.run.reporter import Silent
from geoseg.run.serial import Serial
from geoseg.workflow import load

pytestmark = pytest.mark.cluster

ADDRESS = SimpleNamespace(address="tcp://10.0.0.7:8786")


class Mixed(Site):
    """A site with a worker like the client; another one says that it has another library."""

    def __init__(self, other):
        super().__init__()
        about = other / "pyproj-0.0.1.dist-info" / "METADATA"
        about.parent.mkdir()
        about.write_text("Metadata-Version: 2.1\nName: pyproj\nVersion: 0.0.1\n")
        self._other = other
        self.good = self.worker("--no-nanny", env={"PYTHONPATH": str(ROOT)})
        self.bad = None

    def spoil(self):
        """Start the other one, once."""
        if self.bad is None:
            self.bad = self.worker("--no-nanny", env={"PYTHONPATH": f"{self._other}:{ROOT}"})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Mixed(tmp_path_factory.mktemp("packages"))
    yield site
    site.close()


@pytest.fixture
def said():
    """What a run is told of workers."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    LOG.addHandler(handler)
    yield lines
    LOG.removeHandler(handler)


def plugins(client):
    found = client.run(lambda dask_worker: list(dask_worker.plugins)).values()
    return [name for names in found for name in names if "geoseg" in name]


def test_a_worker_that_comes_later_and_is_another_does_no_block(site, said):
    def blocks():
        """Until it was found out."""
        for row in range(3000):
            if row == 1:
                site.spoil()
            if any("does none of these blocks" in text for text in said):
                return
            yield Window(row, 0, row + 1, 1)

    with connect(spec(site)) as connected:
        expect(connected.client, Needs(mark="late"), installed(["numpy", "pyproj"]))
        done = list(OnDask(connected.client).run(WhoWorks("late", 0.05), blocks()))
        assert len(connected.client.nthreads()) == 2
    assert all(isinstance(one, Done) for one in done)
    assert {one.report["pid"] for one in done} == {site.good.pid}
    (told,) = [text for text in said if "does none of these blocks" in text]
    assert "has pyproj 0.0.1, the client" in told
    with connect(spec(site)) as connected:
        assert plugins(connected.client) == [], "the run is over, and nothing of it is left"


def test_what_a_worker_looks_for_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "VISIBLE_SECONDS", 0.2)
    file = tmp_path / "scene.tif"
    file.write_bytes(b"1234")
    fine = Needs({str(file): 4}, {str(file): "0" * 64}, (str(tmp_path),))
    looking = Joining(fine, installed(["numpy"]))
    looking.setup(ADDRESS)
    looking.check()  # weights are left to those who load them
    file.unlink()
    looking.check()  # once is enough
    looking = Joining(Needs(), {}, (str(tmp_path / "state" / "lock"),))
    looking.setup(ADDRESS)
    with pytest.raises(ClusterError, match=r"sees another \S+/state than the client"):
        looking.check()
    for needs, ours, why in (
        (Needs({str(file): 4}), {}, f"does not see {file}"),
        (Needs(folders=(str(tmp_path / "no"),)), {}, "does not see the folder"),
        (Needs(), {"numpy": "0.0.1"}, "has numpy .*, the client 0.0.1"),
        (Needs(), {"no-such": "1.0"}, r"has no-such \(none\), the client 1.0"),
    ):
        looking = Joining(needs, ours)
        looking.setup(ADDRESS)
        with pytest.raises(ClusterError, match=f"^cluster: worker {ADDRESS.address} {why}"):
            looking.check()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A workflow of two scenes."""
    folder = tmp_path_factory.mktemp("refused")
    for seed in (1, 2):
        spec = SampleSpec((96, 130), seed=seed, clouds=False)
        write_sample(spec, folder / f"scene{seed}")
    scenes = {"path": str(folder / "*" / "scene.tif"), "units": "reflectance"}
    data = {
        "geoseg": 1,
        "name": "refused",
        "input": {"kind": "files", **scenes},
        "model": "landcover-s2",
        "output": {"directory": str(folder / "out" / "{scene}"), "vector": False},
    }
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(data))
    return path


def everything(folder):
    """Products as they are; what a run notes of itself lies in folders of its own."""
    found = [p for p in folder.rglob("*") if p.is_file() and ".geoseg" not in p.parts]
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


def refused(site, path, *words):
    site.spoil()
    with connect(spec(site)) as connected:
        connected.client.wait_for_workers(2, timeout=60)
    done = geoseg("run", path, "--set", f"cluster={site.address}", *words, check=2)
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(said) == 1, done.stderr
    assert f"cluster: worker {site.address[:15]}" in said[0], done.stderr
    assert "has pyproj 0.0.1, the client" in said[0]
    assert "install the same packages on both" in done.stderr


def test_a_run_is_refused_and_where_there_was_nothing_there_is_nothing(site, path):
    before = sorted(path.parent.rglob("*"))
    refused(site, path)
    assert sorted(path.parent.rglob("*")) == before


def test_a_run_is_refused_and_products_of_before_stay(site, path, monkeypatch):
    out = path.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Crew, "connect", lambda _: None)
        patch.setattr(Crew, "executor", lambda _, order, blocks=True: Serial(1))
        pipeline.run_plan(plan_workflow(load(path)), Silent())
    before = everything(out)
    assert len(before) > 10
    refused(site, path, "--force")
    assert everything(out) == before
    (status,) = (out / ".geoseg").glob("scenes-*.json")
    assert json.loads(status.read_text())["state"] == "done", "of the run that made them"
    assert not list(out.rglob("*.zarr"))
    assert not list(out.rglob(".geoseg.lock"))
