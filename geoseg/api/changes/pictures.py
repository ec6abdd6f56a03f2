"""The picture of a comparison: before, after, and what changed."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.api.changes.maps import MapPair
from geoseg.api.changes.run import CodedPairs, Compared
from geoseg.grid import Window
from geoseg.io.quicklook import PANEL, ClassPanel, write_class_panels
from geoseg.legend import LandClass, Legend
from geoseg.ops.transitions import (
    MOST_TRANSITIONS,
    NO_CHANGE,
    NOT_LOOKED_AT,
    NOT_SEEN,
    CommonClasses,
)
from geoseg.steps.change import FINAL

_STRIP = 512  # rows read at once


def write_picture(path: Path, pair: MapPair, compared: Compared, *, title: str, note: str) -> None:
    """Write both maps and the change between them side by side as a PNG.

    Where several pixels become one, changes are shown before what has not changed: they are few.

    Raises:
        ProductError: It cannot be written.
    """
    shape = int(pair.grid.shape[0]), int(pair.grid.shape[1])
    maps = Legend("maps", _numbered(pair.common), NOT_SEEN)
    panels = [
        ClassPanel(name, _small(compared.coded(_side(pair.common, first=first)), shape), maps)
        for name, first in (("Before", True), ("After", False))
    ]
    change = _small(compared.coded(pair.asked.code_table()), shape, prefer=True)
    areas = dict.fromkeys((NO_CHANGE, NOT_LOOKED_AT), 0.0)
    table = pair.asked.code_table()
    for number, (_, area) in compared.counts[FINAL].items():
        code = int(table[number + 1])
        areas[code] = areas.get(code, 0.0) + area * compared.unit
    whole = pair.asked.legend("change")
    shown = tuple(c for c in whole.classes if areas.get(c.value))
    # A legend that is all there is: what did not happen is in the table.
    legend = Legend(whole.name, shown or whole.classes, whole.nodata)
    panels.append(ClassPanel("Change", change, legend))
    write_class_panels(path, panels, grid=pair.grid, areas=areas, title=title, note=note)


def _numbered(common: CommonClasses) -> tuple[LandClass, ...]:
    return tuple(LandClass(i, c.name, c.color) for i, c in enumerate(common.classes))


def _side(common: CommonClasses, *, first: bool) -> NDArray[np.uint8]:
    """The index of one class of each pair, as in :meth:`Transitions.code_table`."""
    table = np.full(common.pairs + 1, NOT_SEEN, np.uint8)
    for i in range(common.none):
        for j in range(common.none + 1):
            table[1 + (common.pair(i, j) if first else common.pair(j, i))] = i
    return table


def _small(
    raster: CodedPairs, shape: tuple[int, int], *, prefer: bool = False
) -> NDArray[np.uint8]:
    """The raster in cells of equal pixels: the first of each, or with ``prefer`` a change in it."""
    step = max(1, ceil(max(shape) / PANEL))
    rows = max(1, _STRIP // step) * step
    out = np.empty((ceil(shape[0] / step), ceil(shape[1] / step)), np.uint8)
    for y0 in range(0, shape[0], rows):
        part = raster.read(Window(y0, 0, min(y0 + rows, shape[0]), shape[1]))
        cells = part[::step, ::step]
        if prefer:
            changes = np.where((part > NO_CHANGE) & (part <= MOST_TRANSITIONS), part, 0)
            for axis in (0, 1):
                starts = np.arange(0, part.shape[axis], step)
                changes = np.maximum.reduceat(changes, starts, axis=axis)
            cells = np.where(changes > 0, changes, cells)
        out[y0 // step : y0 // step + len(cells)] = cells
    return out
