"""The boundary arcs of one block: where regions meet, in whole lattice coordinates.

The lattice has a vertex at each pixel corner; vertex ``(r, c)`` is the upper left one of pixel
``(r, c)``. An edge between two vertices is a boundary where the pixels on its sides differ. A
vertex with three or four boundary edges is a node; so is one whose edges belong to several
blocks. An arc runs along boundary edges from node to node, or is a loop without nodes. A block
owns the edges on its upper and left rim; those on its lower and right rim only where the raster
ends there, so that each edge belongs to exactly one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PlanError
from geoseg.grid import Window
from geoseg.ops.flags import add_places, index_places, last_before, row_of_flags
from geoseg.ops.kernels import entry, helper
from geoseg.ops.metric import Metric
from geoseg.ops.regions import NODATA, find_runs
from geoseg.ops.scratch import Scratch
from geoseg.ops.vertices import (
    EAST,
    FIRST,
    NORTH,
    SOUTH,
    WEST,
    as_vertices,
    row_and_col,
    vertex_at,
    vertex_codes,
    walk,
    walking_tables,
)

__all__ = ["ARC", "EAST", "NORTH", "SOUTH", "WEST", "BlockArcs", "pad", "trace_arcs", "trace_block"]

ARC = np.dtype(
    [
        ("left", np.int32),  # label of the region on the left as one walks (north is up)
        ("right", np.int32),  # label of the region on the right
        ("source", np.int32),  # node where it starts, -1 for a loop
        ("target", np.int32),  # node where it ends, -1 for a loop
        ("count", np.int32),  # vertices, both ends included; a loop has its first one twice
    ],
    align=True,
)
"""One arc of a block; labels as in :func:`geoseg.ops.regions.label_regions`."""

LARGEST_BLOCK = 65_535
"""Rows or columns of a block: vertices are stored as uint16."""


# The pixel on the left of what leaves vertex (0, 0), by direction; what is on the right is on the
# left of the next one.
_LEFT = np.array([[-1, 0], [0, 0], [0, -1], [-1, -1]])


@dataclass(frozen=True, slots=True)
class BlockArcs:
    """What one block contributes to the polygons of a raster.

    Attributes:
        window: The block.
        shape: Height and width of the raster.
        regions: ``(n,)`` of :data:`geoseg.ops.regions.REGION`; label k is ``regions[k - 1]``.
        arcs: ``(m,)`` of :data:`ARC`.
        vertices: ``(v, 2)`` uint16; row and column of the corners and ends of all arcs, one
            after the other, counted from the corner of the block.
        rim: ``(2h + 2w,)`` int32; labels (0: none) of the block's first row, last row, first
            column and last column.
    """

    window: Window
    shape: tuple[int, int]
    regions: NDArray[np.void]
    arcs: NDArray[np.void]
    vertices: NDArray[np.uint16]
    rim: NDArray[np.int32]


@helper
def _label_at(runs: Any, row: int, col: int) -> int:
    """The label of a pixel of the block or beside it, as in :func:`trace_arcs`."""
    index, of, rim = runs
    height, width = index[0].shape[0], len(rim) - index[0].shape[0]
    if row >= height or col >= width:
        return 0
    if row < 0:
        return int(rim[col]) if col >= 0 else 0
    if col < 0:
        return int(rim[width + row])
    return int(of[last_before(index, row, col)])


@helper
def _begin(arc: Any, code: int, runs: Any, i: int, j: int) -> None:
    """Note what lies on both sides of the arc that is going to leave vertex ``(i, j)``."""
    direction = FIRST[code & 15]
    after = (direction + 1) & 3
    arc.left = _label_at(runs, i + _LEFT[direction, 0], j + _LEFT[direction, 1])
    arc.right = _label_at(runs, i + _LEFT[after, 0], j + _LEFT[after, 1])


@helper
def _find_stops(codes: Any) -> tuple[Any, Any]:
    """Columns of the stops, row by row, and the place of each row's first one ``(h + 2,)``."""
    cols = np.empty(codes.size + 1, np.uint16)
    rows = np.empty(codes.shape[0] + 1, np.int64)
    flags = row_of_flags(codes.shape[1])
    used = np.uint64(0)
    for i in range(codes.shape[0]):
        rows[i] = used
        for j in range(codes.shape[1]):
            flags[j] = codes[i, j] >> 4
        used = add_places(flags, cols, used)
    rows[codes.shape[0]] = used
    return cols, rows


