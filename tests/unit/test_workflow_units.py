"""Units in workflows: what is read, what it is worth, what is refused."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import WorkflowError
from geoseg.workflow.units import Area, Duration, Length, Size

KINDS = (Area, Duration, Length, Size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 m", Length(10, "m")),
        ("0.5km", Length(0.5, "km")),
        (" 16  PX ", Length(16, "px")),
        (".5 m", Length(0.5, "m")),
        ("1.e3 m", Length(1000, "m")),
        ("1e-3 km", Length(0.001, "km")),
        (0, Length(0, "px")),
    ],
)
def test_lengths(text, expected):
    assert Length.parse(text) == expected


def test_pixels_of_a_length():
    assert Length.parse("60 m").pixels(10) == 6
    assert Length.parse("61 m").pixels(10) == 7
    assert Length.parse("0.3 m").pixels(0.1) == 3
    assert Length.parse("16 px").pixels(10) == 16
    assert Length.parse("0.1 km").pixels(30) == 4
    assert Length.parse("16 px").metres(0.5) == 8


def test_worth_of_areas():
    assert Area.parse("0.25 ha").square_metres(100) == 2500
    assert Area.parse("1 km²").square_metres(100) == 1e6
    assert Area.parse("4 px").square_metres(100) == 400
    assert Area.parse("400 m2").pixels(100) == 4
    assert Area.parse("401 m2").pixels(100) == 5
    assert Area.parse("7 px").pixels(100) == 7


def test_worth_of_sizes():
    assert Size.parse("2 GB").bytes == 2_000_000_000
    assert Size.parse("512 MiB").bytes == 512 * 2**20
    assert Size.parse("1.5 kib").bytes == 1536


def test_worth_of_durations():
    assert Duration.parse("14d").timedelta == timedelta(days=14)
    assert Duration.parse("36 h").timedelta == timedelta(hours=36)
    assert Duration.parse("2 w").timedelta == timedelta(weeks=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    ["", "m", "10", "10 parsecs", "-1 m", "1 m m", "1,5 m", "1e999 m", None, [], "nan m", "१ m"],
)
def test_refused_with_what_would_work(kind, text):
    with pytest.raises(WorkflowError, match=r"^expected an? .* \(units: "):
        kind.parse(text)


def test_wrong_kind_of_unit():
    with pytest.raises(WorkflowError, match=r"\(units: px, m2, ha, km2\), found '400 m'$"):
        Area.parse("400 m")
    with pytest.raises(WorkflowError, match=r"400 without a unit, add ' m2'$"):
        Area.parse(400)
    with pytest.raises(WorkflowError, match=r"2\.7 million years"):
        Duration.parse("1e12 w")
    with pytest.raises(WorkflowError, match="neither negative nor endless"):
        Length(-1, "m")


@given(
    st.sampled_from(KINDS).flatmap(
        lambda kind: st.builds(
            kind,
            st.floats(0, 1e7),
            st.sampled_from(list(kind._UNITS)),  # its own units
        )
    )
)
def test_text_reads_back(quantity):
    assert type(quantity).parse(str(quantity)) == quantity


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e3))
def test_pixels_cover_the_length(metres, pixel):
    count = Length(metres, "m").pixels(pixel)
    assert count * pixel >= metres * (1 - 1e-8)
    assert (count - 1) * pixel < metres * (1 + 1e-8)
    assert isinstance(count, int)
    assert math.isfinite(count)
