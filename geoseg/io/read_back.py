"""Rasters read again once they are written: GDAL does not tell of all that a disk refuses.

What is flushed as a file is closed may be lost without an error, and libtiff writes that to stderr
only: on a full disk a raster comes out cut off, under a good name, and as if all had gone well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises, bare
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.errors import ProductError
from geoseg.grid import Window

FAILURES = (RasterioError, CPLE_BaseError, SystemError)
"""What comes of a raster that cannot be written; the last where GDAL fails without a reason."""

_ROWS = 512  # of an overview that are read at once


class Written:
    """Checksums of what was written to a raster."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Window, int]] = []

    def note(self, band: int, window: Window, values: NDArray[Any]) -> None:
        """``values`` ``(y, x)`` were written to ``band`` (from 1)."""
        self._parts.append((band, window, _checksum(values)))

    def check(self, path: Path) -> None:
        """Read all of the raster, and compare; of its overviews only that they can be read.

        Raises:
            ProductError: The raster is not what was written to it.
        """
        try:
            with rasterio.open(path, NUM_THREADS="2") as source:
                levels = len(source.overviews(1))
                for band, window, checksum in self._parts:
                    rows, columns = window.slices
                    at = RasterWindow.from_slices(rows, columns)
                    if _checksum(source.read(band, window=at)) != checksum:
                        raise ProductError(_LOST)
            for level in range(levels):
                with rasterio.open(path, OVERVIEW_LEVEL=level, NUM_THREADS="2") as source:
                    for strip in _strips(source.shape):
                        source.read(window=strip)
        except FAILURES as error:
            raise ProductError(_LOST) from error


_LOST = "what was written is not there; the disk may be full, or refuse large files"


def _strips(shape: tuple[int, int]) -> Iterator[RasterWindow]:
    for row in range(0, shape[0], _ROWS):
        yield RasterWindow(0, row, shape[1], min(_ROWS, shape[0] - row))


def _checksum(values: NDArray[Any]) -> int:
    return crc32(np.ascontiguousarray(values).data)
