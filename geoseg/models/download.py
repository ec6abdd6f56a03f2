"""Fetching files of models over HTTP."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from geoseg.errors import ModelError

SCHEMES: Final = ("https://", "http://")

_TIMEOUT_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 2**20


def download(url: str, path: Path, *, limit: int) -> None:
    """Fetch ``url`` into the file ``path``, which has no more than ``limit`` bytes then.

    Raises:
        ModelError: It cannot be fetched, or is larger; ``path`` may be there in part.
    """
    if not url.lower().startswith(SCHEMES):
        raise ModelError(f"{url}: not an address that begins with {' or '.join(SCHEMES)}")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "geoseg"})  # noqa: S310 (checked above)
        with (
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310 (checked above)
            path.open("wb") as file,
        ):
            promised, size = answer.length, 0
            while piece := answer.read(_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    raise ModelError(f"{url}: has more than {limit} bytes: not what it should be")
                file.write(piece)
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"{url}: cannot be fetched: {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ModelError(f"{url}: cannot be fetched: {error.reason}") from error
    except (http.client.HTTPException, ValueError, TimeoutError, ConnectionError) as error:
        raise ModelError(
            f"{url}: cannot be fetched: {str(error) or type(error).__name__}"
        ) from error
    if promised is not None and size != promised:
        raise ModelError(f"{url}: cut off after {size} of {promised} bytes; try again")
