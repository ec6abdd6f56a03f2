"""What the events of a run say: how long what took, where, and what went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from geoseg.api.dask_files import LOG
from geoseg.api.states import state_files
from geoseg.errors import InputError
from geoseg.run.event_log import NAME, read_events

FEW = 5
"""Failures that are shown."""


@dataclass(slots=True)
class StageSummary:
    """One stage of a scene, or of all scenes of a log.

    Attributes:
        stage: Its name.
        done, failed, resumed: Blocks by what came of them; ``resumed`` were done before.
        retries: Tries beyond the first.
        wall: Seconds from begin to end, summed over scenes; None while it runs.
        lanes: Seconds by what took them, summed over blocks.
        typical, longest: Seconds of a block, the median and the most.
        slowest: The block that took longest: y0, x0, y1, x1.
    """

    stage: str
    done: int = 0
    failed: int = 0
    resumed: int = 0
    retries: int = 0
    wall: float | None = None
    lanes: dict[str, float] = field(default_factory=dict)
    typical: float | None = None
    longest: float | None = None
    slowest: list[int] | None = None


@dataclass(frozen=True, slots=True)
class WorkerSummary:
    """One worker: its blocks, and the share of stages of blocks in which it had none in hand."""

    worker: str
    blocks: int
    idle: float | None


@dataclass(frozen=True, slots=True)
class EventSummary:
    """The last run that a log tells of."""

    log: Path
    run: str
    state: str
    began: str
    seconds: float | None
    scenes: dict[str, str]
    stages: tuple[StageSummary, ...]
    workers: tuple[WorkerSummary, ...]
    failures: tuple[str, ...]
    warnings: int
    lost: int

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"log": str(self.log)}


def find_logs(directory: Path) -> list[Path]:
    """Folders of events at or below ``directory``, sorted.

    Raises:
        InputError: There is no folder, or no events are below it.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: there is no such folder")
    found = sorted(path.parent for path in state_files(directory, f"{LOG}/{NAME}"))
    if not found:
        raise InputError(f"{directory}: no run has left events here or in the folders below")
    return found


def summarise(log: Path) -> EventSummary:
    """What the events in ``log`` say of the last run.

    Raises:
        InputError: There are none.
    """
    events = list(_of_last_run(read_events(log)))
    if not events:
        raise InputError(f"{log}: has no events of a run")
    first, last = events[0], events[-1]
    scenes = {e["scene"]: "running" for e in events if "scene" in e}
    scenes |= {e["scene"]: e["state"] for e in events if e["event"] == "scene_ended"}
    ends = [e for e in events if e["event"] == "run_ended"]
    ends = ends or [e for e in events if e["event"] == "scene_ended" and len(scenes) == 1]
    blocks = [e for e in events if e["event"] == "block"]
    failed = [f"{e['stage']} {e['block']}: {e.get('error', '')}" for e in blocks if _failed(e)]
    failed += [f"{e['scene']}: {e['error']}" for e in events
               if e["event"] == "scene_ended" and "error" in e]  # fmt: skip
    return EventSummary(
        log,
        first["run"],
        ends[-1]["state"] if ends else "running",
        first["time"],
        round((_time(last["time"]) - _time(first["time"])), 3) if ends else None,
        scenes,
        tuple(_stages(events)),
        tuple(_workers(blocks)),
        tuple(failed[:FEW]),
        sum(e["event"] == "warning" for e in events),
        sum(e["lines"] for e in events if e["event"] == "lost"),
    )


def _of_last_run(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the run that began last; only one run's are held at a time."""
    held: list[dict[str, Any]] = []
    for event in events:
        if held and held[0].get("run") != event.get("run"):
            held.clear()
        held.append(event)
    yield from held


def _stages(events: Sequence[dict[str, Any]]) -> Iterator[StageSummary]:
    found: dict[str, StageSummary] = {}
    took: defaultdict[str, list[tuple[float, list[int]]]] = defaultdict(list)
    lanes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if "stage" not in event:
            continue
        name = event["stage"]
        one = found.setdefault(name, StageSummary(name))
        if event["event"] == "stage_started":
            one.resumed += event["resumed"]
        elif event["event"] == "stage_ended":
            one.wall = round((one.wall or 0.0) + event["seconds"], 3)
        elif event["event"] == "block":
            one.failed += _failed(event)
            one.done += not _failed(event)
            one.retries += event.get("tries", 1) - 1
            lanes[name].update(event.get("lanes", {}))
            if "seconds" in event:
                took[name].append((event["seconds"], event["block"]))
    for name, one in found.items():
        one.lanes = {lane: round(seconds, 3) for lane, seconds in lanes[name].items()}
        if took[name]:
            one.typical = round(median(seconds for seconds, _ in took[name]), 3)
            one.longest, one.slowest = max(took[name])
        yield one


def _workers(blocks: Sequence[dict[str, Any]]) -> Iterator[WorkerSummary]:
    """By address; idle is what is not covered from its first block to the last one of any worker."""
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in blocks:
        if "worker" in event and "began" in event:
            began = _time(event["began"])
            spans[event["worker"]].append((began, began + event["seconds"]))
    if not spans:
        return
    begin = min(span[0] for of_one in spans.values() for span in of_one)
    whole = max(span[1] for of_one in spans.values() for span in of_one) - begin
    for worker, of_one in sorted(spans.items()):
        idle = None if whole <= 0 else round(max(0.0, 1 - _covered(of_one) / whole), 4)
        yield WorkerSummary(worker, len(of_one), idle)


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds in at least one of ``spans``."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _failed(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "block" and event["state"] == "failed")


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def words(event: dict[str, Any]) -> str:
    """An event as a line for people."""
    where = " ".join(str(event[key]) for key in ("scene", "stage") if key in event)
    what = event["event"].replace("_", " ")
    about = {k: v for k, v in event.items() if k not in _SAID}
    if event["event"] == "block":
        b = event["block"]
        what = f"block rows {b[0]}:{b[2]}, columns {b[1]}:{b[3]}"
    told = ", ".join(f"{key} {_short(value)}" for key, value in about.items())
    return f"{event['time']} {where + ': ' if where else ''}{what}{' ' if told else ''}{told}"


_SAID = {"time", "event", "run", "scene", "stage", "block", "began"}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_short(one)}" for key, one in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
