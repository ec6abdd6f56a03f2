"""What a refinement sees, what it must say of itself, and how several follow one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PlanError
from geoseg.grid import Window

LARGEST_HALO = 1024
"""Pixels around a block that all steps together may look at: beyond, blocks read more than they
write, and a map wants regions that are known as wholes, not block by block."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of a map, and what else is known there.

    Attributes:
        classes: Codes ``(y, x)`` uint8.
        nodata: The code of pixels without a class: they neither vote nor are they filled.
        at: Where the part lies within the map.
        shape: Of the whole map: only its rim ends the world, a block's does not.
        percent: Probabilities ``(class, y, x)`` uint8 in percent, for steps that need them.
        codes: The code of each class of ``percent``.
        guide: Image ``(channel, y, x)`` float32, standardised, for steps that need it; finite.
    """

    classes: NDArray[np.uint8]
    nodata: int
    at: Window
    shape: tuple[int, int]
    percent: NDArray[np.uint8] | None = None
    codes: tuple[int, ...] = ()
    guide: NDArray[np.float32] | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which pixels have a class ``(y, x)``."""
        known: NDArray[np.bool_] = self.classes != self.nodata
        return known

    def crop(self, window: Window) -> View:
        """The part of it within ``window`` (of the map)."""
        rows, cols = window.within(self.at).slices
        return replace(
            self,
            classes=self.classes[rows, cols],
            at=window,
            percent=None if self.percent is None else self.percent[:, rows, cols],
            guide=None if self.guide is None else self.guide[:, rows, cols],
        )


class Step(Protocol):
    """One refinement. What it makes of a pixel depends on ``halo`` pixels around it, no further.

    A pixel without a class stays without, and one with a class keeps one.
    """

    @property
    def halo(self) -> int:
        """How far it looks, in pixels."""
        ...

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that it needs for each pixel of a view, beyond the view."""
        ...

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``.

        Within ``halo`` of a cut (not of the map's rim) they may be wrong, and are thrown away.
        """
        ...


def total_halo(steps: Sequence[Step]) -> int:
    """How far all of ``steps`` look, one after the other: their halos add up."""
    return sum(step.halo for step in steps)


def check_halo(steps: Sequence[Step], what: str = "postprocess") -> None:
    """Refuse steps that look further than blocks can.

    Raises:
        PlanError: They do; says which does the most.
    """
    total = total_halo(steps)
    if total <= LARGEST_HALO:
        return
    most = max(range(len(steps)), key=lambda k: steps[k].halo)
    raise PlanError(
        f"{what}: its steps look {total} px around a block, {LARGEST_HALO} px are the most; "
        f"{what}[{most}] alone looks {steps[most].halo} px: give it a smaller area or size, or "
        f"fewer passes (for large areas, leave small polygons out with output.vector.min_area)"
    )


def refine(view: View, block: Window, steps: Sequence[Step]) -> NDArray[np.uint8]:
    """The codes ``(y, x)`` of ``block`` after all ``steps``.

    ``view`` must cover the block and :func:`total_halo` pixels around it, as far as there is map.
    The result is that of the steps on the whole map.
    """
    for step in steps:
        view = replace(view, classes=step(view))
    return np.ascontiguousarray(view.crop(block).classes)
