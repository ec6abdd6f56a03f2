"""A file server on loopback that answers byte ranges, as badly as it is told to."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong.

    Shares (0..1) are of answers; which ones follows from ``seed`` and from how often the same
    range was asked for, whatever the order of threads. ``drops`` break off in the middle of the
    body, ``busy`` are 429 with ``retry_after`` seconds, ``unavailable`` 503, ``reset`` hang up
    without an answer, ``short`` claim more bytes than they send. ``times``: no range fails more
    often than that. ``latency`` is in seconds before each answer, ``bandwidth`` in bytes per
    second. ``status``: all answers from the second on are this.
    """

    latency: float = 0.0
    bandwidth: float | None = None
    drops: float = 0.0
    busy: float = 0.0
    unavailable: float = 0.0
    reset: float = 0.0
    short: float = 0.0
    retry_after: int = 1
    times: int = 2
    ranges: bool = True
    status: int | None = None
    seed: int = 0


@dataclass(slots=True)
class RangeServer:
    """Where it answers, and what it has sent.

    ``faults`` and ``sends`` may be changed while it runs. ``requests`` and ``sent`` (bytes of
    bodies) count what reached the wire; ``failed`` the answers that were spoilt.
    """

    url: str
    faults: Faults
    requests: int = 0
    sent: int = 0
    failed: int = 0
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[str, int] = field(default_factory=dict)

    def reset(self, faults: Faults | None = None) -> None:
        """Count anew, with other faults."""
        with self.lock:
            self.requests = self.sent = self.failed = 0
            self.asked.clear()
            self.seen.clear()
            self.faults = faults or Faults()

    def fault(self, what: str) -> str:
        """How the answer to ``what`` is spoilt; "" where it is not."""
        with self.lock:
            self.requests += 1
            self.asked.append(what)
            again = self.seen.get(what, 0)
            self.seen[what] = again + 1
            faults = self.faults
            if again >= faults.times:
                return ""
            chance = Random(f"{faults.seed} {what} {again}").random()  # noqa: S311 (no secret)
            for kind in ("drops", "busy", "unavailable", "reset", "short"):
                chance -= getattr(faults, kind)
                if chance < 0:
                    self.failed += 1
                    return kind
            return ""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # GDAL keeps connections, as it does with real servers
    disable_nagle_algorithm = True
    root: Path
    server_state: RangeServer

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        state = self.server_state
        wanted = self.headers.get("Range", "")
        fault = state.fault(f"{self.command} {self.path} {wanted}")
        faults = state.faults
        time.sleep(faults.latency)
        if faults.status is not None:
            self._refuse(faults.status)
        elif fault == "busy":
            self._refuse(429, retry_after=faults.retry_after)
        elif fault == "unavailable":
            self._refuse(503)
        elif fault == "reset":
            self.close_connection = True
        else:
            self._send(wanted if faults.ranges else "", fault, body=body)

    def _refuse(self, status: int, *, retry_after: int | None = None) -> None:
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, wanted: str, fault: str, *, body: bool) -> None:
        path = self.root / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self._refuse(404)
            return
        size = path.stat().st_size
        start, end = 0, size - 1
        if wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
            if start > end:
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        else:
            self.send_response(200)
        if self.server_state.faults.ranges:
            self.send_header("Accept-Ranges", "bytes")
        length = end - start + 1
        self.send_header("Content-Length", str(length + 10 * (fault == "short")))
        self.end_headers()
        if body:
            with path.open("rb") as file:
                file.seek(start)
                self._pour(file.read(length // 2 if fault == "drops" else length))
        if fault in {"drops", "short"}:
            self.close_connection = True

    def _pour(self, content: bytes) -> None:
        bandwidth = self.server_state.faults.bandwidth
        piece = len(content) or 1 if bandwidth is None else max(1, int(bandwidth / 20))
        for at in range(0, len(content), piece):
            part = content[at : at + piece]
            try:
                self.wfile.write(part)
            except OSError:  # the reader has hung up
                self.close_connection = True
                return
            with self.server_state.lock:
                self.server_state.sent += len(part)
            if bandwidth is not None:
                time.sleep(len(part) / bandwidth)


@contextmanager
def serving(root: Path, faults: Faults | None = None) -> Iterator[RangeServer]:
    """Serve the files below ``root`` until the end of the block."""
    state = RangeServer("", faults or Faults())
    handler = type("Handler", (_Handler,), {"root": root, "server_state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        state.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            running.shutdown()
            thread.join()
