"""Whether a workflow still runs as it should: when its last good run was, and what waits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from geoseg.api.diary import SCENE, ledger_of
from geoseg.api.notices import deliver, tell_now
from geoseg.errors import InputError
from geoseg.io.staging import address, products_of
from geoseg.run.clock import Clock
from geoseg.run.noted import Notice, PastRun
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.work_ledger import WorkLedger, ledger_path, workflows_in
from geoseg.workflow import Workflow, load
from geoseg.workflow.monitor import Notify

DEPTH = 3
"""Folders below the given one that are looked into."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a workflow is, by its ledger.

    Attributes:
        root: The folder of its products.
        state: Of the last run; ``never`` where there was none.
        last_run, last_good: When they began, ISO 8601; None where there was none.
        age: Seconds since the last good run; None where there was none.
        max_age: Seconds that it may be old; None where nobody said.
        scenes, failed, removed: How many there are.
        waiting: Notices that were not delivered yet.
        text: What the last run said, where it did not end well.
    """

    workflow: str
    root: str
    state: str
    last_run: str | None
    last_good: str | None
    age: float | None
    max_age: float | None
    scenes: int
    failed: int
    removed: int
    waiting: int
    text: str

    @property
    def silent(self) -> bool:
        """Whether the last good run is older than it may be."""
        return self.max_age is not None and (self.age is None or self.age > self.max_age)

    def __str__(self) -> str:
        if self.age is None:
            good = "no good run yet"
        else:
            good = f"last good run {self.last_good} ({_span(self.age)} ago)"
        more = "" if self.max_age is None else f", may be {_span(self.max_age)} old"
        counts = f"{self.scenes} scenes mapped, {self.failed} failed, {self.removed} removed"
        waits = f", {self.waiting} notices wait" if self.waiting else ""
        said = f"; last run {self.state}: {self.text}" if self.text else ""
        return f"{self.workflow}: {good}{more}; {counts}{waits}{said}"


def check_health(
    target: Path,
    *,
    max_age: timedelta | None = None,
    tell: bool = False,
    now: datetime | None = None,
    reporter: Reporter | None = None,
) -> list[Health]:
    """How the workflows of ``target`` are; nothing is written, but that somebody was told.

    Args:
        target: A workflow, or a folder that workflows write to, or one above.
        max_age: How old the last good run may be; a workflow's ``monitor.max_age`` without it.
        tell: Tell of silence as the workflow says; once for each, until there is a good run again.
        now: What ages count to; the time of this machine without it.
        reporter: Told of what cannot be delivered; nobody is, without it.

    Raises:
        InputError: ``target`` is neither, or ``tell`` is asked for without a workflow.
    """
    clock, reporter = Clock.at(now), reporter or Silent()
    if target.is_dir():
        if tell:
            raise InputError(f"{target}: only a workflow says who is told; give its file")
        roots = _roots(target)
        ledgers = (WorkLedger(r, name, clock) for r in roots for name in workflows_in(r))
        return [_of(ledger, max_age) for ledger in ledgers]
    if not target.exists():
        raise InputError(f"{target}: there is no such folder, and no workflow of that name")
    workflow = load(target)
    monitor = workflow.monitor
    if max_age is None and monitor is not None and monitor.max_age is not None:
        max_age = monitor.max_age.timedelta
    health = _of(ledger_of(workflow, now), max_age)
    if tell and health.silent:
        _tell(workflow, health, now, reporter)
    return [health]


def _roots(folder: Path) -> list[Path]:
    """Folders with a ledger at or below ``folder``."""
    below = (p for depth in range(DEPTH + 1) for p in folder.glob("*/" * depth + ".geoseg"))
    return sorted(path.parent for path in below if ledger_path(path.parent).exists())


def _of(ledger: WorkLedger, max_age: timedelta | None) -> Health:
    with ledger:
        runs = ledger.runs()
        good = [run for run in runs if run.state == "good"]
        last: PastRun | None = runs[-1] if runs else None
        if last is not None and last in ledger.lost():
            last = replace(last, state="lost", text="its process ended without a word")
        age = None
        if good:
            ended = datetime.fromisoformat(good[-1].ended or good[-1].began)
            age = max(0.0, (ledger.clock.began - ended).total_seconds())
        return Health(
            workflow=ledger.workflow,
            root=address(products_of(ledger.root)),
            state="never" if last is None else last.state,
            last_run=None if last is None else last.began,
            last_good=good[-1].began if good else None,
            age=age,
            max_age=None if max_age is None else max_age.total_seconds(),
            scenes=len(ledger.works(SCENE)),
            failed=len(ledger.works(SCENE, "failed")),
            removed=len(ledger.works(SCENE, "removed")),
            waiting=len(ledger.notices()),
            text="" if last is None else last.text,
        )


def _tell(workflow: Workflow, health: Health, now: datetime | None, reporter: Reporter) -> None:
    notify: Notify | None = workflow.notify
    if notify is None:
        raise InputError(f"{workflow.name}: nobody is to be told; add a section 'notify'")
    clock = Clock.at(now)
    notice = Notice("silence", f"since {health.last_good}", str(health), queued=clock.stamp())
    with ledger_of(workflow, now) as ledger:
        if ledger.exists:
            ledger.tell(notice.event, notice.key, notice.text)
            deliver(ledger, notify, reporter)
            ledger.keep()
            return
    for failure in tell_now(workflow.name, notify, [notice], clock.now()):
        reporter.warning(failure)


def _span(seconds: float) -> str:
    """In days or hours, as one would say it."""
    days = seconds / 86400
    return f"{days:.1f} d" if days >= 2 else f"{seconds / 3600:.1f} h"
