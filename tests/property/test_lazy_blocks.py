"""Blocks of Dask arrays see what they ask for, however arrays are chunked."""

import dask
import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.run.lazily import by_blocks, per_chunk


@st.composite
def cases(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    chunks = tuple(
        tuple(
            draw(st.lists(st.integers(1, n), min_size=1, max_size=6).map(lambda c, n=n: cut(c, n)))
        )
        for n in (height, width)
    )
    return (height, width), chunks, draw(st.integers(1, 20)), draw(st.integers(0, 15))


def cut(lengths, total):
    """Chunks of about these lengths that add up to ``total``."""
    ends = np.minimum(np.cumsum(lengths), total)
    return [int(n) for n in np.diff([0, *ends, total]) if n]


@settings(max_examples=40)
@given(cases())
def test_each_block_sees_its_part_and_makes_its_own(case):
    shape, chunks, block, halo = case
    values = np.random.default_rng(0).integers(0, 250, (3, *shape)).astype(np.uint8)
    mask = values[0] > 100
    whole = Window(0, 0, *shape)

    def seen(window):
        wide = Window(window.y0 - halo, window.x0 - halo, window.y1 + halo, window.x1 + 2 * halo)
        return wide & whole

    def work(part, hidden, block_id=None):
        row, col = block_id[-2:]
        window = Window(row * block, col * block, (row + 1) * block, (col + 1) * block) & whole
        rows, cols = seen(window).slices
        np.testing.assert_array_equal(part, values[:, rows, cols])
        np.testing.assert_array_equal(hidden[0], mask[rows, cols])
        return np.stack([part[:, *window.within(seen(window)).slices].max(axis=0)] * 2)

    arrays = [da.from_array(values, ((2, 1), *chunks)), da.from_array(mask, chunks)]
    found = by_blocks(arrays, work, block=block, seen=seen, planes=2)
    assert found.dtype == np.uint8
    assert all(size <= block for axis in found.chunks[1:] for size in axis)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(found.compute(), np.stack([values.max(axis=0)] * 2))


@settings(max_examples=20)
@given(cases())
def test_chunks_know_where_they_lie(case):
    shape, chunks, *_ = case
    values = np.arange(np.prod(shape)).reshape(shape)

    def work(part, window):
        np.testing.assert_array_equal(part, values[window.slices])
        return np.array([part.sum(), part.size])

    made = per_chunk(da.from_array(values, chunks), work, 2)
    with dask.config.set(scheduler="synchronous"):
        assert made.sum(axis=(0, 1)).compute().tolist() == [values.sum(), values.size]
