"""Outlines as WKB (OGC 06-103r4, 8.2), without a Python object per polygon."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.metric import Metric
from geoseg.ops.rings import Outlines

_POLYGON, _MULTIPOLYGON = 3, 6


class Written(NamedTuple):
    """Geometries in map coordinates, and what was seen while they were written."""

    offsets: NDArray[np.int64]  # (n + 1,) where each begins in ``wkb``
    wkb: NDArray[np.uint8]
    boxes: NDArray[np.float64]  # (4, n) west, south, east, north
    perimeters: NDArray[np.float64]  # (n,) metres on the ground, holes included


class Some(NamedTuple):
    """Which features of some outlines are written, and where among all that are written."""

    outlines: Outlines
    which: NDArray[np.int64]
    places: NDArray[np.int64]


# Places in bytes are unsigned, as they cannot be negative: then stores of eight bytes are one.
@helper
def _put_word(out: Any, at: Any, value: Any) -> None:
    for byte in range(8):
        out[at + np.uint64(byte)] = np.uint8(value >> np.uint64(8 * byte))


@helper
def _put_integer(out: Any, at: Any, value: Any) -> Any:
    for byte in range(4):
        out[at + np.uint64(byte)] = np.uint8(value >> np.uint32(8 * byte))
    return at + np.uint64(4)


@helper
def _put_header(out: Any, at: Any, kind: int, count: int) -> Any:
    out[at] = np.uint8(1)  # little endian
    return _put_integer(
        out, _put_integer(out, at + np.uint64(1), np.uint32(kind)), np.uint32(count)
    )


@helper
def _put_ring(out: Any, at: Any, ring: Any, vertices: Any, affine: Any, box: Any) -> Any:
    """Write a ring from its pivot on, closed; backwards where the grid mirrors the map.

    Returns:
        Where it ends, and ``box`` widened by it.
    """
    count = ring.stop - ring.begin
    at = _put_integer(out, at, np.uint32(count + 1))
    a, b, c, d, e, f = affine
    xmin, ymin, xmax, ymax = box
    turn = 1 if a * e - b * d < 0 else -1
    n = ring.pivot
    for _ in range(count + 1):
        row, col = np.float64(vertices[n, 0]), np.float64(vertices[n, 1])
        # In the order of GDAL's additions, so that not even the last bit differs.
        x, y = c + col * a + row * b, f + col * d + row * e
        _put_word(out, at, np.float64(x).view(np.uint64))
        _put_word(out, at + np.uint64(8), np.float64(y).view(np.uint64))
        at += np.uint64(16)
        xmin, ymin, xmax, ymax = min(xmin, x), min(ymin, y), max(xmax, x), max(ymax, y)
        n += turn
        if n == ring.stop:
            n = ring.begin
        elif n < ring.begin:
            n = ring.stop - 1
    return at, (xmin, ymin, xmax, ymax)


@helper
def _ring_length(ring: Any, vertices: Any, steps: Any, spacing: Any) -> float:
    """Metres around a ring on lattice lines, from its pivot; each edge is measured at its middle.

    Edges down and edges across take turns.
    """
    last_row, last_col = steps.shape[0] - 2, steps.shape[1] - 2
    total = 0.0
    a = ring.pivot
    for _ in range(ring.stop - ring.begin):
        b = a + 1 if a + 1 < ring.stop else ring.begin
        rows = abs(vertices[b, 0] - vertices[a, 0])
        cols = abs(vertices[b, 1] - vertices[a, 1])
        y = 0.5 * (vertices[a, 0] + vertices[b, 0]) / spacing[0]
        x = 0.5 * (vertices[a, 1] + vertices[b, 1]) / spacing[1]
        i, j = min(int(y), last_row), min(int(x), last_col)
        y, x = y - i, x - j
        axis = 0 if rows else 1
        upper = steps[i, j, axis] * (1 - x) + steps[i, j + 1, axis] * x
        lower = steps[i + 1, j, axis] * (1 - x) + steps[i + 1, j + 1, axis] * x
        total += (rows + cols) * (upper * (1 - y) + lower * y)
        a = b
    return total


@helper
def _heads(rings: Any, first: int, stop: int) -> int:
    """How many polygons the rings of a feature are."""
    count = 0
    for k in range(first, stop):
        count += k == first or rings[k].region != rings[k - 1].region
    return count


@entry
def _measure(outlines: Any, which: Any, places: Any, multi: bool, sizes: Any) -> None:
    """Bytes of each feature."""
    firsts, rings, _ = outlines
    for k in range(len(which)):
        first, stop = firsts[which[k]], firsts[which[k] + 1]
        size = 9 * multi + 9 * (_heads(rings, first, stop) if multi else 1)
        for r in range(first, stop):
            size += 4 + 16 * (rings[r].stop - rings[r].begin + 1)
        sizes[places[k]] = size


@entry
def _write(
    outlines: Any, which: Any, places: Any, multi: bool, affine: Any, mesh: Any, written: Any
) -> None:
    """Write features where they belong.

    Args:
        outlines: As in :class:`Outlines`.
        which: Features among them.
        places: Of these among all that are written.
        multi: Write multipolygons.
        affine: The six numbers of the transform.
        mesh: Steps and spacing of :class:`geoseg.ops.metric.Metric`; without nodes nothing is
            measured.
        written: As in :class:`Written`, to be filled but for the offsets.
    """
    firsts, rings, vertices = outlines
    offsets, out, boxes, perimeters = written
    steps, spacing = mesh
    for k in range(len(which)):
        first, stop, place = firsts[which[k]], firsts[which[k] + 1], places[k]
        at = np.uint64(offsets[place])
        if multi:
            at = _put_header(out, at, _MULTIPOLYGON, _heads(rings, first, stop))
        box = (np.inf, np.inf, -np.inf, -np.inf)
        length = 0.0
        after = first
        for r in range(first, stop):
            if r == after:  # a polygon begins
                while after < stop and (not multi or rings[after].region == rings[r].region):
                    after += 1
                at = _put_header(out, at, _POLYGON, after - r)
            at, box = _put_ring(out, at, rings[r], vertices, affine, box)
            if len(steps):
                length += _ring_length(rings[r], vertices, steps, spacing)
        for side in range(4):
            boxes[side, place] = box[side]
        perimeters[place] = length


def write_wkb(parts: tuple[Some, ...], affine: Affine, metric: Metric | None, multi: bool) -> Written:
    """Little-endian WKB of features, one after the other.

    Exteriors run counterclockwise on the map and holes clockwise, whichever way the grid lies.

    Args:
        parts: Features; their places are all of 0..n.
        affine: From column and row to the map.
        metric: How long steps on the lattice are; perimeters are 0 without it.
        multi: Write multipolygons, not polygons.
    """
    count = sum(len(part.which) for part in parts)
    sizes = np.empty(count, np.int64)
    for part in parts:
        _measure(*part, multi, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    written = Written(
        offsets, np.empty(offsets[-1], np.uint8), np.empty((4, count)), np.empty(count)
    )
    numbers = tuple(float(v) for v in affine[:6])
    mesh = (np.empty((0, 0, 2)), (1.0, 1.0)) if metric is None else (metric.steps, metric.spacing)
    for part in parts:
        _write(*part, multi, numbers, mesh, tuple(written))
    return written
