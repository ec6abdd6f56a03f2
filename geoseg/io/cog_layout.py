"""Compressed tiles of all levels laid out as one cloud-optimised GeoTIFF.

What describes the raster is taken from a file that GDAL wrote. Directories come first, the largest
level first; then all pixels, the smallest level first, so that a reader has all directories, and
what it shows first, with one request.

Source: TIFF 6.0; BigTIFF; https://gdal.org/en/stable/drivers/raster/cog.html
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.io.read_back import LOST

TEMPLATE: Final = {"tiled": True, "sparse_ok": True, "BIGTIFF": "YES", "ENDIANNESS": "LITTLE"}
"""How GDAL has to write the file that describes the raster; it needs no pixels."""

_WIDTH, _HEIGHT = 256, 257
_SUBFILE, _OFFSETS, _SIZES = 254, 324, 325
_LONG, _LONG8 = 4, 16
_REDUCED = 1  # NewSubfileType of an overview
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES.update({13: 4, 16: 8, 17: 8, 18: 8})

_OF_PIXELS: Final = frozenset({258, 259, 262, 277, 284, 317, 320, 322, 323, 338, 339, 42113})
"""What overviews say, too: how pixels are stored, their palette and nodata."""

_TOLD = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_TOLD) + _TOLD
"""What GDAL's COG driver writes after the first bytes; the last blank leaves room for ``YES``."""

_AROUND: Final = 8  # bytes: the size before a tile, and its last four bytes once more behind it
_COPIED: Final = 2**20  # bytes at once
_LARGEST_CLASSIC: Final = 2**32 - 2**20


@dataclass(frozen=True, slots=True)
class _Field:
    """One entry of a directory: type, count, and its value in little-endian bytes."""

    kind: int
    count: int
    value: bytes

    @classmethod
    def of(cls, kind: int, values: Sequence[int] | NDArray[np.int64]) -> _Field:
        """An entry of whole numbers."""
        numbers = np.asarray(values).astype({_LONG: "<u4", _LONG8: "<u8"}[kind])
        return cls(kind, len(numbers), numbers.tobytes())


_Fields = Mapping[int, _Field]
"""By tag."""


@dataclass(frozen=True, slots=True)
class LevelTiles:
    """The tiles of a level in a file, each :func:`framed`, one after the other.

    ``shape`` is rows and columns of the level, ``sizes`` are bytes of the framed tiles.
    """

    path: Path
    shape: tuple[int, int]
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Form:
    """Widths of numbers: those of TIFF, or of BigTIFF."""

    head: bytes
    pointer: str
    count: str
    entry: str

    @property
    def room(self) -> int:
        """Bytes of a pointer, or of a value that stands in its place."""
        return struct.calcsize("<" + self.pointer)

    @property
    def size(self) -> int:
        """Bytes of an entry."""
        return struct.calcsize("<" + self.entry) + self.room

    def directory(
        self, fields: Mapping[int, _Field], at: int, tables: int, *, last: bool
    ) -> tuple[bytes, bytes]:
        """A directory at a place in the file, and its tables of tiles, which go to another place.

        Other values that do not fit into the directory follow it.
        """
        behind = at + struct.calcsize("<" + self.count) + len(fields) * self.size + self.room
        entries, values, placed = b"", b"", b""
        for tag, said in sorted(fields.items()):
            value = said.value
            if len(value) <= self.room:
                place = value.ljust(self.room, b"\0")
            elif tag in (_OFFSETS, _SIZES):
                place = struct.pack("<" + self.pointer, tables + len(placed))
                placed += value
            else:
                place = struct.pack("<" + self.pointer, behind + len(values))
                values += value + b"\0" * (-len(value) % 2)
            entries += struct.pack("<" + self.entry, tag, said.kind, said.count) + place
        after = 0 if last else behind + len(values)
        head = struct.pack("<" + self.count, len(fields))
        return head + entries + struct.pack("<" + self.pointer, after) + values, placed


_CLASSIC = _Form(struct.pack("<2sH", b"II", 42), "I", "H", "HHI")
_BIG = _Form(struct.pack("<2sHHH", b"II", 43, 8, 0), "Q", "Q", "HHQ")


