"""Going on where a run was interrupted: what it stored is proven to be whole, or done again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.api.jobs import Proof, WorkFolder
from geoseg.api.stages import Stage
from geoseg.errors import ProductError
from geoseg.run.base import Done
from geoseg.run.ledger import Ledger, remove_ledger
from geoseg.run.reporter import Reporter

_THREADS = 4
"""Blocks that are read and checked at once; decoding and checksums leave Python's lock."""


@dataclass(slots=True)
class Resuming:
    """The stored blocks of one scene, stage by stage in their order."""

    work: WorkFolder
    reporter: Reporter
    _passed: set[Path] = field(default_factory=set)

    def begin(self, first: Stage, create: Callable[[], None], *, force: bool) -> None:
        """Make the stores, or go on with those of an interrupted run of the same work.

        ``create`` makes those that are missing. Killed anywhere in here, the next run comes to the
        same: stores without a ledger are never used, a ledger never outlives its stores.

        Raises:
            ProductError: The folder cannot be written to.
        """
        changed = first.changes(self.work)
        if changed:
            self.reporter.message(f"{_changed(changed)}: starting anew")
        if changed is None or changed or force:
            self.work.remove()
        self.work.tidy()
        try:
            create()
        except ProductError as error:
            self.reporter.warning(f"stored blocks are of no use, starting anew: {error}")
            self.work.remove()
            create()

    def ledger(self, stage: Stage) -> Ledger:
        """The ledger of a stage, without the blocks that are damaged or gone.

        Raises:
            ProductError: It cannot be read or written.
        """
        ledger = stage.ledger(self.work)
        try:
            if ledger.changed and self._passed:
                self.reporter.message(f"{stage.name}: {_changed(ledger.changed)}: starting anew")
            self._passed.add(ledger.path)
            damaged = _damaged(list(ledger.reports()), stage.job.proof())
            if damaged:
                self.reporter.warning(
                    f"{stage.name}: {len(damaged)} of {len(ledger.done)} stored blocks are damaged "
                    f"or missing: they are done again, and all that was made of them"
                )
                # Nobody knows whether later stages have read what was damaged.
                for later in set(self.work.ledgers()) - self._passed:
                    remove_ledger(later)
                ledger.forget(done.block for done in damaged)
        except BaseException:
            ledger.close()
            raise
        return ledger


def _changed(parts: list[str]) -> str:
    return f"{', '.join(parts)} changed since the last run"


def _damaged(stored: list[Done], proof: Proof) -> list[Done]:
    """Blocks of which something else is stored than they said when they were done."""

    def whole(done: Done) -> bool:
        try:
            return bool(proof(done.block) == done.report["crc"])
        except Exception:  # noqa: BLE001 (what is damaged can fail in any way)
            return False

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="proof") as pool:
        return [d for d, good in zip(stored, pool.map(whole, stored), strict=True) if not good]
