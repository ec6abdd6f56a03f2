"""Gates: many pass one together, or one alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from weakref import WeakValueDictionary


class Gate:
    """A lock with two ways through: shared by any number of threads, or alone.

    Who waits to be alone goes before those who come to share later, so that a stream of them keeps
    nobody out. A thread must not pass a gate that it holds.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._sharing = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Pass together with others that share."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Pass when nobody else is inside, and let nobody in meanwhile."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._alone and not self._sharing)
                self._alone = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


_GATES: WeakValueDictionary[str, Gate] = WeakValueDictionary()
_LOCK = Lock()


def gate_of(name: str) -> Gate:
    """The one gate of this process for ``name``; it lasts as long as somebody has it."""
    with _LOCK:
        gate = _GATES.get(name)
        if gate is None:
            gate = _GATES[name] = Gate()
        return gate
