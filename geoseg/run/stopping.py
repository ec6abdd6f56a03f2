"""Being asked to stop: the first signal ends a run in good order, the second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from geoseg.errors import StoppedError
from geoseg.run.base import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a run was asked to stop, and by which signal; for all that it does at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._stops: list[Stop] = []
        self._asked = self._at_once = False

    @property
    def asked(self) -> bool:
        """Whether it was, by a signal or otherwise."""
        return self._asked

    @property
    def by(self) -> str:
        """``" by SIGINT"``; empty where it was no signal."""
        return "" if self.signal is None else f" by {self.signal.name}"

    def ask(self, *, at_once: bool = False) -> None:
        """Ask all that takes part to stop, and who joins later; ``at_once``: to wait for nothing."""
        self._asked, self._at_once = True, self._at_once or at_once
        for stop in list(self._stops):
            self._pass_on(stop)

    @contextmanager
    def joined(self, stop: Stop) -> Iterator[None]:
        """Let ``stop`` take part for a while."""
        self._stops.append(stop)
        self._pass_on(stop)
        try:
            yield
        finally:
            self._stops.remove(stop)

    def error(self, message: str) -> StoppedError:
        """With the exit code that shells expect: 130 for SIGINT, 143 for SIGTERM."""
        return StoppedError(message, exit_code=128 + (self.signal or signal.SIGINT))

    def _pass_on(self, stop: Stop) -> None:
        stop.asked |= self._asked
        stop.at_once |= self._at_once


_SHARED: ContextVar[StopRequest | None] = ContextVar("geoseg-stop", default=None)


@contextmanager
def stop_together(tell: Callable[[], None]) -> Iterator[StopRequest]:
    """As :func:`stop_on_signals`, for several things at once, on threads that have this context.

    What they do within :func:`stop_on_signals` takes part. A second signal asks them to stop at
    once, and raises here.
    """
    with stop_on_signals(Stop(), tell) as request:
        token = _SHARED.set(request)
        try:
            yield request
        finally:
            _SHARED.reset(token)


@contextmanager
def stop_on_signals(stop: Stop, tell: Callable[[], None]) -> Iterator[StopRequest]:
    """Ask to stop, and ``tell``, when SIGINT or SIGTERM comes; the second raises StoppedError.

    Signals reach the main thread only: elsewhere nothing is changed, but that threads within
    :func:`stop_together` take part in that.
    """
    shared = _SHARED.get()
    if shared is not None:
        with shared.joined(stop):
            yield shared
        return
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None:
            request.ask(at_once=True)
            raise request.error("stopped at once; finished blocks are kept")
        request.signal = signal.Signals(number)
        request.ask()
        # In a thread of its own: the signal may have come in the middle of a write to stderr.
        threading.Thread(target=tell, daemon=True).start()

    with request.joined(stop), _handling(SIGNALS, handle):
        yield request


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that clusters, locks and files are let go."""

    def handle(number: int, _frame: FrameType | None) -> None:
        raise StoppedError("stopped by SIGTERM", exit_code=128 + number)

    with _handling((signal.SIGTERM,), handle):
        yield


@contextmanager
def _handling(
    numbers: tuple[signal.Signals, ...], handle: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
