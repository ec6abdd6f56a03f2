"""The file of events that is kept with an output: one JSON object a line, bounded, never in the way."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

NAME = "events.jsonl"
OLDER = "events.1.jsonl"

MOST_BYTES = 32 << 20
"""Of one file; what is older is kept in one more, and then forgotten. A block takes about 300."""

POLL_SECONDS = 0.5

Event = Mapping[str, Any]


class EventLog:
    """Appends events to ``events.jsonl`` in ``folder``, from any thread; never raises.

    What could not be written (a full disk, a folder that went away) is counted, and the count is
    written as an event ``lost`` as soon as writing goes again.
    """

    def __init__(self, folder: str | Path, *, most: int = MOST_BYTES) -> None:
        self._folder, self._most = Path(folder), most
        self._lock = Lock()
        self._file: IO[bytes] | None = None
        self._size = self._lost = 0

    def __call__(self, event: Event) -> None:
        """Write ``event``."""
        with self._lock:
            try:
                if self._lost:
                    said = {"time": event["time"], "event": "lost", "run": event["run"]}
                    self._append(_line({**said, "lines": self._lost}))
                    self._lost = 0
                self._append(_line(event))
            except (OSError, ValueError, TypeError):
                self._lost += 1
                self._let_go()

    def close(self) -> None:
        """Let go of the file; it is opened again where there is more to write."""
        with self._lock:
            self._let_go()

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._open()
        if self._size and self._size + len(line) > self._most:
            self._let_go()
            (self._folder / NAME).replace(self._folder / OLDER)
            self._open()
        assert self._file is not None, "it was just opened"  # noqa: S101 (for mypy)
        written = self._file.write(line)
        self._size += written
        if written < len(line):  # what a disk does that is almost full
            raise OSError("half a line")

    def _open(self) -> None:
        """Open it to append; a line that was torn must not be glued to the next one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Without a buffer: what was said outlives this process, and nothing is left to fail later.
        self._file = (self._folder / NAME).open("ab+", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)
        if self._size:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._size += self._file.write(b"\n")

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def read_events(folder: str | Path) -> Iterator[dict[str, Any]]:
    """All events that ``folder`` keeps, oldest first; lines that are not whole are passed over."""
    for name in (OLDER, NAME):
        try:
            with (Path(folder) / name).open("rb") as file:
                yield from (event for line in file if (event := _event(line)) is not None)
        except OSError:
            continue


def follow_events(folder: str | Path, *, seconds: float = POLL_SECONDS) -> Iterator[dict[str, Any]]:
    """Events that ``folder`` keeps, and those that come; ends with the reader's patience only.

    Where the log is begun anew while it is read, reading goes on in the new one.
    """
    path, held, rest = Path(folder) / NAME, cast("IO[bytes] | None", None), b""
    try:
        while True:
            if held is None and path.exists():
                held, rest = path.open("rb"), b""
            for line in () if held is None else held:
                rest += line
                if rest.endswith(b"\n"):
                    event, rest = _event(rest), b""
                    if event is not None:
                        yield event
            if held is not None and _is_another(held, path):
                held.close()
                held = None
            else:
                time.sleep(seconds)
    finally:
        if held is not None:
            held.close()


def _is_another(file: IO[bytes], path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False  # it will come
    ours = os.fstat(file.fileno())
    return (found.st_ino, found.st_dev) != (ours.st_ino, ours.st_dev)


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Numbers of numpy as JSON knows them, and anything else by its name."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
