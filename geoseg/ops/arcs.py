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
from geoseg.ops.kernels import entry, helper
from geoseg.ops.metric import Metric
from geoseg.ops.regions import NODATA, find_runs

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

EAST, SOUTH, WEST, NORTH = 0, 1, 2, 3
_DOWN = np.array([0, 1, 0, -1])
_ALONG = np.array([1, 0, -1, 0])

_STOP = np.uint8(16)
_STOPS = np.array([i | (16 if i.bit_count() > 2 else 0) for i in range(16)], np.uint8)
_FIRST = np.array([0, *((i & -i).bit_length() - 1 for i in range(1, 16))], np.uint8)


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
def _edges(padded: Any, i: int, j: int) -> int:
    """Boundary edges at a vertex: bit d is set where one leaves in direction d."""
    upper_left, upper_right = padded[i, j], padded[i, j + 1]
    lower_left, lower_right = padded[i + 1, j], padded[i + 1, j + 1]
    return (
        int(upper_right != lower_right)
        | (int(lower_left != lower_right) << SOUTH)
        | (int(upper_left != lower_left) << WEST)
        | (int(upper_left != upper_right) << NORTH)
    )


@helper
def _code_row(upper: Any, lower: Any, codes: Any) -> int:
    """Edges and stops along one row of vertices, without a branch: many vertices at once."""
    edges = 0
    for j in range(len(codes)):
        east, south = upper[j + 1] != lower[j + 1], lower[j] != lower[j + 1]
        west, north = upper[j] != lower[j], upper[j] != upper[j + 1]
        many = np.uint8(east) + np.uint8(south) + np.uint8(west) + np.uint8(north) > 2
        codes[j] = (
            np.uint8(east)
            | np.uint8(south) << np.uint8(SOUTH)
            | np.uint8(west) << np.uint8(WEST)
            | np.uint8(north) << np.uint8(NORTH)
            | np.uint8(many) << np.uint8(4)
        )
        edges += int(np.uint8(east) + np.uint8(south))
    return edges


@helper
def _keep_owned(padded: Any, codes: Any, i: int, j: int, ends: Any) -> None:
    """Take the edges of other blocks from a vertex on the rim; it is a stop if there are any."""
    height, width = codes.shape[0] - 1, codes.shape[1] - 1
    owned = 15
    if i == 0:
        owned &= ~(1 << NORTH)
    if j == 0:
        owned &= ~(1 << WEST)
    if i == height:
        owned &= ~(1 << SOUTH) if ends[0] else 1 << NORTH
    if j == width:
        owned &= ~(1 << EAST) if ends[1] else 1 << WEST
    edges = _edges(padded, i, j)
    foreign = _STOP if edges & ~owned else 0
    codes[i, j] = (edges & owned) | (_STOPS[edges] & _STOP) | foreign


