"""``cluster: {kind: slurm}``: workers as jobs of a real SLURM, which a client on the login host sends."""

import json
import time

import pytest
from clustered import Moment, hashes, strays, taken_away
from namespaces import why_not
from slurm_hosts import WITH_GPU, started, why_no_slurm

pytest.importorskip("dask_jobqueue")
pytest.importorskip("geoseg.run.clusters.jobqueue")

WHY_NOT = why_not() or why_no_slurm()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]

CLUSTER = {"kind": "slurm", "cores": 2, "threads": 2, "memory": "2 GB",
           "walltime": "1 h", "wait": "5 min", "dashboard": False}  # fmt: skip
GPU = {"workers": 1, "cores": 2, "memory": "3 GB"}


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    with started(tmp_path_factory.mktemp("jobs"), chaos_package) as found:
        yield found


@pytest.fixture
def sent(site):
    """Begins a run whose workers are jobs; all of them are gone afterwards."""
    slurm, folder, _ = site
    sessions = []

    def begin(**cluster):
        asked = f"cluster={json.dumps(CLUSTER | cluster)}"
        sessions.append(slurm.run("workflow.yaml", "--set", asked, cwd=folder))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.kill("group")
    slurm.ask("scancel", "--user=root")
    taken_away(folder / "out")


def jobs(slurm, *states):
    """Numbers of jobs that have not ended, or of those that are as asked for."""
    said = slurm.ask("squeue", "-h", "-o", "%i %T").splitlines()
    found = [line.split() for line in said]
    return {number for number, state in found if not states or state in states}


def waited_for(session, found, seconds=120):
    """What ``found`` gives, once it gives something, while a run goes on."""
    until = time.monotonic() + seconds
    while not (got := found()):
        assert not session.ended, session
        assert time.monotonic() < until, session
        time.sleep(0.3)
    return got


def hosts_of(slurm, out):
    """Names of the nodes that did blocks, for each stage, by the events that a run keeps."""
    names = {slurm.hosts.address(node): node for node in slurm.nodes}
    lines = (out / ".geoseg" / "log" / "events.jsonl").read_text().splitlines()
    found = {}
    for one in map(json.loads, lines):
        if one["event"] == "block":
            host = one["worker"].removeprefix("tls://").rpartition(":")[0]
            found.setdefault(one["stage"], set()).add(names[host])
    return found


def well_ended(session, site):
    slurm, folder, wanted = site
    assert session.end() == 0, session
    assert hashes(folder / "out") == wanted
    assert not strays(folder / "out")
    nothing_left(slurm, folder)


def nothing_left(slurm, folder):
    until = time.monotonic() + 60
    while found := jobs(slurm) - jobs(slurm, "COMPLETING"):
        assert time.monotonic() < until, found
        time.sleep(0.5)
    assert not list(folder.glob(".geoseg-jobs-*")), "certificates were left behind"


def test_workers_are_jobs_and_one_that_is_cancelled_is_sent_again(site, sent):
    slurm, folder, _ = site
    session = sent(workers=3)
    # The run is short: it may end before all three are there.
    first = waited_for(session, lambda: jobs(slurm, "RUNNING"))
    assert session.wait_for(Moment("segment", 1)), session
    known = first | jobs(slurm)
    slurm.ask("scancel", min(first))
    again = waited_for(session, lambda: jobs(slurm, "RUNNING", "PENDING") - known)
    assert len(again) == 1
    well_ended(session, site)
    assert set().union(*hosts_of(slurm, folder / "out").values()) <= set(slurm.nodes)


def test_jobs_end_with_a_run_that_is_stopped(site, sent):
    slurm, folder, _ = site
    session = sent(workers=3)
    assert session.wait_for(Moment("segment", 5)), session
    (client,) = slurm.hosts.processes("login", "-m geoseg run")[-1:]
    client.terminate()
    assert session.end() == 143, session
    nothing_left(slurm, folder)


def test_models_run_on_one_pool_and_outlines_on_the_other(site, sent):
    slurm, folder, _ = site
    session = sent(workers=2, gpu=GPU)
    well_ended(session, site)
    nodes = hosts_of(slurm, folder / "out")
    assert nodes.pop("segment") == {WITH_GPU}
    # An idle worker with a GPU may help the others; none of them lets it do all.
    assert nodes
    assert all(found - {WITH_GPU} for found in nodes.values()), nodes


def test_jobs_are_sent_as_there_is_work(site, sent):
    slurm, folder, _ = site
    session = sent(adaptive={"minimum": 1, "maximum": 3})
    waited_for(session, lambda: len(jobs(slurm)) == 1)
    waited_for(session, lambda: len(jobs(slurm)) > 1)
    assert len(jobs(slurm)) <= 3
    well_ended(session, site)
    assert len(hosts_of(slurm, folder / "out")["segment"]) > 1


def test_a_job_that_slurm_refuses_is_one_line_and_nothing_is_written(site, sent):
    slurm, folder, _ = site
    session = sent(workers=1, queue="nowhere")
    assert session.end(120) == 2, session
    assert "a job was refused: sbatch: error: invalid partition specified: nowhere" in "".join(
        session.other
    )
    assert not list((folder / "out").rglob("*"))
    nothing_left(slurm, folder)
