"""Refuse outputs that cannot be written, before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.errors import InputError


def check_folder(folder: Path, *, what: str) -> None:
    """Refuse a folder that is a file, lies below one, or that this user may not write to.

    ``what`` says who asks for it.

    Raises:
        InputError: Nothing can be written there.
    """
    for place in (folder, *folder.absolute().parents):
        if not os.path.lexists(place):
            continue
        if not place.is_dir():
            below = "" if place == folder else f", so {folder} cannot be made"
            raise InputError(f"{what}: {place} is not a folder{below}; choose another")
        if not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"{what}: {place} cannot be written to; choose another folder")
        return
