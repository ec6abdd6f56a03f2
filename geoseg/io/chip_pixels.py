"""Pixels and labels of many scenes by window, decoded once as long as memory lasts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, full_window
from geoseg.io.label_layers import UNKNOWN, SceneLabels
from geoseg.io.reader import ScenePixels
from geoseg.scene import Scene

BLOCK = 256
"""Side of what is decoded at once, in pixels."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of a scene in physical units.

    Attributes:
        values: ``(band, y, x)`` float32; 0 where not valid.
        labels: ``(y, x)`` class indices; :data:`UNKNOWN` where not known or not valid.
        valid: ``(y, x)``.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A block as stored, with its labels."""

    values: NDArray[np.generic]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.labels.nbytes + self.valid.nbytes


class ChipPixels:
    """Windows of scenes with their labels. May be called from several threads.

    Args:
        scenes: What is read, by number.
        labels: Of the scenes; None: nothing is known of any pixel.
        bands: In the order that is wanted.
        memory: Bytes of decoded blocks that are kept; those used longest ago are dropped.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        labels: Sequence[SceneLabels] | None,
        bands: Sequence[str],
        *,
        memory: int,
    ) -> None:
        self.scenes, self._labels, self._bands = tuple(scenes), labels, tuple(bands)
        self._memory, self._used = memory, 0
        self._pixels = [ScenePixels(scene) for scene in scenes]
        self._kept: OrderedDict[tuple[int, int, int], _Decoded] = OrderedDict()
        self._lock = Lock()
        chosen = [scene.select(self._bands) for scene in scenes]
        self._scale = [np.array([b.scale for b in c], np.float32)[:, None, None] for c in chosen]
        self._offset = [np.array([b.offset for b in c], np.float32)[:, None, None] for c in chosen]

    def shape(self, scene: int) -> tuple[int, int]:
        """Rows and columns of a scene."""
        rows, cols = self.scenes[scene].grid.shape
        return int(rows), int(cols)

    def labels(self, scene: int, window: Window) -> NDArray[np.uint8]:
        """Class indices of a window that lies inside the scene."""
        out = np.full(window.shape, UNKNOWN, np.uint8)
        for part, block, decoded in self._blocks(scene, window):
            out[part.within(window).slices] = decoded.labels[part.within(block).slices]
        return out

    def read(self, scene: int, window: Window) -> Piece:
        """A window; it may reach beyond the scene, where nothing is valid.

        Raises:
            InputError: A file cannot be read.
        """
        shape = window.shape
        values = np.zeros((len(self._bands), *shape), np.float32)
        labels = np.full(shape, UNKNOWN, np.uint8)
        valid = np.zeros(shape, np.bool_)
        inner = window & full_window(self.scenes[scene].grid)
        for part, block, decoded in self._blocks(scene, inner):
            here, there = part.within(window).slices, part.within(block).slices
            values[:, *here] = decoded.values[:, *there]
            labels[here] = decoded.labels[there]
            valid[here] = decoded.valid[there]
        values *= self._scale[scene]
        values += self._offset[scene]
        values[:, ~valid] = 0
        return Piece(values, labels, valid)

    def close(self) -> None:
        """Let go of open files."""
        for pixels in self._pixels:
            pixels.close()
        for labels in self._labels or ():
            labels.close()

    def _blocks(self, scene: int, window: Window) -> list[tuple[Window, Window, _Decoded]]:
        """The parts of a window by block: the part, the block, and what it holds."""
        found = []
        whole = full_window(self.scenes[scene].grid)
        for row in range(window.y0 // BLOCK, -(-window.y1 // BLOCK)):
            for col in range(window.x0 // BLOCK, -(-window.x1 // BLOCK)):
                corner = Window(row * BLOCK, col * BLOCK, (row + 1) * BLOCK, (col + 1) * BLOCK)
                block = corner & whole
                found.append((window & block, block, self._block((scene, row, col), block)))
        return found

    def _block(self, key: tuple[int, int, int], window: Window) -> _Decoded:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        # Two threads may decode the same block: that is rare, and harmless.
        decoded = self._decode(key[0], window)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = decoded
                self._used += decoded.nbytes
            while self._used > self._memory and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._used -= dropped.nbytes
        return decoded

    def _decode(self, scene: int, window: Window) -> _Decoded:
        patch = self._pixels[scene].read(self._bands, window)
        labels = np.full(window.shape, UNKNOWN, np.uint8)
        if self._labels is not None:
            labels, _ = self._labels[scene].read(window)
            labels[~patch.valid] = UNKNOWN
        return _Decoded(patch.values, labels, patch.valid)