@entry
def vertex_codes(padded: Any, ends: Any) -> tuple[Any, int]:
    """Which edges of the block leave each vertex, and where arcs stop.

    Args:
        padded: Class codes ``(h + 2, w + 2)``.
        ends: Whether the raster ends below the block, and on its right.

    Returns:
        ``(h + 1, w + 1)`` uint8, bits 0..3: owned edges, bit 4: a node; and the number of edges,
        of which a few on the rim may not be owned.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    codes = np.empty((height + 1, width + 1), np.uint8)
    edges = 0
    for i in range(height + 1):
        edges += _code_row(padded[i], padded[i + 1], codes[i])
    for j in range(width + 1):
        _keep_owned(padded, codes, 0, j, ends)
        _keep_owned(padded, codes, height, j, ends)
    for i in range(1, height):
        _keep_owned(padded, codes, i, 0, ends)
        _keep_owned(padded, codes, i, width, ends)
    return codes, edges


@helper
def _walk(codes: Any, steps: Any, vertices: Any, used: int, start: Any) -> int:
    """Follow an arc, taking its edges away; returns where its vertices end.

    Args:
        codes: Of all vertices, one row after the other.
        steps: How many of them one step leads on, by direction. Unsigned, as ``start``: an index
            that cannot be negative is looked up sooner, and each step waits for the one before.
        vertices: Where rows and columns are written to, from ``used`` on, of which the first is
            there.
        used: Vertices that are there.
        start: The vertex where the arc begins.
    """
    direction = _FIRST[codes[start] & 15]
    codes[start] = (codes[start] & ~(1 << direction)) | _STOP  # where a loop ends, too
    at, row, col = start, np.int64(vertices[used, 0]), np.int64(vertices[used, 1])
    used += 1
    while True:
        at += steps[direction]
        row += _DOWN[direction]
        col += _ALONG[direction]
        code = codes[at] & ~(1 << (direction ^ 2))
        vertices[used, 0], vertices[used, 1] = row, col
        if code & _STOP:
            break
        codes[at] = 0
        onwards = _FIRST[code]
        used += onwards != direction  # kept where the arc turns; no branch to be guessed wrong
        direction = onwards
    codes[at] = code
    return used + 1


@helper
def _label_at(runs: Any, near: Any, row: int, col: int) -> int:
    """The label of a pixel of the block or beside it, as in :func:`trace_arcs`.

    ``near`` is a place among the runs of that row, at or before the pixel's.
    """
    starts, rows, of, rim = runs
    height, width = len(rows) - 1, starts[rows[1] - 1]
    if row >= height or col >= width:
        return 0
    if row < 0:
        return int(rim[col]) if col >= 0 else 0
    if col < 0:
        return int(rim[width + row])
    while starts[near + 1] <= col:
        near += 1
    return int(of[near])


@helper
def _sides(runs: Any, near: Any, at: Any, direction: int) -> tuple[int, int]:
    """Labels on the left and right of the edge that leaves vertex ``at`` in ``direction``.

    ``near`` has a place among the runs of the row above and one for the row below.
    """
    i, j = at
    if direction == EAST:
        return _label_at(runs, near[0], i - 1, j), _label_at(runs, near[1], i, j)
    if direction == SOUTH:
        return _label_at(runs, near[1], i, j), _label_at(runs, near[1], i, j - 1)
    if direction == WEST:
        return _label_at(runs, near[1], i, j - 1), _label_at(runs, near[0], i - 1, j - 1)
    return _label_at(runs, near[0], i - 1, j - 1), _label_at(runs, near[0], i - 1, j)


@helper
def _advance(runs: Any, near: Any, i: int, j: int) -> None:
    """Move both places along to the runs of the pixels on the left of vertex ``(i, j)``."""
    starts, rows = runs[0], runs[1]
    for side in range(2):
        row = i - 1 + side
        if 0 <= row < len(rows) - 1:
            near[side] = max(near[side], rows[row])
            while starts[near[side] + 1] < j:
                near[side] += 1


@helper
def _begin(arc: Any, codes: Any, runs: Any, near: Any, i: int, j: int) -> None:
    """Note what lies on both sides of the arc that is going to leave vertex ``(i, j)``."""
    _advance(runs, near, i, j)
    arc.left, arc.right = _sides(runs, near, (i, j), _FIRST[codes[i, j] & 15])


@helper
def _find_stops(codes: Any) -> tuple[Any, Any]:
    """Columns of the stops, row by row, and the place of each row's first one ``(h + 2,)``."""
    cols = np.empty(codes.size, np.uint16)
    rows = np.empty(codes.shape[0] + 1, np.int64)
    used = 0
    for i in range(codes.shape[0]):
        rows[i] = used
        for j in range(codes.shape[1]):
            cols[used] = j
            used += codes[i, j] >> 4
    rows[codes.shape[0]] = used
    return cols, rows


@helper
def _stop_at(cols: Any, rows: Any, i: int, j: int) -> int:
    """The place of a stop among all; by halving, for a table of all vertices takes longer."""
    low, high = rows[i], rows[i + 1]
    while high - low > 1:
        middle = (low + high) >> 1
        if cols[middle] <= j:
            low = middle
        else:
            high = middle
    return int(low)


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
def _trace_loops(codes: Any, steps: Any, runs: Any, arcs: Any, vertices: Any) -> tuple[int, int]:
    """Trace what no node is on, after the ``arcs`` and ``vertices`` that are counted there."""
    table, found = arcs
    corners, used = vertices
    across, flat, near = codes.shape[1], codes.reshape(-1), np.zeros(2, np.int64)
    for i in range(codes.shape[0]):
        near[:] = 0
        for j in range(across):
            if codes[i, j] & 15:
                arc = table[found]
                _begin(arc, codes, runs, near, i, j)
                corners[used, 0], corners[used, 1] = i, j
                stop = _walk(flat, steps, corners, used, np.uint64(i * across + j))
                arc.source = arc.target = -1
                arc.count, used = stop - used, stop
                found += 1
    return found, used


