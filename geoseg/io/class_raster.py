"""Class rasters of anyone's: codes, grid, and whatever names and colours they bring."""

from __future__ import annotations

import colorsys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.errors import RemoteError, SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_names import Labels, read_labels
from geoseg.io.environment import gdal_path
from geoseg.io.handles import Handles
from geoseg.io.headers import Header, check_whole, read_header
from geoseg.io.limits import open_raster
from geoseg.io.patterns import stem
from geoseg.io.remote import LostError, tried
from geoseg.legend import LandClass, Legend

NO_CLASS = -1
"""What :meth:`ClassRaster.read` gives for pixels without a class, whatever the file has there."""

_ROWS = 1024  # of blocks, as far as what GDAL keeps is concerned
_LEAST_KEPT, _MOST_KEPT = 16, 256  # MB
_GOLDEN_ANGLE = 0.618034  # hues this far apart never come close to one another


class ClassRaster:
    """The first band of a raster file as class codes 0..255. Implements ``RasterReader``.

    Safe to call from several threads. Codes out of range are found while reading. Pixels that
    are nodata, or that a mask or an alpha band hides, are :data:`NO_CLASS`.

    Args:
        raster: The file, or its address (``https://``, ``s3://``...).
        nodata: The code of pixels without a class, for files that do not say.

    Raises:
        SceneError: It cannot be opened, has no CRS, is an image, or holds no whole numbers.
        RemoteError: A server does not deliver it now.
    """

    def __init__(self, raster: str | Path, *, nodata: int | None = None) -> None:
        self.uri = str(raster)
        header, self._kept = _header(self.uri)
        self.grid: GeoBox = header.grid
        own = header.nodata[0]
        self._nodata = nodata if own is None else own
        self._masked = own is None and (header.masked or header.alpha is not None)
        self._bytes = header.dtypes[0] == "uint8"
        self._handles = Handles()

    def read(self, window: Window) -> NDArray[np.int16]:
        """Codes of a window, :data:`NO_CLASS` where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
            RemoteError: A server did not deliver it.
        """
        values, hidden = self._read(window)
        if not self._bytes and (values.min() < 0 or values.max() > 255):
            strange = values[((values < 0) | (values > 255)) & ~hidden]
            if strange.size:
                raise SceneError(f"{self.uri}: holds {strange[0]}; class codes are 0 to 255")
        codes: NDArray[np.int16] = values.astype(np.int16, copy=False)
        if hidden.any():
            np.copyto(codes, NO_CLASS, where=hidden)
        return codes

    def _read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        at = RasterWindow.from_slices(*window.slices)
        dtype = np.int16 if self._bytes else None  # GDAL writes them so at once

        def read() -> tuple[NDArray[Any], NDArray[np.bool_]]:
            with self._handles.borrow(gdal_path(self.uri)) as source:
                values = source.read(1, window=at, out_dtype=dtype)
                hidden = np.zeros((), np.bool_)
                return values, source.read_masks(1, window=at) == 0 if self._masked else hidden

        try:
            values, hidden = tried(self.uri, read, cache=self._kept)
        except LostError as error:
            raise RemoteError(f"{self.uri}: not delivered at {window} ({error})") from error
        except RasterioError as error:
            raise SceneError(f"{self.uri}: cannot read {window}: {error}") from error
        return values, hidden if self._nodata is None else hidden | (values == self._nodata)


def read_legend(raster: str | Path) -> Legend:
    """Names from the attribute table or category names, colours from there or the palette.

    Every code gets an entry, as which ones occur is only known when all is read; what the file
    does not say is called "Class 7" and gets a colour of its own. The legend's nodata is the
    file's where that is a code, else :data:`NO_CLASS`.

    Raises:
        SceneError: The file cannot be opened.
        RemoteError: A server does not deliver it now.
    """
    uri = str(raster)

    def read() -> tuple[float | None, Labels]:
        with open_raster(uri) as source:
            return source.nodata, read_labels(Path(uri), source)

    try:
        nodata, labels = tried(uri, read)
    except LostError as error:
        raise RemoteError(f"{uri}: cannot be read now ({error}); try again later") from error
    except RasterioError as error:
        raise SceneError(f"{uri}: cannot be opened: {error}") from error
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
    return Legend(stem(uri), tuple(classes), hole)


def unnamed(code: int) -> str:
    """What a class is called that nobody has named."""
    return f"Class {code}"


def unnamed_class(code: int) -> LandClass:
    """A class that nobody has named or coloured."""
    return LandClass(code, unnamed(code), _color(code))


def _header(uri: str) -> tuple[Header, int]:
    """What the file says of itself, and the MB that GDAL should keep of it."""
    look = _look(uri)
    check_placed(uri, look)
    check_no_picture(uri, look)
    header = read_header(uri)
    dtype = header.dtypes[0]
    if np.dtype(dtype).kind not in "ui":
        raise SceneError(
            f"{uri}: its first band is {dtype}, not class codes 0 to 255; "
            f"convert it first (gdal_translate -ot Byte in.tif out.tif)"
        )
    return header, look.kept


class _Look(NamedTuple):
    """What can be seen of a file at once.

    ``kept`` are the MB that hold the tiles or strips which a row of blocks and its rims lie in: so
    none is decoded twice, and no more than that is kept of a large file.
    """

    nowhere: bool
    image: bool
    kept: int


def check_placed(uri: str | Path, look: _Look | None = None) -> None:
    """Say of a raster without a CRS what would help; all else is said while reading its header.

    Raises:
        SceneError: It has no CRS, or is truncated.
    """
    if (look or _look(str(uri))).nowhere:
        raise SceneError(f"{uri}: no CRS; give it one first (gdal_edit.py -a_srs EPSG:... {uri})")


def check_no_picture(uri: str | Path, look: _Look | None = None) -> None:
    """Refuse colour images, whose first band is no map.

    Raises:
        SceneError: It is one.
    """
    if (look or _look(str(uri))).image:
        raise SceneError(f"{uri}: is a colour image, not a raster of class codes")


def _look(uri: str) -> _Look:
    """Open a file for a moment; one that cannot be opened looks like nothing special."""

    def looked() -> _Look:
        with open_raster(uri) as source:
            check_whole(uri, source)  # what is cut off has lost its CRS, too
            # Of files with control points or RPCs more is to be said, while reading the header.
            bent = bool(source.gcps[0]) or source.rpcs is not None
            rows, cols = source.block_shapes[0] if source.count else (1, 1)
            size = np.dtype(source.dtypes[0]).itemsize if source.count else 1
            wide = -(-source.width // cols) * cols * size
            image = source.colorinterp[:1] == (ColorInterp.red,)
            held = (_ROWS + 2 * rows) * wide * 5 // 4 >> 20
            kept = min(max(_LEAST_KEPT, held), _MOST_KEPT)
            return _Look(source.crs is None and not bent, image, kept)

    with warnings.catch_warnings():
        # A missing georeference is an error of ours.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return tried(uri, looked)
        except (RasterioError, LostError):
            return _Look(nowhere=False, image=False, kept=_LEAST_KEPT)


def _color(code: int) -> str:
    hue = code * _GOLDEN_ANGLE % 1.0
    r, g, b = colorsys.hsv_to_rgb(hue, 0.55 + 0.15 * (code % 3), 0.9 - 0.15 * (code % 2))
    return f"#{int(r * 255):02x}{int(g * 255):02x}{int(b * 255):02x}"
