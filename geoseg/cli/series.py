"""What commands that take many maps have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geoseg.errors import InputError


def split_paths(paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """The maps and, last, the folder to write to.

    Raises:
        InputError: There is one path only, or the last one is a file.
    """
    *maps, out = paths
    if not maps:
        raise InputError(f"{out}: name maps, and then the folder to write to")
    if out.is_file():
        raise InputError(f"{out}: is a file; the last path is the folder to write to")
    return maps, out
