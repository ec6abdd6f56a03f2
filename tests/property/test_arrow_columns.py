"""Columns made and read without pandas are those of pyarrow; boxes lie along Hilbert's curve."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoseg.io.columns import absent_of, column_of, text_column, values_of
from geoseg.ops.rtree import hilbert_order

KINDS = st.sampled_from(["bool", "u1", "i2", "i8", "f4", "f8"])


@st.composite
def columns(draw):
    count = draw(st.integers(0, 40))
    values = draw(arrays.arrays(np.dtype(draw(KINDS)), count))
    absent = draw(arrays.arrays(np.bool_, count) | st.none())
    return values, absent


@given(columns(), st.integers(0, 20))
def test_numbers_are_those_of_pyarrow(column, begin):
    values, absent = column
    made, wanted = column_of(values, absent), pa.array(values, mask=absent)
    made.validate(full=True)
    assert made.type == wanted.type
    assert str(made.to_pylist()) == str(wanted.to_pylist())
    for array in (made.slice(begin), wanted.slice(begin)):
        missing = np.zeros(len(values), np.bool_) if absent is None else absent
        np.testing.assert_array_equal(absent_of(array), missing[begin:])
        known = ~missing[begin:]
        np.testing.assert_array_equal(values_of(array)[known], values[begin:][known])


@given(st.lists(st.text(max_size=5) | st.none(), min_size=1, max_size=5), st.data())
def test_texts_are_those_of_pyarrow(texts, data):
    index = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=30))
    made = text_column(texts, np.array(index, np.int16))
    made.validate(full=True)
    assert made.to_pylist() == [texts[i] for i in index]


def along_curve(x, y):
    """Cell by cell, from the largest square to the smallest (Warren 2012, 16-8)."""
    along, side = 0, 1 << 15
    while side:
        right, upper = int(x & side != 0), int(y & side != 0)
        along += side * side * ((3 * right) ^ upper)
        x, y = x & (side - 1), y & (side - 1)
        if not upper:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        side >>= 1
    return along


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=60))
def test_boxes_are_ordered_along_the_curve_and_equals_stay_in_order(corners):
    # Two in opposite corners: the square is known, and a cell is a unit.
    corners = [(0, 0), (65535, 65535), *corners]
    boxes = np.repeat(np.array(corners, np.float32), 2, axis=1)
    places = np.array([along_curve(x, y) for x, y in corners])
    np.testing.assert_array_equal(hilbert_order(boxes), np.argsort(places, kind="stable"))
