"""Where a raster lies, as a report tells it: names, sizes, degrees, and a scale bar."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

import numpy as np

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.footprint import footprint
from geoseg.io.report_words import metres
from geoseg.ops.metric import measure_grid

_BAR = 0.34  # of a picture's width that a scale bar may take


@dataclass(frozen=True, slots=True)
class Place:
    """Where a raster lies.

    Attributes:
        crs: Its name and code.
        degrees: From south to north and from west to east; empty where that is not known.
        extent: Height and width on the ground.
        pixel: Height and width of a pixel in its middle.
        shape: Rows and columns.
        flipped: Whether its first row is the southernmost.
        up: What is up in a picture of it (where it was flipped, if that is needed).
        bar: What the scale bar stands for, and its share of the picture's width; None where the
            ground sizes are not known.
    """

    crs: str
    degrees: str
    extent: str
    pixel: str
    shape: tuple[int, int]
    flipped: bool
    up: str
    bar: tuple[str, float] | None


def place_of(grid: GeoBox) -> Place:
    """Where ``grid`` lies."""
    height, width = (int(n) for n in grid.shape)
    steps = measure_grid(grid).steps
    middle = steps[steps.shape[0] // 2, steps.shape[1] // 2]
    tall = float(np.mean(steps[:, steps.shape[1] // 2, 0])) * height
    wide = float(np.mean(steps[steps.shape[0] // 2, :, 1])) * width
    flipped = bool(grid.axis_aligned and grid.affine.e > 0)
    return Place(
        crs=_crs(grid),
        degrees=_degrees(grid),
        extent=f"{metres(tall)} x {metres(wide)}",
        pixel=f"{metres(float(middle[0]))} x {metres(float(middle[1]))}",
        shape=(height, width),
        flipped=flipped,
        up="North is up." if grid.axis_aligned else "Drawn as the raster lies: not north up.",
        bar=_bar(wide) if np.isfinite(wide) and wide > 0 else None,
    )


def _crs(grid: GeoBox) -> str:
    if grid.crs is None:
        return "no CRS"
    name = str(grid.crs.proj.name)
    return name if grid.crs.epsg is None else f"{name} (EPSG:{grid.crs.epsg})"


def _degrees(grid: GeoBox) -> str:
    try:
        _, (west, south, east, north) = footprint(grid)
    except ProductError:
        return ""
    # Enough digits for the corners of a drone's scene to differ.
    extent = max(north - south, (east - west) % 360)
    digits = min(7, max(2, 1 - floor(log10(extent)))) if extent > 0 else 7
    return (
        f"{_angle(south, 'N', 'S', digits)} to {_angle(north, 'N', 'S', digits)}, "
        f"{_angle(west, 'E', 'W', digits)} to {_angle(east, 'E', 'W', digits)}"
    )


def _angle(value: float, positive: str, negative: str, digits: int) -> str:
    return f"{abs(value):.{digits}f}° {positive if value >= 0 else negative}"


def _bar(wide: float) -> tuple[str, float]:
    """The longest of 1, 2, 5, 10 ... metres that fits, and its share of ``wide`` metres."""
    power = 10.0 ** floor(log10(wide * _BAR))
    length = max(power * n for n in (1, 2, 5) if power * n <= wide * _BAR)
    return metres(length), length / wide
