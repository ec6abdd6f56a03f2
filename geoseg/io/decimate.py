"""Small versions of large rasters, read without ever holding more than a strip of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from geoseg.errors import ProductError, RemoteError, SceneError
from geoseg.grid import Window
from geoseg.io.base import Pixels, RasterStore
from geoseg.io.opening import open_pixels
from geoseg.scene import Scene

SmallScene = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Numbers ``(band, y, x)``, and where there are any ``(y, x)``."""

_STRIP = 512  # rows read at once


def small_shape(shape: tuple[int, int], max_px: int) -> tuple[int, int]:
    """The shape that all functions here shrink ``shape`` to: no side has more than ``max_px``."""
    rows, cols = _picks(shape, max_px)
    return rows.size, cols.size


def decimated_store(store: RasterStore, shape: tuple[int, int], max_px: int) -> NDArray[np.uint8]:
    """Every n-th pixel of a store of ``shape``: ``(y, x)`` uint8."""
    rows, cols = _picks(shape, max_px)
    out = np.empty((rows.size, cols.size), np.uint8)
    for y0 in range(0, shape[0], _STRIP):
        window = Window(y0, 0, min(y0 + _STRIP, shape[0]), shape[1])
        chosen = (rows >= window.y0) & (rows < window.y1)
        if chosen.any():
            out[chosen] = store.read(window)[np.ix_(rows[chosen] - y0, cols)]
    return out


def decimated_raster(
    path: str | Path, max_px: int, *, bands: Sequence[int] = (1,), average: bool = False
) -> NDArray[Any]:
    """Bands (from 1) of a raster file, from its overviews where it has some: ``(band, y, x)``.

    Nodata stays what it is; ``average`` smooths what is not, else the nearest pixel is taken.

    Raises:
        ProductError: The file cannot be read.
    """
    try:
        with rasterio.open(path) as source:
            return np.asarray(
                source.read(
                    list(bands),
                    out_shape=(len(bands), *small_shape(source.shape, max_px)),
                    resampling=Resampling.average if average else Resampling.nearest,
                )
            )
    except (RasterioError, IndexError) as error:
        raise ProductError(f"{path}: cannot be read: {error}") from error


def decimated_pixels(
    pixels: Pixels, bands: Sequence[str], max_px: int, *, forgiving: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Every n-th pixel of a scene: physical values ``(band, y, x)`` and which of them are valid.

    Reads only the strips of rows that are kept, so that a quicklook of a large scene stays quick.
    A strip that cannot be read is not valid where ``forgiving``, else an error.
    """
    height, width = (int(n) for n in pixels.grid.shape)
    rows, cols = _picks((height, width), max_px)
    values = np.zeros((len(bands), rows.size, cols.size), np.float32)
    valid = np.zeros((rows.size, cols.size), np.bool_)
    for y0 in range(0, height, _STRIP):
        chosen = (rows >= y0) & (rows < y0 + _STRIP)
        if not chosen.any():
            continue
        window = Window(int(rows[chosen][0]), 0, int(rows[chosen][-1]) + 1, width)
        try:
            patch = pixels.read(bands, window)
        except (SceneError, RemoteError):
            if not forgiving:
                raise
            continue
        pick = rows[chosen][:, None] - window.y0, cols
        scale, offset = patch.scale[:, None, None], patch.offset[:, None, None]
        values[:, chosen] = patch.values[:, pick[0], pick[1]] * scale + offset
        valid[chosen] = patch.valid[pick]
    return values, valid


def decimated_scene(
    scene: Scene, bands: Sequence[str], max_px: int, *, forgiving: bool = False
) -> SmallScene:
    """As :func:`decimated_pixels`, of a scene whose files are opened, and closed again."""
    with closing(open_pixels(scene)) as pixels:
        return decimated_pixels(pixels, bands, max_px, forgiving=forgiving)


def _picks(shape: tuple[int, int], max_px: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows and columns to keep: the middles of as many equal parts."""
    step = ceil(max(shape) / max_px)
    rows, cols = (np.arange(min(step // 2, n - 1), n, step) for n in shape)
    return rows, cols
