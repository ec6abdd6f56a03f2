"""A small web server for one machine: loopback only, behind a secret path, for no other origin."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from geoseg.api.viewer.routes import Answer, Map, Missing
from geoseg.errors import GeosegError, InputError

LOOPBACK = "127.0.0.1"
_LARGEST = 64 * 1024  # bytes of a review
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class MapServer(ThreadingHTTPServer):
    """Serves a map on 127.0.0.1.

    Only who knows :attr:`address` gets an answer: its path begins with a secret, which keeps other
    users of the machine and other pages of the browser out. Names other than those of this machine are
    refused (DNS rebinding), and nothing is allowed to other origins.

    Args:
        shown: What is served.
        port: 0 for any that is free.

    Raises:
        InputError: The port is taken.
    """

    daemon_threads = True

    def __init__(self, shown: Map, *, port: int = 0) -> None:
        self.shown = shown
        self.secret = secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"--port {port}: {reason}; leave it out for any that is free"
            ) from error

    @property
    def address(self) -> str:
        """Where the map is."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.secret}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of pages that went away before they had their answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typed by socket


class _Handler(BaseHTTPRequestHandler):
    """One connection of a page."""

    server: MapServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "geoseg", ""

    def do_GET(self) -> None:
        """Answer what changes nothing."""
        url = urlsplit(self.path)
        path = self._path(url.path)
        if path is None:
            self._send(_refused(HTTPStatus.NOT_FOUND, "nothing is here"))
            return
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self._send(_answered(lambda: self.server.shown.get(path, query)))

    def do_POST(self) -> None:
        """Take a review, from our own page only."""
        path = self._path(urlsplit(self.path).path)
        length = self.headers.get("Content-Length", "")
        if path is None or self.headers.get("Origin") not in self._origins():
            self._hang_up(HTTPStatus.FORBIDDEN, "not from here")
            return
        kind = self.headers.get_content_type()
        if kind != "application/json" or not length.isdecimal() or int(length) > _LARGEST:
            self._hang_up(HTTPStatus.BAD_REQUEST, "wanted is a short application/json")
            return
        body = self.rfile.read(int(length))
        self._send(_answered(lambda: self.server.shown.post(path, _object(body))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name of the base)
        """Tell nothing: the terminal is the user's."""

    def _path(self, path: str) -> str | None:
        """What is asked for below the secret; None for whoever does not know it."""
        _, _, rest = path.partition("/")
        secret, slash, below = rest.partition("/")
        known = secrets.compare_digest(secret.encode(), self.server.secret.encode())
        host = self.headers.get("Host", "")
        return unquote(below) if known and slash and host in self._hosts() else None

    def _hosts(self) -> tuple[str, ...]:
        port = self.server.server_port
        return f"{LOOPBACK}:{port}", f"localhost:{port}"

    def _origins(self) -> tuple[str, ...]:
        return tuple(f"http://{host}" for host in self._hosts())

    def _hang_up(self, status: HTTPStatus, why: str) -> None:
        """Refuse without reading the rest."""
        self.close_connection = True
        self._send(_refused(status, why))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.kind, "Content-Length": str(len(answer.content))}
        headers |= {"Cache-Control": "no-store", **_HEADERS, **answer.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)


def _answered(ask: Callable[[], Answer]) -> Answer:
    """What is asked for, or why there is none."""
    try:
        return ask()
    except Missing as error:
        return _refused(HTTPStatus.NOT_FOUND, str(error))
    except InputError as error:
        return _refused(HTTPStatus.BAD_REQUEST, str(error))
    except GeosegError as error:
        return _refused(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def _refused(status: HTTPStatus, why: str) -> Answer:
    return Answer(status, json.dumps({"message": why}).encode())


def _object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise InputError(f"this is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError("wanted is a JSON object")
    return value
