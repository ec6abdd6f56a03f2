"""Bands of a raster file as variables of xarray, read window by window when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow
from xarray.backends import BackendArray
from xarray.core import indexing

from geoseg.errors import ProductError, RemoteError
from geoseg.grid import GeoBox
from geoseg.io.cf import GRID_MAPPING, class_attributes, percent_attributes
from geoseg.io.class_names import read_labels
from geoseg.io.environment import gdal_path
from geoseg.io.handles import Handles
from geoseg.io.headers import Header, read_header
from geoseg.io.limits import open_raster
from geoseg.io.patterns import stem
from geoseg.io.remote import LostError, tried
from geoseg.legend import LandClass, Legend
from geoseg.ops.layers import NO_PERCENT

_CHUNK: Final = 2048
"""Rows and columns that are read at once, at most: whole tiles of a file."""

_PERCENT: Final = " (percent)"


@dataclass(frozen=True, slots=True)
class RasterLook:
    """A raster file before a pixel is read: its header, and what only this module needs of it.

    Attributes:
        header: What it says of itself.
        titles: Descriptions of its bands, as they are.
        tile: Rows and columns of a tile or strip.
        legend: Names and colours of its codes; None where it names or colours none.
    """

    header: Header
    titles: tuple[str | None, ...]
    tile: tuple[int, int]
    legend: Legend | None

    @property
    def grid(self) -> GeoBox:
        """Where its pixels lie."""
        return self.header.grid

    @property
    def percents(self) -> bool:
        """Whether all bands hold whole percents, as products have them."""
        said = all((title or "").endswith(_PERCENT) for title in self.titles)
        whole = set(self.header.dtypes) == {"uint8"}
        return said and whole and set(self.header.nodata) == {float(NO_PERCENT)}

    @property
    def names(self) -> list[str]:
        """What its bands are called."""
        titles = (title.removesuffix(_PERCENT) if title else "" for title in self.titles)
        return [title or f"band {number}" for number, title in enumerate(titles, 1)]


def look_at(uri: str) -> RasterLook:
    """Open a raster for a moment.

    Raises:
        SceneError: It cannot be opened, or has no CRS.
        RemoteError: A server does not deliver it now.
    """
    header = read_header(uri)

    def read() -> RasterLook:
        with open_raster(uri) as source:
            titles, tile = tuple(source.descriptions), source.block_shapes[0]
            return RasterLook(header, titles, tile, _legend(uri, source, header))

    try:
        return tried(uri, read)
    except LostError as error:
        raise RemoteError(f"{uri}: cannot be read now ({error}); try again later") from error


def _legend(uri: str, source: Any, header: Header) -> Legend | None:
    """The classes that a file names, or colours; None for images and other numbers."""
    if header.count != 1 or np.dtype(header.dtypes[0]).kind not in "ui":
        return None
    labels = read_labels(Path(uri), source)
    codes = set(labels.names)
    if not codes and source.colorinterp[0] == ColorInterp.palette:
        codes = set(labels.colors)
    nodata = header.nodata[0]
    codes -= {int(nodata)} if nodata is not None else set()
    classes = tuple(
        LandClass(code, labels.names.get(code, f"Class {code}"), labels.colors.get(code, "#808080"))
        for code in sorted(codes)
        if 0 <= code <= 255
    )
    if not classes or len({c.name for c in classes}) < len(classes):
        return None
    return Legend(source.descriptions[0] or stem(uri), classes, _hole(nodata, codes))


def _hole(nodata: float | None, codes: set[int]) -> int:
    if nodata is not None and 0 <= nodata <= 255:
        return int(nodata)
    return next((code for code in (255, 0, *range(254, 0, -1)) if code not in codes), -1)


def variable_of(
    look: RasterLook, name: str, dims: Sequence[str], *, legend: Legend | None = None
) -> xr.Variable:
    """The bands of a raster as one variable ``(y, x)``, or ``(band, y, x)`` where it has several.

    Args:
        look: The file.
        name: Of the variable.
        dims: Of the bands, if there are several, of rows and of columns.
        legend: Classes, where something else knows them better than the file.
    """
    header = look.header
    legend = legend or look.legend
    array = RasterBands(look, legend.nodata if legend is not None else None)
    own = dims if header.count > 1 else dims[1:]
    sides = dict(zip(dims[1:], look.tile, strict=True))
    preferred = {dim: max(1, _CHUNK // side) * side for dim, side in sides.items()}
    if header.count > 1:
        preferred[dims[0]] = header.count
    return xr.Variable(
        own,
        indexing.LazilyIndexedArray(array),
        {**_attributes(look, name, legend), "grid_mapping": GRID_MAPPING},
        {"preferred_chunks": {d: min(n, size) for (d, n), size in _sized(preferred, own, array)}},
    )


def _sized(
    preferred: Mapping[str, int], dims: Sequence[str], array: RasterBands
) -> list[tuple[tuple[str, int], int]]:
    return [((dim, preferred[dim]), size) for dim, size in zip(dims, array.shape, strict=True)]


def _attributes(look: RasterLook, name: str, legend: Legend | None) -> dict[str, Any]:
    if legend is not None:
        return class_attributes(legend, name)
    if look.percents:
        return percent_attributes(name)
    header = look.header
    found: dict[str, Any] = {"long_name": name}
    if "UNITS" in header.tags:
        # Not "units": xarray would take days since a date for times, and lose which have none.
        found["comment"] = header.tags["UNITS"]
    nodata = header.nodata[0]
    if nodata is not None:
        found["_FillValue"] = np.dtype(header.dtypes[0]).type(nodata)
    if (set(header.scales), set(header.offsets)) != ({1.0}, {0.0}):
        # One for all bands, as CF has no other; files of products have none at all.
        found |= {"scale_factor": header.scales[0], "add_offset": header.offsets[0]}
    return found


class RasterBands(BackendArray):
    """The pixels of a raster file, opened when they are first asked for; travels as its name.

    Args:
        look: The file.
        hole: What stands where a mask or an alpha band hides pixels.
    """

    def __init__(self, look: RasterLook, hole: int | None) -> None:
        header = look.header
        rows, cols = (int(n) for n in header.grid.shape)
        self.uri, self.dtype = header.uri, np.dtype(header.dtypes[0])
        self.shape = (rows, cols) if header.count == 1 else (header.count, rows, cols)
        masked = header.nodata[0] is None and (header.masked or header.alpha is not None)
        self._hole = hole if masked else None
        self._handles = Handles()

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._part
        )

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay where they are.
        return {key: value for key, value in vars(self).items() if key != "_handles"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _handles=Handles())

    def _part(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """What whole numbers and slices take of the file; only their window is read."""
        picks = [_picked(one, size) for one, size in zip(key, self.shape, strict=True)]
        *bands, rows, cols = picks
        wanted = [index + 1 for index in (bands[0] if bands else range(1))]
        if not all(picks):
            read = np.zeros((len(wanted), len(rows), len(cols)), self.dtype)
        else:
            read = self._read(wanted, rows, cols)
        whole = read if bands else read[0]
        drop = tuple(axis for axis, one in enumerate(key) if not isinstance(one, slice))
        return np.squeeze(whole, axis=drop) if drop else whole

    def _read(self, bands: list[int], rows: range, cols: range) -> NDArray[Any]:
        (top, bottom), (left, right) = (
            (min(one[0], one[-1]), max(one[0], one[-1]) + 1) for one in (rows, cols)
        )
        at = RasterWindow(left, top, right - left, bottom - top)

        def read() -> NDArray[Any]:
            with self._handles.borrow(gdal_path(self.uri)) as source:
                values: NDArray[Any] = source.read(bands, window=at)
                if self._hole is not None:
                    values[:, source.read_masks(1, window=at) == 0] = self._hole
                return values

        try:
            values = tried(self.uri, read)
        except LostError as error:
            raise RemoteError(f"{self.uri}: not delivered ({error})") from error
        except RasterioError as error:
            raise ProductError(
                f"{self.uri}: cannot be read at rows {top}-{bottom}, columns {left}-{right} "
                f"({error.__cause__ or error}); make it again if it is damaged"
            ) from error
        if rows.step == cols.step == 1:
            return values
        return values[:, np.array(rows) - top][:, :, np.array(cols) - left]


def _picked(one: int | slice, size: int) -> range:
    """The numbers that an index takes of ``0..size``."""
    everything = range(size)
    if isinstance(one, slice):
        return everything[one]
    number = everything[int(one)]
    return range(number, number + 1)
