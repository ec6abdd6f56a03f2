"""What documents may point to: judged by their words, without any network."""

import socket
from ipaddress import ip_address

import pytest

from geoseg.io import trust
from geoseg.io.trust import ALLOW_HOSTS, is_public, objection, private

PUBLIC = ("8.8.8.8", "2606:4700:4700::1111", "52.218.0.1")
PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0",  # noqa: S104 (nothing is bound to it)
    "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_names(monkeypatch):
    """Names are public unless a test says otherwise; nothing is looked up."""
    monkeypatch.delenv(ALLOW_HOSTS, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    answers = {"inside.example.com": "10.0.0.7", "outside.example.com": "8.8.8.8"}

    def look_up(host, *_args, **_kwargs):
        if host not in answers:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[host], 0))]

    monkeypatch.setattr(trust.socket, "getaddrinfo", look_up)
    trust._resolved.cache_clear()
    yield
    trust._resolved.cache_clear()


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address):
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    assert "private network" in private(f"http://{host}/a.tif")
    assert private(f"http://{host}/a.tif", asked=f"http://{host}/catalog.json") is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "printer.local", "metadata.google.internal",
        "2130706433", "0x7f000001", "017700000001", "127.1", "inside.example.com",
    ],
)  # fmt: skip
def test_private_in_disguise(host):
    assert "private network" in private(f"http://{host}:8080/a.tif")


@pytest.mark.parametrize("host", ["outside.example.com", "nobody.example.com", "8.8.8.8"])
def test_what_is_public_or_unknown_is_asked(host):
    assert private(f"https://{host}/a.tif") is None


@pytest.mark.parametrize("url", ["http:///a", "http://", "http://[::1/a"])
def test_no_host(url):
    assert private(url) is not None


def test_hosts_that_the_environment_names(monkeypatch):
    monkeypatch.setenv(ALLOW_HOSTS, "10.0.0.1, tiles.lan")
    assert private("http://10.0.0.1/a.tif") is None
    assert private("http://tiles.lan/a.tif") is None
    assert private("http://10.0.0.2/a.tif") is not None


def test_a_proxy_looks_names_up_itself(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    assert private("http://inside.example.com/a.tif") is None
    assert private("http://127.0.0.1/a.tif") is not None, "an address needs no look-up"


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("/etc/passwd", "file of this machine"),
        ("file:///etc/passwd", "file of this machine"),
        ("../../etc/passwd", "file of this machine"),
        ("/vsistdin/", "special files"),
        ("/vsimem/x", "special files"),
        ("/vsisubfile/0_100,/etc/passwd", "special files"),
        ("/vsicurl?url=http://169.254.169.254/", "special files"),
        ("/vsicurl/file:///etc/passwd", "special files"),
        ("/vsizip//etc/secret.zip/a.tif", "file of this machine"),
        ("/vsizip//vsizip//vsicurl/http://10.0.0.1/a.zip", "private network"),
        ("/vsizip/{/vsicurl/http://10.0.0.1/a.zip}/a.tif", "private network"),
        ("/vsicurl/http://10.0.0.1/a.tif", "private network"),
        ("<VRTDataset/>", "neither a path nor an address"),
        ("MEM:::DATAPOINTER=1", "begins with MEM:"),
        ("GTI:/etc/x", "begins with GTI:"),
        ("ftp://example.com/a.tif", "begins with ftp:"),
        ("http://10.0.0.1\n/a.tif", "neither a path nor an address"),
    ],
)
def test_what_a_server_may_not_send_us_to(href, said):
    assert said in objection(href, asked="https://outside.example.com/catalog.json", local=False)


@pytest.mark.parametrize(
    "href",
    [
        "https://outside.example.com/a.tif", "s3://bucket/a.tif", "/vsis3/bucket/a.tif",
        "gs://bucket/a.tif", "/vsicurl/https://outside.example.com/a.tif",
        "/vsizip//vsicurl/https://outside.example.com/a.zip/a.tif",
    ],
)  # fmt: skip
def test_what_anybody_may_point_to(href):
    assert objection(href, asked="", local=False) is None


def test_files_may_name_files():
    assert objection("/data/a.tif", asked="catalog.json", local=True) is None
    assert objection("/data/a.tif", asked="catalog.json", local=False) is not None
