"""The lattice: one owner for each pixel, chips inside the padded scene, starts in phase."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import PlanError
from geoseg.grid import Window
from geoseg.ops.tiling import Lattice


@st.composite
def lattices(draw):
    multiple = draw(st.sampled_from([1, 2, 4, 8]))
    margin = multiple * draw(st.integers(0, 4))
    return Lattice(2 * margin + multiple * draw(st.integers(1, 8)), margin, multiple)


sides = st.integers(1, 150)


@given(lattices(), sides, sides)
def test_every_pixel_has_one_owner(lattice, h, w):
    owners = np.zeros((h, w), int)
    for chip in lattice.chips((h, w), Window(0, 0, h, w)):
        owners[chip.owns.slices] += 1
    assert (owners == 1).all()


@given(lattices(), sides, sides)
def test_chips_have_one_shape_start_in_phase_and_stay_inside(lattice, h, w):
    inside = Window(0, 0, lattice.padded(h), lattice.padded(w))
    for chip in lattice.chips((h, w), Window(0, 0, h, w)):
        assert chip.sees & inside == chip.sees
        assert chip.owns & chip.sees == chip.owns
        assert chip.sees.shape == lattice.chip_shape((h, w))
        assert chip.sees.y0 % lattice.multiple == 0
        assert chip.sees.x0 % lattice.multiple == 0


@given(lattices(), sides, sides)
def test_owned_pixels_have_the_margin_around_them(lattice, h, w):
    """Except where the scene itself ends."""
    m = lattice.margin
    for chip in lattice.chips((h, w), Window(0, 0, h, w)):
        sees, owns = chip.sees, chip.owns
        assert owns.y0 - sees.y0 >= m or sees.y0 == 0
        assert owns.x0 - sees.x0 >= m or sees.x0 == 0
        assert sees.y1 - owns.y1 >= m or sees.y1 == lattice.padded(h)
        assert sees.x1 - owns.x1 >= m or sees.x1 == lattice.padded(w)


@pytest.mark.parametrize("by", ["owns", "sees"])
@given(
    lattice=lattices(), h=sides, w=sides, y=st.integers(0, 149), x=st.integers(0, 149),
    dy=sides, dx=sides,
)  # fmt: skip
def test_a_block_finds_the_chips_of_the_whole_scene(by, lattice, h, w, y, x, dy, dx):
    block = Window(y, x, y + dy, x + dx) & Window(0, 0, h, w)
    if not block:
        return
    every = lattice.chips((h, w), Window(0, 0, h, w), by=by)
    assert lattice.chips((h, w), block, by=by) == [c for c in every if getattr(c, by) & block]


def test_chips_far_down_a_huge_scene_are_found_without_looking_at_all_of_them():
    lattice = Lattice(1024, 64)
    far = 10**12
    chips = lattice.chips((far, 2000), Window(far - 10, 0, far, 10))
    assert [c.owns.x0 for c in chips] == [0]
    assert chips[0].sees.y1 == far


@pytest.mark.parametrize(
    ("size", "margin", "multiple", "message"),
    [
        (64, 32, 1, "leaves nothing of a 64 px chip"),
        (64, -1, 1, "leaves nothing"),
        (60, 8, 8, "size 60 px is not a multiple of 8, the stride of the model; try 64"),
        (64, 12, 8, "margin 12 px is not a multiple of 8, the stride of the model; try 16"),
    ],
)
def test_bad_lattices_say_what_would_work(size, margin, multiple, message):
    with pytest.raises(PlanError, match=message):
        Lattice(size, margin, multiple)
