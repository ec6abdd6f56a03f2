"""Calls that whoever waits for them may give up: a hung read must not hang a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from queue import SimpleQueue
from threading import TIMEOUT_MAX, Lock, Thread
from typing import Any, TypeVar, cast

from geoseg.errors import GeosegError

T = TypeVar("T")
_KEY = " (run.block_timeout)"
_Task = tuple[Future[Any], Callable[[], Any]] | None

LONGEST = 3 * 3600.0
"""Seconds that a block may take where no workflow says so."""

_allowed: ContextVar[float | None] = ContextVar("geoseg_block_timeout", default=None)


@contextmanager
def block_timeout(seconds: float) -> Iterator[None]:
    """Blocks that are begun from within, on threads of this process, may take ``seconds`` each."""
    token = _allowed.set(seconds)
    try:
        yield
    finally:
        _allowed.reset(token)


class LateError(GeosegError):
    """Something took longer than it may; nobody waits for it any more."""


class Patience:
    """Does calls on threads of its own, and waits ``seconds`` for each.

    A thread that hangs in the system (a server, a network disk, a pipe) cannot be ended from
    outside; it is left behind. Its thread is a daemon, so that a process ends all the same. Threads
    whose calls came back are used again: libraries keep buffers for each.

    ``settable``: whether a workflow sets the seconds, for whoever reads of them.
    """

    def __init__(self, seconds: float, *, settable: bool = True) -> None:
        self._seconds, self._lock = min(seconds, TIMEOUT_MAX), Lock()
        self._settable = settable
        self._idle: list[SimpleQueue[_Task]] = []
        self._closed = False

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, or raises.

        Raises:
            LateError: It takes too long. It may go on, unheard.
        """
        lane, future = self._lane(), Future[Any]()
        lane.put((future, work))
        try:
            error = future.exception(self._seconds)
        except TimeoutError:
            lane.put(None)  # it ends when its call comes back, if ever
            told = (
                f"not done within {_span(self._seconds)} (run.block_timeout): its files, their "
                f"disk or server, or the model hang, or it needs more time than that"
            )
            raise LateError(told if self._settable else told.replace(_KEY, "")) from None
        self._give_back(lane)
        if error is not None:
            raise error
        return cast("T", future.result())

    def close(self) -> None:
        """Let idle threads end, and others as soon as their call comes back."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for lane in idle:
            lane.put(None)

    def _lane(self) -> SimpleQueue[_Task]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        lane: SimpleQueue[_Task] = SimpleQueue()
        Thread(target=_serve, args=(lane,), daemon=True, name="geoseg-block").start()
        return lane

    def _give_back(self, lane: SimpleQueue[_Task]) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(lane)
                return
        lane.put(None)


def allowed() -> Patience:
    """For blocks on threads of this process: as :func:`block_timeout` around says."""
    seconds = _allowed.get()
    return Patience(LONGEST, settable=False) if seconds is None else Patience(seconds)


def in_time(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` gives within ``seconds``.

    Raises:
        LateError: It takes longer.
    """
    patience = Patience(seconds)
    try:
        return patience.call(work)
    finally:
        patience.close()


def _serve(lane: SimpleQueue[_Task]) -> None:
    while (task := lane.get()) is not None:
        future, work = task
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (whoever waits gets it)
            future.set_exception(error)
        del task, future, work  # what they hold must not live until the next call


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
