"""The folder of an output, held by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.io import staging
from geoseg.io.staging import begin, remove_folder, store_place, upload
from geoseg.run.ledger_segments import fetch_state
from geoseg.run.lock import hold
from geoseg.run.store_lock import confirm_held, hold_output

STATE = staging.STATE
"""Folder inside an output that holds what a run needs to go on, and its last word."""


@contextmanager
def held(directory: Path, *, above: bool = False) -> Iterator[None]:
    """Hold an output folder; where nothing was written to it, leave nothing behind.

    Where it stands for a place in a store, that is held. Its state is brought here, and the folder
    goes in the end: all that is to stay is in the store then. Not where it is only ``above`` the
    outputs of a run, and others may have theirs there.

    Raises:
        LockedError: Another run holds it.
    """
    place = store_place(directory)
    if place is not None:
        with hold_output(place):
            if above:
                yield
                return
            begin(directory, place)
            fetch_state(directory / STATE)
            try:
                yield
            finally:
                remove_folder(directory)
        return
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        with hold(directory / STATE):
            yield
    finally:
        for folder in (directory / STATE, *made):
            with suppress(OSError):
                folder.rmdir()  # only goes where it is empty


@contextmanager
def held_products(folder: Path) -> Iterator[None]:
    """Hold a folder that products are made in from those of scenes, like changes between two.

    What was made for a place in a store is brought there in the end; if making it fails, nothing.

    Raises:
        LockedError: Another run holds it.
        ProductError: The store does not take them; what it has is not finished.
    """
    place = store_place(folder)
    if place is None:
        with hold(folder):
            yield
        return
    with hold_output(place):
        begin(folder, place)
        try:
            yield
            upload(folder, place, confirm=lambda: confirm_held(place))
        finally:
            remove_folder(folder)
