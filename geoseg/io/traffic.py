"""Requests and bytes that this process has asked servers for, as GDAL counts them.

rasterio does not show what GDAL counts, nor how to make it forget what it holds of a server's
files: both are called in the library that rasterio has loaded. Source: GDAL's ``cpl_vsi.h``,
``VSINetworkStatsGetAsSerializedJSON`` and ``VSICurlPartialClearCache``.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests sent to servers, and bytes of files that came back."""

    requests: int = 0
    bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests + other.requests, self.bytes + other.bytes)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests - other.requests, self.bytes - other.bytes)


NOTHING = Traffic()


class Meter:
    """Says what has been asked for since it was last asked itself; may be used by any thread.

    What :meth:`take` gives adds up to all that the process has asked for, whoever calls it.
    """

    def __init__(self, total: Callable[[], Traffic | None]) -> None:
        self._total, self._lock = total, Lock()
        self._told = Traffic()

    def take(self) -> Traffic:
        """What is new; nothing where GDAL cannot be asked."""
        with self._lock:
            total = self._total() or self._told
            new, self._told = total - self._told, total
            return new


def total() -> Traffic | None:
    """All of this process; None where GDAL cannot be asked. Failed requests count, too."""
    gdal = _gdal()
    if gdal is None:
        return None
    text = gdal.VSINetworkStatsGetAsSerializedJSON(None)
    try:
        said = json.loads(ctypes.string_at(text)) if text else {}
    finally:
        gdal.VSIFree(text)
    return _counted(said.get("methods", {}))


METER = Meter(total)
"""Of this process: GDAL counts for all of it."""


def forget(path: str) -> None:
    """Make GDAL forget what it holds of a file and knows of its server; ``path`` is GDAL's.

    It keeps parts of answers that broke off, and that a file could not be opened, for good.
    """
    gdal = _gdal()
    if gdal is not None:
        gdal.VSICurlPartialClearCache(path.encode())


def _counted(methods: Mapping[str, Mapping[str, Any]]) -> Traffic:
    requests = sum(int(method.get("count", 0)) for method in methods.values())
    return Traffic(requests, sum(int(m.get("downloaded_bytes", 0)) for m in methods.values()))


def _gdal() -> Any:
    """The GDAL of rasterio; None where nothing was read yet, or its functions are hidden."""
    loaded = sys.modules.get("rasterio._base")
    return None if loaded is None else _library(str(loaded.__file__))


@cache
def _library(path: str) -> Any:
    """Where a library's functions are found, and those of the libraries that it needs."""
    try:
        library = ctypes.CDLL(path)
        library.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
        library.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
        library.VSIFree.argtypes = [ctypes.c_void_p]
        library.VSIFree.restype = None
        library.VSICurlPartialClearCache.argtypes = [ctypes.c_char_p]
        library.VSICurlPartialClearCache.restype = None
    except (OSError, AttributeError):
        return None
    return library
