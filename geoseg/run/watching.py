"""Who wants to know of every block of a run, and not only of how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from geoseg.run.base import Job, Outcome
from geoseg.run.reporter import Reporter, Several

if TYPE_CHECKING:
    from geoseg.run.event_log import Event
    from geoseg.run.loop import Summary


@runtime_checkable
class Watcher(Protocol):
    """What a reporter may be besides. All methods return at once and never raise."""

    def watched_job(self, stage: str, job: Job) -> Job:
        """The job as workers shall get it, once it is clear that there are blocks to do."""
        ...

    def block_ended(self, stage: str, outcome: Outcome) -> None:
        """A block is done, or has failed for good."""
        ...

    def stage_ended(self, stage: str, summary: Summary) -> None:
        """No more blocks of the stage will be heard of."""
        ...


@runtime_checkable
class TakesEvents(Protocol):
    """A reporter that writes a run's events, too, of all its scenes."""

    def event(self, event: Event) -> None:
        """Something has happened; returns at once, from any thread, and never raises."""
        ...


def takers_of(reporter: Reporter) -> tuple[TakesEvents, ...]:
    """Those that ``reporter`` is, or tells."""
    if isinstance(reporter, Several):
        return tuple(one for inner in reporter.all() for one in takers_of(inner))
    return (reporter,) if isinstance(reporter, TakesEvents) else ()


def watchers_of(reporter: Reporter) -> tuple[Watcher, ...]:
    """Those that ``reporter`` is, or tells."""
    if isinstance(reporter, Several):
        return tuple(one for inner in reporter.all() for one in watchers_of(inner))
    return (reporter,) if isinstance(reporter, Watcher) else ()


def handed_over(job: Job, stage: str, watchers: Sequence[Watcher]) -> Job:
    """``job`` as all of ``watchers`` want workers to get it."""
    for watcher in watchers:
        job = watcher.watched_job(stage, job)
    return job


def tell_of(outcome: Outcome, stage: str, watchers: Sequence[Watcher]) -> None:
    """Let all of ``watchers`` know of a block."""
    for watcher in watchers:
        watcher.block_ended(stage, outcome)


def tell_end(summary: Summary, stage: str, watchers: Sequence[Watcher]) -> None:
    """Let all of ``watchers`` know that a stage has ended."""
    for watcher in watchers:
        watcher.stage_ended(stage, summary)
