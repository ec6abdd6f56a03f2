"""Being asked to stop: the first signal ends a run in good order, the second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from geoseg.errors import StoppedError
from geoseg.run.base import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Which signal came first, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def error(self, message: str) -> StoppedError:
        """With the exit code that shells expect: 130 for SIGINT, 143 for SIGTERM."""
        return StoppedError(message, exit_code=128 + (self.signal or signal.SIGINT))


@contextmanager
def stop_on_signals(stop: Stop, tell: Callable[[], None]) -> Iterator[StopRequest]:
    """Ask to stop, and ``tell``, when SIGINT or SIGTERM comes; the second raises StoppedError.

    Signals reach the main thread only: elsewhere nothing is changed.
    """
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None:
            raise request.error("stopped at once; finished blocks are kept")
        request.signal = signal.Signals(number)
        stop.asked = True
        # In a thread of its own: the signal may have come in the middle of a write to stderr.
        threading.Thread(target=tell, daemon=True).start()

    with _handling(SIGNALS, handle):
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
