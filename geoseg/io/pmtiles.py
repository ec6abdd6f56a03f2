"""PMTiles archives as far as GDAL does not go: one without a tile, and metadata of one's own.

Source: PMTiles specification 3.4 (header of 127 bytes, root, metadata, leaves, tiles)
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from geoseg.errors import ProductError

_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_MAGIC, _VERSION, _GZIP = b"PMTiles", 3, 2
_COMPRESSION = 14  # where the header says how root and metadata are compressed
_FAR = 2**14  # bytes within which header and root must lie


def without_tiles(
    layer: str, title: str, zooms: tuple[int, int], metadata: Mapping[str, object]
) -> bytes:
    """An archive without a tile, which GDAL cannot make.

    Args:
        layer: Name of the layer that tiles would have.
        title: Name of the archive.
        zooms: Lowest and highest level.
        metadata: More that it says of itself, JSON-able.
    """
    about = {"name": title, "vector_layers": [{"id": layer, "fields": {}}], **metadata}
    root, told = _packed(b"\0"), _packed(_text(about))
    begins, end = _HEADER.size, _HEADER.size + len(root)
    places = [begins, len(root), end, len(told), end + len(told), 0]
    places += [end + len(told), 0, 0, 0, 0]
    lowest, highest = zooms
    kinds = [1, _GZIP, _GZIP, 1, lowest, highest]  # in order, gzip, gzip, vector tiles
    world = [-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000]
    head = _HEADER.pack(_MAGIC, _VERSION, *places, *kinds, *world, lowest, 0, 0)
    return head + root + told


def add_metadata(path: Path, metadata: Mapping[str, object]) -> None:
    """Let an archive that GDAL has just made say more of itself; tiles stay as they are.

    Args:
        path: The archive; changed in place, so nobody else may have it open.
        metadata: Items by name, JSON-able.

    Raises:
        ProductError: It is not laid out as GDAL does it.
    """
    aside = path.with_name(f"{path.name}.told")
    with path.open("rb") as source, aside.open("wb") as target:
        head = list(_HEADER.unpack(source.read(_HEADER.size)))
        if head[:2] != [_MAGIC, _VERSION] or head[_COMPRESSION] != _GZIP:
            raise ProductError(f"{path}: GDAL made another kind of PMTiles than is known here")
        root, told, leaves, tiles = (_Part(*head[at : at + 2]) for at in (2, 4, 6, 8))
        old = json.loads(gzip.decompress(told.read_from(source)))
        parts = [root.read_from(source), _packed(_text({**old, **metadata}))]
        if _HEADER.size + root.size > _FAR:
            raise ProductError(f"{path}: its root directory is too large to be moved")
        # What tiles are found by counts from where tiles begin: only these four places move.
        begin = _HEADER.size
        sizes = [*map(len, parts), leaves.size, tiles.size]
        for number, size in enumerate(sizes):
            head[2 + 2 * number : 4 + 2 * number] = [begin, size]
            begin += size
        target.write(_HEADER.pack(*head))
        for data in parts:
            target.write(data)
        for part in (leaves, tiles):
            source.seek(part.begin)
            _copy(source, target, part.size)
    aside.replace(path)


class _Part:
    """A part of an archive: where it begins, and its bytes."""

    def __init__(self, begin: int, size: int) -> None:
        self.begin, self.size = begin, size

    def read_from(self, source: BinaryIO) -> bytes:
        source.seek(self.begin)
        return source.read(self.size)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size:
        data = source.read(min(size, 2**20))
        if not data:
            raise ProductError("a PMTiles archive ends before its tiles do")
        target.write(data)
        size -= len(data)


def _text(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
