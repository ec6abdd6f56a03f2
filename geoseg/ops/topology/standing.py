"""Outlines of buildings that stand free, made square, and the room that is kept for them.

A square outline runs within so many pixels of the one that was traced: its reach. An outline
stands free if no other boundary of the original map lies within its reach, and no boundary of
another building within twice its reach. All lattice vertices within reach become obstacles to
whatever is simplified or smoothed afterwards: by the argument of
:mod:`geoseg.ops.topology.simplify`, no line gets into the area that they fill, as it would have to
pass one of them. The areas of two buildings that stand free do not overlap, as they are farther
apart than twice the larger reach. So square outlines meet nothing.

Whether an outline stands free is known once all rows within twice its reach are; lines that could
come near it wait until then, see :class:`geoseg.ops.topology.shaper.Shaper`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.kernels import entry, helper
from geoseg.ops.topology.obstacles import mark
from geoseg.ops.topology.squaring import square_ring


@helper
def _step(a: int, b: int) -> int:
    return (b > a) - (b < a)


@entry
def mark_edges(tables: Any, arcs: Any, edges: Any) -> None:
    """Mark all lattice vertices along raw arcs; ``edges`` has bits and the first row of them."""
    bits, top = edges
    v = tables.vertices
    for a in arcs:
        arc = tables.arcs[a]
        for k in range(arc.begin, arc.stop - 1):
            row, col = np.int64(v[k, 0]), np.int64(v[k, 1])
            end_row, end_col = np.int64(v[k + 1, 0]), np.int64(v[k + 1, 1])
            down, along = _step(row, end_row), _step(col, end_col)
            mark(bits, row - top, col)
            while row != end_row or col != end_col:
                row, col = row + down, col + along
                mark(bits, row - top, col)


@helper
def _draw(line: Any, corner: Any, own: Any) -> None:
    """Set the lattice vertices along a line in an array that begins at ``corner``."""
    for k in range(len(line) - 1):
        row, col = line[k, 0] - corner[0], line[k, 1] - corner[1]
        end_row, end_col = line[k + 1, 0] - corner[0], line[k + 1, 1] - corner[1]
        down, along = _step(row, end_row), _step(col, end_col)
        while row != end_row or col != end_col:
            own[row, col] = True
            row, col = row + down, col + along


@helper
def _is_near(own: Any, row: int, col: int, distance: int) -> Any:
    """Whether a lattice vertex is within a distance, along either axis, of one that is set."""
    for i in range(max(row - distance, 0), min(row + distance + 1, own.shape[0])):
        for j in range(max(col - distance, 0), min(col + distance + 1, own.shape[1])):
            if own[i, j]:
                return True
    return False


@helper
def _stands_free(own: Any, corner: Any, edges: Any, distance: int) -> Any:
    """Whether no other boundary comes within a distance of a line."""
    bits, top = edges
    for i in range(own.shape[0]):
        row = bits[corner[0] + i - top]
        for j in range(own.shape[1]):
            col = corner[1] + j
            there = (row[col >> 6] >> np.uint64(col & 63)) & np.uint64(1)
            if there and not own[i, j] and _is_near(own, i, j, distance):
                return False
    return True


@helper
def _keep_room(own: Any, corner: Any, walls: Any, reach: int) -> None:
    """Mark all lattice vertices within ``reach`` of a line."""
    bits, top = walls
    for i in range(own.shape[0]):
        for j in range(own.shape[1]):
            if own[i, j]:
                for row in range(corner[0] + i - reach, corner[0] + i + reach + 1):
                    for col in range(corner[1] + j - reach, corner[1] + j + reach + 1):
                        mark(bits, row - top, col)


@helper
def _bounds(line: Any, distance: int) -> tuple[Any, Any, Any, Any]:
    """First row and column, height and width of the lattice around a line."""
    top, left = np.min(line[:, 0]), np.min(line[:, 1])
    height, width = np.max(line[:, 0]) - top, np.max(line[:, 1]) - left
    return top - distance, left - distance, height + 2 * distance + 1, width + 2 * distance + 1


@helper
def _square_line(line: Any, rules: Any, edges: Any, walls: Any, out: Any) -> Any:
    """Make a loop square if it can be done and it stands free; returns how many corners it has."""
    down, right, tolerance, reach, largest, size = rules
    top, left, height, width = _bounds(line, 2 * reach)
    inside = top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
    if not inside or max(height, width) > largest:
        return 0
    corners, metres = square_ring(line[:-1].astype(np.float64), down, right, tolerance, out)
    # Half a pixel from any point of the outline there is a lattice vertex of it.
    mine = int(np.ceil(metres / min(down, right) + 0.5))
    if corners == 0 or mine > reach:
        return 0
    own = np.zeros((height, width), np.bool_)
    _draw(line, (top, left), own)
    for which in range(2):
        if not _stands_free(own, (top, left), edges[which], (1 + which) * mine):
            return 0
    _keep_room(own, (top, left), walls, mine)
    return corners


@entry
def square_lines(lines: Any, rules: Any, edges: Any, walls: Any) -> tuple[Any, Any, Any]:
    """Make loops square where they stand free and it can be done.

    Args:
        lines: As in :class:`geoseg.ops.topology.chains.Lines`, int64; loops only.
        rules: Metres between rows and between columns, tolerance in metres, the largest reach in
            pixels, rows or columns that a loop and the room around have at most, and height and
            width of the raster.
        edges: Bits of all lattice vertices on boundaries, and of those on boundaries of
            buildings; each with the lattice row of the first.
        walls: Those of obstacles; around loops that are made square more of them are set.

    Returns:
        Vertices ``(v, 2)`` float64 of those that were made square, where each line begins
        ``(n + 1,)`` (as it ends, if it stays as it is), and whether it is square ``(n,)``.
    """
    vertices, begins, _ = lines
    out = np.empty((len(vertices), 2))
    starts = np.zeros(len(begins), np.int64)
    square = np.zeros(len(begins) - 1, np.bool_)
    used = 0
    for c in range(len(square)):
        line = vertices[begins[c] : begins[c + 1]]
        # The last vertex of the room is for closing the ring.
        corners = _square_line(line, rules, edges, walls, out[used : used + len(line) - 1])
        if corners > 0:
            square[c] = True
            out[used + corners, 0], out[used + corners, 1] = out[used, 0], out[used, 1]
            used += corners + 1
        starts[c + 1] = used
    return out[:used].copy(), starts, square
