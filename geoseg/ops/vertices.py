"""The vertices of the pixel lattice: which boundary edges leave them, and how one walks along.

Vertex ``(r, c)`` is the upper left corner of pixel ``(r, c)``. What is known of one is a code:
bits 0..3 are set where a boundary edge leaves in that direction, bit 4 where arcs stop.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper

EAST, SOUTH, WEST, NORTH = 0, 1, 2, 3

_DOWN, _ALONG = (0, 1, 0, -1), (1, 0, -1, 0)  # by direction

STOP = np.uint8(16)
_NONE, _MANY = np.uint8(0), np.uint8(2)
_EDGE = tuple(np.uint8(1 << direction) for direction in range(4))
_STOPS = np.array([i | (16 if i.bit_count() > 2 else 0) for i in range(16)], np.uint8)
FIRST = np.array([0, *((i & -i).bit_length() - 1 for i in range(1, 16))], np.uint8)
"""The first direction in which an edge leaves, by code without stop."""

# A vertex as one number, which is two uint16, row and column, in memory.
_ROW, _COL = (0, 16) if sys.byteorder == "little" else (16, 0)


def _onwards() -> Any:
    """By where one comes from and the edges there are, the other direction; both times 16."""
    table = np.zeros(64, np.uint8)
    for heading in range(4):
        for other in {EAST, SOUTH, WEST, NORTH} - {heading ^ 2}:
            table[heading << 4 | 1 << (heading ^ 2) | 1 << other] = other << 4
    return table


_ONWARDS = _onwards()
_MOVES = np.array(
    [(d << _ROW) + (a << _COL) for d, a in zip(_DOWN, _ALONG, strict=True)], np.int64
).view(np.uint64)


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
def _code_row(upper: Any, lower: Any, codes: Any) -> Any:
    """Edges and stops along one row of vertices, without a branch: many vertices at once."""
    for j in range(len(codes)):
        ul, ur, ll, lr = upper[j], upper[j + 1], lower[j], lower[j + 1]
        east, south = _EDGE[0] if ur != lr else _NONE, _EDGE[1] if ll != lr else _NONE
        west, north = _EDGE[2] if ul != ll else _NONE, _EDGE[3] if ul != ur else _NONE
        # Each sum is cut to a byte at once: four times as many vertices in a register.
        across = np.uint8(np.uint8(east != _NONE) + np.uint8(west != _NONE))
        along = np.uint8(np.uint8(south != _NONE) + np.uint8(north != _NONE))
        stop = STOP if np.uint8(across + along) > _MANY else _NONE
        codes[j] = np.uint8(np.uint8(east | south | west | north) | stop)
    edges = np.uint32(0)
    for j in range(len(codes)):
        edges = np.uint32(edges + (codes[j] & 1) + (codes[j] >> 1 & 1))
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
    foreign = STOP if edges & ~owned else 0
    codes[i, j] = (edges & owned) | (_STOPS[edges] & STOP) | foreign


@entry
def vertex_codes(padded: Any, ends: Any, codes: Any) -> int:
    """Find which edges of the block leave each vertex, and where arcs stop.

    Args:
        padded: Class codes ``(h + 2, w + 2)``.
        ends: Whether the raster ends below the block, and on its right.
        codes: To be filled, ``(h + 1, w + 1)`` uint8; bits 0..3: owned edges, bit 4: a node.

    Returns:
        How many edges there are, of which a few on the rim may not be owned.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    edges = 0
    for i in range(height + 1):
        edges += _code_row(padded[i], padded[i + 1], codes[i])
    for j in range(width + 1):
        _keep_owned(padded, codes, 0, j, ends)
        _keep_owned(padded, codes, height, j, ends)
    for i in range(1, height):
        _keep_owned(padded, codes, i, 0, ends)
        _keep_owned(padded, codes, i, width, ends)
    return edges


@helper
def walking_tables(across: int) -> Any:
    """How far steps lead, for :func:`walk`.

    Args:
        across: Vertices in a row.

    Returns:
        ``(4, 2)`` uint64, by direction: how far in the array of all vertices, and in a vertex as
        one number. ``(64, 2)``: the same for the step onwards from a vertex, by where one comes
        from and its code, see :data:`_ONWARDS`.
    """
    first = np.empty((4, 2), np.uint64)
    first[:, 0] = np.array([1, across, -1, -across]).view(np.uint64)
    first[:, 1] = _MOVES
    onwards = np.empty((64, 2), np.uint64)
    for key in range(64):
        onwards[key] = first[_ONWARDS[key] >> 4]
    return first, onwards


@helper
def vertex_at(row: int, col: int) -> Any:
    """A vertex as one number; see :func:`as_vertices`."""
    return np.uint64(row) << np.uint64(_ROW) | np.uint64(col) << np.uint64(_COL)


@helper
def row_and_col(vertex: Any) -> tuple[int, int]:
    """What :func:`vertex_at` was given."""
    return int(vertex >> np.uint64(_ROW) & 0xFFFF), int(vertex >> np.uint64(_COL) & 0xFFFF)


@helper
def walk(codes: Any, tables: Any, vertices: Any, used: Any, at: Any) -> Any:
    """Follow an arc, taking its edges away; returns where its vertices end.

    Args:
        codes: Of all vertices, one row after the other.
        tables: Those of :func:`walking_tables`.
        vertices: Where vertices are written to, each as one number, from ``used`` on, of which
            the first is there.
        used: Vertices that are there, as uint64.
        at: The place of the first vertex in ``codes``, as uint64. An index that cannot be
            negative is looked up sooner, and each step waits for the one before.
    """
    first, onwards = tables
    direction = FIRST[codes[at] & 15]
    codes[at] = (codes[at] & ~(1 << direction)) | STOP  # where a loop ends, too
    heading = np.uint8(direction << 4)
    step, move = first[direction, 0], first[direction, 1]
    vertex = np.uint64(vertices[used])
    used += np.uint64(1)
    while True:
        at += step
        vertex += move
        code = codes[at]
        vertices[used] = vertex
        if code & STOP:
            break
        codes[at] = 0
        # Looked up by all that is known at once: each look-up waits for the one before.
        key = np.uint64(heading | code)
        ahead = _ONWARDS[key]
        step, move = onwards[key, 0], onwards[key, 1]
        used += np.uint64(ahead != heading)  # kept where it turns; no branch to be guessed wrong
        heading = ahead
    codes[at] = code & ~(1 << ((heading >> 4) ^ 2))
    return used + np.uint64(1)


def as_vertices(numbers: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """Rows and columns ``(n, 2)`` of vertices that are one number each; the same memory."""
    return numbers.view(np.uint16).reshape(-1, 2)
