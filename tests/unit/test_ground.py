import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoseg.grid import Window
from geoseg.ops.ground import (
    CELL,
    GAP,
    TEST,
    TRAIN,
    VALIDATION,
    Shares,
    cells_of,
    count_cells,
    deal,
    seen_by,
    squares,
    totals,
    with_gap,
)


@given(
    shape=st.tuples(st.integers(1, 100), st.integers(1, 100)),
    classes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_cells_hold_what_lies_in_them(shape, classes, seed):
    indices = np.random.default_rng(seed).integers(0, classes + 2, shape).astype(np.uint8)
    indices[indices > classes] = 255
    counts = count_cells(indices, classes)
    assert counts.shape == (*cells_of(shape), classes)
    for row, col, index in np.ndindex(counts.shape):
        cell = indices[row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL]
        assert counts[row, col, index] == (cell == index).sum()


parts_of_cells = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([TRAIN, TRAIN, TRAIN, VALIDATION, TEST]),
)


@given(parts=parts_of_cells, gap=st.integers(0, 3))
def test_a_gap_is_all_that_is_near_held_out_ground(parts, gap):
    out = with_gap(parts, gap)
    held = np.argwhere((parts == VALIDATION) | (parts == TEST))
    for place in np.ndindex(parts.shape):
        near = len(held) and np.abs(held - place).max(axis=1).min() <= gap
        if parts[place] != TRAIN:
            assert out[place] == parts[place]
        else:
            assert out[place] == (GAP if near and gap else TRAIN)


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), side=st.integers(1, 12))
def test_squares_are_squares_and_rests_are_no_slivers(shape, side):
    where = squares(shape, side)
    for number in np.unique(where):
        rows, cols = np.nonzero(where == number)
        height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
        assert height * width == len(rows), "a rectangle"
        for length, whole in ((height, shape[0]), (width, shape[1])):
            assert length == whole or side / 2 <= length < 2 * side


@given(
    counts=arrays.arrays(np.int64, st.tuples(st.integers(4, 40), st.integers(1, 4)),
                         elements=st.integers(0, 1000)),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_dealing_is_repeatable_and_every_class_is_learnt(counts, seed):
    shares = Shares(0.2, 0.2)
    parts = deal(counts, shares, seed)
    assert (parts == deal(counts, shares, seed)).all()
    for index in np.flatnonzero(counts.sum(axis=0)):
        assert counts[parts == TRAIN, index].sum() > 0


def test_many_alike_units_are_dealt_by_their_shares():
    counts = np.random.default_rng(3).integers(50, 150, (200, 3))
    parts = deal(counts, Shares(0.2, 0.1), 1)
    shares = [counts[parts == part].sum(axis=0) / counts.sum(axis=0) for part in range(3)]
    np.testing.assert_allclose(shares, [[0.7] * 3, [0.2] * 3, [0.1] * 3], atol=0.02)
    assert (parts != deal(counts, Shares(0.2, 0.1), 2)).any(), "another seed, another split"


def test_a_rare_class_is_shared_out_too():
    counts = np.zeros((40, 2), np.int64)
    counts[:, 0] = 1000
    counts[:10, 1] = 10
    parts = deal(counts, Shares(0.2, 0.2), 1)
    assert [(parts[:10] == part).sum() for part in range(3)] == [6, 2, 2]


def test_given_parts_stay_and_count():
    counts = np.full((10, 1), 100)
    parts = deal(counts, Shares(0.2, 0.2), 1, fixed={0: TEST, 1: TEST, 2: VALIDATION})
    assert list(parts[:3]) == [TEST, TEST, VALIDATION]
    assert [(parts == part).sum() for part in range(3)] == [6, 2, 2]


def test_nothing_is_dealt_to_a_part_without_a_share():
    parts = deal(np.full((10, 1), 100), Shares(0.2, 0.0), 1)
    assert set(parts) == {TRAIN, VALIDATION}


@pytest.mark.parametrize(
    ("window", "seen"),
    [
        (Window(0, 0, CELL, CELL), [[0]]),
        (Window(CELL - 1, 0, CELL + 1, CELL), [[0], [2]]),
        (Window(-5, -5, 1, 1), [[0]]),
        (Window(CELL, CELL, 5 * CELL, 5 * CELL), [[3]]),
    ],
)
def test_what_a_window_touches(window, seen):
    parts = np.array([[0, 1], [2, 3]], np.uint8)
    assert seen_by(parts, window).tolist() == seen


def test_totals_leave_out_gaps():
    counts = [np.arange(8, dtype=np.int32).reshape(2, 2, 2)]
    parts = [np.array([[TRAIN, GAP], [TEST, TRAIN]], np.uint8)]
    assert totals(counts, parts).tolist() == [[6, 8], [0, 0], [4, 5]]
