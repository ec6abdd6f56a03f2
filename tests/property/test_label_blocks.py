"""What is counted in labels: the same from any blocks, and what its definition says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.grid import Window, blocks
from geoseg.ops.alignment import (
    REACH,
    Agreement,
    count_agreement,
    estimate_shift,
    typical_step,
)
from geoseg.ops.label_census import Census
from geoseg.ops.patches import SIDE, Pieces, choose_pieces, find_shared


def patchy(seed, shape, classes=4, cell=9):
    """Labels of round-cornered patches."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes, [n // cell + 2 for n in shape])
    y, x = np.indices(shape)
    wave = (3 * np.sin(x / 7 + seed), 3 * np.cos(y / 5))
    rows = np.clip((y + wave[0]) / cell, 0, coarse.shape[0] - 1).astype(int)
    columns = np.clip((x + wave[1]) / cell, 0, coarse.shape[1] - 1).astype(int)
    return coarse[rows, columns].astype(np.int16)


@given(st.integers(0, 99), st.integers(1, 30), st.sampled_from([np.uint8, np.int32, np.float32]))
def test_a_census_of_blocks_is_that_of_the_whole(seed, size, dtype):
    random = np.random.default_rng(seed)
    values = random.integers(0, 7, (23, 31)).astype(dtype)
    if dtype == np.float32:
        values[random.random(values.shape) < 0.1] = 2.5
    valid = random.random(values.shape) < 0.8
    total = Census.empty()
    for window in blocks(values.shape, size):
        total += Census.of(values[window.slices], valid[window.slices], window, 31)
    assert total.unlabelled == (~valid).sum()
    for number in np.unique(values[valid]):
        hits = np.flatnonzero((values == number) & valid)
        assert total.pixels[float(number)] == len(hits)
        assert total.first[float(number)] == hits[0]
    assert sum(total.pixels.values()) == valid.sum()
    assert (2.5 in total.strange) == (2.5 in values[valid])


def test_an_image_is_no_labels():
    values = np.arange(5000, dtype=np.int32).reshape(50, 100)
    with pytest.raises(InputError, match="an image, not labels"):
        Census.of(values, np.ones(values.shape, bool), Window(0, 0, 50, 100), 100)


def agreement(codes, image, size):
    typical, total = typical_step(image), Agreement.empty()
    whole, r = Window(0, 0, *codes.shape), REACH + 1
    for core in blocks(codes.shape, size):
        wide = Window(core.y0 - r, core.x0 - r, core.y1 + r, core.x1 + r) & whole
        total += count_agreement(
            codes[wide.slices],
            image[(slice(None), *wide.slices)],
            typical,
            core.within(wide),
            (wide.y0, wide.x0),
        )
    return total


@settings(max_examples=12)
@given(st.integers(0, 99), st.integers(20, 120))
def test_edges_of_blocks_are_those_of_the_whole(seed, size):
    codes = patchy(seed, (110, 130))
    random = np.random.default_rng(seed)
    image = np.stack([codes * 50, codes**2 * 20]) + random.normal(0, 10, (2, 110, 130))
    image = image.astype(np.float32)
    image[:, 40:50, 60:90] = np.nan
    codes = np.where(random.random(codes.shape) < 0.02, -1, codes).astype(np.int16)
    whole, parts = agreement(codes, image, 1000), agreement(codes, image, size)
    assert np.array_equal(whole.sums, parts.sums)
    assert np.array_equal(whole.edges, parts.edges)
    assert whole.edges.sum() > 0


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(-6, 6), st.integers(-6, 6))
def test_labels_that_were_moved_are_found_where_they_were(seed, dy, dx):
    codes = patchy(seed, (200, 220))
    random = np.random.default_rng(seed + 1)
    image = codes[None] * 30 + random.normal(0, 8, (1, 200, 220))
    moved = np.roll(codes, (dy, dx), (0, 1))
    found = estimate_shift(agreement(moved, image.astype(np.float32), 1000))
    assert found.pixels == pytest.approx((-dy, -dx), abs=0.3)
    assert found.error < 0.3


