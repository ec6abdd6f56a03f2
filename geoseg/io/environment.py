"""How GDAL is set up while geoseg reads; the only place where its settings are.

Whoever sets one of the ``GDAL_HTTP_*``, ``CPL_*`` and ``VSI_*`` settings in the environment has
their way. Credentials are never settings of geoseg: GDAL takes them from the environment
(``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``, ``AWS_NO_SIGN_REQUEST``, ``AWS_REQUEST_PAYER``,
``GDAL_HTTP_USERPWD``, ``GDAL_HTTP_HEADER_FILE``...), on each worker from its own.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import rasterio
from rasterio.session import DummySession

_SETTINGS = {
    # For each process; the default is 5 % of the machine's memory. In bytes: rasterio sets the
    # cache itself, and does not read small numbers as MB, as GDAL does.
    "GDAL_CACHEMAX": 64 * 2**20,
    "GDAL_VRT_ENABLE_PYTHON": "NO",  # pixel functions in a VRT are somebody else's code
}
_REMOTE = {
    # Listing the folder of a local file is how sidecar masks and world files are found; on a
    # server it costs a request for each file.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # About 10 s in all, each wait twice the last: 0.5, 1, 2.5, 5.5 s. What takes longer is tried
    # again as a block (run.retries).
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    # With a list of its own GDAL also retries connections that end without an answer.
    "GDAL_HTTP_RETRY_CODES": "408,425,429,500,502,503,504",
    # A server that takes 10 s to accept, or sends less than 1 kB/s for 20 s, is gone; there is no
    # limit to a whole request, as large ranges over thin lines take their time.
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_TCP_KEEPALIVE": "YES",
    # Neighbouring tiles in one request, and all ranges of a read at once. Several ranges in one
    # request (MULTIRANGE=SINGLE_GET) are not understood by S3.
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # Nothing is fetched ahead on threads of GDAL's own: where an answer broke off, a tile got what
    # another one holds, without any error (GDAL 3.10).
    "CPL_VSIL_CURL_ADVISE_READ_TOTAL_BYTES_LIMIT": 0,
    # The header of a COG of a whole Sentinel-2 tile, with its overviews, in one request; GDAL's
    # 16 kB are too few.
    "GDAL_INGESTED_BYTES_AT_OPEN": 65536,
    # What was read is kept for all handles of a process, so that each thread's handle finds the
    # header there. VSI_CACHE would keep it once more for each handle.
    "CPL_VSIL_CURL_CACHE_SIZE": 32 * 2**20,
    # Counted for run.json; see geoseg.io.traffic.
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
}
# Workers set it for files of their own. Threads that unpack tiles ask for each tile by itself; one
# thread has all ranges of a read fetched at once, and merged. Nobody's setting changes that.
_FORCED = {"GDAL_NUM_THREADS": 1}
_SCHEMES = {
    "http": "/vsicurl/http",
    "https": "/vsicurl/https",
    "s3": "/vsis3",
    "gs": "/vsigs",
    "az": "/vsiaz",
}
_COPIES: dict[str, str] = {}
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)


def gdal_env(*, remote: bool = False, cache: int | None = None) -> rasterio.Env:
    """A context in which GDAL is set up.

    Args:
        remote: For files that are not on this machine.
        cache: MB that GDAL keeps of what it has decoded, for the whole process, while in here.
    """
    settings = dict(_SETTINGS)
    if cache is not None:
        settings["GDAL_CACHEMAX"] = cache * 2**20
    if remote:
        settings |= {k: v for k, v in (_REMOTE | _endpoint()).items() if k not in os.environ}
        settings |= _FORCED
    # rasterio would look for credentials with boto3 (slowly, where there are none), and GDAL does
    # it by itself.
    return rasterio.Env(session=DummySession(), **settings)


def _endpoint() -> dict[str, str | int | float]:
    """S3-compatible servers as Amazon's tools are told of them, in GDAL's words."""
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not url or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    parts = urlsplit(url)
    return {
        "AWS_S3_ENDPOINT": parts.netloc,
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        # Few of them have a name for each bucket.
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def is_remote(uri: str) -> bool:
    """Whether ``uri`` is something else than a file on this machine."""
    return uri.startswith("/vsi") or bool(_URL.match(uri))


def gdal_path(uri: str, *, copies: bool = True) -> str:
    """What GDAL calls ``uri``.

    ``https://host/a.tif`` becomes ``/vsicurl/https://host/a.tif``, ``s3://bucket/a.tif`` becomes
    ``/vsis3/bucket/a.tif``; paths stay as they are. A file that was fetched whole is its copy, unless
    the answer is for others than this process (``copies``).
    """
    if copies and uri in _COPIES:
        return _COPIES[uri]
    match = _URL.match(uri)
    if match is None:
        return uri
    prefix = _SCHEMES.get(match[1].lower())
    if prefix is None:
        return uri
    return f"{prefix}://{match[2]}" if prefix.startswith("/vsicurl") else f"{prefix}/{match[2]}"


def use_copy(uri: str, path: str) -> None:
    """From now on ``path`` is read wherever this process is asked for ``uri``."""
    _COPIES[uri] = path
