"""The images that labels were drawn on: all bands, wherever they lie, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.io.plain_raster import PlainRaster

_MOST_BANDS = 8


class PlainImage(PlainRaster):
    """The first eight bands of an image that are not alpha."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        source = self.source()
        kinds = zip(source.indexes, source.colorinterp, source.descriptions, strict=True)
        # A fourth band that is described as something else is not alpha, whatever GDAL thinks.
        self._bands = [i for i, kind, said in kinds if kind != ColorInterp.alpha or said]
        self._bands = self._bands[:_MOST_BANDS]
        self._nodata = [source.nodatavals[i - 1] for i in self._bands]

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(band, y, x)`` as stored, and where all of them are data ``(y, x)``.

        Raises:
            SceneError: It cannot be read there.
        """
        values = self.bands(self._bands, window)
        valid = np.ones(values.shape[1:], np.bool_)
        for band, nodata in zip(values, self._nodata, strict=True):
            if nodata is not None:
                valid &= band != nodata
            if band.dtype.kind == "f":
                valid &= np.isfinite(band)
        return values, valid

    def thumbnail(self, side: int) -> NDArray[np.float64]:
        """The whole image in ``(side, side)`` pixels, all bands alike, with mean 0 and spread 1."""
        try:
            values = self.source().read(
                self._bands,
                out_shape=(len(self._bands), side, side),
                resampling=Resampling.average,
                out_dtype="float64",
            )
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot be read: {error}") from error
        total = np.zeros((side, side))
        for band in np.nan_to_num(values):
            spread = float(band.std())
            total += (band - band.mean()) / spread if spread > 0 else 0.0
        return total
