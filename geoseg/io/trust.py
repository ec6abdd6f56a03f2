"""Where catalogs and VRTs may send us: public addresses, and files only where a file names them."""

from __future__ import annotations

import os
import re
import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

ALLOW_HOSTS = "GEOSEG_ALLOW_HOSTS"
"""Environment variable: hosts, with commas between them, that documents may point to although they
are private."""

_CLOUD = ("s3", "gs", "az", "abfs")
_BUCKETS = ("/vsis3/", "/vsigs/", "/vsiaz/", "/vsioss/", "/vsiswift/")
_ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/")
_DEEPEST = 3
_CURL = "/vsicurl/"
_WEB = (f"{_CURL}http://", f"{_CURL}https://")
# A letter and a colon is a drive; longer words before a colon choose a driver of GDAL.
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]+:")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_NAT64 = IPv6Address("64:ff9b::")


def objection(href: str, *, asked: str, local: bool) -> str | None:
    """Why a path or address that a document holds is not followed; None where it is.

    Args:
        href: An address or an absolute path, as the document means it.
        asked: What the user wrote: its host may be private, for the user has named it.
        local: Whether the document is a file on this machine. Others may not name files here.
    """
    href = _unpacked(href)
    if not href.isprintable() or "<" in href:
        return "which is neither a path nor an address"
    if href.startswith("/vsi") and not href.startswith((*_BUCKETS, *_WEB)):
        return "which is one of GDAL's special files"
    href = href.removeprefix(_CURL)
    scheme = href.partition("://")[0].lower() if "://" in href else ""
    if scheme in ("http", "https"):
        return private(href, asked=asked)
    if scheme in _CLOUD or href.startswith(_BUCKETS):
        return None
    href = href.removeprefix("file://")
    if _PREFIX.match(href):
        return f"which begins with {href.partition(':')[0]}: and is neither a path nor http(s)"
    return None if local else "which is a file of this machine, named by a document of another"


def _unpacked(href: str) -> str:
    """The archive in which a file is said to be."""
    for _ in range(_DEEPEST):
        inside = next((p for p in _ARCHIVES if href.startswith(p)), None)
        if inside is None:
            break
        href = href.removeprefix(inside).removeprefix("{")
        href = f"/{href}" if href.startswith("vsi") else href
    return href


def private(url: str, *, asked: str = "") -> str | None:
    """Why an address is not asked: it is within a private network; None where it is public.

    Names are looked up, unless a proxy will do that.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return "which is no address"
    if not host:
        return "which names no host"
    if named(host, asked):
        return None
    found = _literal(host)
    if found is not None:
        what = None if is_public(found) else str(found)
    elif host == "localhost" or host.endswith(_LOCAL_NAMES):
        what = host
    else:
        what = None if _by_proxy(url, host) else _resolved(host)
    if what is None:
        return None
    return f"which is within a private network ({what}); if that is meant, set {ALLOW_HOSTS}={host}"


def named(host: str, asked: str) -> bool:
    """Whether the user has named a host: in what was asked for, or in the environment."""
    return host == _host(asked) or host in _allowed()


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody may have this address; what is wrapped in IPv6 counts as what it wraps."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and int(address) >> 32 == int(_NAT64) >> 32:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that ``host`` is, in whatever way it is written; None for names."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:  # 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 for libcurl, too
        return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _resolved(host: str) -> str | None:
    """The private address that a name stands for; None where all are public, or none is known."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None  # whoever opens it will say so
    addresses = [ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    return next((f"{host} is {a}" for a in addresses if not is_public(a)), None)


def _by_proxy(url: str, host: str) -> bool:
    return urlsplit(url).scheme in getproxies() and not proxy_bypass(host)


def _host(asked: str) -> str:
    try:
        return (urlsplit(asked.removeprefix(_CURL)).hostname or "") if "://" in asked else ""
    except ValueError:
        return ""


def _allowed() -> set[str]:
    return {h.strip().lower() for h in os.environ.get(ALLOW_HOSTS, "").split(",") if h.strip()}
