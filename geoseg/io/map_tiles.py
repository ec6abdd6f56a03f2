"""Rasters as tiles of a map in a browser: read from overviews, drawn as PNG pictures.

Tiles are those of OGC's WebMercatorQuad, 512 pixels wide (https://docs.ogc.org/is/17-083r4/).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import rowcol
from rasterio.windows import Window as RasterWindow

from geoseg.errors import InputError, SceneError
from geoseg.io.environment import gdal_env
from geoseg.io.handles import Handles
from geoseg.io.qml import RAMP
from geoseg.io.read_back import FAILURES
from geoseg.legend import LandClass, Legend

TILE: Final = 512
DEEPEST: Final = 24
_HALF = 20037508.342789244  # metres from the middle of the map to its edge
_MERCATOR = CRS.from_epsg(3857)
_LOOK = 512  # pixels of a side that are looked at for what is dark and what is bright
_CACHE_MIB = 64

Table = NDArray[np.uint8]
"""Red, green, blue and alpha of each of 256 numbers, ``(256, 4)``."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: zoom, column from the west, row from the north."""

    z: int
    x: int
    y: int

    def __post_init__(self) -> None:
        side = 2**self.z if 0 <= self.z <= DEEPEST else 0
        if not (0 <= self.x < side and 0 <= self.y < side):
            raise InputError(f"there is no tile {self.z}/{self.x}/{self.y}")

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in metres of Web Mercator."""
        side = 2 * _HALF / 2**self.z
        west, north = self.x * side - _HALF, _HALF - self.y * side
        return west, north - side, west + side, north


@dataclass(frozen=True, slots=True)
class BandFile:
    """A band of a raster file, counted from 1."""

    path: Path
    index: int = 1


class TileReader:
    """Reads tiles of raster files; for several threads.

    Raises:
        InputError: rio-tiler is not installed.
    """

    def __init__(self) -> None:
        try:
            from rio_tiler.reader import part  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise InputError(
                "maps in a browser need rio-tiler; install it with: pip install 'geoseg[view]'"
            ) from error
        self._part = part
        self._handles = Handles()

    def read(
        self, bands: Sequence[BandFile], tile: Tile, *, smooth: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The pixels of a tile ``(band, y, x)``, and where ``(y, x)`` there are any in all bands.

        Raises:
            SceneError: A file cannot be read.
        """
        paths = dict.fromkeys(band.path for band in bands)
        read = {
            path: self._read(path, [b.index for b in bands if b.path == path], tile, smooth=smooth)
            for path in paths
        }
        found = [read[band.path][band.index] for band in bands]
        seen = [~np.ma.getmaskarray(values) for values in found]
        return np.stack([values.data for values in found]), np.logical_and.reduce(seen)

    def _read(
        self, path: Path, indexes: list[int], tile: Tile, *, smooth: bool
    ) -> dict[int, np.ma.MaskedArray[Any, Any]]:
        """Bands of one file, all at once: finding a tile's place takes longer than its pixels."""
        how: Literal["bilinear", "nearest"] = "bilinear" if smooth else "nearest"
        try:
            with gdal_env(cache=_CACHE_MIB), self._handles.borrow(str(path)) as source:
                found = self._part(
                    source,
                    tile.bounds,
                    bounds_crs=_MERCATOR,
                    dst_crs=_MERCATOR,
                    height=TILE,
                    width=TILE,
                    indexes=indexes,
                    resampling_method=how,
                    reproject_method="nearest",  # bilinear takes two to four times as long
                )
        except FAILURES as error:
            raise SceneError(f"{path}: cannot be read: {error}") from error
        return dict(zip(indexes, found.array, strict=True))

    def value_at(self, band: BandFile, lon: float, lat: float) -> float | None:
        """The number of the pixel at a place in degrees; None outside, and where there is none.

        Raises:
            SceneError: The file cannot be read.
        """
        try:
            with gdal_env(), self._handles.borrow(str(band.path)) as source:
                x, y = _from_degrees(source.crs.to_wkt()).transform(lon, lat)
                if not (isfinite(x) and isfinite(y)):
                    return None
                row, col = (int(n) for n in rowcol(source.transform, x, y))
                if not (0 <= row < source.height and 0 <= col < source.width):
                    return None
                at = RasterWindow(col, row, 1, 1)
                pixel = source.read(band.index, window=at, masked=True)
        except FAILURES as error:
            raise SceneError(f"{band.path}: cannot be read: {error}") from error
        return None if np.ma.getmaskarray(pixel).all() else float(pixel[0, 0])

    def limits(self, bands: Sequence[BandFile]) -> list[tuple[float, float]]:
        """The 2nd and 98th percentile of each band: what to draw dark and what bright.

        Raises:
            SceneError: A file cannot be read.
        """
        return [self._limits_of(band) for band in bands]

    def _limits_of(self, band: BandFile) -> tuple[float, float]:
        try:
            with gdal_env(cache=_CACHE_MIB), self._handles.borrow(str(band.path)) as source:
                step = max(1.0, max(source.shape) / _LOOK)
                shape = tuple(max(1, round(n / step)) for n in source.shape)
                pixels = source.read(
                    band.index, out_shape=shape, masked=True, resampling=Resampling.nearest
                )
        except FAILURES as error:
            raise SceneError(f"{band.path}: cannot be read: {error}") from error
        seen = pixels.compressed()
        seen = seen[np.isfinite(seen)]
        if not seen.size:
            return 0.0, 1.0
        low, high = (float(n) for n in np.percentile(seen, (2, 98)))
        return (low, high) if high > low else (low - 0.5, low + 0.5)

    def close(self) -> None:
        """Close the files."""
        self._handles.close()