def framed(tile: bytes) -> bytes:
    """A compressed tile as it stands in a COG: after its size, and before its last four bytes."""
    return struct.pack("<I", len(tile)) + tile + tile[-4:]


def lay_out(
    template: Path, levels: Sequence[LevelTiles], target: Path, *, most: int = _LARGEST_CLASSIC
) -> None:
    """Write one COG of the tiles of all levels.

    Args:
        template: A GeoTIFF that is written as :data:`TEMPLATE` says, with all that is to be said of
            the full resolution.
        levels: The full resolution first, then its overviews, the largest first.
        target: The COG; may take the place of ``template``.
        most: Bytes from which on it becomes a BigTIFF.

    Raises:
        ProductError: A file is not what was written to it: its disk did not take it.
        OSError: A file cannot be read or written.
    """
    fields = _read_fields(template)
    form = _CLASSIC
    if len(_header(fields, levels, form)) + sum(sum(level.sizes) for level in levels) > most:
        form = _BIG
    with target.open("wb") as file:
        file.write(_header(fields, levels, form))
        for level in reversed(levels):
            if level.path.stat().st_size != sum(level.sizes):
                raise ProductError(LOST)
            with level.path.open("rb") as tiles:
                shutil.copyfileobj(tiles, file, _COPIED)


def _header(fields: _Fields, levels: Sequence[LevelTiles], form: _Form) -> bytes:
    """All that stands before the pixels: directories, then all tables of where tiles lie."""
    # As long as where places are known.
    directories, tables = _directories(fields, levels, form, 0, 0)
    at = len(directories), len(directories) + len(tables)
    return b"".join(_directories(fields, levels, form, *at))


def _directories(
    fields: _Fields, levels: Sequence[LevelTiles], form: _Form, tables: int, pixels: int
) -> tuple[bytes, bytes]:
    """Directories, and the tables that begin at ``tables``, of tiles that begin at ``pixels``."""
    first = len(form.head) + form.room + len(_GHOST)
    first += first % 2
    found = (form.head + struct.pack("<" + form.pointer, first) + _GHOST).ljust(first, b"\0")
    placed = b""
    for index, level in enumerate(levels):
        said = dict(fields)
        if index:
            said = {tag: value for tag, value in fields.items() if tag in _OF_PIXELS}
            said[_SUBFILE] = _Field.of(_LONG, [_REDUCED])
        said[_HEIGHT], said[_WIDTH] = (_Field.of(_LONG, [n]) for n in level.shape)
        begin = pixels + sum(sum(smaller.sizes) for smaller in levels[index + 1 :])
        said |= _places(level, begin, form)
        last = index == len(levels) - 1
        one, its = form.directory(said, len(found), tables + len(placed), last=last)
        found, placed = found + one, placed + its
    return found, placed


def _places(level: LevelTiles, begin: int, form: _Form) -> dict[int, _Field]:
    """Where its tiles lie once they stand one after the other from ``begin`` on."""
    sizes = np.array(level.sizes, np.int64)
    offsets = begin + _AROUND // 2 + np.cumsum(sizes) - sizes
    kind = _LONG8 if form is _BIG else _LONG
    return {_OFFSETS: _Field.of(kind, offsets), _SIZES: _Field.of(_LONG, sizes - _AROUND)}


def _read_fields(template: Path) -> dict[int, _Field]:
    """The directory of a BigTIFF."""
    content = template.read_bytes()
    found = {}
    try:
        (at,) = struct.unpack_from("<Q", content, 8)
        (entries,) = struct.unpack_from("<Q", content, at)
        for start in range(at + 8, at + 8 + entries * _BIG.size, _BIG.size):
            tag, kind, count, place = struct.unpack_from("<HHQQ", content, start)
            length = count * _BYTES[kind]
            begin = start + 12 if length <= 8 else place
            value = content[begin : begin + length]
            if len(value) < length:
                raise ProductError(LOST)
            found[tag] = _Field(kind, count, value)
    except struct.error as error:
        raise ProductError(LOST) from error
    return found
