"""Refined block by block is refined as a whole, for every step and for chains of them."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geoseg.grid import Window, blocks
from geoseg.ops.refine.base import View, refine, total_halo
from geoseg.ops.refine.guided import Guided
from geoseg.ops.refine.majority import Majority
from geoseg.ops.refine.morphology import Morphology
from geoseg.ops.refine.sieve import FillHoles, Sieve

NODATA = 255
CODES = (3, 0, 7, 200)

odd = st.sampled_from([3, 5, 7])
some = st.lists(st.sampled_from(CODES), min_size=1, max_size=2, unique=True).map(tuple)
steps = st.one_of(
    st.builds(Majority, odd),
    st.builds(Morphology, st.sampled_from(["open", "close"]), some, odd),
    st.builds(Sieve, st.integers(0, 7), st.integers(1, 2)),
    st.builds(FillHoles, some, st.integers(1, 8)),
)
smooth = st.builds(Guided, st.integers(1, 3), st.sampled_from([1e-4, 0.05, 1.0]))
chains = st.one_of(
    st.lists(steps, min_size=1, max_size=3),
    st.builds(lambda first, rest: [first, *rest], smooth, st.lists(steps, max_size=2)),
)


def world(shape, seed, *, grain=3, holes=0.1, scores=False, ground=0.0):
    """Patches of a few pixels with speckle, as a network leaves them, and pixels without data.

    The share ``ground`` of it is the first class, which then has holes.
    """
    random = np.random.default_rng(seed)
    coarse = random.choice(np.array(CODES, np.uint8), [-(-n // grain) for n in shape])
    classes = np.kron(coarse, np.ones((grain, grain), np.uint8))[: shape[0], : shape[1]]
    speckle = random.random(shape) < 0.15
    classes = np.where(speckle, random.choice(np.array(CODES, np.uint8), shape), classes)
    classes = np.where(random.random(shape) < ground, CODES[0], classes)
    classes = np.where(random.random(shape) < holes, NODATA, classes).astype(np.uint8)
    view = View(classes, NODATA, Window(0, 0, *shape), shape)
    if not scores:
        return view
    share = random.random((len(CODES), *shape)) ** 3
    share[np.argmax(classes == np.array(CODES)[:, None, None], axis=0), *np.indices(shape)] += 0.5
    percent = np.rint(100 * share / share.sum(axis=0)).astype(np.uint8)
    percent[:, classes == NODATA] = 255
    guide = random.standard_normal((2, *shape)).astype(np.float32)
    return View(classes, NODATA, view.at, shape, percent, CODES, guide)


def by_blocks(view, chain, block):
    out = np.full(view.shape, 111, np.uint8)
    halo = total_halo(chain)
    for window in blocks(view.shape, block):
        around = view.at & Window(
            window.y0 - halo, window.x0 - halo, window.y1 + halo, window.x1 + halo
        )
        out[window.slices] = refine(view.crop(around), window, chain)
    return out


@settings(max_examples=400, deadline=None)
@given(
    chain=chains, h=st.integers(1, 50), w=st.integers(1, 50), block=st.integers(3, 24),
    grain=st.integers(1, 4), seed=st.integers(0, 999), ground=st.sampled_from([0.0, 0.6]),
)  # fmt: skip
@example(chain=[Sieve(7, 2)], h=48, w=50, block=9, grain=1, seed=5, ground=0.0)
@example(chain=[FillHoles((3, 0), 8)], h=48, w=50, block=9, grain=1, seed=5, ground=0.6)
def test_blocks_do_not_show(chain, h, w, block, grain, seed, ground):
    scores = isinstance(chain[0], Guided)
    view = world((h, w), seed, grain=grain, scores=scores, holes=ground / 20, ground=ground)
    whole = refine(view, view.at, chain)
    np.testing.assert_array_equal(by_blocks(view, chain, block), whole)
    np.testing.assert_array_equal(whole == NODATA, view.classes == NODATA)


@pytest.mark.parametrize(
    "step", [Majority(5), Morphology("open", (3, 7), 3), Morphology("close", (3,), 5), Sieve(5),
             FillHoles((3,), 6), Guided(2, 0.01)],
)  # fmt: skip
def test_with_a_smaller_halo_they_would(step):
    """Or else the test above could not fail: no step asks for more than it needs by much."""

    class Short:
        halo = step.halo // 3

        def __call__(self, view):
            return step(view)

    differ = 0
    for seed in range(6):
        ground = 0.7 if isinstance(step, FillHoles) else 0.0
        view = world((48, 48), seed, grain=1 + seed % 3, scores=True, holes=0.02, ground=ground)
        whole = refine(view, view.at, [step])
        differ += int((by_blocks(view, [Short()], 8) != whole).sum())
    assert differ > 0


@settings(max_examples=60, deadline=None)
@given(step=st.one_of(steps, smooth), seed=st.integers(0, 99), code=st.sampled_from(CODES))
def test_a_map_of_one_class_stays(step, seed, code):
    view = world((20, 23), seed, scores=True)
    flat = np.where(view.classes == NODATA, NODATA, code).astype(np.uint8)
    percent = np.where(np.array(CODES)[:, None, None] == flat, 100, 0).astype(np.uint8)
    view = View(flat, NODATA, view.at, view.shape, percent, CODES, view.guide)
    np.testing.assert_array_equal(refine(view, view.at, [step]), flat)


def test_nothing_but_nodata():
    shape = 9, 7
    nothing = np.full(shape, NODATA, np.uint8)
    guide, percent = np.zeros((1, *shape), np.float32), np.full((4, *shape), 255, np.uint8)
    view = View(nothing, NODATA, Window(0, 0, *shape), shape, percent, CODES, guide)
    for step in (Majority(3), Morphology("open", CODES, 3), Sieve(4), FillHoles(CODES, 4),
                 Guided(2, 0.1)):  # fmt: skip
        np.testing.assert_array_equal(step(view), nothing)
