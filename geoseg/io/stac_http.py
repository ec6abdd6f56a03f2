"""JSON of catalogs, from disk and from servers that may be slow or busy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pystac
from pystac.stac_io import DefaultStacIO
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3.util.retry import Retry

from geoseg.errors import CatalogError
from geoseg.io.guarded_http import LARGEST, GuardedAdapter, NotFollowedError

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for an answer."""
RETRIES = 4
BACKOFF = 0.5
"""Waits of 0, 1, 2 and 4 seconds, or as long as the server asks (Retry-After)."""
BUSY = (429, 500, 502, 503, 504)
"""Answers that are worth another try; other errors stay what they are, however often one asks."""

_ERRNO = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")
_TAGS = re.compile(r"<[^>]*>")
_LONGEST = 160


class PatientIO(StacApiIO):
    """Reads JSON from disk and from servers; never a schema.

    ``asked`` is the catalog that the user wrote. What it links to must be as public as
    :func:`geoseg.io.trust.objection` wants it, and no file of this machine where it is none.

    Objects are pystac's own, not those of pystac-client, which would ask servers of static
    catalogs for what they do not have.
    """

    def __init__(self, asked: str = "") -> None:
        self._asked = asked
        retry = Retry(
            total=RETRIES,
            backoff_factor=BACKOFF,
            status_forcelist=BUSY,
            allowed_methods=None,  # searches are POSTs, and change nothing
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        super().__init__(timeout=TIMEOUT, max_retries=retry)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, GuardedAdapter(asked, max_retries=retry))

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """The text at ``source``, a path, an address or a link (with its method and body).

        Raises:
            CatalogError: It is not there, or the server does not answer.
        """
        href = str(getattr(source, "target", source))
        if not is_http(href):
            return self._from_disk(href).decode("utf-8", "strict")
        try:
            return str(super().read_text(source, *args, **kwargs))
        except APIError as error:
            why = error.__context__
            if isinstance(why, NotFollowedError):
                raise CatalogError(f"{href}: is not followed: {why}") from error
            raise CatalogError(f"{href}: cannot be read ({_reason(error)})") from error

    def read_bytes(self, href: str) -> bytes:
        """All of a file that is no text.

        Raises:
            CatalogError: It is not there, or the server does not answer.
        """
        if not is_http(href):
            return self._from_disk(href)
        try:
            answer = self.session.get(href, timeout=TIMEOUT)
        except NotFollowedError as error:
            raise CatalogError(f"{href}: is not followed: {error}") from error
        except OSError as error:  # all of requests' errors are
            raise CatalogError(f"{href}: cannot be read ({_reason(error)})") from error
        if not answer.ok:
            raise CatalogError(f"{href}: cannot be read (HTTP {answer.status_code})")
        return bytes(answer.content)

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The keys and values at ``source``.

        Raises:
            CatalogError: It cannot be read, or is no JSON.
        """
        href = str(getattr(source, "target", source))
        try:
            content = json.loads(self.read_text(source, *args, **kwargs))
        except UnicodeDecodeError as error:
            raise CatalogError(f"{href}: cannot be read (not text)") from error
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}: {error.msg}"
            raise CatalogError(f"{href}: not JSON ({where})") from error
        except (RecursionError, ValueError) as error:
            why = "nested too deep" if isinstance(error, RecursionError) else str(error)
            raise CatalogError(f"{href}: not JSON that can be read ({why})") from error
        if not isinstance(content, dict):
            raise CatalogError(f"{href}: not a STAC catalog (it holds no keys and values)")
        return content

    def _from_disk(self, href: str) -> bytes:
        if "://" in self._asked:
            raise CatalogError(
                f"{href[:200]}: is not followed: {self._asked} points to it, which is on another "
                f"machine"
            )
        path = Path(href.removeprefix("file://"))
        try:
            if path.exists() and not path.is_file():
                raise CatalogError(f"{href}: cannot be read (not a file)")
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CatalogError(f"{href}: cannot be read ({reason})") from error
        if len(data) > LARGEST:
            raise CatalogError(f"{href}: is larger than {LARGEST // 2**20} MB, which is no catalog")
        return data

    def stac_object_from_dict(self, *args: Any, **kwargs: Any) -> pystac.STACObject:
        """The object that ``content`` describes."""
        return DefaultStacIO.stac_object_from_dict(self, *args, **kwargs)


def is_http(href: str) -> bool:
    """Whether ``href`` is an address."""
    return href.startswith(("http://", "https://"))


def _reason(error: Exception) -> str:
    """Why a server gave nothing, in a few words."""
    status = getattr(error, "status_code", None)
    said = str(error)
    if status is not None:
        words = " ".join(_TAGS.sub(" ", _told(said)).split())
        return f"HTTP {status}" + (f": {words[:_LONGEST]}" if words else "")
    found = _ERRNO.search(said)
    if found:
        return found[1].strip()
    return "no answer in time" if "timed out" in said.lower() else said[:_LONGEST]


def _told(text: str) -> str:
    """What the body of an error answer says: APIs put it below one of these keys."""
    try:
        content = json.loads(text)
    except ValueError:
        return text
    if isinstance(content, dict):
        for key in ("description", "detail", "message", "code"):
            if content.get(key):
                return str(content[key])
    return text
