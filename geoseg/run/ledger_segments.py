"""Ledgers of an output in a store: what was noted here goes there in numbered objects.

A ledger is a file on the client's machine, which only grows. Its copy is a row of objects, each
written only where none of that number is: of two clients that both believe that they go on with an
output, the second is told so with its next note. A new generation begins with the whole file.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.errors import LockedError
from geoseg.io.bucket import BucketPath, remove_all
from geoseg.io.staging import store_place

COPIES = "state"
KEPT = "kept"
MOST = 500
"""Segments of a generation; more of them would make going on slow."""

_NAME = re.compile(r"(\d{6})-(\d{6})")
_known: dict[Path, Segments] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class Segments:
    """The copy of one ledger.

    Attributes:
        path: The ledger.
        place: What the names of its segments begin with.
        generation, count, sent: Which it is, its segments, and the bytes of the file in them.
    """

    path: Path
    place: BucketPath
    generation: int = 0
    count: int = 0
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self) -> None:
        """Begin a generation with all that the file says.

        Raises:
            LockedError: Another run has begun it.
        """
        with self._lock:
            self._renew()

    def push(self) -> None:
        """Bring what the file says beyond what was brought.

        Raises:
            LockedError: Another run has gone on with this ledger.
        """
        with self._lock:
            with self.path.open("rb") as file:
                file.seek(self.sent)
                news = file.read()
            if not news:
                return
            if self.count == 0 or self.count >= MOST:
                self._renew()
                return
            self._write(news)

    def remove(self) -> None:
        """Remove the copy; first what it begins with, without which the rest says nothing."""
        with self._lock:
            names = [self._name(number) for number in range(self.count)]
            if names:
                names[0].unlink()
                remove_all(names[1:])
            self.count, self.sent = 0, 0

    def _renew(self) -> None:
        old = [self._name(number) for number in range(self.count)]
        self.generation, self.count, self.sent = self.generation + 1, 0, 0
        self._write(self.path.read_bytes())
        remove_all(old)

    def _write(self, data: bytes) -> None:
        if self._name(self.count).write_if(data) is None:
            raise LockedError(
                f"{self.place.parent.parent.parent}: another run has gone on with this output while "
                f"this one was cut off; what this one has done is kept as far as it was noted"
            )
        self.count += 1
        self.sent += len(data)

    def _name(self, number: int) -> BucketPath:
        return self.place / f"{self.generation:06d}-{number:06d}"


def segments_of(path: Path) -> Segments | None:
    """The copy of the ledger at ``path``; None where its output is a folder."""
    state = store_place(path.parent)
    if state is None:
        return None
    with _lock:
        return _known.setdefault(path, Segments(path, state / COPIES / path.name))


def fetch_state(folder: Path) -> None:
    """Bring the state of an output here: its ledgers, and what its map was begun with.

    One listing, of these alone. Only for who holds the output.

    Raises:
        ProductError: The store does not answer.
    """
    state = store_place(folder)
    assert state is not None, "only for outputs in a store"  # noqa: S101 (the caller knows)
    above = state / COPIES
    found: dict[str, list[BucketPath]] = defaultdict(list)
    for place, _ in above.below():
        found[place.parent.name].append(place)
    for kept in found.pop(KEPT, ()):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / kept.name).write_bytes(kept.read_bytes())
    for name, places in found.items():
        _fetch(folder / name, above / name, places)


def keep_state(folder: Path, names: Iterable[str]) -> None:
    """Bring files of a state to the store, where the output is there: what a map is begun with."""
    state = store_place(folder)
    for name in names if state is not None else ():
        (state / COPIES / KEPT / name).write_bytes((folder / name).read_bytes())  # type: ignore[operator]  # not None in here


def _fetch(path: Path, place: BucketPath, places: list[BucketPath]) -> None:
    """The newest generation that is whole from its begin; what belongs to no such goes."""
    numbers: dict[int, dict[int, BucketPath]] = defaultdict(dict)
    for one in places:
        match = _NAME.fullmatch(one.name)
        if match is not None:
            numbers[int(match[1])][int(match[2])] = one
    whole = [generation for generation, those in numbers.items() if 0 in those]
    segments = Segments(path, place, generation=max(numbers, default=0))
    used = []
    if whole:
        segments.generation = max(whole)
        those = numbers[segments.generation]
        while segments.count in those:
            used.append(those[segments.count])
            segments.count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for one in used:
                segments.sent += file.write(one.read_bytes())
    remove_all(sorted(set(places) - set(used)))
    with _lock:
        _known[path] = segments
