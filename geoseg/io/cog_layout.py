"""Tiled GeoTIFFs, one for each level, laid out as one cloud-optimised GeoTIFF.

Tiles are copied as they are compressed; what describes the raster is taken from the file of the
full resolution. Directories come first, the largest level first; then all pixels, the smallest
level first, so that a reader has all directories, and what it shows first, with one request.

Source: TIFF 6.0; BigTIFF; https://gdal.org/en/stable/drivers/raster/cog.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.io.read_back import LOST

SOURCE_OPTIONS: Final = {"tiled": True, "BIGTIFF": "YES", "ENDIANNESS": "LITTLE"}
"""How GDAL has to write the files that are laid out."""

_SUBFILE, _OFFSETS, _SIZES = 254, 324, 325
_LONG, _LONG8 = 4, 16
_REDUCED = struct.pack("<I", 1)  # NewSubfileType of an overview
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WIDE: Final = {13: 4, 16: 8, 17: 8, 18: 8}

_OF_PIXELS: Final = frozenset(
    {256, 257, 258, 259, 262, 277, 284, 317, 320, 322, 323, 338, 339, 42113}
)
"""What overviews say, too: how pixels are stored, their palette and nodata."""

_TOLD = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_TOLD) + _TOLD
"""What GDAL's COG driver writes after the first bytes; the last blank leaves room for ``YES``."""

_AROUND: Final = 8  # bytes: the size before a tile, and its last four bytes once more behind it
_LARGEST_CLASSIC: Final = 2**32 - 2**20


@dataclass(frozen=True, slots=True)
class _Field:
    """One entry of a directory: type, count, and its value in little-endian bytes."""

    kind: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class _Level:
    """A level as GDAL wrote it: its file, what describes it, where its tiles lie in the file."""

    file: BinaryIO
    fields: Mapping[int, _Field]
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]

    @property
    def room(self) -> int:
        """Bytes that its tiles take in a COG."""
        return int(self.sizes.sum()) + _AROUND * len(self.sizes)


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
        for tag, field in sorted(fields.items()):
            value = field.value
            if len(value) <= self.room:
                place = value.ljust(self.room, b"\0")
            elif tag in (_OFFSETS, _SIZES):
                place = struct.pack("<" + self.pointer, tables + len(placed))
                placed += value
            else:
                place = struct.pack("<" + self.pointer, behind + len(values))
                values += value + b"\0" * (-len(value) % 2)
            entries += struct.pack("<" + self.entry, tag, field.kind, field.count) + place
        after = 0 if last else behind + len(values)
        head = struct.pack("<" + self.count, len(fields))
        return head + entries + struct.pack("<" + self.pointer, after) + values, placed


_CLASSIC = _Form(struct.pack("<2sH", b"II", 42), "I", "H", "HHI")
_BIG = _Form(struct.pack("<2sHHH", b"II", 43, 8, 0), "Q", "Q", "HHQ")


def lay_out(levels: Sequence[Path], target: Path, *, most: int = _LARGEST_CLASSIC) -> None:
    """Write one COG of the tiles of several files.

    Args:
        levels: Tiled GeoTIFFs with :data:`SOURCE_OPTIONS`, the full resolution first, then its
            overviews, the largest first.
        target: The COG.
        most: Bytes from which on it becomes a BigTIFF.

    Raises:
        ProductError: A file lacks tiles: its disk did not take them.
        OSError: A file cannot be read or written.
    """
    with ExitStack() as stack:
        read = [_read_level(stack.enter_context(path.open("rb"))) for path in levels]
        form = _CLASSIC
        if len(_header(read, form)) + sum(level.room for level in read) > most:
            form = _BIG
        with target.open("wb") as file:
            file.write(_header(read, form))
            for level in reversed(read):
                for tile in _tiles(level):
                    file.write(struct.pack("<I", len(tile)) + tile + tile[-4:])


def _header(levels: Sequence[_Level], form: _Form) -> bytes:
    """All that stands before the pixels: directories, then all tables of where tiles lie."""
    directories, tables = _directories(levels, form, 0, 0)  # as long as where places are known
    at = len(directories), len(directories) + len(tables)
    return b"".join(_directories(levels, form, *at))


def _directories(
    levels: Sequence[_Level], form: _Form, tables: int, pixels: int
) -> tuple[bytes, bytes]:
    """Directories, and the tables that begin at ``tables``, of tiles that begin at ``pixels``."""
    first = len(form.head) + form.room + len(_GHOST)
    first += first % 2
    found = (form.head + struct.pack("<" + form.pointer, first) + _GHOST).ljust(first, b"\0")
    placed = b""
    for index, level in enumerate(levels):
        begin = pixels + sum(smaller.room for smaller in levels[index + 1 :])
        fields = dict(level.fields)
        if index:
            fields = {tag: field for tag, field in fields.items() if tag in _OF_PIXELS}
            fields[_SUBFILE] = _Field(_LONG, 1, _REDUCED)
        fields |= _places(level, begin, form)
        last = index == len(levels) - 1
        one, its = form.directory(fields, len(found), tables + len(placed), last=last)
        found, placed = found + one, placed + its
    return found, placed


def _places(level: _Level, begin: int, form: _Form) -> dict[int, _Field]:
    """Where its tiles lie once they stand one after the other from ``begin`` on."""
    room = level.sizes + np.uint64(_AROUND)
    offsets = np.uint64(begin + _AROUND // 2) + np.cumsum(room) - room
    wide = form is _BIG
    kind, width = (_LONG8, "<u8") if wide else (_LONG, "<u4")
    count = len(offsets)
    return {
        _OFFSETS: _Field(kind, count, offsets.astype(width).tobytes()),
        _SIZES: _Field(_LONG, count, level.sizes.astype("<u4").tobytes()),
    }


def _tiles(level: _Level) -> Iterator[bytes]:
    for offset, size in zip(level.offsets.tolist(), level.sizes.tolist(), strict=True):
        level.file.seek(offset)
        tile = level.file.read(size)
        if not offset or not size or len(tile) < size:
            raise ProductError(LOST)
        yield tile


def _read_level(file: BinaryIO) -> _Level:
    head = file.read(16)
    if len(head) < 16 or head[:8] != _BIG.head:
        raise ProductError(LOST)
    try:
        fields = dict(_read_fields(file, struct.unpack_from("<Q", head, 8)[0]))
        offsets, sizes = (_numbers(fields.pop(tag)) for tag in (_OFFSETS, _SIZES))
    except (struct.error, KeyError) as error:
        raise ProductError(LOST) from error
    return _Level(file, fields, offsets, sizes)


def _read_fields(file: BinaryIO, at: int) -> Iterator[tuple[int, _Field]]:
    file.seek(at)
    (entries,) = struct.unpack("<Q", file.read(8))
    table = file.read(entries * _BIG.size)
    for start in range(0, len(table), _BIG.size):
        tag, kind, count = struct.unpack_from("<HHQ", table, start)
        value, length = table[start + 12 : start + 20], count * (_BYTES | _WIDE)[kind]
        if length > 8:
            file.seek(struct.unpack("<Q", value)[0])
            value = file.read(length)
        if len(value) < length:
            raise ProductError(LOST)
        yield tag, _Field(kind, count, value[:length])


def _numbers(field: _Field) -> NDArray[np.uint64]:
    width = {3: "<u2", 4: "<u4", 16: "<u8"}[field.kind]
    return cast("NDArray[np.uint64]", np.frombuffer(field.value, width).astype(np.uint64))
