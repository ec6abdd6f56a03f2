"""The rules of a minimum mapping unit, and why they can be followed block by block.

**Rule.** A region is a connected set of pixels of one class. It is *small* if it is smaller than
the minimum of its class, and its *key* is its area, then its first pixel in row-major order.
Repeat: of the small regions that touch a pixel of another class, take the one with the smallest
key, and give all of it to one of the classes that it touches: the one with which it shares the
longest border, summed over all neighbours of that class, or the one with the best mean
probability over its pixels; of equals, the lower code. It is then one region with all regions of
that class that it touches. When none is left, small regions touch nothing but nodata and the rim
of the raster: they stay, and are counted. With 8-connectivity pixels also touch at corners, where
the border has length 0. Pixels without a class neither give nor take.

**Holes.** Afterwards, class by class: a connected set of pixels that are not of the class (of any
class or none; connected at sides and corners if regions are connected at sides only, and the
other way round) is a hole if it does not touch the rim of the raster and is no larger than the
limit. It becomes the class, with everything in it. Where regions are connected at corners, one
that reached a hole across a corner loses that part, and what stays outside may be small.

**Why the order may differ.** Call a small region *ripe* if its key is below those of all small
regions that it touches. (1) What becomes of a ripe region depends on its own pixels and on the
classes of the pixels around it. (2) Giving away another ripe region changes neither: two ripe
regions do not touch, so no pixel that touches the one belongs to the other, and the one neither
grows (only what touches it could be given to it) nor sees another class. It stays ripe, for regions
only grow, and so do their keys. So two ripe regions may be given away in either order, with the
same result; as each step leaves one region less, any order of ripe regions comes to the same end
after equally many steps (the diamond property of rewriting). The order of the rule is one of them.

**Why blocks suffice.** A region that does not reach the front (the last row of pixels seen) is
closed: its pixels, and the classes around it, are known. What is known of the area of a neighbour
that is still open is a lower bound. If the key of a closed region is below the present keys of its
small neighbours, it is ripe, whatever comes. This holds for the front of a single block, too.
A region that is not small any more never changes its class: all that matters of it is its class.
So what is kept are the small regions at the front, and closed ones that wait for one of those by
a chain of falling keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.metric import Metric
from geoseg.ops.regions import NODATA

LOWEST = int(NODATA)
CODES = 1 << 16
"""Length of tables over all class codes; code k is entry ``k - LOWEST``."""

_FINEST = 1000  # the border of a pixel is measured in thousandths of its shorter side
_MOST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class MinimumUnit:
    """What the smallest region of a map may be, and what becomes of smaller ones.

    Attributes:
        default: Minimum of classes that are not in ``areas``; 0 for none.
        areas: Minimum by class code.
        unit: What minima and limits count: square metres on the ground, or pixels.
        by: To whom a small region goes: the neighbouring class with the longest shared border, or
            with the best mean probability.
        fill_holes: Classes whose holes are filled, in this order, and how large a hole may be.
        connectivity: 4 if regions are connected at the sides of pixels, 8 if at corners, too.

    Raises:
        InputError: A setting makes no sense.
    """

    default: float = 0.0
    areas: Mapping[int, float] = field(default_factory=dict)
    unit: Literal["m2", "px"] = "m2"
    by: Literal["border", "probability"] = "border"
    fill_holes: Mapping[int, float] = field(default_factory=dict)
    connectivity: Literal[4, 8] = 4

    def __post_init__(self) -> None:
        named = [("default", self.default)]
        for what, table in (("areas", self.areas), ("fill_holes", self.fill_holes)):
            named += [(f"{what} of class {code}", area) for code, area in table.items()]
            for code in table:
                if not NODATA < code <= np.iinfo(np.int16).max:
                    raise InputError(f"{what}: code {code} does not lie within -32767..32767")
        for what, area in named:
            if not 0 <= area < np.inf:
                raise InputError(f"{what}: found {area}, expected an area of at least 0")
        for what, found, known in (
            ("unit", self.unit, ("m2", "px")),
            ("by", self.by, ("border", "probability")),
            ("connectivity", self.connectivity, (4, 8)),
        ):
            if found not in known:
                raise InputError(f"{what}: found {found!r}, expected {known[0]!r} or {known[1]!r}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass over a raster: the minimum, or the holes of one class. All in whole numbers.

    Attributes:
        limits: ``(code, measure)``: regions of a code that measure less are small.
        default: The same for codes that are not in ``limits``.
        in_pixels: Whether measures are pixels, or counts of :attr:`Metric.unit`.
        diagonal: Whether pixels that touch at corners are connected.
        border: Length of the side between pixels beside each other, and above each other.
        layers: Codes of the layers of probabilities; empty if borders decide.
        hole_of: The class whose holes are filled; None for the minimum.
    """

    limits: tuple[tuple[int, int], ...]
    default: int
    in_pixels: bool
    diagonal: bool
    border: tuple[int, int]
    layers: tuple[int, ...] = ()
    hole_of: int | None = None

    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int32], bool]:
        """What kernels want to know: minimum by code, layer by code (-1: none), pixels."""
        minimum = np.full(CODES, self.default, np.int64)
        for code, limit in self.limits:
            minimum[code - LOWEST] = limit
        layer_of = np.full(CODES, -1, np.int32)
        for layer, code in enumerate(self.layers):
            layer_of[code - LOWEST] = layer
        return minimum, layer_of, self.in_pixels

    def layer(self, codes: NDArray[np.int16]) -> NDArray[np.int16]:
        """What is labelled: the classes; or all but the class with holes, nodata in its place."""
        if self.hole_of is None:
            return codes
        other = np.where(codes == NODATA, np.int16(self.hole_of), codes)
        return np.where(codes == self.hole_of, NODATA, other)

    def codes_of(self, layer: NDArray[np.int16]) -> NDArray[np.int16]:
        """The classes that :meth:`layer` made ``layer`` of."""
        return layer if self.hole_of is None else self.layer(layer)


