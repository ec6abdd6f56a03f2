"""Which ground is learnt from and which is held out, in cells: small squares of a scene's pixels.

Everything that has to do with a split is a whole number of cells, so that what a cell holds is
counted once, and no pixel is ever on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

CELL = 32
"""Side of a cell, in pixels."""

TRAIN, VALIDATION, TEST, GAP = 0, 1, 2, 3
"""What a cell is for; the gap around held-out ground is for nothing."""

PARTS = ("train", "validation", "test")


def cells_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of cells that cover ``shape`` pixels."""
    return -(-shape[0] // CELL), -(-shape[1] // CELL)


def cell_window(window: Window) -> Window:
    """The cells that a window of pixels touches."""
    return Window(
        window.y0 // CELL, window.x0 // CELL, -(-window.y1 // CELL), -(-window.x1 // CELL)
    )


def count_cells(indices: NDArray[np.uint8], classes: int) -> NDArray[np.int32]:
    """Pixels of each class in each cell.

    Args:
        indices: ``(y, x)`` class indices, from the upper left corner of a cell; numbers from
            ``classes`` on are no classes.
        classes: How many there are.

    Returns:
        ``(row, column, class)`` counts.
    """
    rows, cols = cells_of(indices.shape)
    cell = np.arange(indices.shape[0])[:, None] // CELL * cols + np.arange(indices.shape[1]) // CELL
    known = indices < classes
    pairs = cell[known] * classes + indices[known]
    counts = np.bincount(pairs, minlength=rows * cols * classes)
    return counts.reshape(rows, cols, classes).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the labelled pixels that are held out; the rest is learnt from."""

    validation: float
    test: float

    @property
    def all(self) -> NDArray[np.float64]:
        """``(part,)`` of train, validation and test."""
        return np.array([1 - self.validation - self.test, self.validation, self.test])


def deal(
    counts: NDArray[np.int64], shares: Shares, seed: int, *, fixed: Mapping[int, int] | None = None
) -> NDArray[np.uint8]:
    """Give whole units (groups, squares) to parts so that each class is shared out as wished.

    Large units go first, each to the part that then is nearest to its share of every class
    (iterative stratification after Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10). Of
    equals chance decides. A class of few units is learnt before it is held out.

    Args:
        counts: ``(unit, class)`` pixels.
        shares: Of the parts.
        seed: Of chance.
        fixed: Units whose part is given.

    Returns:
        ``(unit,)`` parts.
    """
    rng = np.random.default_rng([seed, len(counts)])
    given = fixed or {}
    total = counts.sum(axis=0).astype(np.float64)
    weight = _ratio_or_0(1.0, total)
    wanted = shares.all[:, None] * (total * weight)
    have = np.zeros_like(wanted)
    parts = np.zeros(len(counts), np.uint8)
    for unit, part in given.items():
        parts[unit] = part
        have[part] += counts[unit] * weight
    order = rng.permutation(len(counts))
    # By halves of a power of two, so that chance has a say among those of about one size.
    size = np.ceil(2 * np.log2(np.maximum((counts * weight).sum(axis=1)[order], 1e-12)))
    open_ = shares.all > 0
    for unit in order[np.argsort(-size, kind="stable")]:
        if int(unit) in given:
            continue
        gain, lack = counts[unit] * weight, wanted - have
        better = (lack**2 - (lack - gain) ** 2).sum(axis=1)
        parts[unit] = int(np.argmax(np.where(open_, better, -np.inf)))
        have[parts[unit]] += gain
    _learn_all(parts, counts, given)
    return parts


def _ratio_or_0(part: float, whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``, 0 where ``whole`` is 0."""
    out = np.zeros_like(whole)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _learn_all(
    parts: NDArray[np.uint8], counts: NDArray[np.int64], given: Mapping[int, int]
) -> None:
    """Move the smallest unit that has it where a class would not be learnt at all."""
    for index in np.flatnonzero(counts.sum(axis=0)):
        has = np.flatnonzero(counts[:, index])
        free = [int(unit) for unit in has if int(unit) not in given]
        if free and not (parts[has] == TRAIN).any():
            parts[min(free, key=lambda unit: int(counts[unit].sum()))] = TRAIN


def squares(shape: tuple[int, int], side: int) -> NDArray[np.int64]:
    """Number of the square that each cell of ``shape`` cells lies in; ``side`` is in cells.

    Narrow rests at the far sides belong to the squares before them.
    """
    rows, cols = (
        np.minimum(np.arange(n) // side, max(0, (n + side // 2) // side - 1)) for n in shape
    )
    return rows[:, None] * (int(cols.max()) + 1) + cols[None, :]


def with_gap(parts: NDArray[np.uint8], gap: int) -> NDArray[np.uint8]:
    """``parts`` with a rim of ``gap`` cells around all that is held out, cut from what is learnt."""
    held = np.argwhere((parts == VALIDATION) | (parts == TEST))
    near = np.zeros(parts.shape, np.bool_)
    if not gap or not len(held):
        return parts
    padded = np.pad((parts == VALIDATION) | (parts == TEST), gap)
    rows, cols = parts.shape
    wide = np.zeros((rows, padded.shape[1]), np.bool_)
    for shift in range(2 * gap + 1):
        wide |= padded[shift : shift + rows]
    for shift in range(2 * gap + 1):
        near |= wide[:, shift : shift + cols]
    out = parts.copy()
    out[near & (parts == TRAIN)] = GAP
    return out


def seen_by(parts: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """The parts of all cells that a window of pixels touches, within the scene."""
    rows, cols = parts.shape
    touched = cell_window(window) & Window(0, 0, rows, cols)
    return parts[touched.slices]


def totals(
    counts: Sequence[NDArray[np.int32]], parts: Sequence[NDArray[np.uint8]]
) -> NDArray[np.int64]:
    """``(part, class)`` pixels of train, validation and test, over all scenes."""
    classes = counts[0].shape[2]
    out = np.zeros((len(PARTS), classes), np.int64)
    for scene, where in zip(counts, parts, strict=True):
        for part in range(len(PARTS)):
            out[part] += scene[where == part].sum(axis=0, dtype=np.int64)
    return out
