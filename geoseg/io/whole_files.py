"""Files of servers that do not send parts of them: fetched whole, once a process."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections import defaultdict
from functools import cache
from http import HTTPStatus
from http.client import HTTPMessage
from pathlib import Path
from threading import Lock
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from geoseg.io.environment import use_copy
from geoseg.io.trust import private

_TIMEOUT = 30
_LOCKS: defaultdict[str, Lock] = defaultdict(Lock)
_FETCHED: set[str] = set()


def fetch(uri: str) -> None:
    """Copy ``uri`` to this machine, where it is read from now on, until the process ends.

    Raises:
        OSError: The server does not send it (``urllib.error.HTTPError`` has its answer), or not
            all of it, or the disk is full.
    """
    address = uri.removeprefix("/vsicurl/")
    with _LOCKS[uri]:
        if uri in _FETCHED:
            return
        folder = Path(tempfile.mkdtemp(dir=_room().name))
        # Its name tells of the bands, its suffix of the format.
        path = folder / (Path(urlsplit(address).path).name or "file")
        with _open(_request(address)) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 2**20)
            wanted = answer.headers.get("Content-Length")
        found = path.stat().st_size
        if wanted is not None and found < int(wanted):
            raise ConnectionError(f"{found} of {wanted} bytes came")
        use_copy(uri, str(path))
        _FETCHED.add(uri)


def sends_parts(uri: str) -> bool:
    """Whether a server answers a request for the first byte with that; True where nobody knows."""
    address = uri.removeprefix("/vsicurl/")
    if not address.startswith(("http://", "https://")):
        return True
    request = _request(address)
    request.add_header("Range", "bytes=0-0")
    try:
        with _open(request) as answer:
            return bool(answer.status != HTTPStatus.OK)
    except OSError:
        return True


class _Redirects(HTTPRedirectHandler):
    """Follows where a server sends us, but not from elsewhere into a private network."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        why = private(newurl, asked=req.full_url)
        if why is not None:
            raise ConnectionError(f"it sends us to {urlsplit(newurl).hostname}, {why}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: Request) -> Any:
    """The answer; of an address that GDAL has found to be HTTP."""
    return build_opener(_Redirects).open(request, timeout=_TIMEOUT)


def _request(address: str) -> Request:
    """A request that says who asks, if the address does."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310 (see fetch)
    if at:
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    return request


@cache
def _room() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="geoseg-files-")
