"""Places in a store that speaks S3: whole objects, conditional writes, no folders."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, ProductError
from geoseg.io.bucket_client import answers, digest

_ADDRESS = re.compile(r"s3://([^/]*)/?(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_AT_ONCE = 1000
"""Objects that S3 removes in one request, and names in one listing."""
_READS = 3
"""How often an object is asked for that breaks off amid its bytes, which no client tries again."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of an object without sending it.

    ``age`` is how many seconds ago it was written, by the clock of the store alone.
    """

    etag: str
    size: int
    age: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class BucketPath:
    """One object, or all whose names begin with this one and a slash.

    Used where a :class:`pathlib.Path` is, as far as blocks and states need. An object appears whole
    or not at all, and what was answered is stored, so that nothing is renamed or synced here. All
    methods that ask the store raise :class:`ProductError` where it does not do what it was asked
    to, and ``FileNotFoundError`` where there is no such object.
    """

    bucket: str
    key: str = ""

    @classmethod
    def of(cls, address: str) -> BucketPath:
        """``s3://bucket/some/name`` as a place.

        Raises:
            InputError: It is no such address.
        """
        match = _ADDRESS.fullmatch(address)
        parts = [] if match is None else match[2].rstrip("/").split("/")
        if match is None or not _BUCKET.fullmatch(match[1]):
            raise InputError(
                f"{address}: not an address like s3://bucket/folder, whose bucket has 3 to 63 small "
                f"letters, digits, dots and hyphens; keys belong in the environment"
            )
        if any(p in {"", ".", ".."} or not p.isprintable() for p in parts) and parts != [""]:
            raise InputError(
                f"{address}: has an empty part, or one of dots or of unprintable signs"
            )
        return cls(match[1], "/".join(parts))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        """What comes before it."""
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a store has no folders."""

    def read_bytes(self) -> bytes:
        """All of the object."""
        return self.read()[0]

    def read(self) -> tuple[bytes, Head]:
        """All of the object, and what the store says of it."""
        with answers(self, "read") as store:
            found = store.get_object(Bucket=self.bucket, Key=self.key)
            data = found["Body"].read()
        return data, _head(found, len(data))

    def fetch(self, file: Path) -> Head:
        """All of the object into ``file``, which is there whole or not at all; never all in memory."""
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
        try:
            for tried in range(1, _READS + 1):
                try:
                    head = self._fetched(part)
                    break
                except ProductError:
                    if tried == _READS:
                        raise
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        return head

    def _fetched(self, part: Path) -> Head:
        with answers(self, "read") as store:
            found = store.get_object(Bucket=self.bucket, Key=self.key)
            with part.open("wb") as opened:
                for piece in found["Body"].iter_chunks(2**20):
                    opened.write(piece)
        return _head(found, part.stat().st_size)

    def open(self, mode: str = "rb") -> BytesIO:
        """As a file to read."""
        if mode != "rb":
            raise ValueError(f"objects are read whole, or written whole: not {mode!r}")
        return BytesIO(self.read_bytes())

    def head(self) -> Head | None:
        """What the store says of the object; None where there is none."""
        try:
            with answers(self, "asked for") as store:
                found = store.head_object(Bucket=self.bucket, Key=self.key)
        except FileNotFoundError:
            return None
        return _head(found, found["ContentLength"])

    def write_bytes(self, data: bytes) -> None:
        """Write the object, in the place of any that is there."""
        self.put(data)

    def put(self, data: bytes) -> str:
        """The same; returns what the store calls it."""
        with answers(self, "written") as store:
            done = store.put_object(
                Bucket=self.bucket, Key=self.key, Body=data, ContentMD5=digest(data)
            )
        return str(done["ETag"])

    def write_if(self, data: bytes, *, etag: str | None = None) -> str | None:
        """Write the object where none is there, or where that is the one called ``etag``.

        Returns:
            The new etag; None where somebody else has written. An answer that was lost on its way
            counts as what it was: ``data`` must be told from what others write.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            with answers(self, "written") as store:
                done = store.put_object(
                    Bucket=self.bucket, Key=self.key, Body=data, ContentMD5=digest(data),
                    **condition,
                )  # fmt: skip
            return str(done["ETag"])
        except FileExistsError:
            pass
        except FileNotFoundError:
            return None  # what was to be replaced is gone
        try:
            there, head = self.read()
        except FileNotFoundError:
            return None
        return head.etag if there == data else None

    def unlink(self, *, missing_ok: bool = True) -> None:  # noqa: ARG002 (a store does not tell)
        """Remove the object; that it was not there is no error."""
        with answers(self, "removed") as store:
            store.delete_object(Bucket=self.bucket, Key=self.key)

    def below(self) -> Iterator[tuple[BucketPath, int]]:
        """All objects below, in the order of their names, with their bytes.

        One request for each thousand: for the begin and the end of a run, not for its blocks.
        """
        for place, head in self.heads():
            yield place, head.size

    def heads(self) -> Iterator[tuple[BucketPath, Head]]:
        """The same, with what the store calls their content; how old they are is not told."""
        for page in self._pages():
            for one in page.get("Contents", ()):
                yield BucketPath(self.bucket, one["Key"]), Head(one["ETag"], int(one["Size"]))

    def folders(self) -> list[BucketPath]:
        """What would be the folders right below."""
        found = [
            one for page in self._pages(Delimiter="/") for one in page.get("CommonPrefixes", ())
        ]
        return [BucketPath(self.bucket, one["Prefix"].rstrip("/")) for one in found]

    def remove_below(self) -> None:
        """Remove all objects below."""
        remove_all([place for place, _ in self.below()])

    def abort_uploads(self) -> int:
        """Give up uploads in parts that were begun below and not ended; returns how many.

        Only for who knows that nobody else uploads there: their parts cost money, and show nowhere.
        """
        with answers(self, "asked for uploads") as store:
            found = store.list_multipart_uploads(Bucket=self.bucket, Prefix=self._prefix)
        uploads = found.get("Uploads", ())
        for one in uploads:
            place = BucketPath(self.bucket, one["Key"])
            with answers(place, "cleared of an upload") as store:
                store.abort_multipart_upload(
                    Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"]
                )
        return len(uploads)

    def check(self) -> None:
        """Ask for the first name below.

        Raises:
            InputError: No keys, no bucket, no access.
            ProductError: The store does not answer.
        """
        with answers(self, "listed") as store:
            store.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)

    @property
    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _pages(self, **options: str) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            with answers(self, "listed") as store:
                page = store.list_objects_v2(
                    Bucket=self.bucket, Prefix=self._prefix, MaxKeys=_AT_ONCE, **options, **token
                )
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


Place = Path | BucketPath
"""Where something is kept: a folder or file of a file system, or of a store."""


def as_place(where: str | Place) -> Place:
    """A path or an ``s3://`` address as a place.

    Raises:
        InputError: It begins like an address, and is none.
    """
    if isinstance(where, str) and where.startswith("s3://"):
        return BucketPath.of(where)
    return Path(where) if isinstance(where, str) else where


def folders(place: Place) -> list[Path] | list[BucketPath]:
    """The folders right in a place."""
    if isinstance(place, BucketPath):
        return place.folders()
    return sorted(one for one in place.glob("*") if one.is_dir())


def remove_all(places: Sequence[BucketPath]) -> None:
    """Remove objects of one bucket, a thousand with each request.

    Raises:
        ProductError: One of them cannot be removed.
    """
    for first in range(0, len(places), _AT_ONCE):
        some = places[first : first + _AT_ONCE]
        with answers(some[0], "removed") as store:
            wanted = {"Objects": [{"Key": place.key} for place in some], "Quiet": True}
            done = store.delete_objects(Bucket=some[0].bucket, Delete=wanted)
        for one in done.get("Errors", ()):
            raise ProductError(f"{some[0].bucket}/{one['Key']}: cannot be removed: {one['Code']}")


def _head(found: dict[str, Any], size: int) -> Head:
    headers = found["ResponseMetadata"]["HTTPHeaders"]
    return Head(str(found["ETag"]), int(size), _age(headers.get("date"), found["LastModified"]))


def _age(now: str | None, written: datetime) -> float:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 (seldom needed)

    try:
        # Each proxy between may have added its own: the server's comes first.
        told = parsedate_to_datetime((now or "").partition("GMT")[0] + "GMT")
        return (told - written).total_seconds()
    except (ValueError, TypeError):
        return 0.0  # nobody can tell: never taken for old
