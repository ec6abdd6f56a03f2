"""Legends as CF flags, and back."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.io.cf import class_attributes, decoded, legend_of, percent_attributes
from geoseg.legend import LEGENDS, LandClass, Legend

NAMES = st.text(min_size=1, max_size=12).filter(str.strip)


@given(
    st.lists(st.integers(0, 255), min_size=2, max_size=8, unique=True),
    st.lists(NAMES, min_size=8, max_size=8, unique=True),
)
def test_a_legend_survives_its_attributes(codes, names):
    *values, nodata = codes
    classes = zip(values, names, strict=False)
    legend = Legend("any", tuple(LandClass(v, n, f"#{v:02x}a0ff") for v, n in classes), nodata)
    found = class_attributes(legend)
    assert legend_of(found) == legend
    assert len(found["flag_meanings"].split()) == len(values)


def test_flags_of_others_are_a_legend():
    said = {
        "flag_values": [0, 10, 20],
        "flag_meanings": "water dense_forest town",
        "flag_colors": "#0000FF #006400 #ff0000",
        "_FillValue": 99,
    }
    legend = legend_of(said, "cover")
    assert [(c.value, c.name, c.color) for c in legend.classes][1] == (
        10,
        "dense forest",
        "#006400",
    )
    assert legend.nodata == 99
    assert legend_of(said | {"_FillValue": 0}).nodata == 255


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "has no legend"),
        ({"flag_values": [1, 2], "flag_meanings": "water"}, "2 flag_values, 1 flag_meanings"),
        ({"geoseg_legend": "{"}, "geoseg_legend cannot be read"),
        ({"geoseg_legend": '{"name": "a"}'}, "geoseg_legend cannot be read"),
    ],
)
def test_what_is_no_legend_is_refused(said, message):
    with pytest.raises(InputError, match=message):
        legend_of(said)


def test_percents_become_shares_and_codes_stay_codes():
    codes = np.array([[1, 255], [3, 6]], np.uint8)
    percents = np.array([[0, 255], [100, 7]], np.uint8)
    raw = xr.Dataset(
        {
            "classes": (("y", "x"), codes, class_attributes(LEGENDS["landcover"])),
            "confidence": (("y", "x"), percents, percent_attributes("confidence")),
        },
        attrs={"title": "t"},
    )
    found = decoded(raw)
    assert list(found) == ["classes", "confidence"]
    assert found.attrs == {"title": "t"}
    assert found.classes.dtype == np.uint8
    np.testing.assert_array_equal(found.classes, codes)
    np.testing.assert_array_equal(found.confidence, np.float32([[0, np.nan], [1, 0.07]]))
    assert found.confidence.encoding["dtype"] == np.uint8
