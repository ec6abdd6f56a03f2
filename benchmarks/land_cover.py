"""A land-cover map made from numbers: any size, and any window of it on its own.

    python benchmarks/land_cover.py map.tif [--size 10980]

Ten classes in patches of many scales, field parcels, thin rivers and roads, and speckle along the
borders, as in maps of a pixel-wise classifier; 0 is nodata (a swath edge and clouds). Each pixel
depends on its row, its column and the seed alone, so a small map is a corner of a large one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numba import njit, prange
from numpy.typing import NDArray
from rasterio.windows import Window

TRANSFORM = Affine(10, 0, 499980, 0, -10, 5300040)
CRS = "EPSG:32633"
CLASSES = 10
_RIVERS, _ROADS = CLASSES, CLASSES + 1  # fields of noise beside those of the classes
_STEP = 8  # pixels between the nodes of coarse noise
_PRIOR = (-0.06, 0.10, 0.08, 0.06, 0.02, 0.0, -0.02, -0.05, -0.08, -0.03)
_SCALES = (1500, 520, 180, 64, 36)  # pixels
_WEIGHTS = (0.45, 0.40, 0.34, 0.24, 0.16)
_MIDDLE, _SMALL = (0.18, 14.0), (0.10, 4.5)  # weight and scale of fine noise
_SPECKLE, _BORDER_SPECKLE, _BORDER = 0.0004, 0.05, 0.035
_FIELDS = (2, 3)
_f = np.float32


@njit(inline="always")
def _uniform(x: Any, y: Any, seed: Any) -> Any:
    """A number of [0, 1) that belongs to a place."""
    low = np.uint64(0xFFFFFFFF)
    h = np.uint64(x) * np.uint64(0x9E3779B1) ^ np.uint64(y) * np.uint64(0x85EBCA77)
    h = (h ^ np.uint64(seed) * np.uint64(0xC2B2AE3D)) & low
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(0x2C1B3C6D)) & low
    h ^= h >> np.uint64(12)
    h = (h * np.uint64(0x297A2D39)) & low
    h ^= h >> np.uint64(15)
    return _f(h) * _f(2.3283064e-10)


@njit(inline="always")
def _noise(row: Any, col: Any, scale: Any, seed: Any) -> Any:
    """Smooth noise of [0, 1) with bumps of ``scale`` pixels."""
    y, x = _f(row) / scale, _f(col) / scale
    i, j = int(y), int(x)
    y, x = y - i, x - j
    y, x = y * y * (3 - 2 * y), x * x * (3 - 2 * x)
    upper = _uniform(j, i, seed) * (1 - x) + _uniform(j + 1, i, seed) * x
    lower = _uniform(j, i + 1, seed) * (1 - x) + _uniform(j + 1, i + 1, seed) * x
    return upper * (1 - y) + lower * y


@njit(parallel=True, cache=True)
def _coarse(top: Any, left: Any, rows: Any, cols: Any, seed: Any) -> Any:
    """Sums of smooth noise ``(field, row, col)`` at every eighth pixel."""
    out = np.zeros((CLASSES + 2, rows, cols), np.float32)
    for i in prange(rows):
        for j in range(cols):
            for k in range(CLASSES + 2):
                value = _f(_PRIOR[k]) if k < CLASSES else _f(0)
                for n in range(len(_SCALES)):
                    noise = _noise(
                        (top + i) * _STEP,
                        (left + j) * _STEP,
                        _f(_SCALES[n]),
                        seed + 97 * k + 7919 * n,
                    )
                    value += _f(_WEIGHTS[n]) * (noise - _f(0.5))
                out[k, i, j] = value
    return out


@njit(inline="always")
def _between(field: Any, y: Any, x: Any) -> Any:
    i, j = int(y), int(x)
    y, x = y - i, x - j
    upper = field[i, j] * (1 - x) + field[i, j + 1] * x
    lower = field[i + 1, j] * (1 - x) + field[i + 1, j + 1] * x
    return upper * (1 - y) + lower * y


@njit
def _two_best(coarse: Any, row: Any, col: Any, y: Any, x: Any, seed: Any) -> Any:
    """The classes of the highest and second highest score, and by how much they differ."""
    best, second, first_class, second_class = _f(-1e9), _f(-1e9), 0, 0
    for k in range(CLASSES):
        score = _between(coarse[k], y, x)
        if score < best - _f(_MIDDLE[0] + _SMALL[0]):
            continue  # cannot win
        middle = _noise(row, col, _f(_MIDDLE[1]), seed + 31 * k + 5) - _f(0.5)
        small = _noise(row, col, _f(_SMALL[1]), seed + 17 * k + 11) - _f(0.5)
        score += _f(_MIDDLE[0]) * middle + _f(_SMALL[0]) * small
        if score > best:
            best, second, first_class, second_class = score, best, k, first_class
        elif score > second:
            second, second_class = score, k
    return first_class, second_class, best - second


@njit
def _parcel(row: Any, col: Any, seed: Any) -> Any:
    """What grows on the field that a pixel belongs to; fields lie askew."""
    along = _f(0.94) * col + _f(0.34) * row
    across = _f(-0.34) * col + _f(0.94) * row + _f(8192)
    i, j = int(along / 97), int(across / 61)
    if _uniform(i, j, seed + 3) < _f(0.5):
        j = j * 2 + int((across - j * 61) > 30)
    draw = _uniform(i, j, seed + 4)
    if draw < _f(0.45):
        return 2
    if draw < _f(0.8):
        return 3
    return 5 if draw < _f(0.93) else 6


@njit
def _code(coarse: Any, row: Any, col: Any, y: Any, x: Any, seed: Any) -> Any:
    """The class of one pixel, from 1; 0 for nodata."""
    cloud = _noise(row, col, _f(700), seed + 71) * _f(0.8) + _noise(
        row, col, _f(60), seed + 72
    ) * _f(0.2)
    if col * 0.30 + row < 900 or cloud > _f(0.86):
        return 0
    best, second, margin = _two_best(coarse, row, col, y, x, seed)
    code = _parcel(row, col, seed) if best in _FIELDS else best
    if abs(_between(coarse[_RIVERS], y, x)) < _f(0.006):
        code = 0
    if abs(_between(coarse[_ROADS], y, x) - _f(0.2)) < _f(0.0018):
        code = 9
    draw = _uniform(col, row, seed + 1)
    if draw < _f(_SPECKLE):
        code = int(_uniform(col, row, seed + 2) * CLASSES)
    elif margin < _f(_BORDER) and draw < _f(_BORDER_SPECKLE):
        code = second
    return code + 1


@njit(parallel=True, cache=True)
def _fine(coarse: Any, top: Any, left: Any, height: Any, width: Any, seed: Any) -> Any:
    out = np.empty((height, width), np.uint8)
    for i in prange(height):
        row = top + i
        y = _f(row) / _STEP - _f(top // _STEP)
        for j in range(width):
            col = left + j
            x = _f(col) / _STEP - _f(left // _STEP)
            out[i, j] = _code(coarse, row, col, y, x, seed)
    return out


def land_cover(top: int, left: int, height: int, width: int, *, seed: int = 7) -> NDArray[np.uint8]:
    """The codes ``(y, x)`` of a window of the endless map: 1..10, and 0 for nodata."""
    rows, cols = height // _STEP + 3, width // _STEP + 3
    coarse = _coarse(top // _STEP, left // _STEP, rows, cols, seed)
    return _fine(coarse, top, left, height, width, seed)


def write_land_cover(path: Path, size: int, *, seed: int = 7) -> None:
    """Write the first ``size`` rows and columns as a tiled GeoTIFF of 10 m pixels, in strips."""
    profile = {"dtype": "uint8", "count": 1, "height": size, "width": size, "nodata": 0}
    stored = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(
        path, "w", driver="GTiff", crs=CRS, transform=TRANSFORM, **profile, **stored
    ) as file:
        for top in range(0, size, 512):
            rows = min(512, size - top)
            file.write(
                land_cover(top, 0, rows, size, seed=seed), 1, window=Window(0, top, size, rows)
            )


def main() -> None:
    """Write a map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    write_land_cover(options.path, options.size, seed=options.seed)


if __name__ == "__main__":
    main()
