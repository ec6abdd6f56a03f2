"""Small folders of files that are made again and again: made once by their library, then written."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

MOST = 64
"""Folders that are kept, each of some kilobytes."""

_KEPT: OrderedDict[Hashable, dict[str, bytes]] = OrderedDict()
_LOCK = Lock()


def write_folder(
    path: Path, key: Hashable, make: Callable[[Path], None], instead: dict[str, bytes] | None = None
) -> None:
    """Write what ``make`` leaves in a folder, to the new folder ``path``.

    Args:
        path: Is made.
        key: Stands for what is made: of the same key only the first is.
        make: Makes a folder, whose path it is given.
        instead: Content of files that differ all the same, by their place in the folder.
    """
    with _LOCK:
        files = _KEPT.get(key)
        if files is not None:
            _KEPT.move_to_end(key)
    if files is None:
        with tempfile.TemporaryDirectory(prefix="geoseg-") as room:
            made = Path(room, path.name)
            make(made)
            found = sorted(file for file in made.rglob("*") if file.is_file())
            files = {file.relative_to(made).as_posix(): file.read_bytes() for file in found}
        with _LOCK:
            _KEPT[key] = files
            while len(_KEPT) > MOST:
                _KEPT.popitem(last=False)
    for name, content in (files | (instead or {})).items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
