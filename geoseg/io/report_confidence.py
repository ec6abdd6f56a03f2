"""How sure a model was by class, counted from whole tiles of a map and its confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.errors import ProductError
from geoseg.io.cog import CONFIDENCE_NODATA

_TILES = 12
"""Of a large map so many tiles are read, spread over it: enough for a chart, whatever its size."""

_SIDE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Sureness:
    """Pixels by class and confidence.

    Attributes:
        counts: ``(256, 101)``; by code and percent.
        whole: Whether all pixels of the map were counted.
    """

    counts: NDArray[np.int64]
    whole: bool

    @property
    def pixels(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def mean(self, code: int) -> float | None:
        """Mean confidence of a class as a share; None where no pixel of it was counted."""
        row = self.counts[code]
        total = int(row.sum())
        return float((row * np.arange(101)).sum()) / total / 100 if total else None

    def unsure(self, code: int, below: int = 50) -> float | None:
        """The share of a class that has less than so many percent."""
        row = self.counts[code]
        total = int(row.sum())
        return float(row[:below].sum()) / total if total else None


def read_sureness(classes: Path, confidence: Path) -> Sureness:
    """Count tiles of two rasters of one grid: a class map, and its confidence in percent.

    Raises:
        ProductError: They cannot be read, or are not of one size.
    """
    counts = np.zeros(256 * 101, np.int64)
    try:
        with rasterio.open(classes) as codes, rasterio.open(confidence) as sure:
            if codes.shape != sure.shape:
                raise ProductError(
                    f"{confidence}: has {sure.shape}, {classes} {codes.shape} pixels"
                )
            tiles, whole = _tiles(codes.shape)
            for tile in tiles:
                percent = sure.read(1, window=tile)
                seen = percent != CONFIDENCE_NODATA
                at = codes.read(1, window=tile)[seen].astype(np.int64) * 101
                counts += np.bincount(at + np.minimum(percent[seen], 100), minlength=counts.size)
    except RasterioError as error:
        raise ProductError(f"{confidence}: cannot be read: {error}") from error
    return Sureness(counts.reshape(256, 101), whole)


def _tiles(shape: tuple[int, int]) -> tuple[Iterator[Window], bool]:
    """Windows to read, the same for the same shape; and whether they are all there are."""
    rows, cols = (-(-n // _SIDE) for n in shape)
    total = rows * cols
    # By the golden section no two of them fall together, nor in a line as even steps may.
    places = [int((0.5 + k * 0.6180339887) % 1 * total) for k in range(_TILES)]
    chosen = range(total) if total <= _TILES else sorted(set(places))
    windows = (
        Window(
            at % cols * _SIDE,
            at // cols * _SIDE,
            min(_SIDE, shape[1] - at % cols * _SIDE),
            min(_SIDE, shape[0] - at // cols * _SIDE),
        )
        for at in chosen
    )
    return windows, total <= _TILES
