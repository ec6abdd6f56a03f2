"""Refuse outputs that cannot be written, before anything is computed."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from geoseg.errors import InputError, ProductError
from geoseg.io.bucket import Place, as_place
from geoseg.io.staging import STATE, address, store_place
from geoseg.workflow.template import safe_name

_LONGEST = 200
_answered: set[str] = set()
"""Buckets that have let us list: asked once for all scenes of a run."""


def check_folder(folder: Path, *, what: str) -> None:
    """Refuse a folder that is a file, lies below one, or that this user may not write to.

    ``what`` says who asks for it. Of one that stands for a place in a store, the store is asked.

    Raises:
        InputError: Nothing can be written there.
    """
    away = store_place(folder)
    if away is not None:
        check_place(away, what=what)
        return
    for place in (folder, *folder.absolute().parents):
        try:
            os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # a name that is too long, a link to itself
            told = str(folder) if len(str(folder)) < _LONGEST else f"{str(folder)[:_LONGEST]}..."
            raise InputError(f"{what}: {told}: {error.strerror}; choose another") from error
        if not place.is_dir():
            below = "" if place == folder else f", so {folder} cannot be made"
            raise InputError(f"{what}: {place} is not a folder{below}; choose another")
        if not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"{what}: {place} cannot be written to; choose another folder")
        return


def check_place(place: Place, *, what: str) -> None:
    """Refuse what cannot be written to: a folder, or a place in a store.

    Raises:
        InputError: Nothing can be written there.
    """
    if isinstance(place, Path):
        check_folder(place, what=what)
        return
    if place.bucket in _answered:
        return
    try:
        place.check()
    except (InputError, ProductError) as error:
        raise InputError(f"{what}: {error}") from error
    _answered.add(place.bucket)


def place_of_blocks(work: str | None, scene: str, directory: Path) -> Place | None:
    """Where the blocks of a scene are kept for all workers; None for the state of its output.

    Args:
        work: What the workflow says (``run.work``): a folder, or an ``s3://`` address.
        scene: Its id.
        directory: Its output.

    Raises:
        InputError: ``work`` is no address.
    """
    if work is None:
        place = store_place(directory)
        return None if place is None else place / STATE
    # Outputs of the same scenes by other workflows may share the folder.
    name = f"{safe_name(scene)}-{sha256(address(directory).encode()).hexdigest()[:12]}"
    above = as_place(work)
    return (above.absolute() if isinstance(above, Path) else above) / name