def test_no_direction_is_preferred():
    codes = patchy(4, (200, 220))
    noise = np.random.default_rng(5).normal(0, 20, (1, 200, 220))
    image = (codes[None] * 30 + noise).astype(np.float32)
    there = estimate_shift(agreement(codes, image, 1000))
    back = estimate_shift(agreement(codes[::-1, ::-1], image[:, ::-1, ::-1], 1000))
    assert back.pixels == pytest.approx((-there.pixels[0], -there.pixels[1]), abs=1e-9)


def test_what_cannot_be_told_is_not():
    codes = patchy(1, (200, 220))
    noise = np.random.default_rng(2).normal(0, 1, (1, 200, 220)).astype(np.float32)
    assert estimate_shift(agreement(codes, noise, 1000)).pixels is None
    flat = np.zeros((1, 200, 220), np.float32)
    assert estimate_shift(agreement(codes, flat, 1000)).pixels is None
    one_class = np.zeros((200, 220), np.int16)
    found = estimate_shift(agreement(one_class, noise, 1000))
    assert found.pixels is None
    assert "too few" in found.why_not
    # Another place altogether.
    other = patchy(50, (200, 220), cell=13)[None].astype(np.float32) * 40
    assert estimate_shift(agreement(codes, other, 1000)).pixels is None


def pieces(values, size=1000, share=4, least=8):
    whole = Window(0, 0, *values.shape[1:])
    parts = []
    for core in blocks(values.shape[1:], size):
        rim = SIDE - 1
        wide = Window(core.y0, core.x0, core.y1 + rim, core.x1 + rim) & whole
        valid = np.ones(wide.shape, bool)
        part = values[(slice(None), *wide.slices)]
        at = (wide.y0, wide.x0)
        parts.append(choose_pieces(part, valid, at, share=share, least_changes=least))
    return Pieces.joined(parts)


@settings(max_examples=15)
@given(st.integers(0, 99), st.integers(6, 40), st.sampled_from([np.int16, np.float32, np.uint8]))
def test_pieces_do_not_depend_on_blocks(seed, size, dtype):
    values = np.random.default_rng(seed).integers(0, 200, (2, 45, 60)).astype(dtype)
    one, two = pieces(values), pieces(values, size)
    assert np.array_equal(one.hashes, two.hashes)
    assert np.array_equal(one.places, two.places)
    assert len(one.hashes) > 100


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(-30, 30), st.integers(-30, 30))
def test_overlaps_are_found_at_their_displacement(seed, dy, dx):
    ground = np.random.default_rng(seed).integers(0, 3000, (3, 130, 130)).astype(np.int16)
    one, two = ground[:, 35:99, 35:99], ground[:, 35 + dy : 99 + dy, 35 + dx : 99 + dx]
    other = np.random.default_rng(seed + 1000).integers(0, 3000, (3, 64, 64)).astype(np.int16)
    found = find_shared([pieces(one), pieces(two), pieces(other)], [0, 1, 1])
    assert [(pair.one, pair.other) for pair in found] == [(0, 1)]
    assert found[0].displacement == (dy, dx)
    assert not find_shared([pieces(one), pieces(two)], [0, 0])


def test_what_is_flat_or_hidden_is_no_piece():
    flat = np.full((1, 50, 50), 7, np.uint8)
    assert not len(pieces(flat, share=1).hashes)
    noise = np.random.default_rng(1).integers(0, 200, (1, 50, 50)).astype(np.uint8)
    valid = np.ones((50, 50), bool)
    valid[25, 25] = False
    found = choose_pieces(noise, valid, (0, 0), share=1, least_changes=8)
    assert len(found.hashes) == 43 * 43 - SIDE * SIDE
