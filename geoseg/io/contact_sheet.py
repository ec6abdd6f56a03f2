"""One picture of many scenes: a small image of each, with its name, date and cloud cover."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geoseg.io.atomic import write_bytes
from geoseg.io.quicklook import stretch_limits

CELL = 240
"""Longest side of each image, in pixels."""
_GAP, _CAPTION, _COLUMNS, _TITLE = 16, 44, 5, 56
_INK, _FAINT, _PAPER, _EMPTY = (33, 37, 41), (108, 117, 125), (255, 255, 255), (233, 236, 239)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A scene on the sheet: ``image`` is ``(3, y, x)`` in any unit, ``valid`` ``(y, x)``.

    Without an image ``note`` says why.
    """

    name: str
    note: str
    image: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None


def write_sheet(path: Path, thumbnails: Sequence[Thumbnail], *, title: str) -> None:
    """Write the sheet as a PNG; the same input gives the same bytes.

    Raises:
        ProductError: It cannot be written.
    """
    columns = min(_COLUMNS, max(1, len(thumbnails)))
    rows = ceil(len(thumbnails) / columns)
    width = columns * (CELL + _GAP) + _GAP
    height = _TITLE + rows * (CELL + _CAPTION + _GAP) + _GAP
    board = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(board)
    draw.text((_GAP, _GAP), title, fill=_INK, font=ImageFont.load_default(22))
    for number, thumbnail in enumerate(thumbnails):
        x = _GAP + number % columns * (CELL + _GAP)
        y = _TITLE + number // columns * (CELL + _CAPTION + _GAP)
        _draw(board, draw, thumbnail, (x, y))
    buffer = io.BytesIO()
    board.save(buffer, "PNG", optimize=False, compress_level=6)
    write_bytes(path, buffer.getvalue())


def _draw(
    board: Image.Image, draw: ImageDraw.ImageDraw, one: Thumbnail, at: tuple[int, int]
) -> None:
    x, y = at
    draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=_EMPTY)
    if one.image is not None and one.valid is not None:
        picture = _picture(one.image, one.valid)
        board.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))
    for line, (text, color) in enumerate(((one.name, _INK), (one.note, _FAINT))):
        font = ImageFont.load_default(13)
        draw.text((x, y + CELL + 4 + 18 * line), _fitted(draw, text, font), fill=color, font=font)


def _picture(image: NDArray[Any], valid: NDArray[np.bool_]) -> Image.Image:
    """Colours stretched from the 2nd to the 98th percentile; grey where nothing is valid."""
    rgb = np.empty((*valid.shape, 3), np.uint8)
    for channel, (low, high) in enumerate(stretch_limits(image, valid)):
        values = np.where(valid, image[channel], low).astype(np.float64)
        scaled = np.clip((values - low) / (high - low) * 255, 0, 255).round()
        rgb[..., channel] = np.where(valid, scaled, _EMPTY[channel])
    scale = CELL / max(valid.shape)
    size = max(1, round(valid.shape[1] * scale)), max(1, round(valid.shape[0] * scale))
    return Image.fromarray(rgb).resize(size, Image.Resampling.BOX)


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Any) -> str:
    """``text`` shortened in its middle, as names of scenes differ at both ends."""
    whole = text
    while draw.textlength(text, font) > CELL and len(whole) > 8:
        whole = whole[: len(whole) // 2 - 1] + whole[len(whole) // 2 + 1 :]
        text = f"{whole[: len(whole) // 2]}…{whole[len(whole) // 2 :]}"
    return text
