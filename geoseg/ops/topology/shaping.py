"""What is done to boundaries, and how large a pixel is for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal, NamedTuple

from geoseg.errors import InputError
from geoseg.ops.metric import Metric

Simplify = Literal["visvalingam", "douglas-peucker"]
Smooth = Literal["chaikin", "corners"]

MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Shaping:
    """How boundaries are simplified and smoothed.

    With neither, boundaries stay as they are, but get a vertex wherever three regions meet.

    Attributes:
        simplify: ``visvalingam`` takes away vertices that make the smallest triangle with their
            neighbours (Visvalingam and Whyatt 1993); ``douglas-peucker`` those within a distance
            of the line that is left (Douglas and Peucker 1973); None: neither.
        amount: The area of the largest triangle that goes, in square metres, or the distance, in
            metres; both on the ground at the middle of the grid.
        smooth: ``chaikin`` cuts every corner, again and again (Chaikin 1974); ``corners`` cuts
            them within two pixels of their tips, and leaves right angles between edges of more
            than four pixels, as buildings and fields have them; None: neither.
        rounds: How often corners are cut, 1 to 5.
        square: Classes whose outlines get right angles, where they stand free and have a shape
            for it, see :func:`geoseg.ops.topology.squaring.square`; buildings, say. Their other
            boundaries are simplified, but not smoothed.
        square_within: Metres by which walls may be straightened, about 1.5 pixels.
    """

    simplify: Simplify | None = None
    amount: float = 0.0
    smooth: Smooth | None = None
    rounds: int = 2
    square: tuple[int, ...] = ()
    square_within: float = 0.0

    def __post_init__(self) -> None:
        if self.simplify not in (None, "visvalingam", "douglas-peucker"):
            raise InputError(
                f"simplify {self.simplify!r} is neither 'visvalingam' nor 'douglas-peucker'"
            )
        if not (isfinite(self.amount) and self.amount >= 0):
            raise InputError(f"simplify by {self.amount}: wanted are 0 or more metres or m2")
        if self.smooth not in (None, "chaikin", "corners"):
            raise InputError(f"smooth {self.smooth!r} is neither 'chaikin' nor 'corners'")
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise InputError(f"smooth in {self.rounds} rounds: wanted are 1 to {MOST_ROUNDS}")
        if self.square and not (isfinite(self.square_within) and self.square_within > 0):
            raise InputError(f"square within {self.square_within} m: wanted is more than 0")


class Ground(NamedTuple):
    """Lengths and areas on the ground of steps in lattice coordinates, at the middle of a grid.

    A step of ``(y, x)`` is ``sqrt(yy*y*y + 2*yx*y*x + xx*x*x)`` metres long.
    """

    yy: float
    xx: float
    yx: float
    area: float  # square metres of a pixel

    @property
    def pixel(self) -> float:
        """Metres along the side of a square as large as a pixel."""
        return sqrt(self.area)


def ground_of(metric: Metric) -> Ground:
    """Of the node of the mesh that is nearest to the middle."""
    i, j = (n // 2 for n in metric.density.shape)
    down, right = (float(v) for v in metric.steps[i, j])
    return Ground(down * down, right * right, float(metric.skew[i, j]), float(metric.density[i, j]))
