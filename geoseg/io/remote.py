"""Reads of files that may be on a server: tried again, taken whole, or refused by name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NoReturn, TypeVar
from urllib.error import HTTPError

from rasterio.errors import RasterioError

from geoseg.io.environment import gdal_env, gdal_path, is_remote
from geoseg.io.traffic import forget
from geoseg.io.whole_files import fetch, sends_parts

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds; each pause is twice the last."""

_STATUS = re.compile(r"(?:response[_ ]code|HTTP error code)\s*[:=]\s*(\d{3})", re.IGNORECASE)
_CURL = re.compile(r"CURL error: (.+)")
# Names of rasterio's private classes.
_REFUSED = frozenset(
    f"CPLE_AWS{what}Error"
    for what in (
        "AccessDenied", "BucketNotFound", "InvalidCredentials", "ObjectNotFound",
        "SignatureDoesNotMatch",
    )
)  # fmt: skip
_NO_RANGES = "Range downloading not supported"
_NO_RASTER = "not recognized as being in a supported file format"
_LATER = frozenset({408, 425, 429})


class LostError(Exception):
    """A server failed in a way that may pass; ``str()`` is how."""


def tried(uri: str, read: Callable[[], T], *, cache: int | None = None) -> T:
    """What ``read`` gives, with GDAL set up for ``uri``; again where a connection broke off.

    GDAL itself retries answers that say so (429, 5xx) and connections that are refused, but not
    answers that end too soon: it keeps what came of them, and reads it as the file.

    Args:
        uri: The file that ``read`` opens or reads.
        read: Must open the file anew when it is called again.
        cache: MB that GDAL keeps, see :func:`~geoseg.io.environment.gdal_env`.

    Raises:
        LostError: The server did not deliver; later it may.
        RasterioError: The file is not there, may not be read, or is damaged.
    """
    if not is_remote(uri):
        with gdal_env(cache=cache):
            return read()
    for pause in (*_pauses(), None):
        try:
            with gdal_env(remote=True, cache=cache):
                return read()
        except RasterioError as error:
            with gdal_env(remote=True):
                forget(gdal_path(uri))
            if _sends_no_parts(uri, error):
                _fetch(uri)
            elif pause is None or _is_final(error):
                _give_up(error)
            else:
                time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _pauses() -> list[float]:
    """Seconds to wait after each attempt but the last."""
    return [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(ATTEMPTS - 1)]


def _give_up(error: RasterioError) -> NoReturn:
    status = http_status(error)
    if status is not None:
        if status < 500 and status not in _LATER:
            raise error
        raise LostError(said(status)) from error
    if _is_refused(error) or _NO_RASTER in str(error):
        raise error
    curl = _CURL.search(str(error))
    how = curl[1] if curl else "connections break off, or the file is damaged"
    raise LostError(how) from error


def _sends_no_parts(uri: str, error: RasterioError) -> bool:
    """Whether that is why a read failed.

    GDAL may have said so on a thread of its own, where nobody hears it; then the server is asked.
    """
    if any(_NO_RANGES in str(one) for one in _chain(error)):
        return True
    return not _is_final(error) and _NO_RASTER not in str(error) and not sends_parts(uri)


def _fetch(uri: str) -> None:
    """Take a file whole.

    Raises:
        LostError: It does not come.
    """
    for pause in (*_pauses(), None):
        try:
            fetch(uri)
        except OSError as error:
            status = error.code if isinstance(error, HTTPError) else None
            if pause is None or (status is not None and status < 500 and status not in _LATER):
                how = str(error) if status is None else said(status)
                raise LostError(f"it sends no parts of files, and not the whole: {how}") from error
            time.sleep(pause)
        else:
            return


def http_status(error: BaseException) -> int | None:
    """What a server answered, as far as GDAL's errors tell."""
    found = (_STATUS.search(str(one)) for one in _chain(error))
    return next((int(match[1]) for match in found if match), None)


def _is_final(error: RasterioError) -> bool:
    """Whether asking once more is of no use: GDAL itself has waited for busy and mute servers."""
    return http_status(error) is not None or bool(_CURL.search(str(error))) or _is_refused(error)


def _is_refused(error: BaseException) -> bool:
    """Whether a bucket is closed to us: keys are missing or wrong."""
    return any(type(one).__name__ in _REFUSED for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def said(status: int) -> str:
    """``404`` as ``HTTP 404 Not Found``."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
