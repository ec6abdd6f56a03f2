"""The pixels of the small maps of plots, and the outlines that lie on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely

from geoseg.api.plot_ground import Placed, close_ground
from geoseg.grid import Window, full_window
from geoseg.io.plot_maps import PlotMap
from geoseg.steps.plots import Ground

_SIDE: Final = 320  # pixels that a map shows at most along a side
_LEAST: Final = 24  # and at least, so that a small plot is seen where it lies
_WIDEST: Final = 20_000  # pixels that it is worth to read for a map
_MARGIN: Final = 0.25
_ROWS: Final = 256  # that are read at once


def maps_of(placed: Placed, numbers: Sequence[int], cut_off: int | None) -> dict[str, PlotMap]:
    """Maps of some plots, by name; one strip of one plot is in memory at a time."""
    ground = placed.ground(cut_off)
    tree = shapely.STRtree(placed.shapes)
    try:
        return {placed.plots[n].id: _map(placed, ground, tree, n) for n in numbers}
    finally:
        close_ground(ground)


def _map(placed: Placed, ground: Ground, tree: Any, number: int) -> PlotMap:
    own = np.flatnonzero(placed.owner == number)
    largest = own[np.argmax(shapely.area(placed.shapes[own]))]
    window = _window(placed, shapely.MultiPolygon(placed.shapes[own].tolist()))
    if max(window.shape) > _WIDEST:
        # Parts that lie so far from one another do not fit on one small map.
        own = np.array([largest])
        window = _window(placed, placed.shapes[largest])
    step = max(1, -(-max(window.shape) // _SIDE))
    rows = max(step, _ROWS // step * step)
    strips = [
        ground.read(Window(y, window.x0, min(window.y1, y + rows), window.x1)).picture(
            forest=ground.forest is not None
        )[::step, ::step]
        for y in range(window.y0, window.y1, rows)
    ]
    box = shapely.box(window.x0, window.y0, window.x1, window.y1)
    others = [int(i) for i in tree.query(box) if i not in own]
    shapes = [
        shapely.MultiPolygon(placed.shapes[own].tolist()),
        *(shapely.intersection(placed.shapes[i], box) for i in others),
    ]
    scaled = [
        shapely.transform(s, lambda xy: (xy - np.array([window.x0, window.y0])) / step)
        for s in shapes
        if s.geom_type in {"Polygon", "MultiPolygon"}
    ]
    return PlotMap(np.concatenate(strips), scaled, 1 / _metres(placed, window) / step)


def _window(placed: Placed, shape: Any) -> Window:
    """Pixels around a shape, of which the grid may have none."""
    x0, y0, x1, y1 = shape.bounds
    side = max(x1 - x0, y1 - y0)
    margin = max(side * _MARGIN, (_LEAST - side) / 2)
    around = Window(
        int(np.floor(y0 - margin)),
        int(np.floor(x0 - margin)),
        int(np.ceil(y1 + margin)),
        int(np.ceil(x1 + margin)),
    )
    return around & full_window(placed.grid)


def _metres(placed: Placed, window: Window) -> float:
    """Length of a pixel along a row in the middle of a window."""
    steps, (down, right) = placed.metric.steps, placed.metric.spacing
    row = min(int((window.y0 + window.y1) / 2 / down), steps.shape[0] - 1)
    column = min(int((window.x0 + window.x1) / 2 / right), steps.shape[1] - 1)
    return float(steps[row, column, 1])
