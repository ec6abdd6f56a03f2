"""Rasters as tiles of a map in a browser: read from overviews, drawn as PNG pictures.

Tiles are those of OGC's WebMercatorQuad, 512 pixels wide (https://docs.ogc.org/is/17-083r4/).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import rowcol
from rasterio.windows import Window as RasterWindow

from geoseg.errors import InputError, SceneError
from geoseg.io.environment import gdal_env
from geoseg.io.handles import Handles
from geoseg.io.qml import RAMP
from geoseg.io.read_back import FAILURES
from geoseg.io.tile_places import Ground, level_for, places_of
from geoseg.legend import LandClass, Legend

TILE: Final = 512
DEEPEST: Final = 24
_HALF = 20037508.342789244  # metres from the middle of the map to its edge
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


@dataclass(frozen=True, slots=True)
class _About:
    """Where a file lies, the shapes ``(y, x)`` of it and its overviews, its type."""

    ground: Ground
    levels: tuple[tuple[int, int], ...]
    dtype: str


class TileReader:
    """Reads tiles of raster files; for several threads.

    Raises:
        InputError: rio-tiler is not installed.
    """

    def __init__(self) -> None:
        try:
            from rio_tiler.reader import read  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise InputError(
                "maps in a browser need rio-tiler; install it with: pip install 'geoseg[view]'"
            ) from error
        self._pixels = read
        self._handles = Handles()
        self._about: dict[Path, _About] = {}

    def read(self, bands: Sequence[BandFile], tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The pixels of a tile ``(band, y, x)``, and where ``(y, x)`` there are any in all bands.

        Each is the nearest one of the file, or of the overview that suits the tile.

        Raises:
            SceneError: A file cannot be read.
        """
        paths = dict.fromkeys(band.path for band in bands)
        read = {
            path: self._read(path, [b.index for b in bands if b.path == path], tile)
            for path in paths
        }
        if len(paths) == 1:
            return read[bands[0].path]
        found = {path: iter(values) for path, (values, _) in read.items()}
        seen = np.logical_and.reduce([there for _, there in read.values()])
        return np.stack([next(found[band.path]) for band in bands]), seen

    def _read(
        self, path: Path, indexes: list[int], tile: Tile
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Bands of one file, all at once: finding a tile's place takes longer than its pixels.

        A warped VRT, as rio-tiler would make one, takes twice as long for the same pixels.
        """
        try:
            with gdal_env(cache=_CACHE_MIB):
                about = self._known(path)
                whole = about.ground.shape
                places = places_of(tile.bounds, TILE, about.ground)
                level = level_for(places.step, [whole[1] / cols for _, cols in about.levels])
                shape = about.levels[level]
                rows = _whole(places.rows * (shape[0] / whole[0]), shape[0])
                cols = _whole(places.cols * (shape[1] / whole[1]), shape[1])
                seen = (rows >= 0) & (cols >= 0)
                if not seen.any():
                    return np.zeros((len(indexes), TILE, TILE), about.dtype), seen
                thin = max(1, floor(places.step * shape[1] / whole[1]))
                with self._handles.borrow(
                    str(path), overview=level - 1 if level else None
                ) as source:
                    return self._picked(source, indexes, (rows, cols), seen, thin)
        except FAILURES as error:
            raise SceneError(f"{path}: cannot be read: {error}") from error

    def _picked(
        self,
        source: Any,
        indexes: list[int],
        places: tuple[NDArray[np.int32], NDArray[np.int32]],
        seen: NDArray[np.bool_],
        thin: int,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a file by rows and columns; every ``thin``-th where it has no overviews."""
        whole = bool(seen.all())
        (top, height), (left, width) = (_span(p if whole else p[seen]) for p in places)
        small = ceil(height / thin), ceil(width / thin)
        found = self._pixels(
            source,
            indexes=indexes,
            window=RasterWindow(left, top, width, height),
            height=small[0],
            width=small[1],
            resampling_method="nearest",
        ).array
        rows, cols = places[0] - top, places[1] - left
        if thin > 1:
            rows, cols = rows * small[0] // height, cols * small[1] // width
        at = rows * small[1] + cols
        if not whole:
            at[~seen] = 0
        values = found.data.reshape(len(indexes), -1).take(at, axis=1)
        if np.ma.getmask(found).any():
            seen = seen & ~np.ma.getmask(found).any(axis=0).ravel().take(at)
        return values, seen

    def _known(self, path: Path) -> _About:
        """What never changes of a file while it is shown."""
        if path not in self._about:
            with self._handles.borrow(str(path)) as source:
                if source.crs is None:
                    raise SceneError(f"{path}: has no CRS")
                levels = [source.shape]
                for number, _ in enumerate(source.overviews(1)):
                    with self._handles.borrow(str(path), overview=number) as small:
                        levels.append(small.shape)
                self._about[path] = _About(
                    Ground(source.crs.to_wkt(), source.transform, source.shape),
                    tuple(levels),
                    source.dtypes[0],
                )
        return self._about[path]

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


def picture_webp(
    bands: NDArray[Any],
    seen: NDArray[np.bool_],
    limits: Sequence[tuple[float, float]],
) -> bytes:
    """Red, green and blue ``(band, y, x)``, each stretched from its low to its high.

    As WebP without loss: half the time of a PNG, and smaller.
    """
    rgba = np.empty((*seen.shape, 4), np.uint8)
    for channel, (band, (low, high)) in enumerate(zip(bands, limits, strict=True)):
        rgba[..., channel] = _stretched(band, low, high)
    rgba[..., 3] = np.where(seen, 255, 0)
    if not seen.all():
        rgba[~seen] = 0
    buffer = io.BytesIO()
    picture = Image.fromarray(rgba, "RGBA")
    picture.save(buffer, "WEBP", lossless=True, quality=0, method=0)
    return buffer.getvalue()


def _stretched(band: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if band.dtype in (np.uint8, np.uint16):
        drawn: NDArray[np.uint8] = _stretch_table(str(band.dtype), low, high)[band]
        return drawn
    shares = np.nan_to_num((band.astype(np.float32) - low) / (high - low))
    scaled: NDArray[np.uint8] = np.clip(shares * 255, 0, 255).astype(np.uint8)
    return scaled


@lru_cache(maxsize=64)
def _stretch_table(dtype: str, low: float, high: float) -> NDArray[np.uint8]:
    """What each number of a type is drawn as."""
    numbers = np.arange(np.iinfo(dtype).max + 1, dtype=np.float32)
    table: NDArray[np.uint8] = np.clip((numbers - low) / (high - low) * 255, 0, 255).astype(
        np.uint8
    )
    return table


def _whole(places: NDArray[np.floating[Any]], count: int) -> NDArray[np.int32]:
    """Which pixel each place is in; -1 beside all of them."""
    with np.errstate(invalid="ignore"):
        if places.min() >= 0 and places.max() < count:  # False where any is not finite
            return places.astype(np.int32)
        inside = (places >= 0) & (places < count)
    return np.where(inside, places, -1.0).astype(np.int32)


def _span(numbers: NDArray[np.int32]) -> tuple[int, int]:
    """The least of them, and how many there are up to the greatest."""
    least = int(numbers.min())
    return least, int(numbers.max()) - least + 1


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
