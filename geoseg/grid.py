"""Pixel geometry: which rectangle of a grid is meant, and where it lies.

A grid is an :class:`odc.geo.geobox.GeoBox` (CRS, affine transform, shape). Windows are in pixels,
half open, and always ``(y, x)`` ordered like arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from affine import Affine
from odc.geo.geobox import GeoBox

__all__ = ["GeoBox", "Window", "blocks", "crop", "full_window"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels: rows ``y0:y1``, columns ``x0:x1``."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """What indexes an array of the whole grid."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: Window) -> Window:
        """The same rectangle, in the pixel coordinates of ``outer``."""
        return Window(
            self.y0 - outer.y0, self.x0 - outer.x0, self.y1 - outer.y0, self.x1 - outer.x0
        )

    def __and__(self, other: Window) -> Window:
        """What both cover; empty (falsy) where they do not meet."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Window(y0, x0, max(y0, min(self.y1, other.y1)), max(x0, min(self.x1, other.x1)))

    def __or__(self, other: Window) -> Window:
        """The smallest rectangle around both."""
        return Window(
            min(self.y0, other.y0),
            min(self.x0, other.x0),
            max(self.y1, other.y1),
            max(self.x1, other.x1),
        )

    def __bool__(self) -> bool:
        return self.y1 > self.y0 and self.x1 > self.x0


def full_window(grid: GeoBox) -> Window:
    """All pixels of ``grid``."""
    return Window(0, 0, *(int(n) for n in grid.shape))


def crop(grid: GeoBox, window: Window) -> GeoBox:
    """The grid of ``window``, exact for rotated and south-up grids too."""
    # Not grid[...]: odc-geo still multiplies transforms in a way that affine warns about.
    moved = grid.affine @ Affine.translation(window.x0, window.y0)
    return GeoBox(window.shape, moved, grid.crs)


def blocks(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Cut ``shape`` into blocks of ``size`` pixels, row by row; the last ones are smaller."""
    height, width = shape
    whole = Window(0, 0, height, width)
    for row in range(ceil(height / size)):
        for col in range(ceil(width / size)):
            corner = Window(row * size, col * size, (row + 1) * size, (col + 1) * size)
            yield corner & whole
