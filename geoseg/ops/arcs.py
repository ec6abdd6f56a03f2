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
from geoseg.ops.regions import NODATA, find_regions

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
_DOWN = (0, 1, 0, -1)
_ALONG = (1, 0, -1, 0)

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
        ``(h + 1, w + 1)`` uint8, bits 0..3: owned edges, bit 4: a node; and the number of edges.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    codes = np.empty((height + 1, width + 1), np.uint8)
    for i in range(height + 1):
        for j in range(width + 1):
            codes[i, j] = _STOPS[_edges(padded, i, j)]
    for j in range(width + 1):
        _keep_owned(padded, codes, 0, j, ends)
        _keep_owned(padded, codes, height, j, ends)
    for i in range(1, height):
        _keep_owned(padded, codes, i, 0, ends)
        _keep_owned(padded, codes, i, width, ends)
    edges = 0
    for i in range(height + 1):
        for j in range(width + 1):
            edges += (codes[i, j] & 1) + ((codes[i, j] >> SOUTH) & 1)
    return codes, edges


@helper
def _walk(codes: Any, vertices: Any, used: int, i: int, j: int) -> tuple[int, int, int]:
    """Follow an arc from vertex ``(i, j)``, taking its edges away; returns its end too."""
    at_i, at_j = i, j
    direction = _FIRST[codes[i, j] & 15]
    vertices[used, 0], vertices[used, 1] = i, j
    used += 1
    while True:
        codes[at_i, at_j] &= ~(1 << direction)
        at_i += _DOWN[direction]
        at_j += _ALONG[direction]
        codes[at_i, at_j] &= ~(1 << (direction ^ 2))
        code = codes[at_i, at_j]
        if code & _STOP or (at_i == i and at_j == j):
            break
        onwards = _FIRST[code]
        if onwards != direction:
            vertices[used, 0], vertices[used, 1] = at_i, at_j
            used += 1
            direction = onwards
    vertices[used, 0], vertices[used, 1] = at_i, at_j
    return used + 1, at_i, at_j


@helper
def _sides(labels: Any, i: int, j: int, direction: int) -> tuple[int, int]:
    """Labels on the left and right of the edge that leaves a vertex in ``direction``."""
    upper_left, upper_right = labels[i, j], labels[i, j + 1]
    lower_left, lower_right = labels[i + 1, j], labels[i + 1, j + 1]
    if direction == EAST:
        return upper_right, lower_right
    if direction == SOUTH:
        return lower_right, lower_left
    if direction == WEST:
        return lower_left, upper_left
    return upper_left, upper_right


@helper
def _node(nodes: Any, known: int, i: int, j: int) -> int:
    """The number of a node, from 1; ``known + 1`` if it is new."""
    if nodes[i, j] == 0:
        nodes[i, j] = known + 1
    return int(nodes[i, j])


@entry
def trace_arcs(codes: Any, labels: Any, arcs: Any, vertices: Any) -> tuple[int, int]:
    """Trace all arcs: first those that leave nodes, then the loops, both in reading order.

    Args:
        codes: What :func:`vertex_codes` made; used up.
        labels: ``(h + 2, w + 2)``.
        arcs: Room for :data:`ARC`, one for each edge.
        vertices: Room for vertices, two for each edge.

    Returns:
        How many arcs and vertices there are.
    """
    nodes = np.zeros(codes.shape, np.int32)
    found = used = known = 0
    for loops in range(2):
        for i in range(codes.shape[0]):
            for j in range(codes.shape[1]):
                if loops == 0 and not codes[i, j] & _STOP:
                    continue
                while codes[i, j] & 15:
                    arc = arcs[found]
                    direction = _FIRST[codes[i, j] & 15]
                    arc.left, arc.right = _sides(labels, i, j, direction)
                    stop, end_i, end_j = _walk(codes, vertices, used, i, j)
                    arc.source = arc.target = -1
                    if loops == 0:
                        arc.source = _node(nodes, known, i, j) - 1
                        known = max(known, arc.source + 1)
                        arc.target = _node(nodes, known, end_i, end_j) - 1
                        known = max(known, arc.target + 1)
                    arc.count = stop - used
                    used = stop
                    found += 1
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
    labels, regions = find_regions(padded, confidence, density, at)
    ends = window.y1 == metric.shape[0], window.x1 == metric.shape[1]
    codes, edges = vertex_codes(padded, ends)
    arcs = np.empty(edges + 1, ARC)
    vertices = np.empty((2 * edges + 2, 2), np.uint16)
    found, used = trace_arcs(codes, labels, arcs, vertices)
    inner = labels[1:-1, 1:-1]
    rim = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
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
