"""deploy/slurm/geoseg.sbatch on a real SLURM of three nodes, each a host of its own."""

import json
import time

import pytest
from clustered import Session, hashes, ledgers, strays, taken_away
from namespaces import ROOT, network, why_not
from slurm_hosts import Slurm, why_no_slurm

WHY_NOT = why_not() or why_no_slurm()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]

SCRIPT = ROOT / "deploy" / "slurm" / "geoseg.sbatch"
NODES = ["node1", "node2", "node3"]
OPTIONS = ("--ntasks=3", "--cpus-per-task=2", "--mem-per-cpu=1500M", "--time=00:30:00")


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """SLURM, a workflow, and the products of a run on the login host alone."""
    folder = tmp_path_factory.mktemp("slurm")
    workflow = {
        "geoseg": 1,
        "name": "slurm",
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
        alone = Session("run", "workflow.yaml", cwd=folder, env=environment,
                        through=hosts.through("login", folder))  # fmt: skip
        assert alone.end() == 0, alone
        yield slurm, folder, taken_away(folder / "out")


def log(folder, job):
    return (folder / f"geoseg-{job}.log").read_text()


def test_a_job_on_three_nodes_makes_the_bytes_of_a_local_run(site):
    slurm, folder, wanted = site
    job = slurm.submit(SCRIPT, "workflow.yaml", options=OPTIONS, cwd=folder)
    ended = slurm.wait(job)
    assert ended["JobState"] == "COMPLETED", (ended, log(folder, job)[-3000:])
    assert ended["NumNodes"] == "3"
    assert hashes(folder / "out") == wanted
    assert not strays(folder / "out")
    assert not list(folder.glob(".geoseg-slurm-*")), "certificates were left behind"
    taken_away(folder / "out")


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["--signal=TERM", "--batch"], "FAILED"),  # what SLURM does before the time is over
        ([], "CANCELLED"),
    ],
)
def test_a_job_is_ended_and_the_same_sbatch_goes_on(site, words, state):
    slurm, folder, wanted = site
    out = folder / "out"
    job = slurm.submit(SCRIPT, "workflow.yaml", "--log-json", options=OPTIONS, cwd=folder)
    until = time.monotonic() + 300
    while ledgers(out).get("segment", 0) < 8:
        assert time.monotonic() < until, (slurm.job(job), log(folder, job)[-3000:])
        time.sleep(0.05)
    slurm.ask("scancel", *words, job)
    ended = slurm.wait(job)
    assert ended["JobState"] == state, (ended, log(folder, job)[-3000:])
    if state == "FAILED":
        assert ended["ExitCode"] == "143:0"
    assert not (out / "item.json").exists()
    kept = ledgers(out)["segment"]
    again = slurm.submit(SCRIPT, "workflow.yaml", "--log-json", options=OPTIONS, cwd=folder)
    ended = slurm.wait(again)
    assert ended["JobState"] == "COMPLETED", (ended, log(folder, again)[-3000:])
    assert hashes(out) == wanted
    lines = [json.loads(line) for line in log(folder, again).splitlines() if line[:1] == "{"]
    (stage,) = [e for e in lines if e.get("event") == "stage" and e["stage"] == "segment"]
    assert stage["done_blocks"] == kept
    assert not list(folder.glob(".geoseg-slurm-*")), "certificates were left behind"
    taken_away(folder / "out")
