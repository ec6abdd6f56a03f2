"""What a training would learn from: sets, classes and split, told before torch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.api.training.describing import describe_data, describe_split
from geoseg.api.training.preparing import Prepared, doubts, prepared, training_settings
from geoseg.ops.ground import PARTS
from geoseg.run.reporter import Reporter
from geoseg.workflow.training import TrainingWorkflow


@dataclass(frozen=True, slots=True)
class SetPlan:
    """One labelled set.

    Attributes:
        name: Of the set.
        scenes: How many there are.
        by: How it is split: ``groups``, ``blocks``, or ``given``.
        units: Groups of scenes that stay together.
        block, gap: Of scenes that are cut, in pixels; 0 where none is.
        parts: Scenes that are wholly for a part, by its name; ``cut`` are cut into squares.
    """

    name: str
    scenes: int
    by: str
    units: int
    block: int
    gap: int
    parts: dict[str, int]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training would do.

    Attributes:
        model: Name and version.
        bands: Of the model.
        units: Of its numbers.
        architecture: Of its network.
        start: What it is fine-tuned from.
        classes: Their names.
        pixels: Labelled pixels by part and class.
        sets: Labelled sets.
        unlabelled: Scenes without labels.
        chips: Chips that will be seen, and their side in pixels.
        folder: Where the model goes.
        warnings: What should be looked at.
        data: The sets with their licences.
        split: As in ``split.json``.
    """

    model: str
    bands: tuple[str, ...]
    units: str
    architecture: str
    start: str | None
    classes: tuple[str, ...]
    pixels: dict[str, dict[str, int]]
    sets: tuple[SetPlan, ...]
    unlabelled: int
    chips: tuple[int, int]
    folder: Path
    warnings: tuple[str, ...]
    data: tuple[dict[str, Any], ...]
    split: dict[str, Any]


def plan_training(workflow: TrainingWorkflow, reporter: Reporter) -> TrainingPlan:
    """See :func:`geoseg.api.plan_training`."""
    with prepared(workflow, reporter, only_look=True) as made:
        training_settings(made)
        target, asked = made.target, workflow.training
        division = describe_split(made)
        return TrainingPlan(
            model=f"{target.name} {target.version}",
            bands=target.bands,
            units=target.units,
            architecture=str(target.architecture["name"]),
            start=workflow.model.start,
            classes=target.legend.names,
            pixels=division["summary"]["pixels"],
            sets=tuple(_set(made, i) for i in range(len(workflow.data))),
            unlabelled=len(made.unlabelled),
            chips=(asked.steps * workflow.sampling.batch, workflow.sampling.size),
            folder=made.folder,
            warnings=tuple(doubts(made)),
            data=tuple(describe_data(made)),
            split=division,
        )


def _set(made: Prepared, number: int) -> SetPlan:
    mine = [i for i, s in enumerate(made.scenes) if s.of == number]
    parts: dict[str, int] = {}
    for i in mine:
        kinds = np.unique(made.ground.parts[i])
        name = PARTS[int(kinds[0])] if len(kinds) == 1 else "cut"
        parts[name] = parts.get(name, 0) + 1
    return SetPlan(
        made.workflow.data[number].name,
        len(mine),
        made.ground.by[number],
        len({made.ground.groups[i] for i in mine}),
        max(made.ground.block[i] for i in mine),
        max(made.ground.gap[i] for i in mine),
        parts,
    )
