"""Which pixels may be used: nodata, cloud codes, quality bits, and safety margins around them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

MaskKind = Literal["values", "bits", "alpha"]

FARTHEST: Final = 64
"""Distances to what is not valid are not told beyond that many pixels: so many around a block decide
what is in it (see :mod:`geoseg.ops.distance`)."""

REACH: Final = 64
"""Pixels beyond which it does not matter how far away the next hidden pixel is."""


def usable(numbers: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Pixels that are finite and not ``nodata``; the shape is that of ``numbers``."""
    fitting = fitting_nodata(numbers.dtype, nodata)
    good: NDArray[np.bool_]
    if np.issubdtype(numbers.dtype, np.integer):  # all of which are finite
        good = np.ones(numbers.shape, np.bool_) if fitting is None else numbers != int(fitting)
        return good
    good = np.isfinite(numbers)
    if fitting is not None and np.isfinite(fitting):
        # Rounded like the numbers, or -3.4028235e38 would not be found in float32.
        with np.errstate(over="ignore"):
            good &= numbers != numbers.dtype.type(fitting)
    return good


def fitting_nodata(dtype: np.dtype[Any], nodata: float | None) -> float | None:
    """``nodata`` if a number of ``dtype`` can be it, else None (-9999 in a uint16 file)."""
    if nodata is None or np.issubdtype(dtype, np.floating):
        return nodata
    limits = np.iinfo(dtype)
    if np.isfinite(nodata) and nodata == int(nodata) and limits.min <= nodata <= limits.max:
        return nodata
    return None


def hidden(numbers: NDArray[Any], kind: MaskKind, values: Sequence[int]) -> NDArray[np.bool_]:
    """Pixels that a mask band hides: see :class:`geoseg.scene.Mask` for the kinds."""
    found: NDArray[np.bool_]
    if kind == "alpha":
        # Not "<= 0": NaN hides too.
        found = ~(numbers > 0)
    elif kind == "values":
        found = _one_of(numbers, values)
    else:
        found = (numbers.astype(np.int64) & sum(1 << bit for bit in set(values))) != 0
    return found


def _one_of(numbers: NDArray[Any], values: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each number is one of ``values``: looked up where all that may come are few."""
    if numbers.dtype != np.uint8:
        return np.isin(numbers, np.asarray(values))
    table = np.zeros(256, np.bool_)
    table[[value for value in values if 0 <= value < 256]] = True
    found: NDArray[np.bool_] = table[numbers]
    return found


def dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """``mask`` grown by a disc: true where a true pixel is at most ``radius`` pixels away."""
    if radius <= 0 or not mask.any():
        return mask
    height, width = mask.shape
    grown, wide, half = np.zeros_like(mask), mask.copy(), 0
    # From the disc's narrow ends to its middle: rows only ever get wider, by bytes and not by sums.
    for dy in range(radius, -1, -1):
        reach = isqrt(radius * radius - dy * dy)
        for step in range(half + 1, min(reach, width - 1) + 1):
            wide[:, step:] |= mask[:, :-step]
            wide[:, :-step] |= mask[:, step:]
        half = max(half, reach)
        if dy < height:
            grown[dy:] |= wide[: height - dy]
            grown[: height - dy] |= wide[dy:]
    return grown
