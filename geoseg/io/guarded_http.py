"""HTTP for documents: no answer is endless, and no hop of a redirect leads into a private network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from geoseg.io.trust import is_public, named, private

LARGEST: Final = 2**28
"""Bytes of one document, unpacked."""
_CHUNK: Final = 2**20


class NotFollowedError(Exception):
    """An address is not asked, or its answer not taken; ``str()`` is why."""


class GuardedAdapter(HTTPAdapter):
    """Asks public servers, and the one that the user has named.

    An address is judged before it is asked, at each hop, and again by the peer of the connection
    that was made: a name that is looked up twice may have two answers. Where there is a proxy, it
    is the peer, and its rules count.
    """

    def __init__(self, asked: str, **options: Any) -> None:
        self._asked = asked
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Connections that look at their peer."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._asked)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """The answer, whole.

        Raises:
            NotFollowedError: It is within a private network, or has no end.
        """
        url = request.url or ""
        why = private(url, asked=self._asked)
        if why is not None:
            raise NotFollowedError(f"it leads to {urlsplit(url).hostname}, {why}")
        answer = super().send(request, *args, **{**kwargs, "stream": True})
        answer._content = b"".join(_bounded(answer))  # noqa: SLF001 (as requests itself does)
        return answer


def _bounded(answer: Response) -> Iterator[bytes]:
    count = 0
    for chunk in answer.iter_content(_CHUNK):
        count += len(chunk)
        if count > LARGEST:
            answer.close()
            raise NotFollowedError(f"its answer is larger than {LARGEST // 2**20} MB")
        yield chunk


def _pools(asked: str) -> dict[str, Any]:
    """Pools of connections that are only kept where their peer is public, or was named."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), self.host, asked)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), self.host, asked)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _checked(connection: socket.socket, host: str, asked: str) -> socket.socket:
    peer = ip_address(str(connection.getpeername()[0]).partition("%")[0])
    if not is_public(peer) and not named(host, asked):
        connection.close()
        raise NotFollowedError(f"{host} answers from {peer}, which is within a private network")
    return connection