def class_table(legend: Legend, shown: Collection[int] | None = None) -> Table:
    """The colours of a legend; what is not ``shown``, or no class, is transparent."""
    table = np.zeros((256, 4), np.uint8)
    for entry in legend.classes:
        if shown is None or entry.value in shown:
            table[entry.value] = (*entry.rgb, 255)
    return table


def percent_table(least: int = 0) -> Table:
    """The ramp that QGIS shows percents with; what is below ``least`` is transparent."""
    stops = [value for value, _ in RAMP]
    colors = np.array([LandClass(0, "", color).rgb for _, color in RAMP])
    table = np.zeros((256, 4), np.uint8)
    for channel in range(3):
        table[:101, channel] = np.interp(np.arange(101), stops, colors[:, channel]).round()
    table[max(0, least) : 101, 3] = 255
    return table


def table_png(values: NDArray[Any], seen: NDArray[np.bool_], table: Table) -> bytes:
    """Numbers 0..255 ``(y, x)`` in the colours of a table, as a PNG with a palette."""
    codes, palette = np.where(seen, values, 0).astype(np.uint8), table.copy()
    if not seen.all():
        free = _free_code(codes, seen)
        codes[~seen] = free
        palette[free] = 0
    picture = Image.fromarray(codes, "P")
    picture.putpalette(palette[:, :3].tobytes(), "RGB")
    return _encoded(picture, transparency=palette[:, 3].tobytes())


def picture_png(
    bands: NDArray[Any],
    seen: NDArray[np.bool_],
    limits: Sequence[tuple[float, float]],
) -> bytes:
    """Red, green and blue ``(band, y, x)``, each stretched from its low to its high, as a PNG."""
    rgba = np.zeros((*seen.shape, 4), np.uint8)
    for channel, (band, (low, high)) in enumerate(zip(bands, limits, strict=True)):
        values = np.where(seen, band, low).astype(np.float32)
        rgba[..., channel] = np.clip((values - low) / (high - low) * 255, 0, 255)
    rgba[..., 3] = np.where(seen, 255, 0)
    return _encoded(Image.fromarray(rgba, "RGBA"))


@lru_cache(maxsize=64)
def _from_degrees(wkt: str) -> Transformer:
    return Transformer.from_crs(4326, wkt, always_xy=True)


def _free_code(codes: NDArray[np.uint8], seen: NDArray[np.bool_]) -> int:
    """A number that no pixel that is seen has; 255 where all occur, which no product does."""
    counts = np.bincount(codes[seen], minlength=256)
    free = np.flatnonzero(counts == 0)
    return int(free[-1]) if free.size else 255


def _encoded(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1, **options)  # it only goes to this machine
    return buffer.getvalue()
