"""A state of many files that lies in a store: brought here as far as it is news, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from geoseg.errors import LockedError
from geoseg.io.bucket import BucketPath, Head, remove_all
from geoseg.io.staging import AT_ONCE, STATE, staging_root

_KNOWN = "known.json"
"""Beside the folder of a mirror: which objects its files were, when they were brought here."""


class _Seen(NamedTuple):
    """An object, and what its file looked like when both were the same."""

    etag: str
    size: int
    modified: int


class Mirror:
    """Files here that stand for all objects below a place; only for who holds that place.

    It stays when its run has ended, so that the next one on this machine fetches what others have
    written since. What is here counts for nothing where the store says otherwise.

    Args:
        place: In the store.
        head: The file that says which others count. Written on the condition that it is as it was
            read: of two runs that both believe that they hold the place, one is told so.
        vouching: What the names of files begin with that vouch for others: they go from the store
            before anything is written there, and come back last.
    """

    def __init__(self, place: BucketPath, *, head: str, vouching: str) -> None:
        self.place, self._head, self._vouching = place, head, vouching
        room = staging_root().parent / "mirrors" / place.bucket / place.key
        self.folder = room / "files" / place.name
        self._file = room / _KNOWN
        self._known: dict[str, _Seen] = {}

    def pull(self) -> None:
        """Make the folder what the store has.

        Raises:
            ProductError: The store does not answer.
        """
        start = len(f"{self.place.key}/")
        there = {place.key[start:]: head for place, head in self.place.heads()}
        there = {name: head for name, head in there.items() if not name.startswith(f"{STATE}/")}
        before = _read(self._file)
        for name in self._names() - there.keys():
            (self.folder / name).unlink()
        lacking = [
            name for name, head in there.items() if not self._is(name, head, before.get(name))
        ]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="geoseg-mirror") as pool:
            fetched = dict(zip(lacking, pool.map(self._fetch, lacking), strict=True))
        self._known = {name: fetched[name] if name in fetched else before[name] for name in there}
        self._note()

    def push(self, *, confirm: Callable[[], None]) -> None:
        """Make the store what the folder has.

        Killed anywhere in here, what the store has is as if the last updates were not all made.
        ``confirm`` raises where the place is not ours any more.

        Raises:
            LockedError: Somebody else has written there since :meth:`pull`.
            ProductError: The store does not answer.
        """
        names = self._names()
        news = {name for name in names if not self._same(name, self._known.get(name))}
        gone = self._known.keys() - names
        confirm()
        vouching = {name for name in news | gone if name.startswith(self._vouching)}
        self._remove(vouching & self._known.keys())
        self._send(news - vouching - {self._head}, confirm)
        if self._head in news:
            self._send_head()
        confirm()
        self._remove(gone - vouching)
        self._send(vouching & news, confirm)
        self._note()

    def _send(self, names: Iterable[str], confirm: Callable[[], None]) -> None:
        def send(name: str) -> tuple[str, _Seen]:
            confirm()
            data = (self.folder / name).read_bytes()
            etag = (self.place / name).put(data)
            return name, self._seen(name, etag)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="geoseg-mirror") as pool:
            self._known |= dict(pool.map(send, sorted(names)))

    def _send_head(self) -> None:
        name = self._head
        known = self._known.get(name)
        data = (self.folder / name).read_bytes()
        etag = (self.place / name).write_if(data, etag=None if known is None else known.etag)
        if etag is None:
            raise LockedError(f"{self.place}: another run has written it since this one read it")
        self._known[name] = self._seen(name, etag)

    def _remove(self, names: Iterable[str]) -> None:
        places = [self.place / name for name in sorted(names)]
        remove_all(places)
        for name in names:
            self._known.pop(name, None)

    def _fetch(self, name: str) -> _Seen:
        return self._seen(name, (self.place / name).fetch(self.folder / name).etag)

    def _names(self) -> set[str]:
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return {file.relative_to(self.folder).as_posix() for file in files}

    def _is(self, name: str, head: Head, seen: _Seen | None) -> bool:
        return seen is not None and seen.etag == head.etag and self._same(name, seen)

    def _same(self, name: str, seen: _Seen | None) -> bool:
        file = self.folder / name
        return seen is not None and file.is_file() and seen == self._seen(name, seen.etag)

    def _seen(self, name: str, etag: str) -> _Seen:
        stat = (self.folder / name).stat()
        return _Seen(etag, stat.st_size, stat.st_mtime_ns)

    def _note(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_name(f".{_KNOWN}.part")
        part.write_text(json.dumps(self._known), "utf-8")
        part.replace(self._file)


def _read(file: Path) -> Mapping[str, _Seen]:
    try:
        return {name: _Seen(*seen) for name, seen in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
