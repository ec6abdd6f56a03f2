"""How far the runs below a folder are, read from what they wrote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from geoseg.api.holding import STATE
from geoseg.errors import InputError
from geoseg.run.gathering import NAME as RUNS
from geoseg.run.gathering import read_scenes
from geoseg.run.status import NAME, read_status

DEPTH = 3
"""Folders below the given one that are looked into: ``{scene}/{date}`` templates nest so far."""


def find_states(directory: Path) -> list[dict[str, Any]]:
    """The state of every output at or below ``directory``, by path.

    Raises:
        InputError: There is no folder, or no run has written below it.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: there is no such folder")
    folders = [path.parent for path in state_files(directory, NAME)]
    if not folders:
        raise InputError(f"{directory}: no run has written here or up to {DEPTH} folders below")
    return [{"output": str(f.parent), **asdict(read_status(f))} for f in sorted(folders)]


def find_runs(directory: Path) -> list[dict[str, Any]]:
    """The last runs of many scenes at or below ``directory``, by workflow; none where there are none.

    See :class:`geoseg.run.gathering.ScenesStatus` for what is said of each.
    """
    found = [read_scenes(path) for path in state_files(directory, RUNS.format("*"))]
    return [asdict(status) for status in sorted(found, key=lambda one: one.workflow)]


def state_files(directory: Path, name: str) -> list[Path]:
    """Files of that name in the state folders at or below ``directory``, up to ``DEPTH``."""
    return [
        path
        for depth in range(DEPTH + 1)
        for path in directory.glob("*/" * depth + f"{STATE}/{name}")
    ]
