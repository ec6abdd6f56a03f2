"""Where training chips lie: drawn by class, by the number of the draw alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.ground import CELL, TEST, TRAIN, VALIDATION, seen_by

_HELD_OUT = (VALIDATION, TEST)
_TRIES = 8
"""How often a chip is shifted to keep off held-out ground before it is cut there."""


@dataclass(frozen=True, slots=True)
class LabelledScene:
    """What draws need to know of a scene.

    Attributes:
        shape: Rows and columns, in pixels.
        counts: ``(row, column, class)`` pixels by cell.
        parts: ``(row, column)`` what the cells are for.
        group: Number of the set that it is of.
    """

    shape: tuple[int, int]
    counts: NDArray[np.int32]
    parts: NDArray[np.uint8]
    group: int


@dataclass(frozen=True, slots=True)
class Place:
    """A drawn chip: the number of its scene, and its window, which may reach beyond the scene."""

    scene: int
    window: Window


class Draws:
    """Draws chips of ``size`` pixels around pixels of a class.

    The set is drawn by ``weights``, the class by its share of the set's training pixels to the
    power of ``1 - balance``, the pixel uniformly among those of the class.

    Args:
        scenes: Scenes with something to learn from.
        weights: ``(set,)`` how often a set is drawn.
        size: Side of a chip.
        balance: 0: classes as they occur; 1: all alike.
        seed: Of all draws.
    """

    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        weights: Sequence[float],
        *,
        size: int,
        balance: float,
        seed: int,
    ) -> None:
        self._scenes, self._size, self._seed = tuple(scenes), size, seed
        where = [np.argwhere((s.parts == TRAIN) & (s.counts.sum(axis=2) > 0)) for s in scenes]
        self._cells = np.concatenate(
            [np.column_stack([np.full(len(w), i), w]) for i, w in enumerate(where)]
        )
        counts = np.concatenate(
            [s.counts[tuple(w.T)] for s, w in zip(scenes, where, strict=True)]
        ).astype(np.int64)
        sets = np.array([s.group for s in scenes])[self._cells[:, 0]]
        # For each set and class: the cells that have it, and how many pixels up to each.
        self._choices: list[tuple[int, NDArray[np.intp], NDArray[np.int64]]] = []
        chances: list[float] = []
        for number, weight in enumerate(weights):
            mine = np.flatnonzero(sets == number)
            total = counts[mine].sum(axis=0).astype(np.float64)
            tempered = np.where(total > 0, np.maximum(total, 1) ** (1 - balance), 0)
            for index in np.flatnonzero(tempered):
                cells = mine[counts[mine, index] > 0]
                self._choices.append((int(index), cells, np.cumsum(counts[cells, index])))
                chances.append(weight * tempered[index] / tempered.sum())
        self._chances = np.cumsum(chances) / np.sum(chances) if chances else np.empty(0)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._choices

    def place(
        self, step: int, chip: int, cell: Callable[[int, Window], NDArray[np.uint8]]
    ) -> Place:
        """Where chip number ``chip`` of a step lies.

        ``cell`` gives the class indices of a window of a scene.
        """
        rng = np.random.default_rng((self._seed, step, chip))
        choice = int(np.searchsorted(self._chances, rng.random(), side="right"))
        index, cells, upto = self._choices[min(choice, len(self._choices) - 1)]
        number = int(rng.integers(upto[-1]))
        at = int(np.searchsorted(upto, number, side="right"))
        scene, row, col = (int(n) for n in self._cells[cells[at]])
        number -= int(upto[at - 1]) if at else 0
        height, width = self._scenes[scene].shape
        corner = Window(row * CELL, col * CELL, (row + 1) * CELL, (col + 1) * CELL)
        inner = corner & Window(0, 0, height, width)
        found = np.argwhere(cell(scene, inner) == index)
        y, x = (int(n) for n in found[number] + (inner.y0, inner.x0))
        return Place(scene, self._around(rng, scene, y, x))

    def _around(self, rng: np.random.Generator, scene: int, y: int, x: int) -> Window:
        """A window with the pixel in its middle half, off held-out ground if that can be."""
        best, least = None, 2.0
        for _ in range(_TRIES):
            window = self._shifted(rng, scene, y, x)
            # Window.__and__ in seen_by cuts what lies beyond the scene.
            lost = float(np.isin(seen_by(self._scenes[scene].parts, window), _HELD_OUT).mean())
            if lost < least:
                best, least = window, lost
            if not least:
                break
        if best is None:
            raise AssertionError("a chip without a place")
        return best

    def _shifted(self, rng: np.random.Generator, scene: int, y: int, x: int) -> Window:
        size = self._size
        corner = []
        for at, length in zip((y, x), self._scenes[scene].shape, strict=True):
            start = at - size // 4 - int(rng.integers(size - 2 * (size // 4)))
            low, high = min(0, length - size), max(0, length - size)
            # In a scene smaller than the chip any place that holds all of it will do.
            corner.append(min(max(start, low), high))
        return Window(corner[0], corner[1], corner[0] + size, corner[1] + size)
