"""What happens in a run as events: plain values with a time, for files, programs, metrics, traces.

What each event holds, :mod:`geoseg.run.event_schema` says.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from geoseg.run.base import Done, Job, Outcome
from geoseg.run.event_log import Event
from geoseg.run.observed import ObservedJob
from geoseg.run.reporter import BLOCKS

if TYPE_CHECKING:
    from geoseg.run.loop import Summary

Sink = Callable[[Event], None]
"""Takes an event; returns at once, may be called from any thread, and does not raise."""

MOST_TEXT = 500
"""Characters of an error or warning; the whole is in the run's own words."""

Carrier = Callable[[str, str], Mapping[str, str]]
"""What workers need to go on with the trace of a scene's stage: scene, stage to W3C fields."""


def _no_trace(scene: str, stage: str) -> Mapping[str, str]:  # noqa: ARG001 (a Carrier)
    return {}


class RunEvents:
    """The events of one run: each gets the time and the run's id, and goes to all ``sinks``."""

    def __init__(self, sinks: Sequence[Sink] = (), *, carrier: Carrier = _no_trace) -> None:
        self.id, self.carrier = secrets.token_hex(6), carrier
        self._sinks = tuple(sinks)

    def emit(self, event: str, **values: Any) -> None:
        """Send an event to all sinks; values that are None are left out."""
        told = {name: value for name, value in values.items() if value is not None}
        whole = {"time": _stamp(time.time()), "event": event, "run": self.id, **told}
        for sink in self._sinks:
            with suppress(Exception):  # whatever is wrong with who listens, the run goes on
                sink(whole)


class SceneEvents:
    """Tells of one scene. Implements :class:`Reporter` and :class:`Watcher`; any thread may call."""

    def __init__(self, run: RunEvents, scene: str) -> None:
        self._run, self._scene = run, scene
        self._open: dict[str, float] = {}

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """Nothing: the run tells that itself."""

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,  # noqa: ARG002 (blocks say enough)
        unit: str = BLOCKS,  # noqa: ARG002 (scenes have no other)
    ) -> None:
        """Event ``stage_started``."""
        self._open[name] = time.monotonic()
        self.emit("stage_started", stage=name, blocks=blocks, pixels=pixels, resumed=done_blocks)

    def watched_job(self, stage: str, job: Job) -> Job:
        """The job, with what workers count and trace of it."""
        return ObservedJob(job, stage, dict(self._run.carrier(self._scene, stage)))

    def block_ended(self, stage: str, outcome: Outcome) -> None:
        """Event ``block``."""
        b, ran = outcome.block, outcome.ran
        values: dict[str, Any] = {"stage": stage, "block": [b.y0, b.x0, b.y1, b.x1]}
        values["state"] = "done" if isinstance(outcome, Done) else "failed"
        if ran is not None:
            values |= {"began": _stamp(ran.began), "seconds": round(ran.seconds, 3)}
            values |= {"tries": ran.tries, "worker": ran.worker or None}
        if isinstance(outcome, Done):
            values |= _measured(outcome.report)
        else:
            values["error"] = outcome.error[:MOST_TEXT]
        self.emit("block", **values)

    def stage_ended(self, stage: str, summary: Summary) -> None:
        """Event ``stage_ended``."""
        self._open.pop(stage, None)
        self.emit(
            "stage_ended",
            stage=stage,
            state="failed" if summary.failed else "stopped" if summary.left else "done",
            seconds=round(summary.wall, 3),
            done=summary.done,
            resumed=summary.resumed,
            failed=len(summary.failed),
            lanes=_rounded(summary.seconds) or None,
        )

    def figures(self, **numbers: float) -> None:
        """Nothing."""

    def advance(self, *, blocks: int, pixels: int) -> None:
        """Nothing: each block is told with what it took."""

    def message(self, text: str) -> None:
        """Event ``message``."""
        self.emit("message", text=text[:MOST_TEXT])

    def warning(self, text: str) -> None:
        """Event ``warning``."""
        self.emit("warning", text=text[:MOST_TEXT])

    def done(self, text: str) -> None:
        """Nothing: see :meth:`ended`."""

    def close(self) -> None:
        """Nothing to let go of."""

    def ended(self, state: str, **values: Any) -> None:
        """Event ``scene_ended``; stages that nobody has ended before end with it."""
        for stage, begun in list(self._open.items()):
            self._open.pop(stage, None)
            seconds = round(time.monotonic() - begun, 3)
            self.emit("stage_ended", stage=stage, state=state, seconds=seconds)
        self.emit("scene_ended", state=state, **values)

    def emit(self, event: str, **values: Any) -> None:
        """An event of this scene."""
        self._run.emit(event, scene=self._scene, **values)


def _measured(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a block says that it took."""
    remote, seconds = report.get("remote"), report.get("seconds")
    return {
        "lanes": _rounded(seconds) if isinstance(seconds, Mapping) else None,
        "received_bytes": (remote.get("bytes") or None) if isinstance(remote, Mapping) else None,
        "memory_bytes": report.get("memory"),
    }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {lane: round(float(value), 3) for lane, value in seconds.items()}


def _stamp(seconds: float) -> str:
    whole = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return whole.replace("+00:00", "Z")
