"""The palette of a TIFF, changed where it lies: neither pixels nor the order of a COG are touched.

Source: TIFF 6.0, ColorMap (tag 320); BigTIFF; https://gdal.org/en/stable/drivers/raster/cog.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_COLOR_MAP, _SUBFILE, _SHORT = 320, 254, 3
_MASK, _OVERVIEW = 4, 1  # NewSubfileType: masks have no palette, and some overviews none
_ENTRIES: Final = 3 * 256
_FULL: Final = 257  # 255 in 8 bits is 65535 in 16
_MOST_DIRECTORIES: Final = 1000

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file stores numbers: order of bytes, and widths that differ in BigTIFF."""

    order: str
    first: int
    count: str
    entry: str
    pointer: str


_Directory = Mapping[int, tuple[int, int, int]]
"""Type, count, and value or offset, by tag."""


def patch_palette(path: Path, colors: Mapping[int, Color]) -> bool:
    """Give every directory of a TIFF of bytes that has a palette (overviews, too) another one.

    Args:
        path: A TIFF that is written to.
        colors: Red, green, blue, 0..255, by code; others become black.

    Returns:
        Whether it was done: False, and nothing written, where it is no TIFF, or full resolution has
        no palette of 256 entries.

    Raises:
        OSError: It cannot be read or written.
    """
    with path.open("r+b") as file:
        layout = _layout(file)
        if layout is None:
            return False
        places = []
        try:
            for directory in _directories(file, layout):
                role = directory.get(_SUBFILE, (0, 0, 0))[2]
                kind, count, offset = directory.get(_COLOR_MAP, (0, 0, 0))
                if (kind, count) == (_SHORT, _ENTRIES):
                    places.append(offset)
                elif not role & (_MASK | _OVERVIEW):
                    return False
        except struct.error:
            return False
        packed = _packed(colors, layout.order)
        for offset in places:
            file.seek(offset)
            file.write(packed)
    return bool(places)


def _packed(colors: Mapping[int, Color], order: str) -> bytes:
    rows = [colors.get(code, (0, 0, 0)) for code in range(256)]
    values = [rows[code][channel] * _FULL for channel in range(3) for code in range(256)]
    return struct.pack(f"{order}{_ENTRIES}H", *values)


def _layout(file: BinaryIO) -> _Layout | None:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version == 42:
        return _Layout(order, struct.unpack_from(f"{order}I", head, 4)[0], "H", "HHII", "I")
    if version == 43:
        return _Layout(order, struct.unpack_from(f"{order}Q", head, 8)[0], "Q", "HHQQ", "Q")
    return None


def _directories(file: BinaryIO, layout: _Layout) -> Iterator[_Directory]:
    offset, seen = layout.first, 0
    while offset and seen < _MOST_DIRECTORIES:
        file.seek(offset)
        (count,) = _read(file, layout, layout.count)
        entries = (_read(file, layout, layout.entry) for _ in range(count))
        yield {tag: (kind, n, _value(layout, kind, value)) for tag, kind, n, value in entries}
        (offset,) = _read(file, layout, layout.pointer)
        seen += 1


def _value(layout: _Layout, kind: int, value: int) -> int:
    """A value of 32 bits stands at the beginning of its field, where it is not an offset."""
    if layout.order == ">" and kind == 4 and layout.pointer == "Q":
        return value >> 32
    return value


def _read(file: BinaryIO, layout: _Layout, kinds: str) -> tuple[int, ...]:
    form = layout.order + kinds
    return struct.unpack(form, file.read(struct.calcsize(form)))
