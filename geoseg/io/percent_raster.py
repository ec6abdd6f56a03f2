"""Percents of anyone's that belong to a class raster: confidence, or probabilities of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.environment import gdal_env
from geoseg.io.grids import same_grid
from geoseg.io.handles import Handles
from geoseg.io.headers import read_header
from geoseg.ops.layers import NO_PERCENT


class PercentRaster:
    """Bands of whole percents on the grid of a class raster; may be read from several threads.

    Args:
        path: uint8 percents; what is nodata or above 100 is no percent.
        grid: Of the class raster.

    Attributes:
        names: Of the bands, None where the file gives none.

    Raises:
        SceneError: It cannot be opened, is not uint8, or lies on another grid.
    """

    def __init__(self, path: Path, grid: GeoBox) -> None:
        self.path = path
        header = read_header(str(path))
        strange = {d for d in header.dtypes if d != "uint8"}
        if strange:
            raise SceneError(
                f"{path}: holds {', '.join(sorted(strange))}, wanted are percents as uint8 (0 to "
                f"100, 255 for none)"
            )
        if not same_grid(header.grid, grid):
            raise SceneError(
                f"{path}: does not lie on the grid of the class raster: it has "
                f"{header.grid.shape[0]} x {header.grid.shape[1]} pixels at "
                f"{tuple(header.grid.affine[:6])}, wanted are {grid.shape[0]} x {grid.shape[1]} at "
                f"{tuple(grid.affine[:6])}"
            )
        try:
            with gdal_env(), rasterio.open(path) as source:
                self.names: tuple[str | None, ...] = tuple(source.descriptions)
        except RasterioError as error:
            raise SceneError(f"{path}: cannot be opened: {error}") from error
        self._handles = Handles()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Percents of the first band ``(y, x)``, 255 where there is none.

        Raises:
            SceneError: It cannot be read there.
        """
        percents: NDArray[np.uint8] = self.read_all(window, bands=[1])[0]
        return percents

    def read_all(self, window: Window, bands: list[int] | None = None) -> NDArray[np.uint8]:
        """The same of many bands ``(band, y, x)``; all of them without ``bands``."""
        at = ((window.y0, window.y1), (window.x0, window.x1))
        try:
            with gdal_env(), self._handles.borrow(str(self.path)) as source:
                values: NDArray[Any] = source.read(bands, window=at)
                nodata = source.nodata
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot read {window}: {error}") from error
        found = values.astype(np.uint8)
        none = found > 100
        if nodata is not None:
            none |= values == nodata
        found[none] = NO_PERCENT
        return found
