"""What is done, by content, across all runs into a folder: one SQLite file beside the outputs."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import psutil

from geoseg.errors import ProductError
from geoseg.redaction import masked
from geoseg.run.clock import Clock
from geoseg.run.file_systems import is_shared
from geoseg.run.noted import Notice, NoticeState, PastRun, RunState, Work, WorkState
from geoseg.run.reasons import About, Reason, changed
from geoseg.run.status import is_gone

NAME = "ledger.sqlite"
FORMAT = 2
"""Of the tables; kept in the file as its ``user_version``. 2: works have a checksum."""
PATIENCE_SECONDS = 60.0
"""For another process to finish its few writes."""

_TABLES = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY, workflow TEXT NOT NULL, state TEXT NOT NULL, began TEXT NOT NULL,
        ended TEXT, counts TEXT NOT NULL DEFAULT '{}', text TEXT NOT NULL DEFAULT '',
        pid INTEGER NOT NULL, born REAL NOT NULL, host TEXT NOT NULL)""",
    """CREATE TABLE works (
        workflow TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
        parts TEXT NOT NULL, about TEXT NOT NULL, date TEXT, place TEXT, facts TEXT NOT NULL,
        text TEXT NOT NULL, run INTEGER, noted TEXT NOT NULL, crc INTEGER,
        PRIMARY KEY (workflow, kind, name)) WITHOUT ROWID""",
    "CREATE TABLE abouts (digest TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE notices (
        workflow TEXT NOT NULL, event TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
        text TEXT NOT NULL, details TEXT NOT NULL, queued TEXT NOT NULL,
        told TEXT NOT NULL DEFAULT '[]', tries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (workflow, event, key)) WITHOUT ROWID""",
)


_ADVICE = "; move it away: finished products are found again"
_NO_DAMAGE = ("locked", "full", "readonly", "unable to open", "disk I/O", "interrupted")
"""What SQLite says where the file itself may well be good."""


class WorkLedger:
    """What one workflow has done below a folder.

    Safe for several processes (SQLite's write-ahead log, or on file systems of a network its
    rollback journal, which needs locks between hosts; short transactions). The file appears
    with the first thing that is noted, not before. All times are the clock's.
    """

    def __init__(self, root: Path, workflow: str, clock: Clock) -> None:
        self.root, self.workflow, self.clock = root, workflow, clock
        self.path = ledger_path(root)
        self._open: sqlite3.Connection | None = None
        self._run: int | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was noted yet."""
        return os.path.exists(self.path)  # noqa: PTH110 (False, too, where no system takes the path)

    def refresh(self) -> None:
        """See what others have noted; on a disk they are always seen."""

    def keep(self, *, more: bool = False) -> None:
        """Make sure that others see what was noted; ``more`` comes soon."""

    # -- what is done -------------------------------------------------------------------------

    def need(
        self, kind: str, name: str, parts: Mapping[str, str], *, about: About | None = None
    ) -> Reason | None:
        """Why something must be done; None where it was done from the same ``parts``, or removed.

        Args:
            kind: What it is: ``scene``, ``change``, ``alerts`` and so on.
            name: Which one; unique within kind and workflow.
            parts: Hashes of all that its result depends on, by name: inputs, model, settings, code.
            about: What people call each part, to say what changed; see :class:`Reason`.
        """
        work = self.work(kind, name)
        if work is None:
            return Reason("new", "new")
        if work.state == "failed":
            return Reason("failed", f"failed before: {work.text}")
        if work.state == "removed":
            return None
        return changed(work.parts, parts, self._about(kind, name), about or {})

    def note(
        self,
        kind: str,
        name: str,
        parts: Mapping[str, str],
        *,
        about: About | None = None,
        state: WorkState = "done",
        **told: Any,
    ) -> None:
        """Note that something was done, or was tried; replaces what was noted of it before.

        Args:
            kind: As for :meth:`need`.
            name: As for :meth:`need`.
            parts: As for :meth:`need`.
            about: As for :meth:`need`.
            state: How it went.
            told: ``date``, ``place``, ``facts`` and ``text`` of :class:`Work`.
        """
        text = json.dumps(about or {}, sort_keys=True)
        digest = sha256(text.encode()).hexdigest()
        row = (
            self.workflow, kind, name, state, json.dumps(dict(parts), sort_keys=True), digest,
            told.get("date"), told.get("place"),
            json.dumps(told.get("facts", {}), sort_keys=True, default=str),
            masked(told.get("text", "")), self._run, self.clock.stamp(),
        )  # fmt: skip
        with self.transaction():
            # One row for each set of settings, not for each scene.
            self._do("INSERT OR IGNORE INTO abouts VALUES (?, ?)", digest, text)
            self._do(
                "INSERT OR REPLACE INTO works VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *row, _checksum(kind, name, state, *row[4:5], *row[6:]),
            )  # fmt: skip

    def forget(self, kind: str, name: str) -> None:
        """Take back what was noted of one thing."""
        sql = "DELETE FROM works WHERE workflow = ? AND kind = ? AND name = ?"
        self._do(sql, self.workflow, kind, name)

    def work(self, kind: str, name: str) -> Work | None:
        """What is noted of one thing."""
        found = self._works(kind, name)
        return found[0] if found else None

    def works(self, kind: str, *states: WorkState, place: str | None = None) -> list[Work]:
        """All things of a kind in these states (``done`` without any), by date and name.

        With ``place`` only those whose results lie there.
        """
        found = self._works(kind, place=place)
        return [work for work in found if work.state in (states or ("done",))]

    def _works(self, kind: str, name: str | None = None, place: str | None = None) -> list[Work]:
        rows = self._read(
            "SELECT kind, name, state, parts, date, place, facts, text, run, noted, crc FROM works "
            "WHERE workflow = ? AND kind = ? AND name = coalesce(?, name) "
            "AND (? IS NULL OR place = ?) ORDER BY date, name",
            self.workflow, kind, name, place, place,
        )  # fmt: skip
        return [self._whole(*row) for row in rows]

    def _whole(self, *row: Any) -> Work:
        """A row of works that says of itself that it is as it was written."""
        *found, crc = row
        if crc is not None and crc != _checksum(*found):
            raise ProductError(f"{self.path}: {row[0]} {row[1]!r:.80} is damaged{_ADVICE}")
        kind, name, state, parts, date, place, facts, *rest = found
        with _explained(self.path):
            return Work(kind, name, state, json.loads(parts), date, place, json.loads(facts), *rest)

    def _about(self, kind: str, name: str) -> dict[str, dict[str, str]]:
        rows = self._read(
            "SELECT abouts.text FROM works JOIN abouts ON abouts.digest = works.about "
            "WHERE workflow = ? AND kind = ? AND name = ?",
            self.workflow, kind, name,
        )  # fmt: skip
        about: dict[str, dict[str, str]] = self._told(rows[0][0]) if rows else {}
        return about

    # -- runs ---------------------------------------------------------------------------------

    def begin(self, *, alone: bool = False) -> list[PastRun]:
        """Note that a run begins; returns earlier ones that ended without a word.

        ``alone``: no other run of this workflow can be alive, as this one holds the lock.
        """
        with self.transaction():
            lost = [run.id for run in (self.runs("running") if alone else self.lost())]
            for run in lost:
                text = "its process ended without a word (killed, or the machine went down)"
                self._do("UPDATE runs SET state = 'lost', text = ? WHERE id = ?", text, run)
            self._do(
                "INSERT INTO runs (workflow, state, began, pid, born, host) "
                "VALUES (?, 'running', ?, ?, ?, ?)",
                self.workflow, self.clock.began.isoformat(timespec="seconds"), os.getpid(), psutil.Process().create_time(),
                socket.gethostname(),
            )  # fmt: skip
            self._run = self._read("SELECT last_insert_rowid()")[0][0]
        return [run for run in self.runs("lost") if run.id in lost]

    def end(self, state: RunState, counts: Mapping[str, int], *, text: str = "") -> None:
        """Note how the run that began has ended."""
        self._do(
            "UPDATE runs SET state = ?, ended = ?, text = ?, counts = ? WHERE id = ?",
            state, self.clock.stamp(), masked(text), json.dumps(dict(counts)), self._run,
        )  # fmt: skip

    def runs(self, *states: RunState) -> list[PastRun]:
        """All runs in these states, or in any; the last one last."""
        rows = self._read(
            "SELECT id, state, began, ended, counts, text FROM runs WHERE workflow = ? ORDER BY id",
            self.workflow,
        )
        runs = [
            PastRun(run, state, began, ended, self._told(counts), text)
            for run, state, began, ended, counts, text in rows
        ]
        return [run for run in runs if not states or run.state in states]

    def lost(self) -> list[PastRun]:
        """Runs that are not at their end, but whose process is."""
        rows = self._read(
            "SELECT id, pid, born, host FROM runs WHERE workflow = ? AND state = 'running'",
            self.workflow,
        )
        gone = {run for run, pid, born, host in rows if is_gone(pid, born, host)}
        return [run for run in self.runs("running") if run.id in gone]

    # -- notices ------------------------------------------------------------------------------

    def tell(
        self, event: str, key: str, text: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """Put something among what is to be told, once for each ``event`` and ``key``."""
        self._do(
            "INSERT OR IGNORE INTO notices (workflow, event, key, state, text, details, queued) "
            "VALUES (?, ?, ?, 'waiting', ?, ?, ?)",
            self.workflow, event, key, masked(text),
            masked(json.dumps(details or {}, sort_keys=True, default=str)),
            self.clock.stamp(),
        )  # fmt: skip

    def notices(self, *states: NoticeState) -> list[Notice]:
        """What is to be told (``waiting``), or is in these states; first come, first."""
        wanted = states or ("waiting",)
        rows = self._read(
            "SELECT state, event, key, text, details, queued, told, tries FROM notices "
            "WHERE workflow = ? ORDER BY queued, event, key",
            self.workflow,
        )
        return [
            Notice(event, key, text, self._told(details), queued, tuple(self._told(told)), tries)
            for state, event, key, text, details, queued, told, tries in rows
            if state in wanted
        ]

    def settle(self, notice: Notice, state: NoticeState, told: Sequence[str] = ()) -> None:
        """Note which channels have a notice, after another try."""
        self._do(
            "UPDATE notices SET state = ?, told = ?, tries = tries + 1 "
            "WHERE workflow = ? AND event = ? AND key = ?",
            state, json.dumps(list(told)), self.workflow, notice.event, notice.key,
        )  # fmt: skip

    # -- SQLite -------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is noted within, or nothing of it; other processes wait. May be nested."""
        if self._connect().in_transaction:
            yield
            return
        self._do("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._do("ROLLBACK")
            raise
        self._do("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, sql: str, *values: Any) -> list[Any]:
        return self._do(sql, *values) if self.exists else []

    def _told(self, text: str) -> Any:
        """What JSON in the ledger says."""
        with _explained(self.path):
            return json.loads(text)

    def _do(self, sql: str, *values: Any) -> list[Any]:
        connection = self._connect()
        with _explained(self.path):
            return connection.execute(sql, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        if self._open is None:
            with _explained(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Without isolation level, transactions begin and end where we say.
                self._open = sqlite3.connect(
                    self.path, timeout=PATIENCE_SECONDS, isolation_level=None
                )
            try:
                with _explained(self.path):
                    self._prepare(self._open)
            except BaseException:
                self.close()
                raise
        return self._open

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file, and refuse those of a newer version."""
        # What is written ahead is shared by way of memory: hosts would lose each other's notes.
        mode = "DELETE" if is_shared(self.path.parent) else "WAL"
        with suppress(sqlite3.OperationalError):  # another process does the same right now
            connection.execute(f"PRAGMA journal_mode = {mode}")
        if _version(connection) == 0:
            connection.execute("BEGIN IMMEDIATE")
            if _version(connection) == 0:  # it may have come first
                for table in _TABLES:
                    connection.execute(table)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        found = _version(connection)
        if found == 1:
            _to_format_2(connection)
        elif found != FORMAT:
            raise ProductError(
                f"{self.path}: was written by a newer geoseg (format {found}, this one knows "
                f"{FORMAT}); use that one. If there is none, it is damaged{_ADVICE}"
            )


def ledger_path(root: Path) -> Path:
    """Where the ledger of a folder lies."""
    return root / ".geoseg" / NAME


def workflows_in(root: Path) -> list[str]:
    """The workflows that a folder's ledger knows, by name."""
    with WorkLedger(root, "", Clock.at()) as ledger:
        rows = ledger._read("SELECT workflow FROM runs UNION SELECT workflow FROM works")  # noqa: SLF001 (of this file)
        return sorted(row[0] for row in rows)


def _to_format_2(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == 1:  # another process may have come first
        connection.execute("ALTER TABLE works ADD COLUMN crc INTEGER")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _checksum(*values: Any) -> int:
    """Of a row: SQLite itself does not notice when text of it changes on the disk."""
    return crc32(repr(values).encode("utf-8", "surrogateescape"))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _said(error: Exception) -> str:
    """In one line, as what is damaged may be quoted in it."""
    return "".join(c if c.isprintable() else "?" for c in str(error))[:200]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        advice = "" if any(word in str(error) for word in _NO_DAMAGE) else _ADVICE
        raise ProductError(f"{path}: cannot be used as ledger: {_said(error)}{advice}") from error
    except (ValueError, TypeError) as error:
        raise ProductError(f"{path}: is damaged: {_said(error)}{_ADVICE}") from error
    except OSError as error:
        raise ProductError(f"{path}: cannot be used as ledger: {error.strerror}") from error
