"""Grids of files: from headers, compared, measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, hypot, radians

from affine import Affine
from odc.geo.crs import CRS

from geoseg.grid import GeoBox

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
