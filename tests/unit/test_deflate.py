"""Tiles come out of zlib as they went in, in few bytes and always the same ones."""

import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from products import class_map

from geoseg.ops.deflate import deflate


def inflated(stream, values):
    """What another implementation makes of it, which must use all of the bytes."""
    reader = zlib.decompressobj()
    data = reader.decompress(stream) + reader.flush()
    assert reader.eof
    assert not reader.unused_data
    return np.frombuffer(data, values.dtype).reshape(values.shape)


@st.composite
def tiles(draw):
    shape = draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    kind = draw(st.sampled_from(["noise", "skewed", "patches", "rows"]))
    most = draw(st.sampled_from([1, 2, 3, 20, 256, np.iinfo(dtype).max + 1]))
    if kind == "noise":
        values = rng.integers(0, most, shape)
    elif kind == "skewed":  # codes as long as they may be, and longer
        values = np.minimum(rng.geometric(draw(st.sampled_from([0.4, 0.7, 0.99])), shape), most)
    elif kind == "patches":
        coarse = rng.integers(0, most, [-(-n // 9) for n in shape])
        values = np.kron(coarse, np.ones((9, 9), np.int64))[: shape[0], : shape[1]]
    else:
        values = np.broadcast_to(rng.integers(0, most, shape[1]), shape)
    return values.astype(dtype)


@settings(max_examples=150)
@given(tiles(), st.booleans())
def test_zlib_reads_any_tile(values, rows):
    np.testing.assert_array_equal(inflated(deflate(values, rows=rows), values), values)


def test_codes_are_cut_to_the_longest_that_there_may_be():
    # By Fibonacci's numbers the rarest of 24 letters would get a code of 23 bits; 15 is the most.
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    values = np.repeat(np.arange(24, dtype=np.uint8), counts)[:32000]
    values = np.concatenate([np.arange(24, dtype=np.uint8), values])
    np.random.default_rng(0).shuffle(values)
    values = values[None]
    np.testing.assert_array_equal(inflated(deflate(values, rows=False), values), values)


@pytest.mark.parametrize("shape", [(512, 512), (1, 512), (512, 1), (300, 40000)])
@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_tile_is_nearly_nothing(shape, value):
    values = np.full(shape, value, np.uint8)
    stream = deflate(values)
    np.testing.assert_array_equal(inflated(stream, values), values)
    assert len(stream) < 100 + values.size / 400


def test_noise_grows_by_little():
    values = np.random.default_rng(0).integers(0, 256, (512, 512)).astype(np.uint8)
    assert len(deflate(values)) < values.size * 1.002


def hills(*, seed, radius):
    """A smooth field ``(512, 512)`` of 0..1: noise, twice averaged over a box."""
    values = np.random.default_rng(seed).random((512 + 4 * radius, 512 + 4 * radius))
    for axis in (0, 1, 0, 1):
        total, width = np.cumsum(values, axis=axis), 2 * radius
        near = range(total.shape[axis] - width)
        far = [k + width for k in near]
        values = np.take(total, far, axis) - np.take(total, near, axis)
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize("speckles", [0, 0.1])
def test_classes_take_little_more_than_by_zlib_at_its_default(speckles):
    """Maps of models take 7 % less; worst are thin classes along contours, and one-coloured dots."""
    classes = (hills(seed=0, radius=12) * 9).astype(np.uint8)
    classes[np.random.default_rng(0).random(classes.shape) < speckles] = 3
    assert len(deflate(classes)) < 1.125 * len(zlib.compress(classes.tobytes(), 6))


def test_percents_take_little_more_than_by_zlib_at_its_default():
    percent = (hills(seed=1, radius=5) * 100).astype(np.uint8)
    steps = percent.copy()
    steps[:, 1:] -= percent[:, :-1]
    assert len(deflate(steps, rows=False)) < 1.125 * len(zlib.compress(steps.tobytes(), 6))


def test_bytes_depend_on_pixels_alone():
    """Of this library's version they do; whoever changes them changes every product."""
    values = class_map((256, 256))
    told = hashlib.sha256(deflate(values)).hexdigest()[:16]
    assert told == hashlib.sha256(deflate(np.asfortranarray(values))).hexdigest()[:16]
    assert told == "f5f396edf1bafbe7"
