"""One run per output folder: a lock that the system takes back however its holder ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from geoseg.errors import LockedError, ProductError

NAME = ".geoseg.lock"
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Hold ``folder`` (made if missing) for this run.

    The lock is an flock on a small file that says who holds it; it is free again as soon as the
    holder's process has ended, even by ``kill -9``.

    Raises:
        LockedError: Another run holds it: says which.
        ProductError: The folder cannot be written to, or its file system cannot lock.
    """
    path = Path(folder) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _acquire(path)
    except OSError as error:
        raise ProductError(f"{path}: cannot be locked: {error.strerror}") from error
    with file:
        try:
            yield
        finally:
            # While it is held: after the release it may be another run's.
            with suppress(OSError):
                path.unlink()


def _acquire(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                _sign(file)
                return file
        except OSError as error:
            with file:
                if error.errno in _BUSY:
                    raise LockedError(f"{path.parent}: {_holder(file)}") from None
                raise
        except BaseException:
            file.close()
            raise
        file.close()  # its holder ended, and removed it, between our two calls


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether what was locked is still what others will find at ``path``."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _sign(file: IO[str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.truncate(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": now}, file)
    file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    held: dict[str, Any] = {}
    with suppress(ValueError):
        read = json.load(file)
        held = read if isinstance(read, dict) else {}
    if not held:
        return "another run holds this output; wait until it ends, or choose another folder"
    return (
        f"process {held.get('pid')} on {held.get('host')} holds this output since "
        f"{held.get('since')}; wait until it ends, or choose another folder"
    )
