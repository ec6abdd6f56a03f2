"""Refine the map of a scene, block by block, once all blocks are segmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import Pixels, RasterReader, RasterStore
from geoseg.io.traffic import METER
from geoseg.models.base import ModelCard
from geoseg.models.scaling import standardised
from geoseg.ops.areas import class_areas
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.refine.base import Step, View, refine, total_halo


@dataclass(frozen=True, slots=True)
class RefineBlock:
    """Refines blocks of a map. Fulfils :class:`geoseg.run.base.BlockWork`.

    Attributes:
        classes: What the model said.
        refined: Where the result goes.
        grid: Of the whole map.
        card: Whose legend the codes are of; its mean and std make guides comparable.
        steps: One after the other.
        percent: Probabilities of each class of the legend, for steps that need them.
        pixels: The scene, for steps that look at it.
        guide: Which bands of it.
    """

    classes: RasterReader
    refined: RasterStore
    grid: GeoBox
    card: ModelCard
    steps: tuple[Step, ...]
    percent: Sequence[RasterReader] = ()
    pixels: Pixels | None = None
    guide: tuple[str, ...] = ()
    _metric: Metric = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_metric", measure_grid(self.grid))

    def __call__(self, block: Window) -> dict[str, Any]:
        """Refine one block; doing it twice gives the same bytes."""
        start = perf_counter()
        view = self._view(block)
        read = perf_counter()
        codes = refine(view, block, self.steps)
        refined = perf_counter()
        self.refined.write(block, codes)
        return {
            **self._account(codes, view.crop(block), block),
            "remote": asdict(METER.take()),
            "seconds": {
                "read": read - start,
                "refine": refined - read,
                "write": perf_counter() - refined,
            },
        }

    def close(self) -> None:
        """Let go of the scene's files."""
        if self.pixels is not None:
            self.pixels.close()

    def _view(self, block: Window) -> View:
        halo, scene = total_halo(self.steps), full_window(self.grid)
        around = scene & Window(block.y0 - halo, block.x0 - halo, block.y1 + halo, block.x1 + halo)
        classes = np.asarray(self.classes.read(around), np.uint8)
        legend = self.card.legend
        percent = [np.asarray(store.read(around), np.uint8) for store in self.percent]
        return View(
            classes,
            legend.nodata,
            around,
            scene.shape,
            np.stack(percent) if percent else None,
            legend.values,
            self._guide(around),
        )

    def _guide(self, around: Window) -> NDArray[np.float32] | None:
        if self.pixels is None or not self.guide:
            return None
        patch = self.pixels.read(self.guide, around)
        out = np.zeros(patch.values.shape, np.float32)
        for number, band in enumerate(self.guide):
            stored = np.where(patch.valid, patch.values[number], 0).astype(np.float32)
            physical = stored * patch.scale[number] + patch.offset[number]
            out[number] = np.where(patch.valid, standardised(self.card, band, physical), 0)
        return out

    def _account(self, codes: NDArray[np.uint8], before: View, block: Window) -> dict[str, Any]:
        """What the block says of itself: counts, areas, checksum and how much changed."""
        valid = codes != before.nodata
        counts = np.bincount(codes[valid], minlength=256)
        areas = class_areas(codes, block, self._metric)
        present = [int(code) for code in np.flatnonzero(counts)]
        return {
            "changed": int((codes != before.classes).sum()),
            "counts": {code: int(counts[code]) for code in present},
            "areas": {code: areas[code] for code in present},
            "crc": {"refined": crc32(codes.tobytes())},
        }
