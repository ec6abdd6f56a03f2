"""Rasters read again once they are written: GDAL does not tell of all that a disk refuses.

What is flushed as a file is closed may be lost without an error, and libtiff writes that to stderr
only: on a full disk a raster comes out cut off, under a good name, and as if all had gone well.
"""

from __future__ import annotations

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


class Written:
    """Checksums of what was written to a raster."""

    def __init__(self) -> None:
        self._parts: dict[int, list[tuple[int, Window, int]]] = {}

    def note(self, band: int, window: Window, values: NDArray[Any], *, level: int = 0) -> None:
        """``values`` ``(y, x)`` were written to ``band`` (from 1); ``level`` 1 is an overview."""
        self._parts.setdefault(level, []).append((band, window, _checksum(values)))

    def check(self, path: Path) -> None:
        """Read all of the raster, with its overviews, and compare.

        Raises:
            ProductError: The raster is not what was written to it.
        """
        try:
            for level, parts in self._parts.items():
                options = {"OVERVIEW_LEVEL": level - 1} if level else {}
                with rasterio.open(path, NUM_THREADS="2", **options) as source:
                    for band, window, checksum in parts:
                        rows, columns = window.slices
                        at = RasterWindow.from_slices(rows, columns)
                        if _checksum(source.read(band, window=at)) != checksum:
                            raise ProductError(LOST)
        except FAILURES as error:
            raise ProductError(LOST) from error


LOST = "what was written is not there; the disk may be full, or refuse large files"
"""What is said of a file that lacks what was written to it."""


def _checksum(values: NDArray[Any]) -> int:
    return crc32(np.ascontiguousarray(values).data)
