"""Grids of files: from headers, compared, measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, hypot, radians

from affine import Affine
from odc.geo.crs import CRS

from geoseg.grid import GeoBox, Window

DEGREE = 111_320.0
"""Metres of a degree of latitude."""

_SAME = 0.01
"""Grids whose corners agree to this part of a pixel are one grid written by two programs."""


def pixel_sides(grid: GeoBox) -> tuple[float, float]:
    """Length of a pixel's sides in metres, ``(y, x)``; for degrees at the middle of the grid."""
    a = grid.affine
    crs = grid.crs
    if crs is not None and crs.geographic:
        height, width = grid.shape
        middle = (a @ (width / 2, height / 2))[1]
        east = DEGREE * max(cos(radians(min(abs(middle), 89.9))), 0.0)
        return hypot(a.b * east, a.e * DEGREE), hypot(a.a * east, a.d * DEGREE)
    metres = metres_per_unit(crs)
    return hypot(a.b, a.e) * metres, hypot(a.a, a.d) * metres


def metres_per_unit(crs: CRS | None) -> float:
    """Metres of a projection's unit; 1 where there is no CRS."""
    axes = crs.proj.axis_info if crs is not None else []
    return float(axes[0].unit_conversion_factor) if axes else 1.0


def pixel_area(grid: GeoBox) -> float:
    """Square metres of a pixel."""
    y, x = pixel_sides(grid)
    a = grid.affine
    # The sides of a sheared pixel say too much.
    skew = abs(a.determinant) / (hypot(a.a, a.d) * hypot(a.b, a.e))
    return y * x * skew


def finest(grids: Iterable[GeoBox]) -> GeoBox:
    """The grid with the smallest pixels; the first of equals."""
    chosen: GeoBox | None = None
    for grid in grids:
        # Equals to a millionth: rounding in a header must not decide.
        if chosen is None or pixel_area(grid) < pixel_area(chosen) * (1 - 1e-6):
            chosen = grid
    if chosen is None:
        raise ValueError("no grid to choose from")
    return chosen


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Whether pixels of both are the same places, but for rounding."""
    if one == other:
        return True
    if one.shape != other.shape or one.crs != other.crs:
        return False
    return shift_in_pixels(one.affine, other.affine, one.shape) < _SAME


def shift_in_pixels(one: Affine, other: Affine, shape: Sequence[int]) -> float:
    """How far the corners of ``shape`` pixels lie apart under two transforms, in pixels."""
    height, width = shape
    back = ~one
    corners = ((0, 0), (width, 0), (0, height), (width, height))
    moved = ((back @ (other @ corner), corner) for corner in corners)
    return max(hypot(x - cx, y - cy) for (x, y), (cx, cy) in moved)


def turned(grid: GeoBox, turns: int) -> GeoBox:
    """A grid in degrees, ``turns`` times around the globe to the east."""
    if not turns:
        return grid
    return GeoBox(grid.shape, Affine.translation(360.0 * turns, 0) @ grid.affine, grid.crs)


def turns_between(grid: GeoBox, other: GeoBox) -> int:
    """Turns of 360 degrees by which ``grid`` lies nearest to ``other``; 0 unless in degrees."""
    if other.crs is None or not other.crs.geographic or grid.crs != other.crs:
        return 0
    here, there = ((g.boundingbox.left + g.boundingbox.right) / 2 for g in (grid, other))
    return round(float(there - here) / 360)


def shift_between(outer: GeoBox, inner: GeoBox) -> tuple[int, int] | None:
    """Rows and columns of ``outer`` that lie before ``inner``, where both have the same pixels.

    None where pixels of one are not pixels of the other.
    """
    if outer.crs != inner.crs:
        return None
    x, y = (round(n) for n in (~outer.affine @ inner.affine) @ (0, 0))
    moved = outer.affine @ Affine.translation(x, y)
    return (y, x) if shift_in_pixels(moved, inner.affine, inner.shape) < _SAME else None


@dataclass(frozen=True, slots=True)
class Nested:
    """Pixels of a grid that lie in those of a coarser one, as many in each.

    Attributes:
        factors: How many, along ``(y, x)``.
        before: Rows and columns of them that the coarser grid has before the first.
    """

    factors: tuple[int, int]
    before: tuple[int, int]

    def around(self, window: Window) -> tuple[Window, Window]:
        """The coarse pixels that those of ``window`` lie in, and where it lies among all in these."""
        (fy, fx), (dy, dx) = self.factors, self.before
        y0, x0, y1, x1 = window.y0 + dy, window.x0 + dx, window.y1 + dy, window.x1 + dx
        outer = Window(y0 // fy, x0 // fx, -(-y1 // fy), -(-x1 // fx))
        corner = outer.y0 * fy, outer.x0 * fx
        return outer, Window(y0 - corner[0], x0 - corner[1], y1 - corner[0], x1 - corner[1])


def nested_in(outer: GeoBox, inner: GeoBox) -> Nested | None:
    """How pixels of ``inner`` lie in those of ``outer``; None where some lie in more than one."""
    if outer.crs != inner.crs:
        return None
    to_outer = ~outer.affine @ inner.affine
    if to_outer.a <= 0 or to_outer.e <= 0:
        return None
    fx, fy = round(1 / to_outer.a), round(1 / to_outer.e)
    if not fx or not fy:
        return None
    x, y = round(to_outer.c * fx), round(to_outer.f * fy)
    lies = outer.affine @ Affine.scale(1 / fx, 1 / fy) @ Affine.translation(x, y)
    return (
        Nested((fy, fx), (y, x))
        if shift_in_pixels(lies, inner.affine, inner.shape) < _SAME
        else None
    )


def covers(outer: GeoBox, inner: GeoBox) -> bool:
    """Whether every pixel centre of ``inner`` surely lies on ``outer``; False: perhaps not."""
    if outer.crs != inner.crs:
        return False
    height, width = inner.shape
    to_outer = ~outer.affine @ inner.affine
    corners = [to_outer @ (x, y) for x in (0.5, width - 0.5) for y in (0.5, height - 0.5)]
    rows, cols = outer.shape
    # A hair's breadth inside: GDAL rounds differently at the very rim.
    rim = 1e-6
    return all(rim < x < cols - rim and rim < y < rows - rim for x, y in corners)
