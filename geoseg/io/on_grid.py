"""A raster's bands read in the windows of a grid that need not be its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.environment import gdal_env
from geoseg.io.grids import shift_between
from geoseg.io.handles import Handles
from geoseg.io.headers import read_header
from geoseg.io.vrt import Warp


class OnGrid:
    """Bands of a raster on a grid of choice; nearest pixels. May be read from several threads.

    Where pixels of both are the same places they are read as they are, else GDAL warps window by
    window, computing each pixel's place exactly, so that no window changes what is read.

    Args:
        path: The file.
        grid: What windows refer to.
        holes: Whether pixels that are nodata, or that a mask hides, are not there; without it only
            those where the raster does not reach.

    Attributes:
        own: The grid of the file.
        bands: How many it has.
        names: Their descriptions, None where the file gives none.

    Raises:
        SceneError: The file cannot be opened, or it or the grid has no CRS.
    """

    def __init__(self, path: Path, grid: GeoBox, *, holes: bool = True) -> None:
        self.path, self._grid, self._holes = path, grid, holes
        self._header = header = read_header(str(path))
        self.own: GeoBox = header.grid
        self.bands, self.names = len(header.dtypes), header.names
        self._nodata = header.nodata[0] if holes else None
        shades = holes and (header.masked or header.alpha is not None)
        self._masked = self._nodata is None and shades
        if grid.crs is None:
            raise SceneError(f"{path}: cannot be brought onto a grid without a CRS")
        self._shift = shift_between(self.own, grid)
        self._handles = Handles()

    def read(
        self, window: Window, bands: list[int], *, fill: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values ``(band, y, x)``, and where there are any ``(y, x)``.

        Args:
            window: Of the grid.
            bands: From 1.
            fill: Stands where the raster does not reach.

        Raises:
            SceneError: It cannot be read there.
        """
        try:
            with gdal_env():
                if self._shift is None:
                    return self._warped(window, bands, fill)
                with self._handles.borrow(str(self.path)) as source:
                    return self._shifted(source, window, bands, fill)
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot read {window}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._handles.close()

    def _shifted(
        self, source: Any, window: Window, bands: list[int], fill: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        rows, cols = self._shift or (0, 0)
        moved = Window(window.y0 + rows, window.x0 + cols, window.y1 + rows, window.x1 + cols)
        inside = moved & full_window(self.own)
        values = np.full((len(bands), *window.shape), fill, source.dtypes[0])
        there = np.zeros(window.shape, np.bool_)
        if inside:
            at = ((inside.y0, inside.y1), (inside.x0, inside.x1))
            place = inside.within(moved).slices
            read = source.read(bands, window=at)
            values[:, *place] = read
            there[place] = self._valid(source, read, at)
        return values, there

    def _valid(self, source: Any, read: NDArray[Any], at: Any) -> NDArray[np.bool_]:
        if self._masked:
            return np.asarray(source.read_masks(1, window=at) > 0)
        if self._nodata is None:
            return np.ones(read.shape[1:], np.bool_)
        return np.asarray(read[0] != self._nodata)

    def _warped(
        self, window: Window, bands: list[int], fill: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        alpha = (self._header.alpha or (0 if self._masked else None)) if self._holes else None
        warp = Warp(
            str(self.path),
            tuple(bands),
            self._header.dtypes[0],
            self.own,
            self._grid,
            "nearest",
            nodata=self._nodata,
            alpha=alpha,
            coverage=True,
        )
        at = ((window.y0, window.y1), (window.x0, window.x1))
        with self._handles.borrow(warp.xml()) as source:
            read: NDArray[Any] = source.read(window=at)
        values, there = read[:-1], read[-1] > 0
        if self._nodata is not None:
            there &= values[0] != self._nodata
        values[:, ~there] = fill
        return values, there
