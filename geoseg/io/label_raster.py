"""Class codes and confidences from rasters of anyone's, on any grid that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_raster import read_legend
from geoseg.io.headers import read_header
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef
from geoseg.ops.classify import NO_CONFIDENCE
from geoseg.scene import Scene

NO_LABEL = -1
_BAND = "labels"


class _Numbers:
    """The first band of a file, laid onto a grid by nearest neighbour."""

    def __init__(self, path: Path, grid: GeoBox | None, index: int = 1) -> None:
        _check_crs(path)
        header = read_header(str(path))
        ref = BandRef(str(path), index, scale=1.0, offset=0.0, resampling="nearest")
        band = header.band(_BAND, ref)
        mask = header.own_mask()
        self.path = path
        self.grid = grid or header.grid
        self.dtype = np.dtype(band.dtype)
        masks = () if mask is None else (mask,)
        self._pixels = ScenePixels(Scene(str(path), {_BAND: band}, self.grid, masks))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(y, x)`` as stored, and where there are any."""
        patch = self._pixels.read([_BAND], window)
        return patch.values[0], patch.valid

    def close(self) -> None:
        """Let go of open files."""
        self._pixels.close()


class LabelRaster(_Numbers):
    """Class codes. Implements :class:`geoseg.steps.assess.Labels`.

    Whole numbers in a file of floating point are codes, too. May be read from several threads.

    Args:
        path: The file.
        grid: What windows refer to; the file's own without it.
        index: Of the band, from 1; names are those of the first.

    Raises:
        SceneError: It cannot be opened, has no CRS, or holds complex numbers.
    """

    kind = "raster"
    coded = True

    def __init__(self, path: Path, grid: GeoBox | None = None, index: int = 1) -> None:
        super().__init__(path, grid, index)
        self.names = named_codes(path)

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes 0..255 of a window ``(y, x)``; :data:`NO_LABEL` where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
        """
        values, valid = self.read(window)
        strange = valid & ~((values >= 0) & (values <= 255) & (values == np.floor(values)))
        if strange.any():
            raise SceneError(
                f"{self.path}: holds {values[strange][0]}; class codes are whole numbers 0 to 255"
            )
        codes = values.astype(np.int16)
        codes[~valid] = NO_LABEL
        return codes


class ConfidenceRaster(_Numbers):
    """How sure a model was, in 0..1: from whole percents (255: nothing) or shares of 1.

    May be read from several threads.

    Raises:
        SceneError: It cannot be opened, or has no CRS.
    """

    def shares(self, window: Window) -> NDArray[np.float64]:
        """Confidence ``(y, x)`` in 0..1, NaN where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number out of range.
        """
        values, valid = self.read(window)
        whole = self.dtype.kind in "iu"
        if whole:
            valid &= values != NO_CONFIDENCE
        most = 100 if whole else 1
        strange = valid & ~((values >= 0) & (values <= most))
        if strange.any():
            raise SceneError(
                f"{self.path}: holds {values[strange][0]}; a confidence is a whole percent "
                f"0 to 100, or in floating point 0 to 1"
            )
        return np.where(valid, values.astype(np.float64) / most, np.nan)


def named_codes(path: Path) -> dict[int, str]:
    """Names of the codes that a raster names.

    Raises:
        SceneError: The file cannot be opened.
    """
    return {c.value: c.name for c in read_legend(path).classes if c.name != f"Class {c.value}"}


def _check_crs(path: Path) -> None:
    """What is usual in a workflow's scenes must be said in other words of a single raster."""
    try:
        with rasterio.open(path) as source:
            crs = source.crs
    except RasterioError:
        return  # said while the header is read
    if crs is None:
        raise SceneError(f"{path}: no CRS; give it one first (gdal_edit.py -a_srs EPSG:... {path})")
