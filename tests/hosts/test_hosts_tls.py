"""A cluster on several hosts behind TLS: who is let in, and what is said in the clear."""

import json
import shutil
import subprocess
import time

import pytest
from clustered import Cluster, Session, hashes, local_run, strays
from namespaces import ROOT, network, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


def authority(folder, name):
    """An authority, and one certificate that it has signed, as docs/security.md makes them."""
    ca, ca_key, cert, key, asked = (
        folder / f"{name}-{what}.pem" for what in ("ca", "ca-key", "cert", "key", "asked")
    )
    for words in (
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-keyout", ca_key, "-out", ca],
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=geoseg", "-keyout", key,
         "-out", asked],
        ["x509", "-req", "-days", "2", "-in", asked, "-CA", ca, "-CAkey", ca_key,
         "-CAcreateserial", "-out", cert],
    ):  # fmt: skip
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    return ca, cert, key


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    folder = tmp_path_factory.mktemp("tls")
    workflow = {
        "geoseg": 1,
        "name": "tls",
        "input": {"kind": "sample", "size": 256, "seed": 3, "directory": "sample"},
        "model": {"path": str(chaos_package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "output": {"directory": "out"},
        "cluster": {"workers": 1, "threads": 2, "dashboard": False},
    }
    file = folder / "workflow.yaml"
    file.write_text(json.dumps(workflow))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    names = ("scheduler", "worker1", "worker2", "client")
    with network(chaos_package.parents[1], names=names, environment=environment) as hosts:
        cluster = Cluster(hosts, folder, tls=authority(folder, "ours"))
        wanted = local_run(cluster, file, folder / "out")
        cluster.start("worker1")
        yield cluster, file, wanted


def test_a_run_behind_tls_makes_the_same_bytes_and_says_nothing_in_the_clear(site):
    cluster, file, wanted = site
    assert set(cluster.seen()) == {"worker1"}
    said = cluster.hosts.switch.words
    # Of the first, test_hosts.py shows that it is heard without TLS.
    said |= {b"do_block": 0, b"geoseg": 0, b"heartbeat": 0}
    session = cluster.run(file)
    assert session.end() == 0, session
    assert hashes(cluster.folder / "out") == wanted
    assert not strays(cluster.folder / "out")
    assert not any(said.values()), said


@pytest.mark.parametrize("how", ["stranger", "none", "plain"])
def test_a_client_without_certificate_of_ours_is_refused(site, how):
    cluster, file, _ = site
    settings = {"address": cluster.address}
    if how == "stranger":
        names = ("ca", "cert", "key")
        theirs = map(str, authority(cluster.folder, "theirs"))
        settings["tls"] = dict(zip(names, theirs, strict=True))
    elif how == "plain":
        settings["address"] = cluster.address.replace("tls://", "tcp://")
    out = cluster.folder / f"refused-{how}"
    session = Session(
        "run", file, "--set", f"cluster={json.dumps(settings)}", "--set", f"output.directory={out}",
        cwd=cluster.folder, env=cluster.hosts.environment,
        through=cluster.hosts.through("client", cluster.folder),
    )  # fmt: skip
    try:
        assert session.end(120) in {1, 2}, session
    finally:
        session.kill("group")
    why = "cluster.tls: required" if how == "none" else "no scheduler answers at"
    assert why in "".join(session.other), session
    assert not hashes(out)


def test_a_worker_with_a_certificate_of_strangers_gets_no_blocks(site):
    cluster, _, _ = site
    stranger = Cluster(cluster.hosts, cluster.folder, tls=authority(cluster.folder, "others"))
    stranger.serve("worker2", stranger._worker)
    until = time.monotonic() + 120
    while "certificate verify failed" not in stranger.said("worker2").lower():
        assert time.monotonic() < until, stranger.said("worker2")[-3000:]
        time.sleep(1)
    assert set(cluster.seen()) == {"worker1"}
