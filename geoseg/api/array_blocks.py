"""One block of an array in memory through a model; the same bits as a block of a file."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import Patch
from geoseg.models.base import Segmenter, whole_batch
from geoseg.models.committee import Committee
from geoseg.models.engines import Runtime
from geoseg.ops.areas import class_areas
from geoseg.ops.metric import measure_grid
from geoseg.ops.validity import usable
from geoseg.plan import ScenePlan
from geoseg.run.resources import available_cores
from geoseg.scene import Band
from geoseg.steps.segment import Tiling, infer, planes, prepare, seen_from

_MOST_OPEN = 2
"""Models that a process keeps: whoever compares two should not load them for each block."""

_OPEN: dict[str, _Opened] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Opened:
    segmenter: Segmenter
    turns: AbstractContextManager[Any]


@dataclass(frozen=True)
class BlockModel:
    """Predicts blocks ``(band, y, x)`` of one array; small, and travels to workers.

    Attributes:
        plan: Of the whole array.
        committee: The models.
        runtime: What computes them.
        device: Where.
        name: Stands for all of it: who has the same gives the same.
    """

    plan: ScenePlan
    committee: Committee
    runtime: Runtime
    device: str
    name: str = field(repr=False)

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.name

    def seen(self, block: Window) -> Window:
        """What a block looks at."""
        return seen_from(block, full_window(self.plan.scene.grid), self._tiling(1))

    def __call__(
        self,
        values: NDArray[Any],
        mask: NDArray[np.bool_] | None = None,
        block_id: tuple[int, ...] = (0, 0, 0),
    ) -> NDArray[np.uint8]:
        """Codes, confidence and layers ``(plane, y, x)`` of a block.

        Args:
            values: Bands ``(band, y, x)`` of what the block looks at, as stored.
            mask: Pixels ``(1, y, x)`` that may be used.
            block_id: The last two are its row and column among all blocks.
        """
        plan, scene = self.plan, full_window(self.plan.scene.grid)
        row, col = block_id[-2:]
        size = plan.block
        window = Window(row * size, col * size, (row + 1) * size, (col + 1) * size) & scene
        bands = [plan.scene.bands[name] for name in plan.card.bands]
        opened = self._opened()
        chip = plan.lattice.chip_shape(scene.shape)
        tiling = self._tiling(whole_batch(opened.segmenter, plan.batch, chip))
        loaded = prepare(window, _patch(values, mask, bands), scene, tiling)
        with opened.turns:
            found = infer(loaded, opened.segmenter, tiling)
        layers = planes(found.layers, plan.card.legend.values)
        return np.stack([found.classes, found.confidence, *(plane for _, plane in layers)])

    def _tiling(self, batch: int) -> Tiling:
        plan = self.plan
        return Tiling(plan.lattice, plan.seams, plan.weights, batch, plan.layers, plan.min_valid)

    def _opened(self) -> _Opened:
        """The model, loaded once in a process."""
        with _LOCK:
            if self.name not in _OPEN:
                while len(_OPEN) >= _MOST_OPEN:
                    _OPEN.pop(next(iter(_OPEN)))
                segmenter = self.committee.open(
                    # One thread for a chip, as in runs: bits must not depend on the machine.
                    device=self.device,
                    precision=self.runtime.precision,
                    threads=1,
                    engine=self.runtime.engine,
                    callers=available_cores(),
                )
                turns = nullcontext() if segmenter.parallel else threading.Lock()
                _OPEN[self.name] = _Opened(segmenter, turns)
            return _OPEN[self.name]


def _patch(values: NDArray[Any], mask: NDArray[np.bool_] | None, bands: list[Band]) -> Patch:
    """Pixels as a reader of files gives them: what is not valid is 0."""
    good = [usable(plane, band.nodata) for plane, band in zip(values, bands, strict=True)]
    valid = np.logical_and.reduce(good)
    if mask is not None:
        valid &= mask[0]
    values = values.copy()  # what others see stays as it is
    values[:, ~valid] = 0
    scale = np.array([band.scale for band in bands], np.float32)
    return Patch(values, scale, np.array([band.offset for band in bands], np.float32), valid)


@dataclass(frozen=True, slots=True)
class ChunkAreas:
    """Counts and square metres of each of 256 codes in a chunk of classes, one behind the other."""

    grid: GeoBox

    def __call__(self, classes: NDArray[Any], window: Window) -> NDArray[np.float64]:
        """Both, ``(512,)``."""
        areas = class_areas(classes, window, measure_grid(self.grid))
        found = np.zeros(512)
        found[:256] = np.bincount(classes.ravel(), minlength=256)
        found[[256 + code for code in areas]] = list(areas.values())
        assert found[:256].sum() == prod(window.shape)  # noqa: S101 (codes are uint8)
        return found
