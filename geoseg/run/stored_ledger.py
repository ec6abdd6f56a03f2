"""The ledger of runs of an output in a store: one object, replaced only by who has read it last."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

from geoseg.errors import LockedError
from geoseg.io.bucket import BucketPath
from geoseg.run.clock import Clock
from geoseg.run.work_ledger import NAME, WorkLedger

SECONDS = 2.0
"""How seldom it is brought up where more is to come: so much is noted again after a crash."""


class StoredLedger(WorkLedger):
    """A :class:`WorkLedger` that nights go on with from any machine.

    It lies in a temporary folder, where it is SQLite's; what was noted counts once :meth:`keep` has
    brought it to its place. That is written only where it is as it was read or written last: of
    two nights that are at once, the second one's notes fail, and nothing is mixed.
    """

    def __init__(self, root: Path, workflow: str, clock: Clock, place: BucketPath) -> None:
        super().__init__(root, workflow, clock)
        self.place = place
        self._etag: str | None = None
        self._data, self._sent = b"", float("-inf")
        self._room: tempfile.TemporaryDirectory[str] | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was noted yet."""
        if self._room is None:
            self.refresh()
        return super().exists

    def refresh(self) -> None:
        """Bring it here anew; what was not kept is forgotten.

        Raises:
            InputError: No keys, no bucket, no access.
            ProductError: The store does not answer.
        """
        super().close()
        if self._room is not None:
            self._room.cleanup()
        self._room = tempfile.TemporaryDirectory(prefix="geoseg-ledger-")
        self.path = Path(self._room.name, NAME)
        try:
            self._data, head = self.place.read()
        except FileNotFoundError:
            self._etag, self._data = None, b""
            return
        self._etag = head.etag
        self.path.write_bytes(self._data)

    def keep(self, *, more: bool = False) -> None:
        """Bring it to its place; where ``more`` comes soon, not each time.

        Raises:
            LockedError: Somebody else has, since it was read here.
            ProductError: The store does not answer.
        """
        if self._open is None or (more and time.monotonic() - self._sent < SECONDS):
            return
        data = self._open.serialize()
        if data == self._data:
            return
        etag = self.place.write_if(data, etag=self._etag)
        if etag is None:
            raise LockedError(
                f"{self.place}: another run has written it since this one read it; what this one "
                f"has made stays, and is found by the next"
            )
        self._etag, self._data, self._sent = etag, data, time.monotonic()

    def close(self) -> None:
        """Let go of it; what was not kept is forgotten."""
        super().close()
        if self._room is not None:
            self._room.cleanup()
            self._room = None

    def _connect(self) -> sqlite3.Connection:
        if self._room is None:
            self.refresh()
        return super()._connect()
