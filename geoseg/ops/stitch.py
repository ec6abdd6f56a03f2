"""From what overlapping chips say to what a block says: crop to owners, or blend by weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.tiling import By, Chip

Seams = Literal["crop", "blend"]
Weights = Literal["mean", "hann", "gaussian"]

NEEDS: Final[dict[Seams, By]] = {"crop": "owns", "blend": "sees"}
"""Which chips a block needs: those that own a pixel of it, or all that see one."""


def paste_owned(out: NDArray[Any], chip: Chip, block: Window, values: NDArray[Any]) -> None:
    """Write the part of ``values`` (what the chip sees) that the chip owns into ``out`` (block).

    Both are ``(..., y, x)``. Chips have disjoint owned windows, so the order does not matter.
    """
    part = chip.owns & block
    target, source = part.within(block).slices, part.within(chip.sees).slices
    out[..., target[0], target[1]] = values[..., source[0], source[1]]


class Crop:
    """What the owner of each pixel says of it; chips may be added in any order."""

    def __init__(self, block: Window, classes: int) -> None:
        self.block = block
        self._scores = np.zeros((classes, *block.shape), np.float32)

    def add(self, chip: Chip, scores: NDArray[np.float32]) -> None:
        """Add the scores ``(class, y, x)`` of a chip."""
        paste_owned(self._scores, chip, self.block, scores)

    def scores(self) -> NDArray[np.float32]:
        """Scores ``(class, y, x)``; 0 where no chip was added."""
        return self._scores


class Blend:
    """The weighted mean of all chips that see a pixel.

    Weights are products of one taper per axis, positive everywhere, and divided by their sum: a
    partition of unity, so a constant stays exactly what it was up to rounding. Chips must be
    added in reading order for results that do not depend on blocks.
    """

    def __init__(self, block: Window, classes: int, weights: Weights) -> None:
        self.block = block
        self._taper = TAPERS[weights]
        self._total = np.zeros((classes, *block.shape), np.float32)
        self._weight = np.zeros(block.shape, np.float32)

    def add(self, chip: Chip, scores: NDArray[np.float32]) -> None:
        """Add the scores ``(class, y, x)`` of a chip."""
        part = chip.sees & self.block
        if not part:
            return
        target, source = part.within(self.block).slices, part.within(chip.sees).slices
        height, width = scores.shape[-2:]
        w = np.outer(self._taper(height)[source[0]], self._taper(width)[source[1]])
        self._total[:, target[0], target[1]] += w * scores[:, source[0], source[1]]
        self._weight[target] += w

    def scores(self) -> NDArray[np.float32]:
        """Mean scores ``(class, y, x)``; 0 where no chip was added."""
        mean = np.zeros_like(self._total)
        np.divide(self._total, self._weight, out=mean, where=self._weight > 0)
        return mean


def _mean(size: int) -> NDArray[np.float32]:
    return np.ones(size, np.float32)


def _hann(size: int) -> NDArray[np.float32]:
    # Sampled at pixel centres, so that it is positive at the rim too.
    at = np.pi * (np.arange(size) + 0.5) / size
    return np.asarray(np.sin(at) ** 2, np.float32)


def _gaussian(size: int) -> NDArray[np.float32]:
    # Sigma of an eighth of the chip: MONAI's and nnU-Net's default.
    distance = (np.arange(size) + 0.5 - size / 2) / (size / 8)
    return np.asarray(np.exp(-0.5 * distance**2), np.float32)


TAPERS: Final[dict[Weights, Callable[[int], NDArray[np.float32]]]] = {
    "mean": _mean,
    "hann": _hann,
    "gaussian": _gaussian,
}


def seam_steps(
    classes: NDArray[np.uint8], valid: NDArray[np.bool_], block: Window, stride: int
) -> tuple[int, int, int, int]:
    """Class changes between neighbouring valid pixels, at chip borders and elsewhere.

    Returns ``(changes at borders, pairs at borders, changes elsewhere, pairs elsewhere)``.
    Chip borders are the multiples of ``stride`` in scene coordinates. The seam index of a run is
    the rate at chip borders over the rate elsewhere; 1 means that seams cannot be told apart.
    """
    steps = [0, 0, 0, 0]
    for axis, start in ((0, block.y0), (1, block.x0)):
        a, b = _neighbours(classes, axis)
        va, vb = _neighbours(valid, axis)
        both = va & vb
        change = (a != b) & both
        other = 1 - axis
        changes, pairs = change.sum(axis=other), both.sum(axis=other)
        border = (np.arange(start + 1, start + 1 + len(changes)) % stride) == 0
        steps[0] += int(changes[border].sum())
        steps[1] += int(pairs[border].sum())
        steps[2] += int(changes[~border].sum())
        steps[3] += int(pairs[~border].sum())
    return steps[0], steps[1], steps[2], steps[3]


def _neighbours(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if axis == 0:
        return values[:-1], values[1:]
    return values[:, :-1], values[:, 1:]
