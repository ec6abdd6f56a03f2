"""Which ground is for training, validation and test: whole groups, or squares of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from geoseg.api.training.counting import Counted
from geoseg.api.training.sets import LearningScene
from geoseg.errors import InputError
from geoseg.io.grids import pixel_sides, same_grid
from geoseg.io.overlaps import overlapping
from geoseg.ops.ground import (
    CELL,
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    Shares,
    cells_of,
    deal,
    squares,
    totals,
    with_gap,
)
from geoseg.workflow.training import TrainingWorkflow
from geoseg.workflow.units import Length

_FIXED = {"train": TRAIN, "validation": VALIDATION, "test": TEST}

MANY = 10
"""Groups in a set from which ``auto`` keeps them together instead of cutting scenes."""

_SQUARES = 16
"""How many squares ``auto`` cuts a small scene into, about."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitGround:
    """What each cell of each scene is for.

    Attributes:
        parts: Of each scene ``(row, column)``.
        totals: ``(part, class)`` labelled pixels.
        by: Of each set: ``groups``, ``blocks``, or ``given`` by the workflow.
        groups: Of each scene: the number of the group that it is in.
        block: Side of squares, in pixels, of each scene; 0 where it is not cut.
        gap: Around squares, in pixels, of each scene.
    """

    parts: tuple[NDArray[np.uint8], ...]
    totals: NDArray[np.int64]
    by: tuple[str, ...]
    groups: tuple[int, ...]
    block: tuple[int, ...]
    gap: tuple[int, ...]

    @property
    def train_only(self) -> bool:
        """Whether nothing is held out."""
        return not self.totals[1:].any()


