"""Workflows on pages: whole ones, and pieces put where they belong in one that is whole."""

import json
import shutil
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from conftest import ROOT
from doc_blocks import Block
from ruamel.yaml import YAML

SCENES = {"kind": "files", "path": "scenes/*.tif", "units": "reflectance"}
RUN = {
    "geoseg": 1, "name": "mine", "input": SCENES, "model": "landcover-s2",
    "output": {"directory": "out/{scene}"},
}  # fmt: skip
TRAINING = {
    "geoseg": 1, "name": "mine", "model": {"start": "landcover-s2"},
    "data": [{"name": "a", "input": SCENES, "labels": {"path": "labels/{stem}.tif"}}],
}  # fmt: skip


def written(block: Block, folder: Path) -> Path:
    """The block as a file that may be loaded."""
    path, text = folder / "workflow.yaml", dedent(block.text)
    value: dict[str, Any] = YAML(typ="safe").load(text)
    assert isinstance(value, dict)
    if "extends" in value:
        for beside in (ROOT / "workflows").glob("*.yaml"):
            shutil.copy(beside, folder)
    path.write_text(text if "geoseg" in value else json.dumps(_whole(value, block.value_of("in"))))
    return path


def trains(path: Path) -> bool:
    """Whether a workflow is one for ``geoseg train``."""
    return "data" in YAML(typ="safe").load(path.read_text())


def _whole(value: dict[str, Any], place: str | None) -> dict[str, Any]:
    """A workflow with a piece in it."""
    if place:
        whole: Any = json.loads(json.dumps(TRAINING))
        inner = whole
        for key in place.split("."):
            inner = inner[int(key) if key.isdecimal() else key]
        inner.update(value)
        return whole
    base = RUN if set(value) <= _keys_of_a_run() else TRAINING
    return {
        key: {**base[key], **value[key]}
        if isinstance(base.get(key), dict) and isinstance(value.get(key), dict)
        else value.get(key, base.get(key))
        for key in {**base, **value}
    }


@cache
def _keys_of_a_run() -> set[str]:
    return set(json.loads((ROOT / "geoseg.schema.json").read_text("utf-8"))["properties"])
