"""A few chips of a scene, as its blocks will show them to the model: what engines are tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, full_window
from geoseg.io.base import Pixels
from geoseg.models.base import Batch
from geoseg.ops.tiling import Chip
from geoseg.steps.segment import Tiling, load

_TRIES = 4  # chips that are read at most, for each that is wanted: many have no data


def real_chips(
    pixels: Pixels,
    bands: tuple[str, ...],
    blocks: Sequence[Window],
    tiling: Tiling,
    *,
    count: int,
) -> tuple[Batch, NDArray[np.bool_]] | None:
    """About ``count`` chips far apart, at least half valid where there are such.

    With them ``(chip, y, x)``: the valid pixels that each of them decides. None where nothing is
    valid in the few that are read.
    """
    scene = full_window(pixels.grid)
    seen: list[tuple[float, Batch, NDArray[np.bool_]]] = []
    for tried, chip in enumerate(_spread(blocks, scene, tiling, _TRIES * count), start=1):
        loaded = load(chip.owns & scene, pixels, bands, tiling)
        at, patch = chip.sees.within(loaded.at).slices, loaded.patch
        valid = patch.valid[at]
        owned = np.zeros_like(valid)
        owned[(chip.owns & scene).within(chip.sees).slices] = True
        counted = owned & valid
        if counted.any():
            batch = Batch(patch.values[:, *at][None], patch.scale, patch.offset, valid[None])
            seen.append((float(counted.sum() / owned.sum()), batch, counted))
        if sum(part >= 0.5 for part, *_ in seen) >= count or tried == _TRIES * count:
            break
    best = sorted(seen, key=lambda one: -one[0])[:count]
    if not best:
        return None
    batches = [batch for _, batch, _ in best]
    whole = Batch(
        np.concatenate([b.values for b in batches]),
        batches[0].scale,
        batches[0].offset,
        np.concatenate([b.valid for b in batches]),
    )
    return whole, np.stack([counted for *_, counted in best])


def _spread(blocks: Sequence[Window], scene: Window, tiling: Tiling, most: int) -> Iterator[Chip]:
    """Chips that own pixels of ``blocks``: first some that are far apart, then those between."""
    picked = {round(at) for at in np.linspace(0, len(blocks) - 1, min(most, len(blocks)))}
    every = [c for at in sorted(picked) for c in tiling.lattice.chips(scene.shape, blocks[at])]
    few = max(1, most // _TRIES)
    first = {round(at) for at in np.linspace(0, len(every) - 1, min(few + 2, len(every)))}
    more = {round(at) for at in np.linspace(0, len(every) - 1, min(most, len(every)))} - first
    # The corners of a scene are often beyond the swath: they come last.
    inner = sorted(first - {0, len(every) - 1})
    for at in dict.fromkeys([*inner, *sorted(more), *sorted(first)]):
        yield every[at]