@helper
def _outer_labels(padded: Any) -> Any:
    """Labels of the pixels above the block and on its left ``(w + h,)``."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    rim = np.zeros(width + height, np.int32)
    for k in range(width):
        rim[k] = 0 if padded[0, k + 1] == NODATA else -1 - k
    for k in range(height):
        rim[width + k] = 0 if padded[k + 1, 0] == NODATA else -1 - width - k
    return rim


@helper
def _trace_loops(codes: Any, tables: Any, runs: Any, arcs: Any, vertices: Any) -> Any:
    """Trace what no node is on, after the ``arcs`` and ``vertices`` that are counted there."""
    table, found = arcs
    corners, used = vertices
    across, flat = codes.shape[1], codes.reshape(-1)
    flags, places = row_of_flags(across), np.empty(across + 1, np.int32)
    for i in range(codes.shape[0]):
        for j in range(across):
            flags[j] = (codes[i, j] & 15) != 0
        for place in range(add_places(flags, places, np.uint64(0))):
            j = places[place]
            if codes[i, j] & 15:  # not all of them are left, once a loop has passed
                arc = table[found]
                _begin(arc, codes[i, j], runs, i, j)
                corners[used] = vertex_at(i, j)
                stop = walk(flat, tables, corners, used, np.uint64(i * across + j))
                arc.source = arc.target = -1
                arc.count, used = stop - used, stop
                found += 1
    return found, used


@entry
def trace_arcs(codes: Any, padded: Any, runs: Any, arcs: Any, vertices: Any) -> tuple[int, int]:
    """Trace all arcs: first those that leave nodes, then the loops, both in reading order.

    Args:
        codes: What :func:`~geoseg.ops.vertices.vertex_codes` made; used up.
        padded: Class codes ``(h + 2, w + 2)``.
        runs: First columns, rows and labels of runs as from :func:`~geoseg.ops.regions.label_runs`.
        arcs: Room for :data:`ARC`, one for each edge.
        vertices: Room for vertices, two for each edge, each as one uint32.

    Returns:
        How many arcs and vertices there are.
    """
    across = codes.shape[1]
    tables, flat = walking_tables(across), codes.reshape(-1)
    starts, begins, of = runs
    runs = (index_places(starts, begins, across - 1), of, _outer_labels(padded))
    cols, rows = _find_stops(codes)
    stops = index_places(cols, rows, across)
    nodes = np.full(rows[-1], -1, np.int32)
    found = known = 0
    used = np.uint64(0)
    for i in range(codes.shape[0]):
        for k in range(rows[i], rows[i + 1]):
            j = int(cols[k])
            while codes[i, j] & 15:
                arc = arcs[found]
                _begin(arc, codes[i, j], runs, i, j)
                if nodes[k] < 0:
                    nodes[k], known = known, known + 1
                vertices[used] = vertex_at(i, j)
                stop = walk(flat, tables, vertices, used, np.uint64(i * across + j))
                row, col = row_and_col(vertices[stop - np.uint64(1)])
                end = last_before(stops, row, col)
                if nodes[end] < 0:
                    nodes[end], known = known, known + 1
                arc.source, arc.target = nodes[k], nodes[end]
                arc.count, used = stop - used, stop
                found += 1
    found, used = _trace_loops(codes, tables, runs, (arcs, found), (vertices, used))
    return found, used


def trace_block(
    padded: NDArray[np.int16],
    window: Window,
    metric: Metric,
    *,
    confidence: NDArray[np.uint8] | None = None,
    scratch: Scratch | None = None,
) -> BlockArcs:
    """Label the regions of a block and trace their boundaries.

    Args:
        padded: Class codes ``(h + 2, w + 2)`` of the block with one pixel around it;
            :data:`~geoseg.ops.regions.NODATA` where there is no class or no raster.
        window: The block.
        metric: How large the pixels of the raster are.
        confidence: Percent ``(h, w)`` of the block, 255 where there is none.
        scratch: Room that nobody else uses meanwhile.

    Raises:
        PlanError: The block has more than 65,535 rows or columns.
    """
    height, width = window.shape
    if max(height, width) > LARGEST_BLOCK:
        raise PlanError(
            f"block of {height} x {width} px is too large for polygons; "
            f"at most {LARGEST_BLOCK} px a side"
        )
    at = (window.y0, window.x0, *metric.shape)
    density = metric.row_density(window.y0, window.y1)
    padded = np.ascontiguousarray(padded, np.int16)
    runs, regions = find_runs(padded, confidence, density, at)
    ends = window.y1 == metric.shape[0], window.x1 == metric.shape[1]
    scratch = scratch or Scratch()
    codes = scratch.array("vertex codes", (height + 1, width + 1), np.uint8)
    edges = vertex_codes(padded, ends, codes)
    arcs = scratch.array("arcs", (edges + 1,), ARC)
    vertices = scratch.array("vertices", (2 * edges + 2,), np.uint32)
    starts, rows, labels = runs
    found, used = trace_arcs(codes, padded, runs, arcs, vertices)
    first, last = (
        np.repeat(labels[rows[k] : rows[k + 1] - 1], np.diff(starts[rows[k] : rows[k + 1]]))
        for k in (0, height - 1)
    )
    rim = np.concatenate([first, last, labels[rows[:-1]], labels[rows[1:] - 2]])
    return BlockArcs(
        window, metric.shape, regions, arcs[:found].copy(), as_vertices(vertices[:used].copy()), rim
    )


def pad(classes: NDArray[np.int16], seen: Window, window: Window) -> NDArray[np.int16]:
    """Codes of ``window`` with one pixel around, from those of ``seen``; nodata beyond."""
    height, width = window.shape
    out = np.full((height + 2, width + 2), NODATA, np.int16)
    around = Window(window.y0 - 1, window.x0 - 1, window.y1 + 1, window.x1 + 1)
    inside = around & seen
    out[inside.within(around).slices] = classes[inside.within(seen).slices]
    return out
