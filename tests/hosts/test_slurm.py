"""deploy/slurm/geoseg.sbatch on a real SLURM of three nodes, each a host of its own."""

import json
import time

import pytest
from clustered import hashes, ledgers, strays, taken_away
from namespaces import ROOT, why_not
from slurm_hosts import started, why_no_slurm

WHY_NOT = why_not() or why_no_slurm()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]

SCRIPT = ROOT / "deploy" / "slurm" / "geoseg.sbatch"
OPTIONS = ("--ntasks=3", "--cpus-per-task=2", "--mem-per-cpu=1500M", "--time=00:30:00")


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    with started(tmp_path_factory.mktemp("slurm"), chaos_package) as found:
        yield found


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
