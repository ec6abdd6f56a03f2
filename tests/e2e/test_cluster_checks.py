"""What workers are asked before the first block, by a run and by geoseg doctor --cluster."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from test_cluster_processes import Site

from geoseg.api.checking import examine_workers, refuse
from geoseg.api.doctor import examine_cluster
from geoseg.api.planning import plan_workflow
from geoseg.errors import ClusterError
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.clusters import probe
from geoseg.run.clusters.probe import Needs, ask
from geoseg.workflow import load

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def site():
    """Two workers that run in the root folder, one of which says that it has a GPU."""
    site = Site()
    for more in (("--resources", "GPU=1"), ()):
        site.worker("--no-nanny", *more, env={"PYTHONPATH": str(ROOT)})
    yield site
    site.close()


@pytest.fixture(scope="module")
def client(site):
    spec = ClusterSpec(kind="address", address=site.address, timeout=60)
    with connect(spec) as connected:
        connected.client.wait_for_workers(2, timeout=60)
        yield connected.client


@pytest.fixture(scope="module")
def plan(tmp_path_factory, site):
    folder = tmp_path_factory.mktemp("plan")
    path = folder / "workflow.yaml"
    path.write_text(
        json.dumps(
            {
                "geoseg": 1,
                "name": "checked",
                "input": {"kind": "sample", "size": [420, 530]},
                "model": {"name": "landcover-s2"},
                "output": {"directory": str(folder / "out")},
                "cluster": {"address": site.address},
            }
        )
    )
    return path, plan_workflow(load(path))


def test_what_workers_see_as_the_client_does(client, tmp_path):
    file = tmp_path / "scene.tif"
    file.write_bytes(b"1234")
    digest = hashlib.sha256(b"1234").hexdigest()
    needs = Needs({str(file): 4}, {str(file): digest}, (str(tmp_path),), ("numpy",))
    for seen in ask(client, needs).values():
        assert (seen.lacks, seen.unwritable) == ((), ())
        assert seen.packages["numpy"]
        assert seen.threads == 2
        assert seen.free > 2**20
    assert [p.name for p in tmp_path.iterdir()] == ["scene.tif"], "nothing stays"


def test_what_workers_do_not_see(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers are in another folder: so are relative paths
    monkeypatch.setattr(probe, "VISIBLE_SECONDS", 0.3)
    Path("a.tif").write_bytes(b"1234")
    (tmp_path / "b.tif").write_bytes(b"1234")
    absolute = str(tmp_path / "b.tif")
    needs = Needs({"a.tif": 4, absolute: 5}, {absolute: "0" * 64}, ("no/such", "tmp"))
    Path("tmp").mkdir()
    for seen in ask(client, needs).values():
        missing, other, weights, unseen, elsewhere = seen.lacks
        assert missing == "does not see a.tif (No such file or directory)"
        assert other == f"sees another {absolute}, of 4 bytes, where the client sees 5"
        assert weights.startswith(
            f"sees other weights at {absolute} (sha256 03ac674216f3, not 0000"
        )
        assert elsewhere == "writes to another tmp than the client"
        assert unseen == "does not see the folder no/such"
        assert seen.unwritable == ()
    elsewhere = Path("/", "tmp").glob(".geoseg-probe-0-*")
    assert not list(elsewhere), "what was written there is gone, too"


def test_faults_are_one_line_that_says_what_helps(client, plan, monkeypatch):
    _, planned = plan
    states = examine_workers(client, planned)
    assert not [fault for state in states for fault in state.faults]
    assert any("offers a GPU, and its driver shows none" in d for s in states for d in s.doubts)

    (task,) = planned.tasks
    greedy = replace(task, plan=replace(task.plan, memory_per_worker=2**50))
    small = replace(planned, tasks=(greedy,), resources=replace(planned.resources, lanes=2))
    found = [fault for state in examine_workers(client, small) for fault in state.faults]
    assert len(found) == 1, "who does not segment needs less"
    assert "may use" in found[0][0]

    monkeypatch.setattr(
        "geoseg.api.checking.installed", lambda names: dict.fromkeys(names, "0.0.1")
    )
    with pytest.raises(ClusterError, match=r"^cluster: worker tcp://\S+ on \S+ \(and 1 more\) has"):
        refuse(examine_workers(client, planned))


def doctor(*words):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "doctor", "--cluster", *map(str, words)],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_doctor_asks_the_workers_of_a_workflow(client, plan):
    path, _ = plan
    code, told, _ = doctor(path, "--json")
    found = json.loads(told)
    assert code == 0, told
    assert found[0]["found"] == "2 workers, 4 threads"
    assert sum(one["what"].startswith("worker tcp://") for one in found) == 2
    assert [one["found"] for one in found if not one["ok"]], "doubts are told"
    assert not (path.parent / "out").exists(), "nothing is written"


def test_doctor_finds_nobody():
    with pytest.raises(ClusterError, match="no scheduler answers at what://ever:1"):
        examine_cluster("what://ever:1")
