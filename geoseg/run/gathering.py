"""Scenes that are under way at once, told of as one: a bar, lines, and a file for other terminals."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psutil

from geoseg.errors import InputError
from geoseg.run.reporter import BLOCKS, Reporter, Silent
from geoseg.run.status import is_gone, now_text

NAME = "scenes-{}.json"
WRITE_SECONDS = 1.0
SPAN_SECONDS = 60.0
"""The speed is that of the last minute."""

STAGE = "segment"
"""Of the stages of a scene the one whose blocks are counted for the whole run."""

PRODUCTS = "products"
"""The stage whose progress is counted in files, of which one task makes all."""

FEW_FAILED = 100
"""Failed scenes that are listed by name."""

RunState = Literal["running", "done", "stopped", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class SceneState:
    """A scene that is under way: its ``stage``, ``""`` while it is looked at, and blocks of that."""

    scene: str
    stage: str = ""
    blocks: int = 0
    done_blocks: int = 0


@dataclass(frozen=True, slots=True)
class ScenesStatus:
    """What a run of many scenes last said of itself.

    Attributes:
        workflow: Its name.
        state: As that of :class:`geoseg.run.status.Status`.
        scenes: All of the run.
        made, there, failed, waiting: How many were made now, were there before, failed, and are not
            begun.
        in_flight: Those that are under way, first begun first.
        failures: Names of those that failed, the first hundred.
        blocks, done_blocks: To segment in all scenes, and done of them.
        blocks_per_second: In the last minute.
        seconds_left: If it goes on like that; None while nobody knows.
        dashboard: Of the cluster.
        pid, born, host: The process, when it was started (seconds since 1970), and where.
        started, updated: ISO 8601, UTC.
        text: The last message, warning or closing line.
        warnings: How many there were.
    """

    workflow: str
    state: RunState = "running"
    scenes: int = 0
    made: int = 0
    there: int = 0
    failed: int = 0
    waiting: int = 0
    in_flight: tuple[SceneState, ...] = ()
    failures: tuple[str, ...] = ()
    blocks: int = 0
    done_blocks: int = 0
    blocks_per_second: float | None = None
    seconds_left: float | None = None
    dashboard: str | None = None
    pid: int = 0
    born: float = 0.0
    host: str = ""
    started: str = ""
    updated: str = ""
    text: str = ""
    warnings: int = 0


class Gathering(Silent):
    """Gathers what scenes tell that are under way at once, for ``reporter`` and a file.

    Implements :class:`geoseg.run.reporter.Reporter` for what is said of the whole run; may be used
    by any thread.

    Args:
        reporter: Told of one stage for all scenes, of their messages and warnings.
        folder: Where the file is kept up to date.
        workflow: Its name.
        scenes: How many there are.
        blocks: Of all of them.
        pixels: Of these blocks.
    """

    def __init__(
        self,
        reporter: Reporter,
        folder: Path,
        workflow: str,
        *,
        scenes: int,
        blocks: int,
        pixels: int,
    ) -> None:
        self._reporter, self._path = reporter, folder / file_name(workflow)
        self._lock = threading.RLock()
        self._status = ScenesStatus(
            workflow,
            scenes=scenes,
            waiting=scenes,
            blocks=blocks,
            pid=os.getpid(),
            born=psutil.Process().create_time(),
            host=socket.gethostname(),
            started=now_text(),
        )
        self._pixels, self._begun = pixels, False
        self._flying: dict[str, SceneState] = {}
        self._expected: dict[str, int] = {}
        self._marks = deque([(time.monotonic(), 0)], 4096)
        self._written = float("-inf")
        self._before, self._working = _content(self._path), False

    # -- of the whole run -----------------------------------------------------------------------

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """Passed on."""
        with self._lock:
            self._reporter.started(scenes=scenes, blocks=blocks, dashboard=dashboard)
            self._working = True
            self._note(dashboard=dashboard)
            self._open()

    def message(self, text: str) -> None:
        """Passed on."""
        with self._lock:
            self._reporter.message(text)
            self._note(text=text)

    def warning(self, text: str) -> None:
        """Passed on, and counted."""
        with self._lock:
            self._reporter.warning(text)
            self._note(text=text, warnings=self._status.warnings + 1)

    def ended(self, state: RunState, text: str) -> None:
        """Say how the run ended; of one that failed before it had workers the file says nothing."""
        with self._lock:
            if state == "failed" and not self._working:
                self._take_back()
            else:
                self._note(state=state, text=text, at_once=True)

    # -- of scenes ------------------------------------------------------------------------------

    def begins(self, scene: str, blocks: int) -> Reporter:
        """A scene with so many blocks is begun; what is told of it goes here."""
        with self._lock:
            self._flying[scene] = SceneState(scene)
            self._expected[scene] = blocks
            self._note(waiting=self._status.waiting - 1)
        return _OfScene(self, scene)

    def ends(self, scene: str, *, fresh: bool, failed: bool) -> None:
        """It has come to an end."""
        with self._lock:
            self._flying.pop(scene, None)
            # Blocks of scenes that were there, or failed, are no more to be done, either.
            self._count(self._expected.pop(scene, 0), 0)
            said, status = ("failed" if failed else "made" if fresh else "there"), self._status
            failures = status.failures
            if failed and len(failures) < FEW_FAILED:
                failures = (*failures, scene)
            self._note(failures=failures, **{said: getattr(status, said) + 1})
            if self._begun:
                self._reporter.figures(
                    scenes=float(status.scenes - self._status.waiting - len(self._flying))
                )

    @property
    def backlog(self) -> int:
        """Tasks that scenes under way have still for workers, as far as is known: one each at least.

        Not of those that are looked at: they have none yet.
        """
        with self._lock:
            return sum(
                max(1, one.blocks - one.done_blocks) if one.stage != PRODUCTS else 1
                for one in self._flying.values()
                if one.stage
            )

    @property
    def looked_at(self) -> int:
        """Scenes that are begun, and have come to no stage yet."""
        with self._lock:
            return sum(not one.stage for one in self._flying.values())

    def stage_of(
        self, scene: str, name: str, *, blocks: int, done_blocks: int, pixels: int
    ) -> None:
        """A scene has come to a stage; ``pixels`` of it were done before."""
        with self._lock:
            if scene in self._flying:
                self._flying[scene] = SceneState(scene, name, blocks, done_blocks)
            if name == STAGE:
                self._count(self._taken(scene, done_blocks), pixels)
            self._note()

    def advance_of(self, scene: str, *, blocks: int, pixels: int) -> None:
        """It has done so many blocks more of its stage."""
        with self._lock:
            one = self._flying.get(scene)
            if one is None:
                return
            self._flying[scene] = replace(one, done_blocks=one.done_blocks + blocks)
            if one.stage == STAGE:
                self._count(self._taken(scene, blocks), pixels)
            self._note()

    def _taken(self, scene: str, blocks: int) -> int:
        """Of the blocks that are expected of a scene, those that are done by that."""
        expected = self._expected.get(scene, 0)
        taken = min(expected, blocks)
        self._expected[scene] = expected - taken
        return taken

    def _count(self, blocks: int, pixels: int) -> None:
        done = self._status.done_blocks + blocks
        self._status = replace(self._status, done_blocks=done)
        self._marks.append((time.monotonic(), done))
        if blocks:
            self._open()
            self._reporter.advance(blocks=blocks, pixels=pixels)

    def _open(self) -> None:
        """Tell of the one stage that stands for all scenes."""
        if not self._begun:
            self._begun = True
            name = f"{self._status.scenes} scenes"
            self._reporter.stage(name, blocks=self._status.blocks, pixels=self._pixels)

    # -- the file -------------------------------------------------------------------------------

    def _note(self, *, at_once: bool = False, **news: Any) -> None:
        self._status = replace(self._status, **news)
        if at_once or time.monotonic() - self._written >= WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        speed = self._speed()
        left = None if not speed else (self._status.blocks - self._status.done_blocks) / speed
        self._written = time.monotonic()
        told = replace(
            self._status,
            in_flight=tuple(self._flying.values()),
            blocks_per_second=None if speed is None else round(speed, 3),
            seconds_left=None if left is None else round(left, 1),
            updated=now_text(),
        )
        self._put(f"{json.dumps(asdict(told), indent=1)}\n".encode())

    def _put(self, content: bytes) -> None:
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(content)
            fresh.replace(self._path)
        except OSError:  # a full disk does not end a run
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def _take_back(self) -> None:
        """Leave the file as it was before this run."""
        if self._before is not None:
            self._put(self._before)
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # only goes where it is empty

    def _speed(self) -> float | None:
        """Blocks a second in the last minute."""
        now = time.monotonic()
        while len(self._marks) > 2 and now - self._marks[1][0] > SPAN_SECONDS:
            self._marks.popleft()
        (since, then), (_, done) = self._marks[0], self._marks[-1]
        return (done - then) / (now - since) if done > then and now > since else None


class _OfScene(Silent):
    """What is told of one scene. Implements :class:`geoseg.run.reporter.Reporter`."""

    def __init__(self, gathering: Gathering, scene: str) -> None:
        self._gathering, self._scene = gathering, scene

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,  # noqa: ARG002 - those of all scenes are known
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = BLOCKS,  # noqa: ARG002 - the file has numbers only
    ) -> None:
        """Gathered."""
        self._gathering.stage_of(
            self._scene, name, blocks=blocks, done_blocks=done_blocks, pixels=done_pixels
        )

    def advance(self, *, blocks: int, pixels: int) -> None:
        """Gathered."""
        self._gathering.advance_of(self._scene, blocks=blocks, pixels=pixels)

    def message(self, text: str) -> None:
        """Passed on, with the scene's name."""
        self._gathering.message(self._named(text))

    def warning(self, text: str) -> None:
        """Passed on, with the scene's name."""
        self._gathering.warning(self._named(text))

    def _named(self, text: str) -> str:
        return text if self._scene in text else f"scene {self._scene}: {text}"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def file_name(workflow: str) -> str:
    """Of the file of a workflow, as several may have the same folder."""
    return NAME.format(sha256(workflow.encode()).hexdigest()[:8])


def read_scenes(path: Path) -> ScenesStatus:
    """What a run of many scenes last said, and whether it still lives.

    Raises:
        InputError: The file cannot be read, or is none of ours.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = {f.name: said[f.name] for f in fields(ScenesStatus)}
        flying: Sequence[dict[str, Any]] = found["in_flight"]
        found["in_flight"] = tuple(SceneState(**one) for one in flying)
        found["failures"] = tuple(found["failures"])
        status = ScenesStatus(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is not the status of a run ({error})") from error
    lost = status.state == "running" and is_gone(status.pid, status.born, status.host)
    return replace(status, state="lost") if lost else status
