"""The state of a run in a small file, for ``geoseg status`` from another terminal."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from geoseg.errors import InputError
from geoseg.run.pace import figures_text
from geoseg.run.reporter import BLOCKS

NAME = "status.json"
WRITE_SECONDS = 2.0

State = Literal["running", "done", "stopped", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class Status:
    """What a run last said of itself.

    Attributes:
        state: ``running``; ``done``; ``stopped`` by a signal, to go on later; ``failed``:
            ``text`` says why; ``lost``: its process is gone without a word (only its own machine
            can tell).
        scenes, dashboard: Of the whole run.
        stage, blocks, done_blocks, pixels, done_pixels: Of the stage that is or was running.
        pid, born, host: The process, when it was started (seconds since 1970), and where.
        started, updated: ISO 8601, UTC.
        text: The last message, warning or closing line.
        warnings: How many there were.
    """

    state: State = "running"
    scenes: int = 0
    dashboard: str | None = None
    stage: str = ""
    blocks: int = 0
    done_blocks: int = 0
    pixels: int = 0
    done_pixels: int = 0
    pid: int = 0
    born: float = 0.0
    host: str = ""
    started: str = ""
    updated: str = ""
    text: str = ""
    warnings: int = 0


class StatusFile:
    """Keeps ``status.json`` in a folder up to date. Implements :class:`Reporter`.

    Written every few seconds at most, beside and renamed: a reader never sees half of it. That it
    cannot be written (a full disk) does not end a run.
    """

    def __init__(self, folder: str | Path, *, seconds: float = WRITE_SECONDS) -> None:
        self._path, self._seconds = Path(folder) / NAME, seconds
        self._written = float("-inf")
        self._status = Status(
            pid=os.getpid(),
            born=psutil.Process().create_time(),
            host=socket.gethostname(),
            started=now_text(),
        )

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """Noted at once."""
        self._note(scenes=scenes, blocks=blocks, dashboard=dashboard)
        self._write()

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = BLOCKS,  # noqa: ARG002 - the file has numbers only
    ) -> None:
        """Noted at once."""
        self._note(stage=name, blocks=blocks, pixels=pixels)
        self._note(done_blocks=done_blocks, done_pixels=done_pixels)
        self._write()

    def figures(self, **numbers: float) -> None:
        """Noted when there is something else to note."""
        self._note(text=figures_text(numbers))

    def advance(self, *, blocks: int, pixels: int) -> None:
        """Noted when it is time."""
        old = self._status
        self._note(done_blocks=old.done_blocks + blocks, done_pixels=old.done_pixels + pixels)
        if time.monotonic() - self._written >= self._seconds:
            self._write()

    def message(self, text: str) -> None:
        """Noted at once."""
        self._note(text=text)
        self._write()

    def warning(self, text: str) -> None:
        """Noted at once, and counted."""
        self._note(text=text, warnings=self._status.warnings + 1)
        self._write()

    def done(self, text: str) -> None:
        """Noted at once."""
        self.ended("done", text)

    def ended(self, state: State, text: str) -> None:
        """Noted at once: how it ended, if not well."""
        self._note(state=state, text=text)
        self._write()

    def close(self) -> None:
        """Write what is not yet written."""
        self._write()

    def _note(self, **news: Any) -> None:
        self._status = replace(self._status, **news)

    def _write(self) -> None:
        self._status = replace(self._status, updated=now_text())
        self._written = time.monotonic()
        fresh = self._path.with_name(f".{NAME}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(asdict(self._status), indent=1) + "\n", encoding="utf-8")
            fresh.replace(self._path)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def read_status(folder: str | Path) -> Status:
    """What the run that writes to ``folder`` last said, and whether it still lives.

    Raises:
        InputError: No run has been here.
    """
    path = Path(folder) / NAME
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        status = Status(**{f.name: said[f.name] for f in fields(Status)})
    except OSError:
        raise InputError(f"{folder}: no run has written here ({NAME} is missing)") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is not the status of a run ({error})") from error
    return replace(status, state="lost") if _is_lost(status) else status


def _is_lost(status: Status) -> bool:
    """Whether a process of this machine ended without saying so."""
    return status.state == "running" and is_gone(status.pid, status.born, status.host)


def is_gone(pid: int, born: float, host: str) -> bool:
    """Whether a process has ended, as far as this machine can tell; its pid may be another's now.

    ``born`` is when it was started, in seconds since 1970.
    """
    if host != socket.gethostname():
        return False
    try:
        found = float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    return abs(found - born) > 2.0


def now_text() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
