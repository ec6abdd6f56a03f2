"""Who may talk to a cluster: loopback only, or whoever has a certificate of the same authority."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cluster_processes import MANY, WhoWorks, children_of, dask, free_port, process_at

from geoseg.errors import ClusterError
from geoseg.run.cluster import Certificates, ClusterSpec, connect
from geoseg.run.on_dask import OnDask

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent


def openssl(*arguments: object) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Certificates:
    """An authority and one certificate that it has signed; as docs/security.md shows it."""
    ca, ca_key = folder / f"{name}-ca.pem", folder / f"{name}-ca-key.pem"
    cert, key, asked = (folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", ca_key, "-out", ca)  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=geoseg", "-keyout", key,
            "-out", asked)  # fmt: skip
    openssl("x509", "-req", "-days", "2", "-in", asked, "-CA", ca, "-CAkey", ca_key,
            "-CAcreateserial", "-out", cert)  # fmt: skip
    return Certificates(str(ca), str(cert), str(key))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: authority(folder, name) for name in ("ours", "theirs")}


def flags(tls: Certificates) -> list[str]:
    return ["--tls-ca-file", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key]


@pytest.fixture
def site(certificates):
    """A scheduler and a worker that speak to nobody without a certificate."""
    port, tls = free_port(), flags(certificates["ours"])
    address = f"tls://127.0.0.1:{port}"
    processes = [
        dask("scheduler", "--host", "tls://127.0.0.1", "--port", str(port), "--no-dashboard", *tls),
        dask("worker", address, "--nthreads", "2", "--host", "tls://127.0.0.1", "--no-dashboard",
             "--no-nanny", *tls, env={"PYTHONPATH": str(HERE)}),
    ]  # fmt: skip
    yield address
    for process in reversed(processes):
        for member in filter(None, [process_at(process.pid), *children_of(process.pid)]):
            member.kill()
        process.wait()


def test_blocks_run_behind_tls_and_strangers_are_not_let_in(site, certificates):
    ours = ClusterSpec(kind="address", address=site, timeout=60, tls=certificates["ours"])
    with connect(ours) as connected:
        assert connected.client.scheduler.address.startswith("tls://")
        found = list(OnDask(connected.client).run(WhoWorks("tls"), MANY[:6]))
        assert len(found) == 6
    theirs = ClusterSpec(kind="address", address=site, timeout=3, tls=certificates["theirs"])
    with pytest.raises(ClusterError, match="no scheduler answers"), connect(theirs):
        pass
    plain = ClusterSpec(kind="address", address=site.replace("tls://", "tcp://"), timeout=3)
    with pytest.raises(ClusterError, match="no scheduler answers"), connect(plain):
        pass


def test_certificates_that_are_missing_or_no_certificates(certificates, tmp_path):
    ours = certificates["ours"]
    with pytest.raises(ClusterError, match=r"cluster\.tls\.key: .*gone\.pem: no such file"):
        Certificates(ours.ca, ours.cert, str(tmp_path / "gone.pem")).security()
    with pytest.raises(ClusterError, match=r"cluster\.tls: .* belong together"):
        Certificates(ours.ca, ours.cert, certificates["theirs"].key).security()
    (tmp_path / "text.pem").write_text("no certificate\n")
    with pytest.raises(ClusterError, match=r"cluster\.tls: .* belong together"):
        Certificates(ours.ca, str(tmp_path / "text.pem"), ours.key).security()


LISTENING = """
import psutil

from geoseg.run.cluster import Certificates, ClusterSpec, connect

def main():
    tls = {tls}
    with connect(ClusterSpec(workers=1, tls=tls)) as connected:
        assert connected.client.submit(sum, [1, 2]).result() == 3
        print(connected.client.scheduler.address)
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            for one in process.net_connections(kind="inet"):
                if one.status == psutil.CONN_LISTEN:
                    print(one.laddr.ip, one.laddr.port)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_cluster_of_our_own_listens_on_loopback_only(certificates, tmp_path, encrypted):
    script = tmp_path / "listening.py"
    tls = certificates["ours"] if encrypted else None
    script.write_text(LISTENING.format(tls=repr(tls)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    scheme, *doors = done.stdout.splitlines()
    assert scheme.startswith("tls://127.0.0.1:" if encrypted else "tcp://127.0.0.1:")
    assert len(doors) >= 4, "scheduler, dashboard, nanny and worker"
    assert {door.split()[0] for door in doors} == {"127.0.0.1"}
