"""Changes of two maps: each rule is what it says, pixel by pixel, and blocks make no difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polygon_reference import realistic
from scipy import ndimage

from geoseg.errors import InputError
from geoseg.grid import Window, blocks
from geoseg.ops.change import CHANGED, EDGE, SAME, UNSEEN, UNSURE, ChangeRule, find_changes

SHAPE = (37, 45)
RULES = st.builds(
    ChangeRule,
    st.sampled_from(["weigh", "erode", "keep"]),
    st.integers(1, 3),
    st.sampled_from([0, 30, 60]),
)


def pair(seed, shape=SHAPE):
    """Two maps of patches, of which the second is displaced, noisy and has clearings; percents."""
    rng = np.random.default_rng(seed)
    before = realistic(shape, classes=3, seed=seed).astype(np.int16)
    after = np.roll(before, (seed % 2, 1 - seed % 3), (0, 1))
    flip = rng.random(shape) < 0.05
    after[flip] = rng.integers(0, 3, int(flip.sum()))
    after[8:14, 10:19] = 2
    for codes in (before, after):
        codes[rng.random(shape) < 0.03] = -1
    sure = [rng.integers(0, 101, shape).astype(np.uint8) for _ in range(2)]
    sure[0][rng.random(shape) < 0.05] = 255
    return before, after, *sure


def around(y, x, reach, shape):
    return [
        (ny, nx)
        for ny in range(max(0, y - reach), min(shape[0], y + reach + 1))
        for nx in range(max(0, x - reach), min(shape[1], x + reach + 1))
    ]


def is_edge(before, after, one, two, rule, y, x):
    """As the module's docstring has it, word by word."""
    shape, reach = before.shape, rule.reach
    a, b = before[y, x], after[y, x]
    if rule.edges == "erode":
        return any(before[p] != a or after[p] != b for p in around(y, x, reach, shape))
    own = one[y, x] * two[y, x]
    for ny, nx in around(y, x, reach, shape):
        other = 2 * y - ny, 2 * x - nx
        if not (0 <= other[0] < shape[0] and 0 <= other[1] < shape[1]):
            continue
        if before[ny, nx] == b and after[other] == a and one[ny, nx] * two[other] >= own:
            return True
    edges = [
        any(codes[p] not in (codes[y, x], -1) for p in around(y, x, reach, shape))
        for codes in (before, after)
    ]
    return all(edges) and own < 5000


def reference(before, after, sure_before, sure_after, rule):
    one, two = (np.where(s == 255, 0, s).astype(int) for s in (sure_before, sure_after))
    state = np.full(before.shape, SAME)
    state[(before >= 0) & (after >= 0) & (before != after)] = CHANGED
    state[(state == CHANGED) & (np.minimum(one, two) < rule.min_confidence)] = UNSURE
    state[(before < 0) | (after < 0)] = UNSEEN
    if rule.edges == "keep":
        return state
    changed = state == CHANGED
    for y, x in np.argwhere(changed):
        if is_edge(before, after, one, two, rule, y, x):
            state[y, x] = EDGE
    kind = np.where(changed, before * 10 + after, -1)
    for code in np.unique(kind[kind >= 0]):
        grown = ndimage.binary_dilation(
            (state == CHANGED) & (kind == code),
            np.ones((3, 3)),
            iterations=rule.reach,
            mask=(kind == code) & np.isin(state, (CHANGED, EDGE)),
        )
        state[grown] = CHANGED
    return state


@settings(max_examples=25)
@given(rule=RULES, seed=st.integers(0, 9))
def test_each_rule_is_what_it_says(rule, seed):
    before, after, one, two = pair(seed)
    found = find_changes(before, after, rule, sure_before=one, sure_after=two)
    np.testing.assert_array_equal(found, reference(before, after, one, two, rule))


@settings(max_examples=25)
@given(rule=RULES, seed=st.integers(0, 9), size=st.integers(3, 50))
def test_blocks_with_their_halo_give_the_whole(rule, seed, size):
    before, after, one, two = pair(seed)
    whole = find_changes(before, after, rule, sure_before=one, sure_after=two)
    for block in blocks(SHAPE, size):
        h = rule.halo
        seen = Window(block.y0 - h, block.x0 - h, block.y1 + h, block.x1 + h) & Window(0, 0, *SHAPE)
        part = [a[seen.slices] for a in (before, after, one, two)]
        found = find_changes(*part[:2], rule, sure_before=part[2], sure_after=part[3])
        np.testing.assert_array_equal(found[block.within(seen).slices], whole[block.slices])


@pytest.mark.parametrize("edges", ["weigh", "erode"])
def test_the_same_land_a_pixel_aside_has_not_changed(edges):
    land = np.random.default_rng(3).integers(0, 4, (15, 15)).astype(np.int16)
    land = np.kron(land, np.ones((6, 6), np.int16))
    for shift in ((1, 0), (0, 1), (-1, 1)):
        before, after = land[5:-5, 5:-5], np.roll(land, shift, (0, 1))[5:-5, 5:-5]
        assert (before != after).sum() > 500
        found = find_changes(before, after, ChangeRule(edges))
        assert (found[2:-2, 2:-2] == CHANGED).sum() == 0


def test_a_narrow_clearing_stays_where_edges_are_weighed_and_not_where_they_are_eroded():
    before = np.zeros((30, 30), np.int16)
    after = before.copy()
    after[10, 3:27] = 1  # a road through the forest
    assert ((find_changes(before, after, ChangeRule("weigh")) == CHANGED) == (after == 1)).all()
    assert not (find_changes(before, after, ChangeRule("erode")) == CHANGED).any()


@pytest.mark.parametrize("edges", ["weigh", "erode"])
def test_a_clearing_that_grows_from_an_old_edge_is_found_whole(edges):
    before = np.zeros((40, 40), np.int16)
    before[:, :10] = 1
    after = before.copy()
    after[10:25, 10:20] = 1
    found = find_changes(before, after, ChangeRule(edges)) == CHANGED
    assert (found == (before != after)).all()


def test_at_edges_the_surer_story_wins():
    before = np.zeros((9, 9), np.int16)
    before[:, :4] = 1
    after = np.zeros((9, 9), np.int16)
    after[:, :5] = 1  # a strip of one pixel: a new edge, or the old one elsewhere?
    sure = np.full((9, 9), 80, np.uint8)
    for here, stands in ((70, False), (80, False), (90, True)):
        sure[:, 4] = here
        found = find_changes(before, after, ChangeRule(), sure_before=sure, sure_after=sure)
        assert (found[2:-2, 4] == CHANGED).all() == stands


def test_both_dates_must_be_sure_enough():
    before, after = np.zeros((3, 3), np.int16), np.ones((3, 3), np.int16)
    low, high = np.full((3, 3), 59, np.uint8), np.full((3, 3), 60, np.uint8)
    rule = ChangeRule("keep", 1, 60)
    for one, two, expected in ((low, high, UNSURE), (high, low, UNSURE), (high, high, CHANGED)):
        found = find_changes(before, after, rule, sure_before=one, sure_after=two)
        assert (found == expected).all()


def test_settings_without_sense_are_refused():
    for bad in ({"edges": "blur"}, {"reach": 0}, {"reach": 9}, {"min_confidence": 101}):
        with pytest.raises(InputError, match="expected"):
            ChangeRule(**bad)
    with pytest.raises(InputError, match="do not fit together"):
        find_changes(np.zeros((3, 3), np.int16), np.zeros((3, 4), np.int16), ChangeRule())
