"""The chip lattice: which chips a model sees, and which pixels each one decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil
from typing import Literal

from geoseg.errors import PlanError
from geoseg.grid import Window

By = Literal["owns", "sees"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chip:
    """A model input (``sees``) and the pixels that it decides (``owns``).

    ``sees`` may end up to ``multiple - 1`` pixels beyond the scene at its lower and right rim:
    the scene is padded there to a multiple of the model's stride, exactly as it would be for a
    run of the model on the whole scene.
    """

    sees: Window
    owns: Window


@dataclass(frozen=True, slots=True)
class Lattice:
    """Chips of ``size`` pixels that overlap by twice ``margin``, anchored to the scene.

    Chip ``k`` owns ``[k*s, (k+1)*s)`` and sees ``clip(k*s - m, 0, n - size)`` onwards, with stride
    ``s = size - 2*m`` and ``n`` the scene's length padded to a multiple of ``multiple``. The
    lattice hangs on the scene, never on a block: the chip that decides a pixel is the same
    whichever block asks for it, so the map does not depend on block size or worker count. All
    starts are multiples of ``multiple``, so networks that downsample see every chip in phase.
    """

    size: int
    margin: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.margin < 0 or self.stride <= 0:
            raise PlanError(
                f"tiling: margin {self.margin} px leaves nothing of a {self.size} px chip; "
                f"the size must be more than twice the margin"
            )
        for what, value in (("size", self.size), ("margin", self.margin)):
            if value % self.multiple:
                near = max(1, round(value / self.multiple)) * self.multiple
                raise PlanError(
                    f"tiling: {what} {value} px is not a multiple of {self.multiple}, the stride "
                    f"of the model; try {near}"
                )

    @property
    def stride(self) -> int:
        """Pixels that a chip owns, along one axis."""
        return self.size - 2 * self.margin

    def padded(self, length: int) -> int:
        """``length`` rounded up to a multiple of the model's stride."""
        return ceil(length / self.multiple) * self.multiple

    def chip_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The one shape that all chips of a scene of ``shape`` have."""
        return min(self.size, self.padded(shape[0])), min(self.size, self.padded(shape[1]))

    def chips(self, shape: tuple[int, int], block: Window, *, by: By = "owns") -> list[Chip]:
        """The chips that own a pixel of ``block``, or that see one, in reading order."""
        rows = self._along(shape[0], (block.y0, block.y1), by)
        cols = self._along(shape[1], (block.x0, block.x1), by)
        return [
            Chip(Window(sy[0], sx[0], sy[1], sx[1]), Window(oy[0], ox[0], oy[1], ox[1]))
            for sy, oy in rows
            for sx, ox in cols
        ]

    def _along(self, length: int, block: Span, by: By) -> list[tuple[Span, Span]]:
        """(seen, owned) spans along one axis of ``length`` pixels, where they meet ``block``."""
        padded = self.padded(length)
        if padded <= self.size:
            return [((0, padded), (0, length))]
        # Only chips near the block are looked at: a block costs the same in a scene of any size.
        around = self.size + self.stride
        first = max(0, (block[0] - around) // self.stride)
        last = min(ceil(length / self.stride), ceil((block[1] + around) / self.stride))
        spans = []
        for start in range(first * self.stride, last * self.stride, self.stride):
            owned = start, min(start + self.stride, length)
            # Slide chips that would leave the scene back into it: a model should see real pixels.
            begin = max(0, min(start - self.margin, padded - self.size))
            seen = begin, begin + self.size
            near = owned if by == "owns" else seen
            if near[0] < block[1] and block[0] < near[1]:
                spans.append((seen, owned))
        return spans


def hull(chips: Sequence[Chip]) -> Window:
    """The pixels that ``chips`` see, as one window."""
    return reduce(Window.__or__, (chip.sees for chip in chips))
