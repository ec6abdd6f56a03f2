"""How GDAL is set up while geoseg reads; the only place where its settings are."""

from __future__ import annotations

import re

import rasterio

_SETTINGS = {
    "GDAL_CACHEMAX": 256,  # MB for each process; the default is 5 % of the machine's memory
    "GDAL_VRT_ENABLE_PYTHON": "NO",  # pixel functions in a VRT are somebody else's code
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    "GDAL_HTTP_LOW_SPEED_TIME": 60,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
_SCHEMES = {
    "http": "/vsicurl/http",
    "https": "/vsicurl/https",
    "s3": "/vsis3",
    "gs": "/vsigs",
    "az": "/vsiaz",
}
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)


def gdal_env(*, remote: bool = False, cache: int | None = None) -> rasterio.Env:
    """A context in which GDAL is set up.

    Args:
        remote: For files that are not on this machine.
        cache: MB that GDAL keeps, for the whole process; heeded where no raster was opened before.
    """
    # Listing the folder of a local file is how sidecar masks and world files are found; on a
    # server it costs a request for each file.
    listing = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if remote else {}
    size = {} if cache is None else {"GDAL_CACHEMAX": cache}
    return rasterio.Env(**(_SETTINGS | listing | size))


def is_remote(uri: str) -> bool:
    """Whether ``uri`` is something else than a file on this machine."""
    return uri.startswith("/vsi") or bool(_URL.match(uri))


def gdal_path(uri: str) -> str:
    """What GDAL calls ``uri``.

    ``https://host/a.tif`` becomes ``/vsicurl/https://host/a.tif``, ``s3://bucket/a.tif`` becomes
    ``/vsis3/bucket/a.tif``; paths stay as they are.
    """
    match = _URL.match(uri)
    if match is None:
        return uri
    prefix = _SCHEMES.get(match[1].lower())
    if prefix is None:
        return uri
    return f"{prefix}://{match[2]}" if prefix.startswith("/vsicurl") else f"{prefix}/{match[2]}"
