"""Batches of finished polygons: gathered until there are enough, then written at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.ops.metric import Metric
from geoseg.ops.wkb import Some, write_wkb

ROWS = 1 << 16
"""Polygons of a batch, unless they are large."""

_VERTICES = 1 << 21


@dataclass(frozen=True, slots=True)
class PolygonBatch:
    """Finished polygons, in order.

    Attributes:
        features: ``(n,)`` of :data:`geoseg.ops.regions.REGION`.
        perimeter: ``(n,)`` metres on the ground, holes included.
        offsets: ``(n + 1,)`` where each geometry begins in ``wkb``.
        wkb: Bytes, one geometry after the other: polygons for 4-connectivity, multipolygons for
            8-connectivity.
        boxes: ``(4, n)`` west, south, east and north in map coordinates.
        written: ``(n,)`` int64; area of the geometry in counts of ``Metric.unit``. That of the
            pixels unless boundaries are shaped.
    """

    features: NDArray[np.void]
    perimeter: NDArray[np.float64]
    offsets: NDArray[np.int64]
    wkb: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    written: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some polygons of a batch.

    Attributes:
        features: ``(n,)`` of :data:`geoseg.ops.regions.REGION`.
        parts: Where the outlines of these lie; places count from the first feature.
        shaped: Perimeters and areas, of shaped boundaries; see :class:`PolygonBatch`.
    """

    features: NDArray[np.void]
    parts: list[Some]
    shaped: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None


class Batcher:
    """Gathers polygons: :data:`ROWS` of them, or about two million vertices."""

    def __init__(self, affine: Affine, metric: Metric, *, multi: bool) -> None:
        self._affine, self._metric, self._multi = affine, metric, multi
        self._pieces: list[Piece] = []
        self._rows = self._vertices = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has been gathered."""
        return not self._pieces

    @property
    def full(self) -> bool:
        """Whether there is a batch."""
        return self._rows >= ROWS

    def reach(self, ends: NDArray[np.int64], begin: int) -> int:
        """Up to which of some features there is room; one at least if there are none yet.

        Args:
            ends: Vertices before each feature, and those of all ``(n + 1,)``.
            begin: The first that is to be added.
        """
        most = int(ends[begin]) + _VERTICES - self._vertices
        room = int(np.searchsorted(ends, most, "right")) - 1
        rows = begin + ROWS - self._rows
        return min(len(ends) - 1, rows, max(room, begin + (not self._pieces)))

    def add(self, piece: Piece, vertices: int) -> None:
        """Keep polygons that have about that many vertices."""
        self._pieces.append(piece)
        self._rows += len(piece.features)
        self._vertices += vertices

    def flush(self) -> PolygonBatch:
        """What has been gathered."""
        pieces, parts, row = self._pieces, [], 0
        self._pieces, self._rows, self._vertices = [], 0, 0
        for piece in pieces:
            parts += [Some(p.outlines, p.which, p.places + row) for p in piece.parts]
            row += len(piece.features)
        features = np.concatenate([piece.features for piece in pieces])
        shaped = [piece.shaped for piece in pieces if piece.shaped is not None]
        metric = None if shaped else self._metric
        out = write_wkb(parts, self._affine, metric, multi=self._multi)
        perimeter, written = out.perimeters, features["area"]
        if shaped:
            perimeter, written = (np.concatenate(some) for some in zip(*shaped, strict=True))
        return PolygonBatch(features, perimeter, out.offsets, out.wkb, out.boxes, written)


def add_areas(balance: dict[int, tuple[int, int]], batch: PolygonBatch) -> None:
    """Add what the pixels and the geometries of each class cover, in counts of ``Metric.unit``."""
    codes = batch.features["code"].astype(np.uint16)
    sums = np.zeros((2, 1 << 16), np.int64)
    np.add.at(sums[0], codes, batch.features["area"])
    np.add.at(sums[1], codes, batch.written)
    for code in np.flatnonzero(np.bincount(codes)):
        key = int(code.astype(np.uint16).astype(np.int16))
        pixels, written = balance.get(key, (0, 0))
        balance[key] = pixels + int(sums[0, code]), written + int(sums[1, code])
