"""``cluster: {kind: slurm}``: workers as jobs of a real SLURM, which a client on the login host sends."""

import json
import time

import pytest
from clustered import Moment, Session, hashes, strays, taken_away
from namespaces import ROOT, network, why_not
from slurm_hosts import Slurm, why_no_slurm

pytest.importorskip("dask_jobqueue")
pytest.importorskip("geoseg.run.clusters.jobqueue")

WHY_NOT = why_not() or why_no_slurm()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]

NODES = ["node1", "node2", "node3"]
CLUSTER = {"kind": "slurm", "workers": 3, "cores": 2, "threads": 2, "memory": "2 GB",
           "walltime": "1 h", "wait": "5 min", "dashboard": False}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """SLURM, a workflow, and the products of a run on the login host alone."""
    folder = tmp_path_factory.mktemp("jobs")
    workflow = {
        "geoseg": 1,
        "name": "jobs",
        "input": {"kind": "sample", "size": 768, "seed": 3, "directory": "sample"},
        "model": {"path": str(chaos_package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "output": {"directory": "out", "vector": {"min_area": "1000 m2", "simplify": "8 m"}},
        "cluster": {"workers": 2, "threads": 2, "dashboard": False},
    }
    (folder / "workflow.yaml").write_text(json.dumps(workflow))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    names = ("head", "login", *NODES)
    with network(chaos_package.parents[1], names=names, environment=environment) as hosts:
        slurm = Slurm(hosts, folder / "daemons", NODES)
        slurm.start()
        alone = session(slurm, folder)
        assert alone.end() == 0, alone
        yield slurm, folder, taken_away(folder / "out")


def session(slurm, folder, *words):
    return Session("run", "workflow.yaml", *words, cwd=folder,
                   env=slurm.env | slurm.hosts.environment,
                   through=slurm.hosts.through("login", folder))  # fmt: skip


@pytest.fixture
def sent(site):
    """A run whose workers are jobs; all of them are gone afterwards."""
    slurm, folder, _ = site
    session_ = session(slurm, folder, "--set", f"cluster={json.dumps(CLUSTER)}")
    yield session_
    session_.kill("group")
    slurm.ask("scancel", "--user=root")
    taken_away(folder / "out")


def jobs(slurm):
    return slurm.ask("squeue", "-h", "-o", "%i %T").splitlines()


def test_workers_are_jobs_and_one_of_them_is_cancelled(site, sent):
    slurm, folder, wanted = site
    assert sent.wait_for(Moment("segment", 5)), sent
    running = [line.split()[0] for line in jobs(slurm) if "RUNNING" in line]
    assert running, jobs(slurm)
    slurm.ask("scancel", running[0])
    assert sent.end() == 0, sent
    assert hashes(folder / "out") == wanted
    assert not strays(folder / "out")
    nothing_left(slurm, folder)


def test_jobs_end_with_a_run_that_is_stopped(site, sent):
    slurm, folder, _ = site
    assert sent.wait_for(Moment("segment", 5)), sent
    (client,) = slurm.hosts.processes("login", "-m geoseg run")[-1:]
    client.terminate()
    assert sent.end() == 143, sent
    nothing_left(slurm, folder)


def nothing_left(slurm, folder):
    until = time.monotonic() + 60
    while found := [line for line in jobs(slurm) if "COMPLETING" not in line]:
        assert time.monotonic() < until, found
        time.sleep(0.5)
    assert not list(folder.glob(".geoseg-jobs-*")), "certificates were left behind"
