"""What is done, by content: one line for each stored block, each line proving itself."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from geoseg.errors import ProductError
from geoseg.grid import Window
from geoseg.io.atomic import remove_file
from geoseg.run.base import Done
from geoseg.run.ledger_segments import segments_of

FORMAT = 1
SYNC_LINES = 64
SYNC_SECONDS = 2.0
_CRC = b',"crc":"'


class Ledger:
    """The finished blocks of one stage of one scene, kept across runs.

    A file of JSON lines: first a header with the ``fingerprint`` of everything that changes
    results, and the ``parts`` it is made of; then a line for each block with its report. Each line
    ends in a checksum of itself, so that a torn or damaged one only means that its block is done
    again. Of several lines for one block the last counts. Lines are synced in small batches: a
    crash of the machine costs some seconds of work. Where the output is in a store, what is synced
    is copied there.

    Attributes:
        changed: The parts that differ from those of an older ledger that lay here. Where there are
            any, nothing is done, and what that ledger spoke of must be wiped.
    """

    def __init__(self, path: Path, changed: list[str]) -> None:
        self.path, self.changed = path, changed
        self._at: dict[Window, int] = {}
        self._end = 0
        self._file = path.open("ab+")
        self._copy = segments_of(path)
        self._unsynced, self._synced = 0, time.monotonic()

    @classmethod
    def open(cls, path: str | Path, fingerprint: str, parts: Mapping[str, str]) -> Self:
        """Go on with the ledger at ``path`` if it has the same fingerprint, else begin anew.

        Raises:
            ProductError: The file cannot be read or written.
        """
        path = Path(path)
        header = _header(fingerprint, parts)
        try:
            changed = _changes(path, header)
            if changed is None or changed:
                _begin(path, header)
                copy = segments_of(path)
                if copy is not None:
                    copy.renew()
            ledger = cls(path, changed or [])
            ledger._load()
        except OSError as error:
            raise ProductError(f"{path}: cannot be used as ledger: {error.strerror}") from error
        return ledger

    @staticmethod
    def changes(path: str | Path, fingerprint: str, parts: Mapping[str, str]) -> list[str] | None:
        """What :meth:`open` would begin anew for: the parts that differ, [] where it would go on.

        None where there is no ledger. Writes nothing.

        Raises:
            ProductError: The file cannot be read.
        """
        try:
            return _changes(Path(path), _header(fingerprint, parts))
        except OSError as error:
            raise ProductError(f"{path}: cannot be used as ledger: {error.strerror}") from error

    @property
    def done(self) -> set[Window]:
        """The blocks that need not be done again."""
        return set(self._at)

    def record(self, outcome: Done) -> None:
        """Note that a block is stored.

        Raises:
            ProductError: The file cannot be written, as when the disk is full.
        """
        b = outcome.block
        self._append({"block": [b.y0, b.x0, b.y1, b.x1], "report": outcome.report}, b)

    def forget(self, blocks: Iterable[Window]) -> None:
        """Note that blocks must be done again: what is stored of them is not what was written."""
        for b in blocks:
            if b in self._at:
                self._append({"block": [b.y0, b.x0, b.y1, b.x1], "report": None}, b)
                del self._at[b]
        self.sync()

    def reports(self) -> Iterator[Done]:
        """All finished blocks in reading order, with what they said; read from the file.

        A block says the same in the run that did it and in later ones, as both read this file.
        """
        with self.path.open("rb") as file:
            for block, at in sorted(self._at.items()):
                file.seek(at)
                entry = _parse(file.readline())
                if entry is None:
                    raise ProductError(f"{self.path}: was damaged while in use")
                yield Done(block, entry["report"])

    def sync(self) -> None:
        """Make sure that a crash of the machine loses nothing that was recorded so far."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced, self._synced = 0, time.monotonic()
        if self._copy is not None:
            self._copy.push()

    def close(self) -> None:
        """Sync, and let go of the file."""
        if not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OSError as failed:
            if error is None:
                raise ProductError(f"{self.path}: cannot be written: {failed.strerror}") from failed

    def _append(self, entry: Mapping[str, Any], block: Window) -> None:
        line = _line(entry)
        try:
            self._file.write(line)
            self._file.flush()  # what the system has, outlives this process
            self._unsynced += 1
            late = time.monotonic() - self._synced > SYNC_SECONDS
            if late or self._unsynced >= SYNC_LINES:
                self.sync()
        except OSError as error:
            raise ProductError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._at[block] = self._end
        self._end += len(line)

    def _load(self) -> None:
        """Take over the blocks of whole lines; anything else is as if it was never written."""
        self._file.seek(0)
        line, at = b"\n", 0
        for line in self._file:
            entry = _parse(line)
            block = None if entry is None else _block(entry)
            if entry is not None and block is not None:
                if isinstance(entry.get("report"), dict):
                    self._at[block] = at
                else:
                    self._at.pop(block, None)
            at += len(line)
        if not line.endswith(b"\n"):  # torn: the next line must not be glued to it
            self._file.write(b"\n")
            at += 1
        self._end = at


def remove_ledger(path: Path) -> None:
    """Remove a ledger, and its copy first.

    Raises:
        ProductError: It cannot be removed.
    """
    copy = segments_of(path)
    if copy is not None:
        copy.remove()
    remove_file(path)


def _header(fingerprint: str, parts: Mapping[str, str]) -> dict[str, Any]:
    return {"geoseg": FORMAT, "fingerprint": fingerprint, "parts": dict(parts)}


def _line(entry: Mapping[str, Any]) -> bytes:
    """``entry`` as JSON whose last member is the checksum of all before it."""
    body = json.dumps(entry, separators=(",", ":"), default=_plain).encode()[:-1]
    return body + _CRC + b'%08x"}\n' % crc32(body)


def _plain(value: Any) -> Any:
    """Numbers of numpy, as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a report holds a {type(value).__name__}, which JSON cannot")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The entry of a whole and undamaged line, or None."""
    body, mark, rest = line.rpartition(_CRC)
    if not mark or rest != b'%08x"}\n' % crc32(body):
        return None
    with suppress(ValueError):  # only for lines that were forged, not damaged
        entry = json.loads(body + b"}")
        return entry if isinstance(entry, dict) else None
    return None


def _block(entry: Mapping[str, Any]) -> Window | None:
    numbers = entry.get("block")
    if not isinstance(numbers, list) or [type(n) for n in numbers] != [int] * 4:
        return None
    return Window(*numbers)


def _changes(path: Path, header: Mapping[str, Any]) -> list[str] | None:
    """Which parts differ from the ledger at ``path``; None where there is none."""
    try:
        with path.open("rb") as file:
            old = _parse(file.readline())
    except FileNotFoundError:
        return None
    if old is None or old.get("geoseg") != FORMAT:
        return ["ledger"]
    if old.get("fingerprint") == header["fingerprint"]:
        return []
    before, now = old.get("parts") or {}, header["parts"]
    changed = sorted(p for p in before.keys() | now.keys() if before.get(p) != now.get(p))
    return changed or ["fingerprint"]


def _begin(path: Path, header: Mapping[str, Any]) -> None:
    """A new ledger in the place of any old one, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            file.write(_line(header))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
