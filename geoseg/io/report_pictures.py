"""Pictures that lie within a report: maps in colours and in patterns, confidence, keys; small files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.io.cog import CONFIDENCE_NODATA
from geoseg.io.qml import RAMP
from geoseg.legend import LandClass

SIDE: Final = 800
"""Longest side of a map in pixels. The worst that this can hold, noise of 256 classes, still leaves
a page with all its pictures below 3 MB."""

PATTERNS: Final = (
    "slanting lines", "dots", "level lines", "falling lines", "upright lines", "a grid", "checks",
    "crossed lines",
)  # fmt: skip
"""What tells classes apart without colours, in the order in which they are given out."""

_CELL = 8  # pixels after which a pattern repeats
_FINE_SIDE = 480  # smaller maps are enlarged before patterns are drawn, to at least that
_DEEP = 127  # more classes than that leave no room for a second shade of each in a palette
_STEP = 5  # percent of confidence that one colour stands for: finer noise only makes files larger
_MIX = 0.42  # how much of a pattern's lines is ink
_DARK, _LIGHT = np.array([0, 0, 0]), np.array([255, 255, 255])


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as bytes, and what a browser calls its format."""

    data: bytes
    form: str

    @property
    def address(self) -> str:
        """What stands in ``src``: the picture itself."""
        return f"data:image/{self.form};base64,{base64.b64encode(self.data).decode()}"


def photo(image: Image.Image) -> Embedded:
    """A picture of a scene, as JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return Embedded(buffer.getvalue(), "jpeg")


def shrunk(path: Path, most: int = 1400) -> Embedded | None:
    """A picture file, at most so many pixels wide; None where it is none, or is not there."""
    try:
        with Image.open(path) as image:
            image.thumbnail((most, 4 * most))
            return photo(image)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def class_map(
    codes: NDArray[np.uint8], classes: tuple[LandClass, ...], *, patterned: bool = False
) -> Embedded:
    """A class map; all that is none of ``classes`` is transparent.

    Args:
        codes: ``(y, x)``.
        classes: Those that occur, at most 255; of more than 127 no patterns can be drawn.
        patterned: Lines and dots on the colours, which tell classes apart without seeing colours.
    """
    number = np.zeros(256, np.uint8)
    for index, entry in enumerate(classes, start=1):
        number[entry.value] = index
    drawn = number[codes]
    colors = np.array([(0, 0, 0), *(c.rgb for c in classes)], np.uint8)
    if patterned and len(classes) <= _DEEP:
        drawn = _enlarged(drawn)
        marked = np.zeros(drawn.shape, np.bool_)
        for index in range(1, len(classes) + 1):
            marked |= (drawn == index) & _pattern(index - 1, drawn.shape)
        drawn = np.where(marked, drawn + np.uint8(len(classes)), drawn).astype(np.uint8)
        shades = np.array([_shade(c.rgb) for c in classes], np.uint8).reshape(-1, 3)
        colors = np.concatenate([colors, shades])
    return _png(drawn, colors)


def swatch(entry: LandClass, index: int) -> Embedded:
    """What the class of this ``index`` among those that occur looks like in patterns."""
    shape = (2 * _CELL, 3 * _CELL)
    drawn = _pattern(index, shape).astype(np.uint8) + np.uint8(1)
    return _png(drawn, np.array([(0, 0, 0), entry.rgb, _shade(entry.rgb)], np.uint8))


def percent_map(percent: NDArray[np.uint8], ramp: Sequence[tuple[int, str]] = RAMP) -> Embedded:
    """Percents ``(y, x)`` in steps of 5 %, by a ramp of colours; what is nodata is transparent."""
    seen = percent != CONFIDENCE_NODATA
    steps = np.minimum((percent.astype(np.int16) + _STEP // 2) // _STEP, 100 // _STEP)
    return _png(np.where(seen, steps + 1, 0).astype(np.uint8), np.array([(0, 0, 0), *_ramp(ramp)]))


def percent_key(ramp: Sequence[tuple[int, str]] = RAMP) -> str:
    """The colours from 0 to 100 % as a CSS gradient."""
    return f"linear-gradient(to right, {', '.join(f'{color} {at}%' for at, color in ramp)})"


def _ramp(ramp: Sequence[tuple[int, str]]) -> NDArray[np.uint8]:
    """The colour of each step of percents, ``(step, 3)``."""
    at = np.arange(0, 101, _STEP)
    colors = np.array([LandClass(0, "", color).rgb for _, color in ramp])
    stops = [stop for stop, _ in ramp]
    channels = [np.interp(at, stops, colors[:, i]) for i in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _enlarged(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small map with each pixel repeated, as a pattern needs room."""
    times = max(1, ceil(_FINE_SIDE / max(values.shape)))
    return values.repeat(times, axis=0).repeat(times, axis=1)


def _pattern(index: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the lines of a pattern are; beyond the eighth they come again, twice as large."""
    coarse = 1 + index // len(PATTERNS)
    y, x = np.ogrid[: shape[0], : shape[1]]
    y, x = y // coarse % _CELL, x // coarse % _CELL
    name = PATTERNS[index % len(PATTERNS)]
    lines: dict[str, NDArray[np.bool_]] = {
        "slanting lines": (x + y) % _CELL < 2,
        "dots": (x % 4 < 2) & (y % 4 < 2) & ((x // 4 + y // 4) % 2 == 0),
        "level lines": (y % _CELL < 2) & (x >= 0),
        "falling lines": (x - y) % _CELL < 2,
        "upright lines": (x % _CELL < 2) & (y >= 0),
        "a grid": (x < 1) | (y < 1),
        "checks": (x // 4 + y // 4) % 2 == 0,
        "crossed lines": ((x + y) % _CELL < 1) | ((x - y) % _CELL < 1),
    }
    return lines[name]


def _shade(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour for lines on ``rgb``: darker on what is light, lighter on what is dark."""
    ink = _DARK if 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 110 else _LIGHT
    red, green, blue = np.rint(np.array(rgb) * (1 - _MIX) + ink * _MIX).astype(int).tolist()
    return red, green, blue


def _png(numbers: NDArray[np.uint8], colors: NDArray[np.uint8]) -> Embedded:
    """A PNG of few colours; the first one is transparent."""
    image = Image.fromarray(np.ascontiguousarray(numbers))
    image.putpalette(colors.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0, optimize=False, compress_level=6)
    return Embedded(buffer.getvalue(), "png")
