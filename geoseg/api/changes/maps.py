"""The two maps of a comparison: their common grid, their common classes, what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window, blocks, crop, full_window
from geoseg.io.dated_map import DatedMap, MapReader, find_map
from geoseg.io.grids import shift_between
from geoseg.legend import Legend
from geoseg.ops.transitions import (
    MOST_TRANSITIONS,
    CommonClasses,
    Transitions,
    common_classes,
    limited,
    names_classes,
    transitions,
)
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block
from geoseg.workflow.change import Change

_CENSUS = 1024
_HAIR = 1e-6  # of a pixel: corners that are computed are not exact


@dataclass(frozen=True, slots=True)
class Mask:
    """Which pixels are looked at: those of some classes of a raster; of all but 0 if none is named.

    Picklable; opens in the worker.
    """

    raster: DatedMap
    codes: tuple[int, ...]

    def open(self, grid: GeoBox) -> OpenMask:
        """Open the raster on a grid."""
        return OpenMask(self.raster.on(grid), self.codes)


@dataclass(frozen=True, slots=True)
class OpenMask:
    """An opened :class:`Mask`."""

    reader: MapReader
    codes: tuple[int, ...]

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are looked at."""
        codes = self.reader.classes(window)
        chosen: NDArray[np.bool_] = np.isin(codes, self.codes) if self.codes else codes > 0
        return chosen


@dataclass(frozen=True, slots=True)
class MapPair:
    """Two maps that can be compared.

    Attributes:
        before: The earlier one.
        after: The later one.
        grid: That of one of them, where both are.
        common: Their classes.
        asked: Which transitions are asked for.
        mask: What is looked at; everything if None.
        aligned: Whether pixels of both are the same places.
    """

    before: DatedMap
    after: DatedMap
    grid: GeoBox
    common: CommonClasses
    asked: Transitions
    mask: Mask | None
    aligned: bool

    @property
    def sure(self) -> bool:
        """Whether anybody says how sure the classes are."""
        return self.before.confidence is not None or self.after.confidence is not None

    @property
    def title(self) -> str:
        """Both days as far as they are known, else both names."""
        days = [m.when.date().isoformat() if m.when else m.id for m in (self.before, self.after)]
        return " to ".join(days)

    @property
    def sources(self) -> list[str]:
        """All files that are read."""
        files = [
            self.before.classes,
            self.before.confidence,
            self.after.classes,
            self.after.confidence,
            None if self.mask is None else self.mask.raster.classes,
        ]
        return [str(file) for file in files if file is not None]


def pair_maps(
    before: DatedMap,
    after: DatedMap,
    wanted: Change,
    *,
    reporter: Reporter,
    ordered: bool = True,
) -> MapPair:
    """Check that two maps can be compared, and find out how.

    Args:
        before: The earlier one.
        after: The later one.
        wanted: What is asked for.
        reporter: Told of progress, where codes without names must be looked for.
        ordered: Whether dates in the wrong order are an error.

    Raises:
        InputError: They do not overlap, have no class in common, or something that is asked for is
            not there.
    """
    days = [one.when for one in (before, after) if one.when is not None]
    if ordered and days != sorted(days):
        raise InputError(
            f"{before.classes} is of {before.day()}, after {after.day()} of {after.classes}: "
            f"name the earlier one first"
        )
    of_after = wanted.grid == "after"
    grid = common_grid(after, before) if of_after else common_grid(before, after)
    legends = [_legend(one, grid, reporter) for one in (before, after)]
    classes = max(len(legend.classes) for legend in legends)
    if classes * (classes - 1) > MOST_TRANSITIONS:
        maps = zip((before, after), legends, strict=True)
        legends = [limited(legend, _occurring(one, grid, reporter)) for one, legend in maps]
    common = common_classes(
        *legends, names=wanted.names, ignore=wanted.ignore, background=wanted.background
    )
    asked = transitions(common, before=wanted.from_, after=wanted.to)
    mask = None if wanted.forest_mask is None else find_mask(wanted.forest_mask)
    other = before if of_after else after
    aligned = shift_between(other.grid, grid) is not None
    return MapPair(before, after, grid, common, asked, mask, aligned)


def find_mask(text: str) -> Mask:
    """The mask called ``FILE`` or ``FILE:class,class``.

    Raises:
        InputError: There is no such file, or it has no such class.
    """
    path, names = text, ""
    if not Path(text).exists() and ":" in text:
        path, _, names = text.rpartition(":")
    raster = find_map(path)
    known = {c.name.casefold(): c.value for c in raster.legend.classes}
    codes = []
    for name in (n.strip() for n in names.split(",") if n.strip()):
        code = known.get(name.casefold(), int(name) if name.isdecimal() else None)
        if code is None:
            listed = ", ".join(c.name for c in raster.legend.classes[:30])
            raise InputError(f"forest mask: {path} has no class {name!r}; it has {listed}")
        codes.append(code)
    return Mask(raster, tuple(codes))


def common_grid(one: DatedMap, two: DatedMap) -> GeoBox:
    """The part of the grid of ``one`` that ``two`` covers.

    Raises:
        InputError: There is none.
    """
    outer, other = one.grid, two.grid
    if outer.crs is None or other.crs is None:
        raise InputError(f"{one.classes}, {two.classes}: maps without a CRS cannot be compared")
    shown = other.extent.to_crs(outer.crs, resolution=_step(other)).exterior.points
    points = np.array([~outer.affine @ point for point in shown])
    points = points[np.isfinite(points).all(axis=1)]
    window = Window(0, 0, 0, 0)
    if len(points):
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        window = full_window(outer) & Window(
            floor(y0 + _HAIR), floor(x0 + _HAIR), ceil(y1 - _HAIR), ceil(x1 - _HAIR)
        )
    if not window:
        raise InputError(f"{one.classes} and {two.classes} do not overlap: no pixel to compare")
    return outer if window == full_window(outer) else crop(outer, window)


def _step(grid: GeoBox) -> float:
    """How far apart points of an outline are, in units of the grid."""
    box = grid.boundingbox
    return float(max(box.right - box.left, box.top - box.bottom)) / 64


def _legend(one: DatedMap, grid: GeoBox, reporter: Reporter) -> Legend:
    """Its named classes; of a map that names none, the codes that occur."""
    if names_classes(one.legend):
        return one.legend
    return limited(one.legend, _occurring(one, grid, reporter))


def _occurring(one: DatedMap, grid: GeoBox, reporter: Reporter) -> Sequence[int]:
    reader = one.on(grid)
    there = np.zeros(257, np.bool_)

    def look(window: Window) -> NDArray[np.int64]:
        return np.bincount(reader.classes(window).ravel() + 1, minlength=257)

    shape = int(grid.shape[0]), int(grid.shape[1])
    try:
        windows = tuple(blocks(shape, _CENSUS))
        for counts in each_block(look, windows, name="classes", reporter=reporter):
            there |= counts > 0
    finally:
        reader.close()
    return [int(code) - 1 for code in np.flatnonzero(there) if code]
