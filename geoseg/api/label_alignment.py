"""How far labels lie from what the image shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.api.label_items import Codes, LabelItem, codes_on
from geoseg.grid import GeoBox, Window, blocks, full_window
from geoseg.io.grids import pixel_sides
from geoseg.io.label_images import PlainImage
from geoseg.ops.alignment import (
    REACH,
    Agreement,
    Shift,
    count_agreement,
    estimate_shift,
    typical_step,
)
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

BLOCK = 1024
_PROBE = 256  # pixels on a side of the parts that say what an ordinary difference is


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How labels lie on one image.

    Attributes:
        labels: Of the labels' file.
        image: Of the image.
        shift: From the labels to the image, in pixels.
        sides: Length of a pixel in metres ``(y, x)``; None where nothing says so.
        counts: What it was estimated from; they add up over files.
    """

    labels: str
    image: str
    shift: Shift
    sides: tuple[float, float] | None
    counts: Agreement


def align(
    item: LabelItem, image: PlainImage, *, reporter: Reporter, workers: int | None
) -> Alignment | str:
    """The shift of labels against an image, or why it was not looked for."""
    codes = codes_on(item, image)
    if isinstance(codes, str):
        return codes
    height, width = (int(n) for n in image.grid.shape)
    windows = tuple(blocks((height, width), BLOCK))
    work, total = _Count(codes, image, _typical(image)), Agreement.empty()
    for some in each_block(work, windows, name="align", reporter=reporter, workers=workers):
        total += some
    sides = pixel_sides(image.grid) if image.placed else None
    return Alignment(item.name, str(image.path), estimate_shift(total), sides, total)


@dataclass(frozen=True, slots=True)
class _Count:
    ways: tuple[Codes, ...]
    image: PlainImage
    typical: NDArray[np.float64]

    def __call__(self, core: Window) -> Agreement:
        r = REACH + 1
        wide = Window(core.y0 - r, core.x0 - r, core.y1 + r, core.x1 + r)
        wide &= full_window(self.image.grid)
        seen = [codes(wide) for codes in self.ways]
        total = Agreement.empty()
        if all((codes < 0).all() for codes in seen):
            return total
        numbers, at = _numbers(self.image, wide), (wide.y0, wide.x0)
        for codes in seen:
            total += count_agreement(codes, numbers, self.typical, core.within(wide), at)
        return total


def _numbers(image: PlainImage, window: Window) -> NDArray[np.float32]:
    values, valid = image.read(window)
    numbers = values.astype(np.float32)
    numbers[:, ~valid] = np.nan
    return numbers


def _typical(image: PlainImage) -> NDArray[np.float64]:
    """From up to nine parts spread over the image, whatever blocks it is read in."""
    found = [typical_step(_numbers(image, window)) for window in _probes(image.grid)]
    typical: NDArray[np.float64] = np.median(found, axis=0)
    return typical


def _probes(grid: GeoBox) -> list[Window]:
    height, width = (int(n) for n in grid.shape)
    corners = {
        (int(y * max(0, height - _PROBE) / 2), int(x * max(0, width - _PROBE) / 2))
        for y in range(3)
        for x in range(3)
    }
    return [Window(y, x, y + _PROBE, x + _PROBE) & full_window(grid) for y, x in sorted(corners)]
