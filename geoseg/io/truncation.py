"""Whether a file is shorter than it says itself; looks at headers only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from rasterio.io import DatasetReader

from geoseg.io.environment import is_remote

_LOOKS = 32
"""Blocks of a band that are looked at, besides the last one."""

_BIG = 43  # what a BigTIFF has where a TIFF has 42
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_VALUE_BYTES |= {13: 4, 16: 8, 17: 8, 18: 8}


def missing_bytes(uri: str, dataset: DatasetReader) -> int:
    """How many bytes are missing at the end of a local GeoTIFF or JPEG 2000; 0 if none are."""
    path = Path(uri)
    if is_remote(uri) or not path.is_file():
        return 0
    size = path.stat().st_size
    if dataset.driver in ("GTiff", "COG"):
        with path.open("rb") as file:
            end = max(_end_of_tiff(dataset), _end_of_directories(file, size))
        return max(0, end - size)
    if dataset.driver.startswith("JP2"):
        with path.open("rb") as file:
            return max(0, _end_of_jp2(file, size) - size)
    return 0


def _end_of_tiff(dataset: DatasetReader) -> int:
    """Where the last of some blocks of the first and the last band ends."""
    end = 0
    for band in sorted({1, dataset.count}):
        height, width = dataset.block_shapes[band - 1]
        rows, cols = -(-dataset.height // height), -(-dataset.width // width)
        step = max(1, rows * cols // _LOOKS)
        for block in (*range(0, rows * cols, step), rows * cols - 1):
            name = f"{block % cols}_{block // cols}"
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=band)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=band)
            # Sparse blocks have neither.
            if offset and length:
                end = max(end, int(offset) + int(length))
    return end


def _end_of_directories(file: BinaryIO, size: int) -> int:
    """Where the last value of a TIFF's directories ends; GDAL leaves out those that it misses.

    Source: TIFF 6.0, section 2; BigTIFF as in libtiff's design document.
    """
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == _BIG
    at, wide = int.from_bytes(head[8:16] if big else head[4:8], order), 8 if big else 4
    end, seen = 0, set[int]()
    while at and at not in seen and at + wide <= size:
        seen.add(at)
        file.seek(at)
        length = 8 if big else 2
        entries = int.from_bytes(file.read(length), order)
        entry, after = 4 + 2 * wide, at + length + entries * (4 + 2 * wide)
        end = max(end, after + wide)
        if end > size:
            return end
        table = file.read(entries * entry)
        for k in range(0, len(table), entry):
            kind = int.from_bytes(table[k + 2 : k + 4], order)
            count = int.from_bytes(table[k + 4 : k + 4 + wide], order)
            value = int.from_bytes(table[k + 4 + wide : k + entry], order)
            if (length := count * _VALUE_BYTES.get(kind, 0)) > wide:
                end = max(end, value + length)
        at = int.from_bytes(file.read(wide), order)
    return max(end, at + wide if at not in seen and at else 0)


def _end_of_jp2(file: BinaryIO, size: int) -> int:
    """Where the last box ends (ISO/IEC 15444-1, annex I); ``size`` if it is open-ended."""
    return max((end for _, end in _boxes(file, size)), default=size)


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Types and ends of the boxes at the top level."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(16)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        if length < header:
            # 0: up to the end of the file; anything else is no box at all.
            return
        start += length
        yield head[4:8], start
