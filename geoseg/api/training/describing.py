"""What a training worked on, for its card, its split file and its report."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.api.labels import LabelFile, content_hash
from geoseg.api.training.preparing import Prepared
from geoseg.io.label_layers import ALL_OTHERS
from geoseg.io.label_vectors import SUFFIXES
from geoseg.ops.ground import CELL, GAP, PARTS


def describe_data(made: Prepared) -> list[dict[str, Any]]:
    """The sets, what each was for (``auto``: as the split says), and their licences."""
    found = []
    for number, data in enumerate(made.workflow.data):
        mine = [i for i, s in enumerate(made.scenes) if s.of == number]
        about: dict[str, Any] = {"name": data.name, "use": data.use, "scenes": len(mine)}
        about["labelled_pixels"] = int(sum(int(made.counted.counts[i].sum()) for i in mine))
        for key in ("license", "attribution"):
            if getattr(data, key) is not None:
                about[key] = getattr(data, key)
        found.append(about)
    return found


def label_hash(made: Prepared) -> str:
    """The content hash of all labels that were used: see :func:`geoseg.api.labels.content_hash`.

    Raises:
        InputError: A file cannot be read.
    """
    files: dict[str, LabelFile] = {}
    for scene in made.scenes:
        for path, spec in scene.labels.parts:
            one = set(spec.classes) == {ALL_OTHERS} and spec.column is None
            name = spec.classes[ALL_OTHERS] if one and path.suffix.lower() in SUFFIXES else None
            file = LabelFile(path, spec.band, spec.layer, spec.column, name, spec.where)
            files.setdefault(repr(file), file)
    return content_hash(files.values())


def describe_split(made: Prepared) -> dict[str, Any]:
    """Which ground is for what: a summary, and every scene."""
    asked, ground, names = made.workflow.split, made.ground, made.target.legend.names
    summary = {
        "by": {d.name: way for d, way in zip(made.workflow.data, ground.by, strict=True)},
        "seed": asked.seed,
        "validation": asked.validation,
        "test": asked.test,
        "pixels": {
            part: {n: int(p) for n, p in zip(names, ground.totals[i], strict=True)}
            for i, part in enumerate(PARTS)
        },
    }
    return {"summary": summary, "scenes": [_scene(made, i) for i in range(len(made.scenes))]}


def _scene(made: Prepared, number: int) -> dict[str, Any]:
    one, parts = made.scenes[number], made.ground.parts[number]
    about: dict[str, Any] = {
        "set": made.workflow.data[one.of].name,
        "scene": one.scene.id,
        "group": made.ground.groups[number],
    }
    kinds = np.unique(parts)
    if len(kinds) == 1:
        return about | {"part": PARTS[int(kinds[0])]}
    about |= {"block": made.ground.block[number], "gap": made.ground.gap[number], "cell": CELL}
    # One letter a cell: small, exact, and a picture of the split for whoever opens the file.
    letters = np.array(["t", "V", "T", "."])
    rows = ["".join(letters[row]) for row in parts]
    legend = {"t": "train", "V": "validation", "T": "test", ".": "gap"}
    return about | {"legend": legend, "cells": rows, "gap_cells": int((parts == GAP).sum())}
