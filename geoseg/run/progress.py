"""Progress for people and programs: plain lines in logs, JSON lines, or a bar on a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import IO, Any, Literal

from geoseg.run.pace import Pace, numbers_text, opening_text
from geoseg.run.reporter import BLOCKS, Reporter, Silent

Mode = Literal["auto", "plain", "json", "quiet"]

PLAIN_SECONDS = 10.0
PLAIN_SHARE = 0.05


def make_reporter(mode: Mode, stream: IO[str]) -> Reporter:
    """Who tells of a run on ``stream`` (stderr: stdout is for results).

    ``auto`` is a bar where ``stream`` is a terminal that can move its cursor, else plain lines.
    """
    if mode == "quiet":
        return Silent()
    if mode == "json":
        return JsonLines(stream)
    movable = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    if mode == "plain" or not movable:
        return Plain(stream)
    from geoseg.run.terminal import Terminal  # noqa: PLC0415 (rich takes time to load)

    return Terminal(stream)


class Plain:
    """A line when a stage begins, some while it runs, one when it ends. Implements `Reporter`."""

    def __init__(
        self, stream: IO[str], *, seconds: float = PLAIN_SECONDS, share: float = PLAIN_SHARE
    ) -> None:
        self._stream, self._seconds, self._share = stream, seconds, share
        self._name, self._pace = "", Pace(blocks=0, pixels=0)
        self._told = 0.0, 0.0

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """How much there is to do, and where to watch it."""
        self._say(opening_text(scenes, blocks, dashboard))

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = BLOCKS,
    ) -> None:
        """A line for the stage."""
        self._name = name
        self._pace = Pace(
            blocks=blocks,
            pixels=pixels,
            done_blocks=done_blocks,
            done_pixels=done_pixels,
            unit=unit,
        )
        self._told = 0.0, self._pace.share
        before = f", {done_blocks} of them done before" if done_blocks else ""
        much = f", {pixels / 1e6:.1f} Mpx" if unit == BLOCKS else ""
        self._say(f"{name}: {blocks} {unit}{much}{before}")

    def figures(self, **numbers: float) -> None:
        """Shown with the next line."""
        self._pace.figures.update(numbers)

    def advance(self, *, blocks: int, pixels: int) -> None:
        """At most one line in some seconds, and for some percent; always one for the last."""
        pace = self._pace
        pace.advance(blocks=blocks, pixels=pixels)
        seconds, share = self._told
        due = pace.seconds - seconds >= self._seconds and pace.share - share >= self._share
        if due or pace.ended:
            self._told = pace.seconds, pace.share
            self._say(f"{self._name}: {numbers_text(pace)}")

    def message(self, text: str) -> None:
        """As it is."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Marked as such."""
        self._say(f"warning: {text}")

    def done(self, text: str) -> None:
        """As it is."""
        self._say(text)

    def close(self) -> None:
        """Nothing to let go of."""

    def _say(self, text: str) -> None:
        # A log that went away must not end the run.
        with suppress(OSError, ValueError):
            print(text, file=self._stream, flush=True)


class JsonLines:
    """One JSON object a line for each event. Implements :class:`Reporter`; any thread may call."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._lock = stream, Lock()
        self._name, self._pace = "", Pace(blocks=0, pixels=0)

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """Event ``started``."""
        self._say("started", scenes=scenes, blocks=blocks, dashboard=dashboard)

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = BLOCKS,
    ) -> None:
        """Event ``stage``."""
        self._name = name
        self._pace = Pace(
            blocks=blocks,
            pixels=pixels,
            done_blocks=done_blocks,
            done_pixels=done_pixels,
            unit=unit,
        )
        self._say("stage", **self._state())

    def figures(self, **numbers: float) -> None:
        """With the next event ``advance``."""
        self._pace.figures.update(numbers)

    def advance(self, *, blocks: int, pixels: int) -> None:
        """Event ``advance``, with totals, speed (pixels or steps per second) and seconds left."""
        self._pace.advance(blocks=blocks, pixels=pixels)
        speed, left, unit = self._pace.speed, self._pace.left, self._pace.unit
        fast = None if speed is None else round(speed) if unit == BLOCKS else round(speed, 3)
        self._say(
            "advance",
            **self._state(),
            **{f"{'pixels' if unit == BLOCKS else unit}_per_second": fast},
            seconds_left=None if left is None else round(left, 1),
            **self._pace.figures,
        )

    def message(self, text: str) -> None:
        """Event ``message``."""
        self._say("message", text=text)

    def warning(self, text: str) -> None:
        """Event ``warning``."""
        self._say("warning", text=text)

    def done(self, text: str) -> None:
        """Event ``done``."""
        self._say("done", text=text)

    def event(self, event: Mapping[str, Any]) -> None:
        """As it is; messages and warnings are told without it."""
        if event["event"] not in ("message", "warning"):
            self._write(event)

    def close(self) -> None:
        """Nothing to let go of."""

    def _state(self) -> dict[str, Any]:
        pace = self._pace
        state = {
            "stage": self._name,
            pace.unit: pace.blocks,
            f"done_{pace.unit}": pace.done_blocks,
        }
        if pace.unit != BLOCKS:
            return state
        return state | {"pixels": pace.pixels, "done_pixels": pace.done_pixels}

    def _say(self, event: str, **values: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write({"time": now, "event": event, **values})

    def _write(self, event: Mapping[str, Any]) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(json.dumps(event) + "\n")
            self._stream.flush()
