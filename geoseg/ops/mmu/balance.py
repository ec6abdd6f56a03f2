"""What reassigning did: pixels and areas that went from class to class, and what is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.regions import NODATA

TOTAL = np.dtype([("code", np.int16), ("pixels", np.int64), ("area", np.int64)], align=True)
"""What there is of a class; areas are counts of :attr:`geoseg.ops.metric.Metric.unit`."""

MOVED = np.dtype(
    [("source", np.int16), ("target", np.int16), ("pixels", np.int64), ("area", np.int64)],
    align=True,
)
"""What went from one class to another; the source is NODATA where holes had no class."""


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """Class by class, in pixels and on the ground; the same for any blocks.

    Attributes:
        unit: Square metres of one count of area.
        before: ``(n,)`` of :data:`TOTAL`: what there was, in the order of codes.
        moved: ``(m,)`` of :data:`MOVED`, in the order of codes. What went on from class to class
            is noted from its first to its last class, but anew in each stage.
        reassigned: Small regions that were given to a neighbour; one that had taken in others
            before counts once more.
        isolated: Small regions that touch no other class, and stayed.
        filled: Holes that were filled.
    """

    unit: float
    before: NDArray[np.void]
    moved: NDArray[np.void]
    reassigned: int
    isolated: int
    filled: int

    @property
    def after(self) -> NDArray[np.void]:
        """What there is now, as ``before``; classes that are gone have 0 pixels."""
        taken = _renamed(self.moved, "target", 1)
        given = _renamed(self.moved, "source", -1)
        return sum_by(np.concatenate([self.before, taken, given[given["code"] != NODATA]]))

    def then(self, other: Balance) -> Balance:
        """This stage, and one that came after it."""
        return Balance(
            self.unit,
            self.before,
            sum_by(np.concatenate([self.moved, other.moved])),
            self.reassigned + other.reassigned,
            self.isolated + other.isolated,
            self.filled + other.filled,
        )


def sum_by(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Rows of :data:`TOTAL` or :data:`MOVED`, one for each code or pair, in their order."""
    keys = [name for name in rows.dtype.names or () if name not in {"pixels", "area"}]
    order = np.lexsort([rows[name] for name in reversed(keys)])
    rows = rows[order]
    new = np.zeros(len(rows), np.bool_)
    new[:1] = True
    for name in keys:
        new[1:] |= rows[name][1:] != rows[name][:-1]
    begins = np.flatnonzero(new)
    out = rows[begins]
    for name in ("pixels", "area"):
        out[name] = np.add.reduceat(rows[name], begins) if len(rows) else 0
    return out


def gather(tables: Iterable[NDArray[np.void]], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """The sum of many tables of ``dtype``."""
    return sum_by(np.concatenate([np.empty(0, dtype), *tables]))


def _renamed(moved: NDArray[np.void], which: str, sign: int) -> NDArray[np.void]:
    rows = np.zeros(len(moved), TOTAL)
    rows["code"] = moved[which]
    rows["pixels"], rows["area"] = sign * moved["pixels"], sign * moved["area"]
    return rows
