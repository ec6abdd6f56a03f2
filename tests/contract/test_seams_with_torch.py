"""With a margin of at least the reach, tiles of a real network join to the untiled answer."""

import numpy as np
import pytest

from geoseg.grid import full_window
from geoseg.models.base import Batch
from geoseg.models.registry import available, find, open_segmenter
from geoseg.ops.tiling import Lattice
from geoseg.testing import random_batch, utm_grid

SHAPE = 272, 232


@pytest.mark.parametrize("name", [card.name for card in available()])
def test_tiles_equal_the_whole(name):
    model = open_segmenter(find(name), device="cpu", threads=1)
    card = model.card
    assert card.reach is not None
    assert card.margin >= card.reach
    scene = random_batch(card, SHAPE, seed=1)
    whole = model.scores(scene)[0]
    tiled = np.full_like(whole, np.nan)
    lattice = Lattice(2 * card.margin + 32, card.margin, card.stride)
    for chip in lattice.chips(SHAPE, full_window(utm_grid(SHAPE))):
        rows, cols = chip.sees.slices
        seen = Batch(
            scene.values[..., rows, cols], scene.scale, scene.offset, scene.valid[..., rows, cols]
        )
        inner = chip.owns.within(chip.sees).slices
        tiled[:, *chip.owns.slices] = model.scores(seen)[0][:, *inner]
    # Kernels differ in the last bit for chips of another shape, not for a lattice's equal chips.
    np.testing.assert_allclose(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [card.name for card in available()])
def test_a_push_is_not_felt_beyond_the_reach(name):
    model = open_segmenter(find(name), device="cpu", threads=1)
    card = model.card
    reach = card.reach
    side = -(-(2 * reach + 17) // 8) * 8
    still = random_batch(card, (side, side), seed=2)
    middle = side // 2
    for at in (middle, middle + 3, middle + 7):
        values = still.values.copy()
        values[..., at, at] = 32767
        valid = still.valid.copy()
        valid[..., at, at] = True
        pushed = Batch(values, still.scale, still.offset, valid)
        moved = np.abs(model.scores(pushed) - model.scores(still)).max(axis=(0, 1)) > 0
        ys, xs = np.nonzero(moved)
        assert len(ys)
        assert max(np.abs(ys - at).max(), np.abs(xs - at).max()) <= reach