@entry
def trace_arcs(codes: Any, padded: Any, runs: Any, arcs: Any, vertices: Any) -> tuple[int, int]:
    """Trace all arcs: first those that leave nodes, then the loops, both in reading order.

    Args:
        codes: What :func:`vertex_codes` made; used up.
        padded: Class codes ``(h + 2, w + 2)``.
        runs: First columns, rows and labels of runs as from :func:`~geoseg.ops.regions.label_runs`.
        arcs: Room for :data:`ARC`, one for each edge.
        vertices: Room for vertices, two for each edge.

    Returns:
        How many arcs and vertices there are.
    """
    across = codes.shape[1]
    steps = np.array([1, across, -1, -across]).view(np.uint64)
    flat = codes.reshape(-1)
    runs = (*runs, _outer_labels(padded))
    cols, rows = _find_stops(codes)
    nodes = np.full(rows[-1], -1, np.int32)
    found = used = known = 0
    near = np.zeros(2, np.int64)
    for i in range(codes.shape[0]):
        near[:] = 0
        for k in range(rows[i], rows[i + 1]):
            j = int(cols[k])
            while codes[i, j] & 15:
                arc = arcs[found]
                _begin(arc, codes, runs, near, i, j)
                if nodes[k] < 0:
                    nodes[k], known = known, known + 1
                vertices[used, 0], vertices[used, 1] = i, j
                stop = _walk(flat, steps, vertices, used, np.uint64(i * across + j))
                end = _stop_at(cols, rows, vertices[stop - 1, 0], vertices[stop - 1, 1])
                if nodes[end] < 0:
                    nodes[end], known = known, known + 1
                arc.source, arc.target = nodes[k], nodes[end]
                arc.count, used = stop - used, stop
                found += 1
    found, used = _trace_loops(codes, steps, runs, (arcs, found), (vertices, used))
    return found, used


def trace_block(
    padded: NDArray[np.int16],
    window: Window,
    metric: Metric,
    *,
    confidence: NDArray[np.uint8] | None = None,
) -> BlockArcs:
    """Label the regions of a block and trace their boundaries.

    Args:
        padded: Class codes ``(h + 2, w + 2)`` of the block with one pixel around it;
            :data:`~geoseg.ops.regions.NODATA` where there is no class or no raster.
        window: The block.
        metric: How large the pixels of the raster are.
        confidence: Percent ``(h, w)`` of the block, 255 where there is none.

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
    codes, edges = vertex_codes(padded, ends)
    arcs = np.empty(edges + 1, ARC)
    vertices = np.empty((2 * edges + 2, 2), np.uint16)
    starts, rows, labels = runs
    found, used = trace_arcs(codes, padded, runs, arcs, vertices)
    first, last = (
        np.repeat(labels[rows[k] : rows[k + 1] - 1], np.diff(starts[rows[k] : rows[k + 1]]))
        for k in (0, height - 1)
    )
    rim = np.concatenate([first, last, labels[rows[:-1]], labels[rows[1:] - 2]])
    return BlockArcs(
        window, metric.shape, regions, arcs[:found].copy(), vertices[:used].copy(), rim
    )


def pad(classes: NDArray[np.int16], seen: Window, window: Window) -> NDArray[np.int16]:
    """Codes of ``window`` with one pixel around, from those of ``seen``; nodata beyond."""
    height, width = window.shape
    out = np.full((height + 2, width + 2), NODATA, np.int16)
    around = Window(window.y0 - 1, window.x0 - 1, window.y1 + 1, window.x1 + 1)
    inside = around & seen
    out[inside.within(around).slices] = classes[inside.within(seen).slices]
    return out
