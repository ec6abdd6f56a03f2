"""A raster and its overviews as compressed tiles, made strip by strip in one go."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.cog_layout import LevelTiles, framed
from geoseg.io.read_back import Written

_THREADS = 2
_AT_ONCE = 64  # tiles that wait for a thread, or to be written


class TileFiles:
    """Files of all levels in a folder, the full resolution first; closed at the end of ``with``.

    Each holds the tiles of a level as they stand in a COG: band by band, row by row.

    Args:
        folder: Where they go.
        shapes: Rows and columns of each level.
        side: Of a tile.
        differences: Whether those of neighbours are stored (TIFF's predictor 2).
        written: Is told of all that is written.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Sequence[tuple[int, int]],
        side: int,
        *,
        differences: bool,
        written: Written,
    ) -> None:
        self.levels = [
            LevelTiles(folder / f"level-{index}", shape) for index, shape in enumerate(shapes)
        ]
        self._strips = [_Strips(shape, side) for shape in shapes]
        self._side, self._differences, self._written = side, differences, written
        self._stack = ExitStack()
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._files = [stack.enter_context(level.path.open("wb")) for level in self.levels]
            self._pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            self._drain(0 if kind is None else len(self._waiting))

    def add(self, band: int, parts: Sequence[NDArray[Any]]) -> None:
        """Append rows ``(y, x)`` to ``band`` (from 1), of each level some or none."""
        for level, rows in enumerate(parts):
            for window, strip in self._strips[level].add(rows):
                self._written.note(band, window, strip, level=level)
                for x in range(0, strip.shape[1], self._side):
                    part = strip[:, x : x + self._side]
                    self._waiting.append((level, self._pool.submit(self._tile, part)))
                    self._drain(_AT_ONCE)

    def _tile(self, part: NDArray[Any]) -> bytes:
        height, width = part.shape
        tile = np.zeros((self._side, self._side), part.dtype)  # below the raster, runs
        tile[:height, :width] = part
        tile[:height, width:] = part[:, -1:]
        if self._differences:
            tile[:, 1:] = tile[:, 1:] - tile[:, :-1]
        return framed(_deflated(tile))

    def _drain(self, most: int) -> None:
        """Write what was begun first, until no more than so many tiles wait."""
        while len(self._waiting) > most:
            level, tile = self._waiting.popleft()
            self._files[level].write(tile.result())
            self.levels[level].sizes.append(len(tile.result()))


def _deflated(tile: NDArray[Any]) -> bytes:
    """A zlib stream; the interpreter is free meanwhile."""
    # In maps bytes repeat the one before, or are as many others: to look further back takes five
    # times as long, for 5 % of a class map's bytes and none of percents'. Not so in wider numbers.
    strategy = zlib.Z_RLE if tile.itemsize == 1 else zlib.Z_DEFAULT_STRATEGY
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return packer.compress(tile.data) + packer.flush()


class _Strips:
    """Rows gathered until they are a row of tiles."""

    def __init__(self, shape: tuple[int, int], side: int) -> None:
        self._shape, self._side = shape, side
        self._held: list[NDArray[Any]] = []
        self._at = 0

    def add(self, rows: NDArray[Any]) -> list[tuple[Window, NDArray[Any]]]:
        """All strips that are whole now; after the last row of a band, its next one begins."""
        (height, width), found = self._shape, []
        self._held.append(rows)
        while rows_held := sum(map(len, self._held)):
            end = min(self._at + self._side, height)
            if rows_held < end - self._at:
                break
            held = np.concatenate(self._held) if len(self._held) > 1 else self._held[0]
            found.append((Window(self._at, 0, end, width), held[: end - self._at]))
            self._held = [held[end - self._at :]]
            self._at = end % height
        return found
