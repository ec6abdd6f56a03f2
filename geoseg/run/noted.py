"""What the ledger of all runs holds: works, runs and notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

WorkState = Literal["done", "failed", "removed"]
RunState = Literal["running", "good", "partial", "failed", "stopped", "lost"]
NoticeState = Literal["waiting", "told", "unwanted", "undelivered"]


@dataclass(frozen=True, slots=True)
class Work:
    """Something that was done, or tried: a scene's products, a pair of dates, a year's map.

    Attributes:
        kind, name: Which; unique within the workflow.
        state: ``done``, ``failed`` (``text`` says why), or ``removed`` to make room.
        parts: Hashes of what it depends on, by name.
        date: Of the scene, ISO 8601; None where nobody knows.
        place: Folder of what it made, relative to that of the workflow; None where it has none.
        facts: Whatever the maker noted.
        run: The run that did it.
        noted: When, ISO 8601.
    """

    kind: str
    name: str
    state: WorkState
    parts: Mapping[str, str]
    date: str | None
    place: str | None
    facts: Mapping[str, Any]
    text: str
    run: int | None
    noted: str


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of the workflow: ``counts`` of scenes by what came of them."""

    id: int
    state: RunState
    began: str
    ended: str | None
    counts: Mapping[str, int]
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that somebody wants to be told; ``told`` are the channels that have it."""

    event: str
    key: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    queued: str = ""
    told: tuple[str, ...] = ()
    tries: int = 0
