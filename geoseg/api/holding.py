"""The folder of an output, held by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.run.lock import hold

STATE = ".geoseg"
"""Folder inside an output that holds what a run needs to go on, and its last word."""


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold an output folder; where nothing was written to it, leave nothing behind."""
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        with hold(directory / STATE):
            yield
    finally:
        for folder in (directory / STATE, *made):
            with suppress(OSError):
                folder.rmdir()  # only goes where it is empty