def stages(unit: MinimumUnit, metric: Metric, layers: tuple[int, ...] = ()) -> tuple[Stage, ...]:
    """The passes over a raster that ``unit`` asks for: the minimum, then class by class holes.

    Args:
        unit: The rules.
        metric: How large the pixels of the raster are.
        layers: Class codes of the layers of probabilities, where they decide.

    Raises:
        InputError: Probabilities shall decide but there are none, or a class has two layers.
    """
    if unit.by == "probability" and not layers:
        raise InputError("by probability: no layers of probabilities are given")
    if len(set(layers)) != len(layers):
        raise InputError(f"layers of probabilities: a class has more than one: {list(layers)}")
    scale = 1.0 if unit.unit == "px" else metric.unit  # a power of two: dividing is exact
    below = {code: _whole(ceil(area / scale)) for code, area in unit.areas.items()}
    common: dict[str, Any] = {"in_pixels": unit.unit == "px", "border": _border(metric)}
    small = Stage(
        limits=tuple(sorted(below.items())),
        default=_whole(ceil(unit.default / scale)),
        diagonal=unit.connectivity == 8,
        layers=layers if unit.by == "probability" else (),
        **common,
    )
    holes = (
        Stage((), _whole(floor(area / scale) + 1), diagonal=unit.connectivity == 4,
              hole_of=code, **common)
        for code, area in unit.fill_holes.items()
    )  # fmt: skip
    return small, *holes


def _whole(measure: int) -> int:
    return min(measure, int(_MOST))


def _border(metric: Metric) -> tuple[int, int]:
    """How long the sides of the pixel at the centre are, as whole numbers."""
    rows, cols = metric.density.shape
    at = [metric.steps[r, c] for r in {(rows - 1) // 2, rows // 2}
          for c in {(cols - 1) // 2, cols // 2}]  # fmt: skip
    down, right = np.mean(at, axis=0)
    shorter = min(down, right)
    return round(_FINEST * down / shorter), round(_FINEST * right / shorter)
