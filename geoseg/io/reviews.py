"""What people say of polygons: a table of reviews in their GeoPackage, of which no row is ever changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from geoseg.errors import InputError, LockedError, ProductError

REVIEWS: Final = "geoseg_reviews"
VERDICTS: Final = ("accepted", "rejected", "relabelled", "open")
"""``open`` takes back what was said before."""
LATEST: Final = (
    f"(SELECT layer, feature, verdict, class, note, reviewer, reviewed_at, "  # noqa: S608 (a constant)
    f"max(version) AS version FROM {REVIEWS} GROUP BY layer, feature)"
)
"""The last row of each polygon: beside max() SQLite gives the other columns of that row."""

_LONGEST = 2000  # characters of a note
_WAIT = 20.0  # seconds for others who write
_TRIES = 20
_TABLE = f"""
CREATE TABLE IF NOT EXISTS {REVIEWS} (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, layer TEXT NOT NULL, feature TEXT NOT NULL,
  version INTEGER NOT NULL, verdict TEXT NOT NULL, class TEXT, note TEXT, reviewer TEXT NOT NULL,
  reviewed_at DATETIME NOT NULL, CONSTRAINT one_after_another UNIQUE (layer, feature, version))
"""
_CONTENTS = (
    "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, "
    "last_change) VALUES (?, 'attributes', ?, 'Reviews of polygons; the last version counts', ?)"
)
_COLUMNS = "layer, feature, version, verdict, class, note, reviewer, reviewed_at"


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody said of a polygon.

    Attributes:
        layer: Of the GeoPackage.
        feature: Lasting name of the polygon.
        version: Counts what was said of this polygon, from 1.
        verdict: One of :data:`VERDICTS`.
        label: Class that it is of, where it was relabelled.
        note: In the reviewer's words.
        reviewer: Who.
        at: When (ISO, UTC).
    """

    layer: str
    feature: str
    version: int
    verdict: str
    label: str
    note: str
    reviewer: str
    at: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"verdict {self.verdict!r}: is one of {', '.join(VERDICTS)}")
        if self.verdict == "relabelled" and not self.label.strip():
            raise InputError("relabelled, but the class is missing")
        if not self.reviewer.strip():
            raise InputError("a review needs the name of who reviews")
        if len(self.note) > _LONGEST or max(len(self.label), len(self.reviewer)) > 200:
            raise InputError(f"a note has at most {_LONGEST} characters, a name 200")

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


class ConflictError(LockedError):
    """Somebody else has said something of the same polygon; ``current`` is what."""

    def __init__(self, current: Review) -> None:
        super().__init__(
            f"{current.reviewer} has {current.verdict} {current.feature} at {current.at}; "
            f"nothing was saved"
        )
        self.current = current


def has_reviews(connection: sqlite3.Connection) -> bool:
    """Whether anything was ever said in a GeoPackage."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (REVIEWS,))
    return found.fetchone() is not None


def history_of(connection: sqlite3.Connection, layer: str, feature: str) -> list[Review]:
    """All that was said of a polygon, the first first."""
    if not has_reviews(connection):
        return []
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {REVIEWS} WHERE layer = ? AND feature = ? ORDER BY version",  # noqa: S608 (constants)
        (layer, feature),
    )
    return [_review(row) for row in rows]


def latest_of(connection: sqlite3.Connection, layer: str) -> list[Review]:
    """The last that was said of each polygon of a layer, by the polygons' names."""
    if not has_reviews(connection):
        return []
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {LATEST} WHERE layer = ? ORDER BY feature",  # noqa: S608 (constants)
        (layer,),
    )
    return [_review(row) for row in rows]


def add_review(path: Path, review: Review) -> Review:
    """Write a review; its ``version`` must be the one after the last that its reviewer has seen.

    A file that is replaced by a new export in the meantime has the review, too.

    Raises:
        ConflictError: Somebody else was faster; nothing was written.
        ProductError: The file cannot be written to.
    """
    for _ in range(_TRIES):
        before = _identity(path)
        try:
            _insert(path, review)
        except ProductError:
            if _identity(path) == before:
                raise
            continue  # SQLite refuses to write to a file that has lost its name
        if _identity(path) == before:
            return review
        # An export has taken the file's place. It may have copied the row just written.
        with suppress(sqlite3.Error), closing(_opened(path)) as connection:
            if review in history_of(connection, review.layer, review.feature):
                return review
    raise ProductError(f"{path}: is being replaced again and again; the review was not saved")


def now() -> str:
    """This moment, as GeoPackages have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@contextmanager
def carrying(path: str | Path) -> Iterator[Callable[[Path], None]]:
    """Take the reviews of a GeoPackage over into the one that replaces it within.

    What is yielded copies them into the file that it is given. From then on nobody can add one to the old file: who tries waits,
    and finds the new one.
    """
    with _Carrier(Path(path)) as carrier:
        yield carrier.copy


class _Carrier:
    """Holds the old file until the new one is in its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def copy(self, made: Path) -> None:
        rows = self._rows()
        if not rows:
            return
        with closing(sqlite3.connect(made)) as new, new:
            _make_table(new, rows[-1][-1])
            new.executemany(f"INSERT INTO {REVIEWS} VALUES ({', '.join('?' * 9)})", rows)  # noqa: S608 (constants)

    def _rows(self) -> list[tuple[Any, ...]]:
        if not self._path.is_file():
            return []
        # What is no database, or damaged, has no reviews that could be saved.
        with suppress(sqlite3.Error):
            self._old = _opened(self._path)
            # Also where there are no reviews yet: the first one must not get lost, either.
            with suppress(sqlite3.OperationalError):  # a file that nobody may write to
                self._old.execute("BEGIN IMMEDIATE")
            if has_reviews(self._old):
                return self._old.execute(f"SELECT * FROM {REVIEWS} ORDER BY id").fetchall()  # noqa: S608 (a constant)
        return []

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            self._old.close()


def _insert(path: Path, review: Review) -> None:
    try:
        with closing(_opened(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            _make_table(connection, review.at)
            said = history_of(connection, review.layer, review.feature)
            if said and said[-1].version >= review.version:
                raise ConflictError(said[-1])
            connection.execute(
                f"INSERT INTO {REVIEWS} ({_COLUMNS}) VALUES ({', '.join('?' * 8)})",  # noqa: S608 (constants)
                (
                    review.layer,
                    review.feature,
                    len(said) + 1,
                    review.verdict,
                    review.label or None,
                    review.note or None,
                    review.reviewer,
                    review.at,
                ),
            )
            connection.execute(
                "UPDATE gpkg_contents SET last_change = ? WHERE table_name = ?",
                (review.at, REVIEWS),
            )
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ProductError(f"{path}: the review cannot be saved: {error}") from error


def _make_table(connection: sqlite3.Connection, at: str) -> None:
    connection.execute(_TABLE)
    connection.execute(_CONTENTS, (REVIEWS, REVIEWS, at))


def _opened(path: Path) -> sqlite3.Connection:
    address = f"{path.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ProductError(f"{path}: the review cannot be saved: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _review(row: tuple[Any, ...]) -> Review:
    layer, feature, version, verdict, label, note, reviewer, at = row
    return Review(layer, feature, version, verdict, label or "", note or "", reviewer, at)
