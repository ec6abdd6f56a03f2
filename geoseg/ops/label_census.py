"""Which numbers a label raster holds, how often, and where first: states that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window

MOST = 4096
"""Different numbers that labels may hold; what holds more is an image."""


@dataclass(frozen=True, slots=True)
class Census:
    """Pixels by number; states of disjoint blocks add up to the whole.

    Attributes:
        pixels: How many pixels hold a number.
        first: The first of them, as row * width of the raster + column.
        unlabelled: Pixels that hold none.
    """

    pixels: Mapping[float, int]
    first: Mapping[float, int]
    unlabelled: int

    @classmethod
    def of(cls, values: NDArray[Any], valid: NDArray[np.bool_], window: Window, width: int) -> Self:
        """Count the pixels of a block.

        Args:
            values: ``(y, x)``.
            valid: Where they count.
            window: Where the block lies.
            width: Of the raster.

        Raises:
            InputError: There are more than :data:`MOST` different numbers.
        """
        known = values[valid]
        if known.dtype.kind == "u" and known.dtype.itemsize == 1:
            # Counting bytes takes a tenth of sorting them.
            counts = np.bincount(known, minlength=256)
            numbers = np.flatnonzero(counts)
            counts = counts[numbers]
        else:
            numbers, counts = np.unique(known, return_counts=True)
        _check(len(numbers))
        first = {}
        for number in numbers:
            row, column = divmod(int(np.argmax((values == number) & valid)), values.shape[1])
            first[_plain(number)] = (window.y0 + row) * width + window.x0 + column
        pixels = {_plain(n): int(c) for n, c in zip(numbers, counts, strict=True)}
        return cls(pixels, first, int(values.size - known.size))

    @classmethod
    def empty(cls) -> Self:
        """Nothing counted yet."""
        return cls({}, {}, 0)

    def __add__(self, other: Census) -> Census:
        pixels, first = dict(self.pixels), dict(self.first)
        for number, count in other.pixels.items():
            pixels[number] = pixels.get(number, 0) + count
            first[number] = min(first.get(number, other.first[number]), other.first[number])
        _check(len(pixels))
        return Census(pixels, first, self.unlabelled + other.unlabelled)

    @property
    def codes(self) -> list[int]:
        """The numbers that are class codes, 0..255."""
        return sorted(int(n) for n in self.pixels if is_code(n))

    @property
    def strange(self) -> list[float]:
        """The numbers that are not."""
        return sorted(n for n in self.pixels if not is_code(n))


def is_code(number: float) -> bool:
    """Whether it is a whole number 0..255."""
    return 0 <= number <= 255 and float(number).is_integer()


def _plain(number: Any) -> float:
    value = float(number)
    return int(value) if value.is_integer() else value


def _check(numbers: int) -> None:
    if numbers > MOST:
        raise InputError(f"more than {MOST} different numbers: an image, not labels?")
