"""A raster and its overviews, each a tiled GeoTIFF, written strip by strip in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from geoseg.grid import Window
from geoseg.io.cog_layout import SOURCE_OPTIONS
from geoseg.io.read_back import Written


class LevelFiles:
    """Files of all levels in a folder, the full resolution first; closed at the end of ``with``.

    Attributes:
        paths: Of the files.
        main: The full resolution, open, for what describes it.

    Args:
        folder: Where they go.
        shapes: Rows and columns of each level.
        side: Of a tile; strips of so many rows are written at once.
        profile: The raster, in rasterio's words.
        written: Is told of all that is written.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Sequence[tuple[int, int]],
        side: int,
        profile: Mapping[str, Any],
        written: Written,
    ) -> None:
        self.paths = [folder / f"level-{index}.tif" for index in range(len(shapes))]
        self._stack = ExitStack()
        self._files: list[DatasetWriter] = []
        self._strips = [_Strips(shape, side, str(profile["dtype"])) for shape in shapes]
        self._written = written
        tiles = {**SOURCE_OPTIONS, "blockxsize": side, "blockysize": side}
        try:
            for path, (height, width) in zip(self.paths, shapes, strict=True):
                kept = {**profile, **tiles, "height": height, "width": width}
                self._files.append(self._stack.enter_context(rasterio.open(path, "w", **kept)))
        except BaseException:
            self._stack.close()
            raise

    @property
    def main(self) -> DatasetWriter:
        """The full resolution."""
        return self._files[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def color(self, palette: Mapping[int, tuple[int, int, int, int]]) -> None:
        """Give all levels a palette; before any pixel."""
        for file in self._files:
            file.write_colormap(1, palette)

    def add(self, band: int, parts: Sequence[NDArray[Any]]) -> None:
        """Append rows ``(y, x)`` to ``band`` (from 1), of each level some or none."""
        for level, rows in enumerate(parts):
            for window, strip in self._strips[level].add(rows):
                at = RasterWindow(0, window.y0, *strip.shape[::-1])
                self._files[level].write(strip, band, window=at)
                self._written.note(band, window, strip, level=level)


class _Strips:
    """Rows gathered until they are a row of tiles: a tile that is begun would be written twice."""

    def __init__(self, shape: tuple[int, int], side: int, dtype: str) -> None:
        self._shape, self._side = shape, side
        self._held = np.empty((0, shape[1]), dtype)
        self._at = 0

    def add(self, rows: NDArray[Any]) -> list[tuple[Window, NDArray[Any]]]:
        """All strips that are whole now; after the last row of a band, its next one begins."""
        (height, width), found = self._shape, []
        held = np.concatenate([self._held, rows]) if len(self._held) else rows
        while len(held) and len(held) >= min(self._side, height - self._at):
            end = min(self._at + self._side, height)
            strip, held = held[: end - self._at], held[end - self._at :]
            found.append((Window(self._at, 0, end, width), strip))
            self._at = end % height
        self._held = held.copy() if len(held) else held
        return found
