"""Real chips of a scene: far apart, with data, and what of them a run would decide."""

import numpy as np

from geoseg.grid import Window, blocks
from geoseg.ops.tiling import Lattice
from geoseg.steps.real_chips import real_chips
from geoseg.steps.segment import Tiling
from geoseg.testing import ArrayPixels


def chips_of(valid, count=3, lattice=None):
    values = np.arange(valid.size, dtype=np.int32).reshape(1, *valid.shape)
    pixels = ArrayPixels(values, valid=valid)
    cut = tuple(blocks(valid.shape, 64))
    tiling = Tiling(lattice or Lattice(32, 8))
    return real_chips(pixels, ("b1",), cut, tiling, count=count), values[0]


def test_trial_chips_are_the_scenes_and_only_what_they_decide_counts():
    valid = np.ones((130, 150), np.bool_)
    (batch, counted), values = chips_of(valid)
    assert batch.values.shape == (3, 1, 32, 32)
    assert counted.any(axis=(1, 2)).all()
    assert counted.sum() <= 3 * 16 * 16
    for chip in batch.values[:, 0]:
        y, x = divmod(int(chip[0, 0]), 150)
        np.testing.assert_array_equal(chip, values[Window(y, x, y + 32, x + 32).slices])
    assert len({int(chip[0, 0, 0]) for chip in batch.values}) == 3


def test_trial_chips_of_nodata_are_passed_over():
    valid = np.zeros((130, 150), np.bool_)
    assert chips_of(valid)[0] is None
    valid[60:] = True
    (batch, counted), _ = chips_of(valid)
    assert (counted <= batch.valid).all()
    assert counted.any(axis=(1, 2)).all()


def test_a_scene_smaller_than_a_chip_is_one_trial_chip():
    (batch, counted), _ = chips_of(np.ones((10, 12), np.bool_), lattice=Lattice(32, 8, 8))
    assert batch.values.shape == (1, 1, 16, 16)
    assert counted.sum() == 120
