"""Plans: they cover the scene, state right numbers, and change with workers only where they may."""

from dataclasses import replace
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import PlanError, SceneError
from geoseg.grid import Window, blocks
from geoseg.ops.stitch import NEEDS
from geoseg.ops.tiling import hull
from geoseg.plan import LARGEST_BLOCK, Resources, TilingWish, memory_needed, plan_scene
from geoseg.scene import Band, Mask, Scene
from geoseg.testing import fake_card, utm_grid

ONE = Resources(workers=1, lanes=1)


def scene(shape, *, bands=("b1",), dtype="uint16", masks=0):
    grid = utm_grid(shape)
    mask = Mask("mask.tif", 1, grid, "values", (0,))
    return Scene(
        "s", {name: Band("s.tif", 1, grid, dtype) for name in bands}, grid, (mask,) * masks
    )


@st.composite
def cards(draw):
    """Models of any stride and margin, with and without a reach; chips own 64 pixels or more."""
    stride = draw(st.sampled_from([1, 4, 8, 32]))
    margin = stride * draw(st.integers(0, 160 // stride))
    size = 2 * margin + ceil(draw(st.integers(64, 1200)) / stride) * stride
    reach = draw(st.none() | st.integers(0, margin))
    bytes_ = draw(st.sampled_from([1, 900, 40_000]))
    card = fake_card("any", reach=reach)
    return replace(card, stride=stride, margin=margin, size=size, activation_bytes=bytes_)


SHAPES = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
RESOURCES = st.builds(
    Resources,
    workers=st.integers(1, 64),
    lanes=st.integers(1, 8),
    models=st.integers(1, 4),
    memory=st.none() | st.integers(2 * 2**30, 2**36),
)


def plan(shape, card, wish, resources):
    """None where the plan says that it does not fit."""
    try:
        return plan_scene(scene(shape), card, wish, resources)
    except PlanError as error:
        if resources.memory is None or "GB are allowed" not in str(error):
            raise
        return None


@settings(max_examples=300)
@given(shape=SHAPES, card=cards(), resources=RESOURCES, seams=st.sampled_from(["crop", "blend"]))
def test_plans_are_sound_and_only_the_block_depends_on_resources(shape, card, resources, seams):
    wish = TilingWish(seams=seams)
    ours = plan(shape, card, wish, resources)
    if ours is None:
        return
    alone = plan(shape, card, wish, ONE)
    lattice = ours.lattice
    assert lattice == alone.lattice
    assert lattice.multiple == card.stride
    assert lattice.size % card.stride == lattice.margin % card.stride == 0
    assert lattice.margin >= (card.reach or 0)
    assert ours.block % lattice.stride == 0
    assert ours.block <= max(LARGEST_BLOCK, lattice.size + lattice.stride)
    assert ours.blocks == tuple(blocks(shape, ours.block))
    assert ours.skipped == 0
    assert ours.predictions_per_pixel >= 1
    if seams == "crop":
        assert ours.chips == alone.chips, "crop predicts no chip twice, however it is cut"
        assert ours.predictions_per_pixel == pytest.approx(alone.predictions_per_pixel)
    assert ours.bytes_written == 2 * prod(shape)
    if resources.memory is not None:
        assert ours.memory_per_worker <= resources.memory


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    card=cards(),
    seams=st.sampled_from(["crop", "blend"]),
    cells=st.integers(1, 4),
)
def test_chips_cover_and_are_counted(shape, card, seams, cells):
    wish = TilingWish(size=card.size, margin=card.margin, seams=seams)
    stride = card.size - 2 * card.margin
    wish = replace(wish, block=cells * stride)
    planned = plan_scene(scene(shape, masks=2), card, wish, ONE)
    owners = np.zeros(shape, np.int64)
    chips, read = 0, 0
    for block in planned.blocks:
        inside = planned.lattice.chips(shape, block)
        for chip in inside:
            owners[(chip.owns & block).slices] += 1
        if seams == "blend":
            inside = planned.lattice.chips(shape, block, by=NEEDS["blend"])
        chips += len(inside)
        read += prod(hull(inside).shape)
    assert (owners == 1).all()
    assert planned.chips == chips
    each = prod(planned.lattice.chip_shape(shape))
    assert planned.predictions_per_pixel == pytest.approx(chips * each / prod(shape))
    # Two bytes a band, one for validity, one for each mask.
    assert planned.bytes_read == read * (2 + 1 + 2)


@settings(max_examples=100)
@given(shape=SHAPES, card=cards(), grows=st.integers(2, 20), cells=st.integers(1, 5))
def test_memory_is_set_by_the_block_not_by_the_scene(shape, card, grows, cells):
    wish = TilingWish(size=card.size, margin=card.margin)
    lattice = plan_scene(scene((1, 1)), card, wish, ONE).lattice
    block = cells * lattice.stride
    # More blocks than a worker has in hand, and the next.
    shape = tuple(max(n, 2 * block, card.size) for n in shape)
    larger = tuple(n * grows for n in shape)
    small, large = (
        memory_needed(scene(s), card, lattice, wish, block, ONE) for s in (shape, larger)
    )
    assert small == large


@settings(max_examples=100)
@given(
    card=cards(),
    shape=st.tuples(st.integers(100, 4000), st.integers(100, 4000)),
    keep=st.integers(0, 2**31),
)
def test_blocks_outside_of_the_area_are_left_out_and_no_pixel_of_theirs_is_counted(
    card, shape, keep
):
    random = np.random.default_rng(keep)
    kept = set()

    def touches(window: Window) -> bool:
        if random.random() < 0.4:
            kept.add(window)
            return True
        return False

    try:
        planned = plan_scene(scene(shape), card, TilingWish(), ONE, touches=touches)
    except PlanError as error:
        if kept or "touches none of its blocks" not in str(error):
            raise
        return
    every = tuple(blocks(shape, planned.block))
    assert set(planned.blocks) == kept
    assert planned.skipped == len(every) - len(kept)
    assert list(planned.blocks) == sorted(planned.blocks)
    pixels = sum(prod(b.shape) for b in kept)
    assert planned.bytes_written == 2 * pixels
    assert planned.predictions_per_pixel >= 1


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (TilingWish(size=256, margin=32, block=200), r"multiple of .* 192 px .*; try 192"),
        (TilingWish(size=256, margin=32, block=1), r"try 192"),
        (TilingWish(size=64, margin=32), r"margin 32 px leaves nothing of a 64 px chip"),
        (TilingWish(size=250, margin=32), r"size 250 px is not a multiple of 8.*; try 248"),
        (TilingWish(size=256, margin=30), r"margin 30 px is not a multiple of 8.*; try 32"),
    ],
)
def test_wishes_that_do_not_fit(wish, message):
    card = replace(fake_card("any", reach=8), stride=8)
    with pytest.raises(PlanError, match=message):
        plan_scene(scene((900, 900)), card, wish, ONE)


def test_auto_blocks_shrink_before_a_plan_is_refused():
    card = replace(fake_card("any", reach=8), stride=8, margin=32, activation_bytes=500)
    big = scene((20_000, 20_000), bands=[f"b{i}" for i in range(1, 2)])
    free = plan_scene(big, card, TilingWish(), ONE)
    # Peaks are a little above plans: what fits to the byte is not chosen, but may be asked for.
    exact = replace(ONE, memory=free.memory_per_worker)
    assert plan_scene(big, card, TilingWish(), exact).block < free.block
    assert plan_scene(big, card, TilingWish(block=free.block), exact).block == free.block
    tight = replace(ONE, memory=free.memory_per_worker - 1)
    ours = plan_scene(big, card, TilingWish(), tight)
    assert ours.block < free.block
    assert ours.lattice == free.lattice
    with pytest.raises(
        PlanError, match=rf"blocks of {free.block} px .* set a smaller tiling.block"
    ):
        plan_scene(big, card, TilingWish(block=free.block), tight)


def test_a_missing_band_is_told():
    with pytest.raises(SceneError, match="no band b1; it has red"):
        plan_scene(scene((9, 9), bands=("red",)), fake_card("any"), TilingWish(), ONE)
