"""Rasters that may lie nowhere, read as they are stored."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.io.limits import open_raster

_OPENING = threading.Lock()  # what warnings are ignored belongs to the process


class PlainRaster:
    """A raster file. May be read from several threads.

    Attributes:
        path: Of the file.
        placed: Whether it says where it lies; else the grid is that of its pixels, without a CRS.
        grid: Where it lies.

    Raises:
        SceneError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        source = self.source()
        self.placed = bool(source.crs) and not source.transform.is_identity
        transform = source.transform if self.placed else Affine.identity()
        crs = CRS(source.crs.to_wkt()) if self.placed else None
        self.grid = GeoBox(source.shape, transform, crs)

    def source(self) -> DatasetReader:
        """The open file of this thread."""
        if not hasattr(self._local, "source"):
            if not self.path.exists():
                raise SceneError(f"{self.path}: no such file")
            with _OPENING, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                try:
                    self._local.source = open_raster(str(self.path), sharing=False)
                except RasterioError as error:
                    raise SceneError(
                        f"{self.path}: not a raster that can be read ({error})"
                    ) from error
        return self._local.source

    def bands(self, numbers: Sequence[int], window: Window, *, masks: bool = False) -> NDArray[Any]:
        """Bands ``(band, y, x)`` of a window as stored, or their masks.

        Raises:
            SceneError: They cannot be read there.
        """
        at = ((window.y0, window.y1), (window.x0, window.x1))
        source = self.source()
        try:
            read = source.read_masks if masks else source.read
            values: NDArray[Any] = read(list(numbers), window=at)
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot be read at {window}: {error}") from error
        return values
