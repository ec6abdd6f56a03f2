"""Hosts of a test are hosts: what is cut is cut, what is slow is slow, and nothing is left of them."""

import subprocess
import tempfile

import psutil
import pytest
from namespaces import network, why_not

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.long,  # hosts are held to be hosts; test_hosts.py uses them in CI
]

ECHO = """
import socket
with socket.create_server(("0.0.0.0", 9000)) as door:
    print("open", flush=True)
    while True:
        with door.accept()[0] as line:
            while said := line.recv(1):
                line.sendall(said)
"""
CALL = """
import socket, time
with socket.create_connection(("far", 9000), timeout=1.5) as line:
    line.settimeout(1.5)
    begin = time.monotonic()
    for _ in range(3):
        line.sendall(b"x")
        line.recv(1)
    print((time.monotonic() - begin) / 3)
"""


@pytest.fixture
def hosts(tmp_path):
    with network(tmp_path, names=("near", "far")) as hosts:
        yield hosts


def answered(hosts):
    """Seconds there and back; None where nothing comes back."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    out, error = hosts.start("near", "python3", "-c", CALL, **pipes).communicate(timeout=60)
    assert out or "imed out" in error or "refused" in error, error
    return float(out) if out else None


def serve(hosts):
    server = hosts.start("far", "python3", "-c", ECHO, stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "open\n"
    return server


def test_lines_are_cut_slow_and_well_again(hosts):
    serve(hosts)
    assert answered(hosts) < 0.1
    hosts.slow("far", delay=0.1, loss=0.0)
    assert answered(hosts) >= 0.2
    hosts.slow("far", delay=0.0, loss=0.3)
    answered(hosts)
    assert sum(port.lost for port in hosts.switch.ports.values())
    hosts.cut("far")
    assert answered(hosts) is None
    hosts.restore("far")
    assert answered(hosts) < 0.1


def test_a_host_without_power_has_nothing_left_and_comes_back_with_its_address(hosts):
    server = serve(hosts)
    family = psutil.Process(server.pid).children(recursive=True)
    assert family
    hosts.restart("far")
    psutil.wait_procs(family, timeout=10)
    assert not [process for process in family if process.is_running()]
    assert answered(hosts) is None, "nobody serves there now"
    serve(hosts)
    assert answered(hosts) < 0.1


def test_hosts_have_names_and_a_tmp_of_their_own(hosts, tmp_path):
    def said(*words):
        return hosts.start("far", *words, stdout=subprocess.PIPE, text=True).communicate()[0]

    assert said("hostname") == "far\n"
    (tmp_path / "seen").touch()
    assert "seen" in said("ls", tmp_path).split()
    beside = said("ls", tempfile.gettempdir()).split()
    assert beside == [tmp_path.parts[2]]
    assert said("sh", "-c", "ls /proc | grep -c '^[0-9]'") < "9\n"
