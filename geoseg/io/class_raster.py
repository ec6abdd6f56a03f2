"""Class rasters of anyone's: codes, grid, and whatever names and colours they bring."""

from __future__ import annotations

import colorsys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_names import read_labels
from geoseg.io.environment import gdal_env
from geoseg.io.headers import Header, check_whole, read_header
from geoseg.legend import LandClass, Legend

NO_CLASS = -1
"""What :meth:`ClassRaster.read` gives for pixels without a class, whatever the file has there."""

_CACHE = 64  # MB that GDAL keeps: each window is read once, and only rims are seen again
_GOLDEN_ANGLE = 0.618034  # hues this far apart never come close to one another


class ClassRaster:
    """The first band of a raster file as class codes 0..255. Implements ``RasterReader``.

    Safe to call from several threads. Codes out of range are found while reading. Pixels that
    are nodata, or that a mask or an alpha band hides, are :data:`NO_CLASS`.

    Args:
        path: The file.
        nodata: The code of pixels without a class, for files that do not say.

    Raises:
        SceneError: It cannot be opened, has no CRS, is an image, or holds no whole numbers.
    """

    def __init__(self, path: Path, *, nodata: int | None = None) -> None:
        self.path = path
        header = _header(path)
        self.grid: GeoBox = header.grid
        own = header.nodata[0]
        self._nodata = nodata if own is None else own
        self._masked = own is None and (header.masked or header.alpha is not None)
        self._local = threading.local()

    def read(self, window: Window) -> NDArray[np.int16]:
        """Codes of a window, :data:`NO_CLASS` where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
        """
        values, hidden = self._read(window)
        if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
            strange = values[((values < 0) | (values > 255)) & ~hidden]
            if strange.size:
                raise SceneError(f"{self.path}: holds {strange[0]}; class codes are 0 to 255")
        codes = values.astype(np.int16)
        np.copyto(codes, NO_CLASS, where=hidden)
        return codes

    def _read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        at = RasterWindow.from_slices(*window.slices)
        try:
            if not hasattr(self._local, "source"):
                with gdal_env(cache=_CACHE):
                    self._local.source = rasterio.open(self.path, sharing=False)
            values = self._local.source.read(1, window=at)
            hidden = np.zeros((), np.bool_)
            if self._masked:
                hidden = self._local.source.read_masks(1, window=at) == 0
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot read {window}: {error}") from error
        return values, hidden if self._nodata is None else hidden | (values == self._nodata)


def read_legend(path: Path) -> Legend:
    """Names from the attribute table or category names, colours from there or the palette.

    Every code gets an entry, as which ones occur is only known when all is read; what the file
    does not say is called "Class 7" and gets a colour of its own. The legend's nodata is the
    file's where that is a code, else :data:`NO_CLASS`.

    Raises:
        SceneError: The file cannot be opened.
    """
    try:
        with rasterio.open(path) as source:
            nodata, labels = source.nodata, read_labels(path, source)
    except RasterioError as error:
        raise SceneError(f"{path}: cannot be opened: {error}") from error
    taken: set[str] = set()
    classes = []
    for code in range(256):
        if code == nodata:
            continue
        name = labels.names.get(code, unnamed(code))
        while name.casefold() in taken:
            name = f"{name} ({code})"
        taken.add(name.casefold())
        classes.append(LandClass(code, name, labels.colors.get(code, _color(code))))
    hole = int(nodata) if len(classes) < 256 and nodata is not None else NO_CLASS
    return Legend(path.stem, tuple(classes), hole)


def unnamed(code: int) -> str:
    """What a class is called that nobody has named."""
    return f"Class {code}"


def unnamed_class(code: int) -> LandClass:
    """A class that nobody has named or coloured."""
    return LandClass(code, unnamed(code), _color(code))


def _header(path: Path) -> Header:
    check_placed(path)
    check_no_picture(path)
    header = read_header(str(path))
    dtype = header.dtypes[0]
    if np.dtype(dtype).kind not in "ui":
        raise SceneError(
            f"{path}: its first band is {dtype}, not class codes 0 to 255; "
            f"convert it first (gdal_translate -ot Byte in.tif out.tif)"
        )
    return header


def check_placed(path: Path) -> None:
    """Say of a raster without a CRS what would help; all else is said while reading its header.

    Raises:
        SceneError: It has no CRS, or is truncated.
    """
    with _opened(path) as source:
        if source is None:
            return
        check_whole(str(path), source)  # what is cut off has lost its CRS, too
        # Of files with control points or RPCs more is to be said, while reading the header.
        bent = bool(source.gcps[0]) or source.rpcs is not None
        if source.crs is None and not bent:
            raise SceneError(
                f"{path}: no CRS; give it one first (gdal_edit.py -a_srs EPSG:... {path})"
            )


def check_no_picture(path: Path) -> None:
    """Refuse colour images, whose first band is no map.

    Raises:
        SceneError: It is one.
    """
    with _opened(path) as source:
        if source is not None and source.colorinterp[:1] == (ColorInterp.red,):
            raise SceneError(f"{path}: is a colour image, not a raster of class codes")


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader | None]:
    """The file, or None where it cannot be opened: that is said while reading its header."""
    with gdal_env(cache=_CACHE), warnings.catch_warnings(), ExitStack() as stack:
        # A missing georeference is an error of ours.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            source = stack.enter_context(rasterio.open(path))
        except RasterioError:
            source = None
        yield source


def _color(code: int) -> str:
    hue = code * _GOLDEN_ANGLE % 1.0
    r, g, b = colorsys.hsv_to_rgb(hue, 0.55 + 0.15 * (code % 3), 0.9 - 0.15 * (code % 2))
    return f"#{int(r * 255):02x}{int(g * 255):02x}{int(b * 255):02x}"
