"""Hosts that are cut off, slow, frozen or without power, in the middle of a run."""

import json
import os
import signal
import subprocess
import time

import pytest
from clustered import Cluster, Moment, hashes, local_run, strays, taken_away
from namespaces import ROOT, network, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

HOSTS = ("scheduler", "worker1", "worker2", "worker3", "client", "desk")
WORKERS = HOSTS[1:4]
SILENCE = 45
MINUTES = 240.0
"""Seconds within which a run notices that a host is gone, and ends."""


def workflow(package, majority=3):
    return {
        "geoseg": 1,
        "name": "hosts",
        "input": {"kind": "sample", "size": 768, "seed": 3, "directory": "sample"},
        "model": {"path": str(package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "postprocess": [{"step": "majority", "size": majority}],
        "output": {"directory": "out", "vector": {"min_area": "1000 m2", "simplify": "8 m"}},
        "cluster": {"workers": 2, "threads": 2, "dashboard": False},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """Six hosts, two workflows, and the products of each on one host."""
    folder = tmp_path_factory.mktemp("faults")
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Somebody else's minutes would be spent with waiting.
    environment["DASK_GEOSEG__WORKER_SILENCE"] = f"{SILENCE} seconds"
    with network(chaos_package.parents[1], names=HOSTS, environment=environment) as hosts:
        cluster = Cluster(hosts, folder)
        wanted = {}
        for size in (3, 5):
            file = folder / f"majority{size}.yaml"
            file.write_text(json.dumps(workflow(chaos_package, size)))
            wanted[size] = local_run(cluster, file, folder / "out")
        assert wanted[3] != wanted[5]
        cluster.start(*WORKERS)
        yield cluster, wanted


@pytest.fixture
def begun(site):
    """A run on the cluster of which some blocks are done; all hosts are well afterwards."""
    cluster, _ = site
    for name in WORKERS:
        cluster.hosts.restart(name)
    cluster.seen(at_least=3)
    session = cluster.run(cluster.folder / "majority3.yaml")
    sessions = [session]
    assert session.wait_for(Moment("segment", 5)), session
    yield session, sessions
    for one in sessions:
        one.kill("group")
    for name in HOSTS:
        if cluster.hosts.is_up(name):
            cluster.hosts.restore(name)
        else:
            cluster.hosts.up(name)
    taken_away(cluster.folder / "out")


def ended(session, cluster, wanted, code=0):
    """The seconds until a run ended as it should, with the products that it should make."""
    begin = time.monotonic()
    assert session.end(MINUTES) == code, session
    if code == 0:
        assert hashes(cluster.folder / "out") == wanted
        assert not strays(cluster.folder / "out")
    return time.monotonic() - begin


def told(what, *figures):
    """For docs/hosts.md; shown with -s."""
    print(f"\n{what}:", *figures)  # noqa: T201 (see above)


def everything(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_nothing_happens_to_anybody(site, begun):
    cluster, wanted = site
    session, _ = begun
    told("undisturbed", f"{ended(session, cluster, wanted[3]):.0f} s to the end")
    assert not [text for text in session.told.messages if "is gone" in text]


def test_a_worker_that_is_cut_off_is_given_up(site, begun):
    cluster, wanted = site
    session, _ = begun
    cluster.hosts.cut("worker1")
    seconds = ended(session, cluster, wanted[3])
    told("worker cut off", f"{seconds:.0f} s to the end", session.told.messages)
    (said,) = [text for text in session.told.messages if "is gone" in text]
    assert cluster.hosts.address("worker1") in said
    assert "in hand; others do them" in said
    cluster.hosts.restore("worker1")
    assert set(cluster.seen(at_least=3)) == set(WORKERS), "it comes back by itself"


def test_a_worker_that_froze_and_comes_back_when_all_is_over_writes_nowhere(site, begun):
    cluster, wanted = site
    session, _ = begun
    frozen = freeze(cluster, "worker1")
    seconds = ended(session, cluster, wanted[3])
    before = everything(cluster.folder / "out")
    thaw(cluster, "worker1", frozen)
    assert set(cluster.seen(at_least=3)) == set(WORKERS)
    time.sleep(5)
    assert everything(cluster.folder / "out") == before
    told("worker frozen and cut off", f"{seconds:.0f} s to the end", session.told.messages)


def test_a_worker_that_froze_comes_back_into_the_next_run(site, begun):
    cluster, wanted = site
    session, sessions = begun
    frozen = freeze(cluster, "worker1")
    session.process.terminate()
    session.kill("group")
    cluster.hosts.restart("client")  # the run is gone; what it had done is kept
    other = cluster.run(cluster.folder / "majority5.yaml", host="desk")
    sessions.append(other)
    assert other.wait_for(Moment("segment", 0)), other
    thaw(cluster, "worker1", frozen)
    ended(other, cluster, wanted[5])
    same = cluster.run(cluster.folder / "majority3.yaml")
    sessions.append(same)
    ended(same, cluster, wanted[3])


def freeze(cluster, name, *, cut=True):
    """Nothing runs on a host, and with ``cut`` nothing is heard of it: blocks stay half done."""
    if cut:
        cluster.hosts.cut(name)
    frozen = cluster.hosts.processes(name, "python")
    assert frozen
    for process in frozen:
        os.kill(process.pid, signal.SIGSTOP)
    return frozen


def thaw(cluster, name, frozen):
    cluster.hosts.restore(name)
    for process in frozen:
        os.kill(process.pid, signal.SIGCONT)


def test_a_worker_that_is_frozen_but_connected_is_replaced(site, begun):
    cluster, wanted = site
    session, _ = begun
    frozen = freeze(cluster, "worker1", cut=False)
    seconds = ended(session, cluster, wanted[3])
    assert any("is gone" in text for text in session.told.messages)
    told("worker frozen", f"{seconds:.0f} s to the end", session.told.messages)
    before = everything(cluster.folder / "out")
    thaw(cluster, "worker1", frozen)
    assert set(cluster.seen(at_least=3)) == set(WORKERS)
    assert everything(cluster.folder / "out") == before


def test_a_scheduler_that_is_frozen_but_connected(site, begun):
    cluster, wanted = site
    session, _ = begun
    frozen = freeze(cluster, "scheduler", cut=False)
    try:
        seconds = ended(session, cluster, wanted[3], code=1)
    finally:
        thaw(cluster, "scheduler", frozen)  # or nobody after this test is answered
    told("scheduler frozen", f"{seconds:.0f} s to the end", "".join(session.other)[-300:])


def test_slow_and_lossy_lines(site, begun):
    cluster, wanted = site
    session, _ = begun
    for name in WORKERS:
        cluster.hosts.slow(name, delay=0.1, loss=0.02)
    seconds = ended(session, cluster, wanted[3])
    ports = [cluster.hosts.switch.ports[name] for name in HOSTS]
    lost, passed = sum(p.lost for p in ports), sum(p.passed for p in ports)
    assert lost
    told(
        "200 ms there and back, 2 % lost",
        f"{seconds:.0f} s, {lost} of {lost + passed} packets lost",
    )


def test_a_worker_without_power_comes_back_and_gets_blocks(site, begun):
    cluster, wanted = site
    session, _ = begun
    cluster.hosts.restart("worker1", seconds=1)
    seconds = ended(session, cluster, wanted[3])
    done = cluster.seen(at_least=3)
    assert done["worker1"] > 0, "since it came back"
    told("worker restarted", f"{seconds:.0f} s to the end", done)


def test_a_scheduler_without_power(site, begun):
    cluster, wanted = site
    session, sessions = begun
    cluster.hosts.down("scheduler")
    seconds = ended(session, cluster, wanted[3], code=1)
    said = "".join(session.other) + " ".join(session.told.messages)
    told("scheduler without power", f"{seconds:.0f} s to the end", said[-300:])
    cluster.hosts.up("scheduler")
    again = cluster.run(cluster.folder / "majority3.yaml")
    sessions.append(again)
    seconds = ended(again, cluster, wanted[3])
    assert again.told.before["segment"] >= 5
    told("and the same command", f"{seconds:.0f} s, {again.told.before['segment']} blocks kept")


def test_a_client_without_power_and_another_host_goes_on(site, begun):
    cluster, wanted = site
    session, sessions = begun
    cluster.hosts.down("client")
    assert session.end(10) != 0
    again = cluster.run(cluster.folder / "majority3.yaml", host="desk")
    sessions.append(again)
    seconds = ended(again, cluster, wanted[3])
    assert again.told.before["segment"] >= 5
    told("client without power", f"{seconds:.0f} s on another, {again.told.before['segment']} kept")


def test_a_client_that_is_cut_off_ends_and_another_host_goes_on(site, begun):
    cluster, wanted = site
    session, sessions = begun
    cluster.hosts.cut("client")
    busy = cluster.run(cluster.folder / "majority3.yaml", host="desk")
    sessions.append(busy)
    assert busy.end(60) == 75, busy
    assert "on client holds this output" in "".join(busy.other)
    seconds = ended(session, cluster, wanted[3], code=1)
    again = cluster.run(cluster.folder / "majority3.yaml", host="desk")
    sessions.append(again)
    ended(again, cluster, wanted[3])
    told("client cut off", f"{seconds:.0f} s until it ends", "".join(session.other)[-300:])


def test_nobody_else_is_on_the_machine(site):
    """What this file leaves would be seen by others."""
    cluster, _ = site
    found = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True)
    assert not [port for port in cluster.hosts.switch.ports.values() if port.device in found.stdout]
