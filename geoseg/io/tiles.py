"""Tiles of files that neighbouring windows share: decoded once, kept until all of them were read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from geoseg.grid import Window

KEPT_BYTES: Final = 48 * 2**20
"""Most that a process keeps of tiles: a row of them across 8000 pixels of six bands of uint16."""

OVERLAP: Final = 96
"""Pixels by which neighbouring windows are taken to overlap, twice a usual margin: what lies so near
to a window's rim may be asked for again. A wrong guess costs time only."""

_SMALLEST: Final = 64
"""Side of the smallest tiles that are worth it: each is a call of its own."""


@dataclass(slots=True)
class _Tile:
    """Numbers ``(band, y, x)``, and the corners ``(y, x)`` that windows may still come for.

    With how many have come: a corner is done with where a window had it well inside, or two had it
    at their rims.
    """

    numbers: NDArray[Any]
    corners: dict[tuple[int, int], int]


class Tiles:
    """Tiles that are kept, of all files that a process reads; may be asked by any thread.

    A window crosses tiles at its rim, which its neighbours cross, too: GDAL would decode them for
    each of them, as it keeps what it decoded for each handle, and the whole of it. Here only those
    at a rim are kept, until windows have been read around all of them; where they do not fit, those
    that were not asked for the longest time are let go.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit, self._lock = limit, Lock()
        self._kept: OrderedDict[tuple[object, ...], _Tile] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What is kept now."""
        return self._bytes

    def of(self, key: tuple[object, ...], corner: tuple[int, int]) -> NDArray[Any] | None:
        """A tile of the file ``key``, if it is kept."""
        with self._lock:
            tile = self._kept.get((*key, *corner))
            if tile is None:
                return None
            self._kept.move_to_end((*key, *corner))
            return tile.numbers

    def keep(
        self,
        key: tuple[object, ...],
        at: Window,
        numbers: NDArray[Any],
        *,
        part: Window,
        inside: Window,
    ) -> None:
        """Keep the tile ``at`` of the file ``key``, or let it go where nobody will ask for it.

        Args:
            key: Stands for the file and its bands.
            at: Where the tile lies.
            numbers: What it holds.
            part: The window that it was read for.
            inside: What of that no other window asks for.
        """
        name = (*key, at.y0, at.x0)
        with self._lock:
            tile = self._kept.pop(name, None)
            if tile is None:
                corners = product((at.y0, at.y1 - 1), (at.x0, at.x1 - 1))
                tile = _Tile(numbers, dict.fromkeys(corners, 0))
                self._bytes += numbers.nbytes
            tile.corners = {
                corner: came
                for corner, before in tile.corners.items()
                if (came := before + _has(part, corner) + _has(inside, corner)) < 2
            }
            if not tile.corners:
                self._bytes -= tile.numbers.nbytes
                return
            self._kept[name] = tile
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].numbers.nbytes

    def forget(self, owner: object) -> None:
        """Let go of the tiles of all files whose key begins with ``owner``."""
        with self._lock:
            for name in [name for name in self._kept if name[0] is owner]:
                self._bytes -= self._kept.pop(name).numbers.nbytes


def _has(window: Window, corner: tuple[int, int]) -> bool:
    (y, x) = corner
    return window.y0 <= y < window.y1 and window.x0 <= x < window.x1


TILES: Final = Tiles()
"""Of this process."""