def split(
    workflow: TrainingWorkflow, scenes: Sequence[LearningScene], counted: Counted
) -> SplitGround:
    """Deal ground out, the same for the same workflow and labels.

    Scenes that share ground, by the set's table or by where they lie, stay together; where scenes
    are cut, they are cut alike.

    Raises:
        InputError: Scenes that share ground are wanted on both sides, or cannot be cut alike.
    """
    groups = _grouped(workflow, scenes)
    by = _ways(workflow, scenes, groups)
    fixed = _fixed(workflow, scenes, groups)
    cut = [by[s.of] == "blocks" and groups[i] not in fixed for i, s in enumerate(scenes)]
    _check_alike(scenes, groups, cut)
    sides = [_sides(workflow, s, counted.counts, number, cut) for number, s in enumerate(scenes)]
    units, numbers = _units(scenes, groups, cut, [side for side, _ in sides])
    tallies = np.zeros((len(numbers), counted.counts[0].shape[2]), np.int64)
    for where, counts in zip(units, counted.counts, strict=True):
        np.add.at(tallies, where.ravel(), counts.reshape(-1, counts.shape[2]))
    given = {u: fixed[g] for (g, _), u in numbers.items() if g in fixed}
    asked = workflow.split
    dealt = deal(tallies, Shares(asked.validation, asked.test), asked.seed, fixed=given)
    parts = tuple(
        with_gap(dealt[where], gap // CELL if cut[i] else 0)
        for i, (where, (_, gap)) in enumerate(zip(units, sides, strict=True))
    )
    return SplitGround(
        parts,
        totals(counted.counts, parts),
        tuple(
            way if data.use == "auto" else "given"
            for way, data in zip(by, workflow.data, strict=True)
        ),
        tuple(groups),
        tuple(side if c else 0 for (side, _), c in zip(sides, cut, strict=True)),
        tuple(gap if c else 0 for (_, gap), c in zip(sides, cut, strict=True)),
    )


def _grouped(workflow: TrainingWorkflow, scenes: Sequence[LearningScene]) -> list[int]:
    """The number of each scene's group."""
    root = list(range(len(scenes)))

    def top(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    first: dict[tuple[str, str], int] = {}
    pairs = [(first.setdefault(s.group, i), i) for i, s in enumerate(scenes) if s.group is not None]
    # With overlaps allowed, whoever wrote the workflow has thought of them.
    if not workflow.split.allow_overlap:
        pairs += overlapping([s.scene for s in scenes])
    for one, other in pairs:
        low, high = sorted((top(one), top(other)))
        root[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(top(i), len(numbers)) for i in range(len(scenes))]


def _ways(
    workflow: TrainingWorkflow, scenes: Sequence[LearningScene], groups: Sequence[int]
) -> list[str]:
    """How each set is split."""
    asked = workflow.split.by
    found: list[str] = []
    for number in range(len(workflow.data)):
        mine = {groups[i] for i, s in enumerate(scenes) if s.of == number}
        found.append(asked if asked != "auto" else "groups" if len(mine) >= MANY else "blocks")
    # Sets that share ground must be split alike.
    for group in set(groups):
        sets = {s.of for i, s in enumerate(scenes) if groups[i] == group}
        if len({found[n] for n in sets}) > 1:
            for n in sets:
                found[n] = "groups"
    return found


def _fixed(
    workflow: TrainingWorkflow, scenes: Sequence[LearningScene], groups: Sequence[int]
) -> dict[int, int]:
    """The part of groups of which a set says it."""
    fixed: dict[int, tuple[int, LearningScene]] = {}
    for i, scene in enumerate(scenes):
        use = workflow.data[scene.of].use
        if use == "auto":
            continue
        part, other = fixed.setdefault(groups[i], (_FIXED[use], scene))
        if part != _FIXED[use]:
            raise InputError(
                f"data: {scene.scene.id} of {workflow.data[scene.of].name} is for {use}, but "
                f"{other.scene.id} of {workflow.data[other.of].name}, which lies on the same "
                f"ground, is for {PARTS[part]}: scores would be too good; use other scenes, or "
                f"say split.allow_overlap: true"
            )
    return {group: part for group, (part, _) in fixed.items()}


def _check_alike(
    scenes: Sequence[LearningScene], groups: Sequence[int], cut: Sequence[bool]
) -> None:
    first: dict[int, LearningScene] = {}
    for i, scene in enumerate(scenes):
        one = first.setdefault(groups[i], scene)
        if cut[i] and not same_grid(one.scene.grid, scene.scene.grid):
            raise InputError(
                f"split.by: scenes {one.scene.id} and {scene.scene.id} share ground, but not their "
                f"pixels, so that they cannot be cut into the same squares; say split.by: groups"
            )


def _sides(
    workflow: TrainingWorkflow,
    scene: LearningScene,
    counts: Sequence[NDArray[np.int32]],
    number: int,
    cut: Sequence[bool],
) -> tuple[int, int]:
    """Side of squares and gap around them, in pixels: whole cells."""
    if not cut[number]:
        return 0, 0
    asked, chip = workflow.split, workflow.sampling.size
    given = "block" in asked.model_fields_set
    gap = _cells(asked.gap, scene, "split.gap") if asked.gap else ceil(chip / 2 / CELL)
    if given:
        return _cells(asked.block, scene, "split.block") * CELL, gap * CELL
    labelled = sum(int((c.sum(axis=2) > 0).sum()) for c, is_cut in zip(counts, cut, strict=True)
                   if is_cut)  # fmt: skip
    most = 8 if scene.scene.grid.crs is None else max(8, _cells(asked.block, scene, "split.block"))
    side = min(max(2, round(sqrt(labelled / _SQUARES))), most)
    # The gap must leave something of small scenes.
    return side * CELL, (gap if asked.gap else min(gap, max(1, side // 4))) * CELL


def _cells(length: Length, scene: LearningScene, key: str) -> int:
    grid = scene.scene.grid
    if length.unit != "px" and grid.crs is None:
        raise InputError(
            f"{key}: {length} cannot be found in {scene.scene.sources[0]}, which does not say "
            f"where it lies; say it in pixels, like '256 px', or split.by: groups"
        )
    size = 1.0 if grid.crs is None else max(pixel_sides(grid))
    return max(1, ceil(length.pixels(size) / CELL))


def _units(
    scenes: Sequence[LearningScene],
    groups: Sequence[int],
    cut: Sequence[bool],
    sides: Sequence[int],
) -> tuple[list[NDArray[np.int64]], dict[tuple[int, int], int]]:
    """The number of the unit that each cell is in; and the units, by group and square."""
    numbers: dict[tuple[int, int], int] = {}
    units = []
    for i, scene in enumerate(scenes):
        rows, cols = (int(n) for n in scene.scene.grid.shape)
        shape = cells_of((rows, cols))
        where = squares(shape, sides[i] // CELL) if cut[i] else np.zeros(shape, np.int64)
        names = np.unique(where)
        table = {int(n): numbers.setdefault((groups[i], int(n)), len(numbers)) for n in names}
        lookup = np.zeros(int(names.max()) + 1, np.int64)
        for name, unit in table.items():
            lookup[name] = unit
        units.append(lookup[where])
    return units, numbers
