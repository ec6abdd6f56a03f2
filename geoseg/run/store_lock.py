"""One run per output in a store: an object with a heartbeat, and the store's clock alone."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from geoseg.errors import GeosegError, InputError, LockedError
from geoseg.io.bucket import BucketPath
from geoseg.run.status import is_gone

NAME = "lock"
BEAT_SECONDS, STALE_SECONDS = 30.0, 120.0
"""How often a holder says that it is there, and after how long without it is taken for gone."""

_held: dict[BucketPath, StoreLock] = {}
_sound: set[str] = set()
"""Buckets whose server was seen to heed conditions."""


class StoreLock:
    """An object that says who holds an output; each sign of life is a conditional write of it."""

    def __init__(
        self, output: BucketPath, *, beat: float = BEAT_SECONDS, stale: float = STALE_SECONDS
    ) -> None:
        self.output, self.place = output, output / ".geoseg" / NAME
        self._beat, self._stale = beat, stale
        self._told = {
            "pid": os.getpid(),
            "born": psutil.Process().create_time(),
            "host": socket.gethostname(),
            "machine": _machine(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": uuid4().hex,
        }
        self._signs, self._etag, self._at = 0, "", 0.0
        self._lost = False
        self._end, self._busy = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._live, name="geoseg-lock", daemon=True)

    def acquire(self) -> None:
        """Take it, where nobody has it, or whoever had it is gone.

        Raises:
            LockedError: Another run has it: says which.
            InputError: The store lets nobody with these keys write there, or ignores conditions.
        """
        for _ in range(3):
            etag = self._write(None)
            if etag is None:
                etag = self._take_over()
            if etag is not None:
                self._etag = etag
                self._check_conditions()
                self._thread.start()
                return
        raise LockedError(f"{self.output}: several runs begin at once; try again")

    def confirm(self) -> None:
        """Make sure that it is still ours.

        Raises:
            LockedError: It is another run's.
            ProductError: The store does not answer.
        """
        if not self._lost and time.monotonic() - self._at > self._beat / 2:
            self._sign()
        if self._lost:
            raise LockedError(
                f"{self.output}: was taken over by another run, as this one gave no sign for "
                f"{self._stale:g} s; wait until that one ends, or choose another place"
            )

    def release(self) -> None:
        """Let go of it, if nobody can have taken it over; else it is not ours to remove."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._lost and time.monotonic() - self._at < self._stale / 2:
            with suppress(GeosegError):
                self.place.unlink()

    def _check_conditions(self) -> None:
        """Refuse a server that writes whatever the condition was: nothing here would hold.

        Raises:
            InputError: It does.
        """
        if self.place.bucket in _sound:
            return
        for etag in (None, '"00000000000000000000000000000000"'):
            if self._write(etag) is not None:
                self.place.unlink()
                raise InputError(
                    f"{self.output}: this server ignores conditions of writes (If-None-Match, "
                    f"If-Match), without which two runs would not notice each other; take a newer "
                    f"version of it, or write to a folder"
                )
        _sound.add(self.place.bucket)

    def _live(self) -> None:
        while not (self._end.wait(self._beat) or self._lost):
            with suppress(GeosegError):  # the store may answer again before we are taken for gone
                self._sign()

    def _sign(self) -> None:
        with self._busy:
            etag = self._write(self._etag)
            self._lost, self._etag = etag is None, etag or ""

    def _write(self, etag: str | None) -> str | None:
        begun = time.monotonic()
        self._signs += 1
        data = json.dumps(self._told | {"signs": self._signs}).encode()
        written = self.place.write_if(data, etag=etag)
        self._at = begun
        return written

    def _take_over(self) -> str | None:
        try:
            data, head = self.place.read()
        except FileNotFoundError:
            return None  # it was let go between our two calls
        holder = _parsed(data)
        if head.age <= self._stale and not _is_gone_here(holder):
            left = max(0.0, self._stale - head.age)
            raise LockedError(
                f"{self.output}: process {holder.get('pid')} on {holder.get('host')} holds this "
                f"output since {holder.get('since')}, last sign {max(0.0, head.age):.0f} s ago; wait "
                f"until it ends ({left:.0f} s without a sign, if it was killed), or choose another "
                f"place"
            )
        return self._write(head.etag)


@contextmanager
def hold_output(output: BucketPath) -> Iterator[None]:
    """Hold an output in a store for this run.

    Raises:
        LockedError: Another run holds it.
    """
    lock = StoreLock(output)
    lock.acquire()
    _held[output] = lock
    try:
        yield
    finally:
        del _held[output]
        lock.release()


def confirm_held(output: BucketPath) -> None:
    """Make sure that this process still holds an output.

    Raises:
        LockedError: Another run has taken it over.
    """
    if output in _held:
        _held[output].confirm()


def _machine() -> str:
    """What numbers of processes mean something in; "" where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone_here(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this very machine, and has ended."""
    if not holder.get("machine") or holder["machine"] != _machine():
        return False
    try:
        return is_gone(int(holder["pid"]), float(holder["born"]), str(holder["host"]))
    except (KeyError, ValueError, TypeError):
        return False