def stored(
    dataset: DatasetReader,
    indexes: tuple[int, ...],
    part: Window,
    key: tuple[object, ...] | None,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """Numbers ``(band, y, x)`` as they are in a file; none where ``part`` is empty.

    ``key`` is what tiles of it are kept by, for the next windows; in ``out``, where that fits.
    """
    if not part:
        dtype = dataset.dtypes[max(indexes[0], 1) - 1]
        return np.zeros((len(indexes), 0, 0), dtype)
    if indexes == (0,):
        return dataset.read_masks(1, window=_at(part))[None]  # type: ignore[no-any-return]  # rasterio is untyped
    if len({dataset.dtypes[index - 1] for index in indexes}) > 1:  # as a VRT may have them
        return np.stack([dataset.read(index, window=_at(part)) for index in indexes])
    dtype = np.dtype(dataset.dtypes[indexes[0] - 1])
    if out is None or out.dtype != dtype:
        out = np.empty((len(indexes), *part.shape), dtype)
    if key is not None and (file := TiledFile(dataset, indexes, key)).worth(part):
        file.read(part, out)
    else:
        dataset.read(list(indexes), window=_at(part), out=out)
    return out


class TiledFile:
    """Reads windows of a file's bands by way of the tiles that are kept.

    Args:
        dataset: Open, the caller's own.
        indexes: Bands, counted from 1, all of one dtype.
        key: Stands for the file and its bands; the first part of it is who forgets it.
        tiles: Where they are kept.
    """

    def __init__(
        self,
        dataset: DatasetReader,
        indexes: tuple[int, ...],
        key: tuple[object, ...],
        tiles: Tiles = TILES,
    ) -> None:
        self._dataset, self._indexes, self._key, self._tiles = dataset, indexes, key, tiles
        self._side: tuple[int, int] = dataset.block_shapes[indexes[0] - 1]
        self._whole = Window(0, 0, dataset.height, dataset.width)

    def worth(self, part: Window) -> bool:
        """Whether ``part`` is large, and cut into tiles that take time to decode."""
        height, width = self._side
        tile = height * width * len(self._indexes) * np.dtype(self._dtype).itemsize
        packed = self._dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION")
        return (
            packed is not None
            and min(height, width) >= _SMALLEST
            and max(part.shape) >= max(height, width)
            and 8 * tile <= KEPT_BYTES
        )

    @property
    def _dtype(self) -> str:
        return str(self._dataset.dtypes[self._indexes[0] - 1])

    def read(self, part: Window, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(band, y, x)`` with the numbers of ``part``, which lies in the file."""
        inside = self._inside(part)
        inner = self._whole_tiles(inside)
        if inner:
            self._decode(inner, out[:, *inner.within(part).slices])
        for tile in self._crossed(part, inner):
            numbers = self._tiles.of(self._key, (tile.y0, tile.x0))
            if numbers is None:
                numbers = np.empty((len(self._indexes), *tile.shape), out.dtype)
                self._decode(tile, numbers)
            seen = tile & part
            out[:, *seen.within(part).slices] = numbers[:, *seen.within(tile).slices]
            self._tiles.keep(self._key, tile, numbers, part=part, inside=inside)

    def _decode(self, window: Window, out: NDArray[Any]) -> None:
        self._dataset.read(list(self._indexes), window=_at(window), out=out)

    def _inside(self, part: Window) -> Window:
        """What of ``part`` no neighbour asks for, by :data:`OVERLAP`."""
        whole = self._whole
        return Window(
            part.y0 + OVERLAP * (part.y0 > whole.y0),
            part.x0 + OVERLAP * (part.x0 > whole.x0),
            part.y1 - OVERLAP * (part.y1 < whole.y1),
            part.x1 - OVERLAP * (part.x1 < whole.x1),
        )

    def _whole_tiles(self, inside: Window) -> Window:
        """The tiles that lie in ``inside`` with all of their pixels, as one window."""
        height, width = self._side
        (y0, y1), (x0, x1) = (
            (-(-low // side) * side, end if high == end else high // side * side)
            for low, high, side, end in (
                (inside.y0, inside.y1, height, self._whole.y1),
                (inside.x0, inside.x1, width, self._whole.x1),
            )
        )
        return Window(y0, x0, max(y0, y1), max(x0, x1))

    def _crossed(self, part: Window, inner: Window) -> Iterator[Window]:
        """The other tiles of ``part``."""
        height, width = self._side
        rows = range(part.y0 // height * height, part.y1, height)
        cols = range(part.x0 // width * width, part.x1, width)
        for y, x in product(rows, cols):
            if not (inner.y0 <= y < inner.y1 and inner.x0 <= x < inner.x1):
                yield Window(y, x, y + height, x + width) & self._whole


def _at(window: Window) -> RasterWindow:
    return RasterWindow(window.x0, window.y0, window.x1 - window.x0, window.y1 - window.y0)
