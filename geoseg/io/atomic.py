"""Files that appear whole or not at all: written beside their place, synced, then renamed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from zlib import crc32

from geoseg.errors import ProductError
from geoseg.io.bucket import BucketPath, Place, as_place

_SUFFIX = ".part"
_DATABASES = frozenset({".gpkg", ".sqlite", ".mbtiles"})
_LONGEST_STEM = 60  # keeps the temporary name within the 255 bytes of common file systems

_GUARDS: list[tuple[Path, Callable[[], None]]] = []
"""Asked before something takes its place in a folder; see :func:`guarded`."""


@contextmanager
def replacing(path: str | Place) -> Iterator[Path]:
    """Yield where to write; what lies there afterwards takes the place of ``path``.

    The place is in a dot-named folder beside ``path`` and has the same file name, so that whatever
    a library puts next to it (journals, overviews, sidecars) vanishes with the folder. Works for
    files and for whole directories. If the body raises, ``path`` stays as it was. What goes to a
    store is made in a temporary folder; its objects need no renaming.

    Raises:
        ProductError: The folder cannot be written to, or the body left nothing behind.
    """
    path = as_place(path)
    if isinstance(path, BucketPath):
        with _sending(path) as made:
            yield made
        return
    with room_in(path.parent, path.name) as room:
        try:
            made = room / path.name
            yield made
            if not made.exists():
                raise ProductError(f"{path}: nothing was written")
            _sync_tree(made)
            for check in [check for folder, check in _GUARDS if folder == path.parent]:
                check()
            _swap(made, path, room / "replaced")
            _sync(path.parent)
        except OSError as error:
            raise ProductError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def guarded(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before anything takes its place in ``folder`` itself; it raises to forbid it.

    For all threads of this process.
    """
    guard = (folder, check)
    _GUARDS.append(guard)
    try:
        yield
    finally:
        _GUARDS.remove(guard)


@contextmanager
def room_in(folder: Path, stem: str) -> Iterator[Path]:
    """A folder with a hidden name in ``folder``, for work on something called ``stem``.

    It goes away in the end; where its process is killed, :func:`remove_abandoned` finds it.

    Raises:
        ProductError: ``folder`` cannot be written to.
    """
    try:
        make_folder(folder)
        room = tempfile.mkdtemp(dir=folder, prefix=f".{stem[:_LONGEST_STEM]}.", suffix=_SUFFIX)
        held = os.open(room, os.O_RDONLY)
    except OSError as error:
        raise ProductError(f"{folder / stem}: cannot write here: {error.strerror}") from error
    try:
        with suppress(OSError):  # without locks nobody can tell that it is abandoned, either
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(room)
    finally:
        os.close(held)
        shutil.rmtree(room, ignore_errors=True)


def remove_abandoned(folder: Path, stem: str) -> None:
    """Remove what killed processes left of their work on ``stem``; others may be at work there."""
    for room in folder.glob(f".{escape(stem[:_LONGEST_STEM])}.*{_SUFFIX}"):
        with suppress(OSError):
            held = os.open(room, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free as soon as its holder ended
                shutil.rmtree(room, ignore_errors=True)
            finally:
                os.close(held)


def write_bytes(path: str | Place, data: bytes) -> None:
    """Write a whole file at once, atomically."""
    with replacing(path) as made:
        made.write_bytes(data)


def replace_unsynced(path: Place, data: bytes) -> None:
    """Write a whole file at once; a killed process leaves the old or the new one, a power cut any.

    Raises:
        ProductError: It cannot be written.
    """
    if isinstance(path, BucketPath):
        path.write_bytes(data)
        return
    # Not by process and thread: in containers that share a folder all have the same numbers.
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_SUFFIX}")
    try:
        made.write_bytes(data)
        made.replace(path)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise ProductError(f"{path}: cannot be written: {error.strerror or error}") from error


def checksum(path: Place) -> int:
    """CRC-32 of a file.

    Raises:
        OSError: It cannot be read.
    """
    return described(path)["crc"]


def described(path: Place) -> dict[str, int]:
    """What a block's report says of the file that it left: ``bytes`` and ``crc``."""
    found, size = 0, 0
    with path.open("rb") as file:
        while part := file.read(2**20):
            found, size = crc32(part, found), size + len(part)
    return {"bytes": size, "crc": found}


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power cut does not take it back.

    Raises:
        OSError: It cannot be made.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in made:
        _sync(place.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, so that a power cut does not bring it back.

    Raises:
        ProductError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync(path.parent)
    except OSError as error:
        raise ProductError(f"{path}: cannot be removed: {error.strerror or error}") from error


def detach(folder: Place) -> None:
    """Remove a folder that others may write to: first it loses its name, in one step.

    What cannot be removed now is found by :func:`remove_leftovers`. In a store nothing can be
    renamed: what others write there meanwhile stays until the next run removes it.
    """
    if isinstance(folder, BucketPath):
        folder.remove_below()
        return
    aside = folder.with_name(f".{folder.name}.{os.getpid()}{_SUFFIX}")
    with suppress(OSError):
        folder.replace(aside)
    shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Delete what killed writers left in ``folder`` itself; only while nobody else writes there.

    Folders below are not looked into: an output may be a large folder with much that is not ours.
    """
    found = sorted(Path(folder).glob(f".*{_SUFFIX}"))
    for leftover in found:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return found


@contextmanager
def _sending(place: BucketPath) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="geoseg-") as room:
        made = Path(room, place.name)
        yield made
        try:
            data = made.read_bytes()
        except FileNotFoundError:
            raise ProductError(f"{place}: nothing was written") from None
        place.write_bytes(data)


def _swap(made: Path, path: Path, aside: Path) -> None:
    if path.suffix.lower() in _DATABASES:
        # Somebody (QGIS) may have the old one open. SQLite would play what it left beside its old
        # database into ours, which damages it; whoever has it open keeps what it has.
        for left in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + left).unlink(missing_ok=True)
    # A folder cannot be renamed onto one that has something in it, nor a file onto a folder.
    if path.is_dir() and not path.is_symlink():
        os.replace(path, aside)  # noqa: PTH105 - pairs with the call below
    os.replace(made, path)  # noqa: PTH105 - Path.replace returns a path nobody needs


def _sync_tree(path: Path) -> None:
    for inner in sorted(path.rglob("*")) if path.is_dir() else ():
        _sync(inner)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
