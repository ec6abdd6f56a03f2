"""A job as one process holds it: opened once, by the first block, and let go after the last."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from time import perf_counter, time

from geoseg.errors import GeosegError, InputError, ProductError
from geoseg.grid import Window
from geoseg.redaction import masked
from geoseg.run.base import BlockWork, Done, Failed, Job, Outcome, Ran
from geoseg.run.patience import LateError, Patience


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try at a block.

    Attributes:
        outcome: None where the block was not begun, because the job is being stopped.
        again: Another try may go better.
        unopened: The job could not be opened here; elsewhere it may.
        where: The worker that answers.
    """

    outcome: Outcome | None
    again: bool = False
    unopened: bool = False
    where: str = ""


class Opened:
    """A job that any number of threads may ask for blocks; never raises for a block that fails.

    ``check`` runs before the job is opened and raises where it must not be. A block that takes
    longer than ``timeout`` seconds has failed; None: it is waited for, in the caller's thread.
    """

    def __init__(
        self,
        job: Job,
        *,
        where: str = "",
        check: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._job, self._where, self._check = job, where, check
        self._patience = None if timeout is None else Patience(timeout)
        self._opening = Lock()
        self._work: BlockWork | None = None
        self._unopened: tuple[str, str] | None = None
        self._counting = Lock()
        self._users = 0
        self._stopped = self._closed = False

    def __call__(self, block: Window) -> Answer:
        """Try to do ``block``, and note how long that took."""
        began, start = time(), perf_counter()
        answer = self._waited_for(block)
        if answer.outcome is None:
            return answer
        ran = Ran(self._where, began, perf_counter() - start)
        return replace(answer, outcome=replace(answer.outcome, ran=ran))

    def _waited_for(self, block: Window) -> Answer:
        if self._patience is None:
            return self._counted(block)
        try:
            return self._patience.call(lambda: self._counted(block))
        except LateError as error:
            # Not again: what hangs once mostly does so again, and each try costs as long.
            return Answer(failure(block, error), where=self._where)

    def _counted(self, block: Window) -> Answer:
        with self._counting:
            if self._stopped:
                return Answer(None, where=self._where)
            self._users += 1
        try:
            return self._attempt(block)
        finally:
            with self._counting:
                self._users -= 1
                last = self._closed and not self._users
            if last:
                self._let_go()

    def stop(self) -> None:
        """Begin no further block; those that run are finished."""
        with self._counting:
            self._stopped = True

    def close(self) -> None:
        """Stop, and let go of the work as soon as no block uses it."""
        with self._counting:
            idle = not self._users and not self._closed
            self._stopped = self._closed = True
        if self._patience is not None:
            self._patience.close()
        if idle:
            self._let_go()

    def _attempt(self, block: Window) -> Answer:
        work = self._open()
        if work is None:
            error, trace = self._unopened or ("", "")
            failed = Failed(block, error, trace, everywhere=True)
            return Answer(failed, again=False, unopened=True, where=self._where)
        try:
            return Answer(Done(block, dict(work(block))), where=self._where)
        except Exception as error:  # noqa: BLE001 - a block may fail in any way
            again = not isinstance(error, InputError)
            return Answer(failure(block, error), again=again, where=self._where)

    def _open(self) -> BlockWork | None:
        """The opened job; None where opening failed, now or before."""
        with self._opening:
            if self._work is None and self._unopened is None:
                try:
                    if self._check is not None:
                        self._check()
                    self._work = self._job.open()
                except Exception as error:  # noqa: BLE001 - models fail to load in many ways
                    self._unopened = message(error), _trace(error)
            return self._work

    def _let_go(self) -> None:
        with self._opening:
            work, self._work = self._work, None
        if work is not None:
            work.close()


def message(error: BaseException) -> str:
    """What the user reads of ``error``: our own errors speak for themselves."""
    if isinstance(error, GeosegError):
        return str(error)
    text = masked(str(error).strip())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure(block: Window, error: BaseException) -> Failed:
    """``error`` as the outcome of ``block``."""
    wrong, full = isinstance(error, InputError), isinstance(error, ProductError)
    return Failed(block, message(error), _trace(error), wrong_input=wrong, everywhere=full)


def _trace(error: BaseException) -> str:
    return masked("".join(traceback.format_exception(error)))
