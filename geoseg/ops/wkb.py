"""Rings as WKB (OGC 06-103r4, 8.2), without a Python object per polygon."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper

_POLYGON, _MULTIPOLYGON = 3, 6


@helper
def _put_integer(out: Any, at: Any, value: int) -> Any:
    for byte in range(4):
        out[at + byte] = (value >> (8 * byte)) & 255
    return at + 4


@helper
def _put_header(out: Any, at: Any, kind: int, count: int) -> Any:
    out[at] = 1  # little endian
    return _put_integer(out, _put_integer(out, at + 1, kind), count)


@helper
def _put_ring(out: Any, at: Any, ring: Any, vertices: Any, affine: Any, scratch: Any) -> Any:
    """Write a ring from its pivot on, closed; backwards where the grid mirrors the map."""
    count = ring.stop - ring.begin
    at = _put_integer(out, at, count + 1)
    point, raw = scratch
    a, b, c, d, e, f = affine
    turn = 1 if a * e - b * d < 0 else -1
    n = ring.pivot
    for _ in range(count + 1):
        row, col = np.float64(vertices[n, 0]), np.float64(vertices[n, 1])
        # In the order of GDAL's additions, so that not even the last bit differs.
        point[0], point[1] = c + col * a + row * b, f + col * d + row * e
        for byte in range(16):
            out[at + byte] = raw[byte]
        at += 16
        n += turn
        if n == ring.stop:
            n = ring.begin
        elif n < ring.begin:
            n = ring.stop - 1
    return at


@entry
def _write_wkb(out: Any, rings: Any, heads: Any, vertices: Any, affine: Any, scratch: Any) -> None:
    """Write features one after the other.

    Args:
        out: Room for the bytes.
        rings: Ordered; those of a polygon follow each other, exterior first.
        heads: ``(polygons, 2)``; rings of each polygon, and polygons of the multipolygon that
            begins with it: 0 where it goes on, -1 where the feature is a plain polygon.
        vertices: ``(v, 2)`` row and column.
        affine: The six numbers of the transform.
        scratch: Two float64, and the same memory as bytes.
    """
    at = k = 0
    for p in range(len(heads)):
        if heads[p, 1] > 0:
            at = _put_header(out, at, _MULTIPOLYGON, heads[p, 1])
        at = _put_header(out, at, _POLYGON, heads[p, 0])
        for _ in range(heads[p, 0]):
            at = _put_ring(out, at, rings[k], vertices, affine, scratch)
            k += 1


def to_wkb(
    rings: NDArray[np.void],
    vertices: NDArray[Any],
    affine: Affine,
    features: int,
    *,
    multi: bool,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Little-endian WKB of the features that ``rings`` belong to.

    Exteriors run counterclockwise on the map and holes clockwise, whichever way the grid lies.

    Args:
        rings: In the order of :func:`geoseg.ops.rings.walk`.
        vertices: What they refer to.
        affine: From column and row to the map.
        features: How many there are.
        multi: Write multipolygons.

    Returns:
        Where each feature begins and the last one ends ``(features + 1,)``, and the bytes.
    """
    begins = np.ones(len(rings), np.bool_)
    begins[1:] = np.diff(rings["region"]) != 0
    first = np.flatnonzero(begins)
    owner = rings["feature"][first]
    polygons = np.bincount(owner, minlength=features)
    heads = np.full((len(first), 2), -1, np.int64)
    heads[:, 0] = np.diff(first, append=len(rings))
    if multi:
        heads[:, 1] = np.where(np.diff(owner, prepend=-1) != 0, polygons[owner], 0)
    points = np.bincount(rings["feature"], rings["stop"] - rings["begin"] + 1, features)
    counts = np.bincount(rings["feature"], minlength=features)
    sizes = 16 * points.astype(np.int64) + 4 * counts + 9 * polygons + 9 * multi
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    out = np.empty(offsets[-1], np.uint8)
    point = np.empty(2)
    numbers = tuple(float(v) for v in affine[:6])
    _write_wkb(out, rings, heads, vertices, numbers, (point, point.view(np.uint8)))
    return offsets, out
