"""A look at a scene before it is mapped: what the numbers are in a few windows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.base import Patch, Pixels
from geoseg.ops.spread import Spread, spreads

SIDE = 64
"""Of a window, in pixels."""

SMALL = 2**18
"""Pixels of a scene that is read at once: many windows of it would take longer."""

_TRIES = 3  # windows that are read at most, for each that is wanted: many have no data
_PIXELS = 500  # fewer say nothing


def look(
    pixels: Pixels, bands: Sequence[str], blocks: Sequence[Window], *, windows: int
) -> tuple[Spread, ...] | None:
    """How the valid pixels of each band are spread, in about ``windows`` windows over ``blocks``.

    Windows keep the pixels of the scene: averages, as overviews have them, are not what a model
    sees. None where hardly anything is valid.
    """
    seen: list[NDArray[np.float64]] = []
    small = len(blocks) == 1 and prod(blocks[0].shape) <= SMALL
    whole = pixels.read(bands, blocks[0]) if small else None
    for window in list(_windows(blocks, windows))[: _TRIES * windows]:
        if whole is None:
            patch = pixels.read(bands, window)
        else:
            patch = _cut(whole, window.within(blocks[0]))
        if patch.valid.any():
            scale, offset = patch.scale[:, None], patch.offset[:, None]
            seen.append(patch.values[:, patch.valid].astype(np.float64) * scale + offset)
        if len(seen) == windows:
            break
    if sum(part.shape[1] for part in seen) < _PIXELS:
        return None
    return spreads(np.concatenate(seen, axis=1))


def _cut(patch: Patch, window: Window) -> Patch:
    rows, columns = window.slices
    values, valid = patch.values[:, rows, columns], patch.valid[rows, columns]
    return replace(patch, values=values, valid=valid)


def _windows(blocks: Sequence[Window], count: int) -> Iterator[Window]:
    """Windows in the middles of equal parts: first ``count`` of them far apart, then the others."""
    a_side = ceil(sqrt(count / len(blocks)))
    every = [part for block in blocks for part in _parts(block, a_side)]
    first = {round(at) for at in np.linspace(0, len(every) - 1, min(count, len(every)))}
    order = [*sorted(first), *(at for at in range(len(every)) if at not in first)]
    for at in order:
        part = every[at]
        y, x = (part.y0 + part.y1) // 2, (part.x0 + part.x1) // 2
        half = SIDE // 2
        yield Window(y - half, x - half, y + half, x + half) & part


def _parts(block: Window, a_side: int) -> Iterator[Window]:
    """``block`` cut into ``a_side`` x ``a_side``, or fewer where it is small."""
    height, width = block.shape
    rows = np.linspace(block.y0, block.y1, min(a_side, height) + 1).astype(int).tolist()
    cols = np.linspace(block.x0, block.x1, min(a_side, width) + 1).astype(int).tolist()
    for y0, y1 in pairwise(rows):
        for x0, x1 in pairwise(cols):
            yield Window(y0, x0, y1, x1)
