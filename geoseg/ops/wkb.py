"""Outlines as WKB (OGC 06-103r4, 8.2), without a Python object per polygon."""

from __future__ import annotations

from collections.abc import Sequence
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
def _put_point(out: Any, at: Any, x: float, y: float) -> None:
    _put_word(out, at, np.float64(x).view(np.uint64))
    _put_word(out, at + np.uint64(8), np.float64(y).view(np.uint64))


@helper
def _edge_length(rows: float, cols: float, middle: Any, mesh: Any) -> float:
    """Metres along an edge down or across, measured at its middle ``(y, x)``."""
    steps, spacing = mesh
    y, x = middle[0] / spacing[0], middle[1] / spacing[1]
    i = np.uint64(min(np.int64(y), steps.shape[0] - 2))
    j = np.uint64(min(np.int64(x), steps.shape[1] - 2))
    y, x = y - np.float64(i), x - np.float64(j)
    axis = np.uint64(rows == 0)
    below, after = i + np.uint64(1), j + np.uint64(1)
    upper = steps[i, j, axis] * (1 - x) + steps[i, after, axis] * x
    lower = steps[below, j, axis] * (1 - x) + steps[below, after, axis] * x
    return float((rows + cols) * (upper * (1 - y) + lower * y))


@helper
def _put_ring(out: Any, at: Any, ring: Any, vertices: Any, affine: Any, mesh: Any, box: Any) -> Any:
    """Write a ring from its pivot on, closed; backwards where the grid mirrors the map.

    Returns:
        ``box`` widened by the ring, and how long it is.
    """
    begin, stop, n = np.uint64(ring.begin), np.uint64(ring.stop), np.uint64(ring.pivot)
    a, b, c, d, e, f = affine
    xmin, ymin, xmax, ymax = box
    measured = len(mesh[0]) > 0
    at = _put_integer(out, at, np.uint32(stop - begin + np.uint64(1)))
    step = np.uint64(16)
    if a * e - b * d > 0:
        at, step = at + np.uint64(16) * (stop - begin), ~step + np.uint64(1)
    length = 0.0
    row, col = np.float64(vertices[n, 0]), np.float64(vertices[n, 1])
    for _ in range(stop - begin):
        # In the order of GDAL's additions, so that not even the last bit differs.
        x, y = c + col * a + row * b, f + col * d + row * e
        _put_point(out, at, x, y)
        at += step
        xmin, ymin, xmax, ymax = min(xmin, x), min(ymin, y), max(xmax, x), max(ymax, y)
        n += np.uint64(1)
        n = begin if n == stop else n
        below, after = np.float64(vertices[n, 0]), np.float64(vertices[n, 1])
        if measured:
            middle = 0.5 * (row + below), 0.5 * (col + after)
            length += _edge_length(abs(below - row), abs(after - col), middle, mesh)
        row, col = below, after
    _put_point(out, at, c + col * a + row * b, f + col * d + row * e)
    return (xmin, ymin, xmax, ymax), length


@helper
def _heads(rings: Any, first: int, stop: int) -> int:
    """How many polygons the rings of a feature are."""
    count = 0
    for k in range(first, stop):
        count += k == first or rings[k].region != rings[k - 1].region
    return count


@entry
def _measure(outlines: Any, which: Any, places: Any, multi: Any, sizes: Any) -> None:
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
    outlines: Any, which: Any, places: Any, multi: Any, affine: Any, mesh: Any, written: Any
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
            box, around = _put_ring(out, at, rings[r], vertices, affine, mesh, box)
            at += np.uint64(20 + 16 * (rings[r].stop - rings[r].begin))
            length += around
        for side in range(4):
            boxes[side, place] = box[side]
        perimeters[place] = length


def write_wkb(
    parts: Sequence[Some], affine: Affine, metric: Metric | None, *, multi: bool
) -> Written:
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
