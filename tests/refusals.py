"""Requests that geoseg must refuse: made in a folder of their own, and watched from outside."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packages import BANDS
from rasters import write

import geoseg.cli

REFLECTANCE = {"bands": list(BANDS), "units": "reflectance", "scale": 0.0001}
NOISE = (
    "Traceback", "site-packages", "object at 0x", "<class", "Errno", "Error(", "Error:",
    "Exception", "frozenset(", "PosixPath", "None", "True", "False", "pydantic", "rasterio.",
    "Internal", "\\n", "b'",
)  # fmt: skip
"""What means nothing to an analyst."""


Make = Callable[["Desk"], list[str]]


@dataclass(frozen=True)
class Desk:
    """A folder with what an analyst brings; requests are made from there."""

    folder: Path
    model: Path

    def scene(self, name: str = "in/scene.tif", *, bands: int = 6, side: int = 64, **more) -> str:
        """A scene of stored reflectance times 10,000; gives its path relative to the folder."""
        rows, cols = np.indices((side, side))
        values = np.stack([(rows * (b + 2) + cols * 3) % 3000 + 200 for b in range(bands)])
        write(self.folder / name, values.astype(more.pop("dtype", "uint16")), **more)
        return name

    def write(self, name: str, content: str | bytes) -> str:
        """A file with ``content``."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def settings(self, **changes: Any) -> dict[str, Any]:
        """A workflow that works on ``in/scene.tif``, but for ``changes``."""
        data: dict[str, Any] = {
            "geoseg": 1,
            "name": "test",
            "input": {"kind": "files", "path": "in/scene.tif"} | REFLECTANCE,
            "model": {"path": str(self.model)},
            "output": {"directory": "out"},
            "cluster": {"workers": 1, "dashboard": False},
        }
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(data.get(key), dict)
            data[key] = data[key] | value if both else value
            if both:
                data[key] = {k: v for k, v in data[key].items() if v is not ...}
        return {k: v for k, v in data.items() if v is not ...}

    def workflow(self, **changes: Any) -> list[str]:
        """The request to run such a workflow; a change to ``...`` leaves a key out."""
        if not (self.folder / "in").exists():
            self.scene()
        self.write("test.yaml", json.dumps(self.settings(**changes)))
        return ["run", "test.yaml"]

    def stac(self, **changes: Any) -> list[str]:
        """The request to run on a STAC catalog."""
        source = {"kind": "stac", "catalog": "in/catalog.json"} | changes
        self.write("test.yaml", json.dumps(self.settings(input=...) | {"input": source}))
        return ["run", "test.yaml"]

    def text(self, text: str) -> list[str]:
        """The request to run a workflow that is written so."""
        return ["run", self.write("test.yaml", text)]


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder: hashes of files, and folders, the empty ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file() and not path.is_symlink()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


def check_words(told: str, said: tuple[str, ...], *, lines: int = 3) -> None:
    """One message that says what it should, in an analyst's words."""
    for part in said:
        assert part in told
    for noise in NOISE:
        assert noise not in told
    assert told.startswith("error: ")
    assert told.endswith("\n")
    assert len(told.splitlines()) <= lines


class Cases:
    """Requests to refuse, each with parts of the answer."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, *said: str) -> Callable[[Make], Make]:
        """Register a function that makes a request."""

        def register(make: Make) -> Make:
            name = make.__name__.strip("_").replace("_", "-")
            self.all.append(pytest.param(make, said, id=name))
            return make

        return register


def ask(request: list[str]) -> int:
    """Make a request in this process; gives its exit code."""
    return geoseg.cli.run([str(a) for a in request])


def check_refused(desk: Desk, request: list[str], said: tuple[str, ...], capfd: Any) -> None:
    """Make a request in this process: one error, exit code 2, and no file is changed."""
    before = contents(desk.folder)
    capfd.readouterr()
    code = ask(request)
    out, told = capfd.readouterr()
    check_words(told, said)
    assert code == 2
    assert not out
    assert contents(desk.folder) == before
