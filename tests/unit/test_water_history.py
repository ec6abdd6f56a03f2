"""The history of water: JRC's layers against their definitions, done by hand and by xarray."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.ops.months import Month, Span, halves
from geoseg.ops.water import (
    DRY,
    FLOOD,
    NOT_SEEN,
    PERMANENT,
    SEASONAL,
    TRANSITIONS,
    Constancy,
    WaterHistory,
    flood_codes,
)

STRICT = Constancy()


def history(days, water, seen=None):
    """Of arrays ``(date, y, x)``."""
    water = np.asarray(water, bool)
    seen = np.ones_like(water) if seen is None else np.asarray(seen, bool)
    months = [Month(day.year, day.month) for day in days]
    made = WaterHistory(water.shape[1:], Span(months[0], months[-1]))
    for month, wet, known in zip(months, water, seen, strict=True):
        made.add(month, wet, known)
    return made


def years(text, start=2000):
    """One pixel, a word a year of 12 months: w water, l land, . not seen; as days and arrays."""
    days, water, seen = [], [], []
    for number, word in enumerate(text.split()):
        for month, sign in enumerate(word, 1):
            days.append(date(start + number, month, 15))
            water.append(sign == "w")
            seen.append(sign != ".")
    shape = (-1, 1, 1)
    return days, np.reshape(water, shape), np.reshape(seen, shape)


ALL, NONE, HALF = "w" * 12, "l" * 12, "w" * 5 + "l" * 7

# What Pekel et al. 2016 (extended data table 3) and the Data Users Guide call each of them.
TABLE = [
    (f"{NONE} {NONE} {NONE}", "No change"),
    (f"{ALL} {ALL} {ALL}", "Permanent"),
    (f"{NONE} {HALF} {ALL}", "New permanent"),
    (f"{ALL} {HALF} {NONE}", "Lost permanent"),
    (f"{HALF} {NONE} {HALF}", "Seasonal"),
    (f"{NONE} {ALL} {HALF}", "New seasonal"),
    (f"{HALF} {ALL} {NONE}", "Lost seasonal"),
    (f"{HALF} {HALF} {ALL}", "Seasonal to permanent"),
    (f"{ALL} {NONE} {HALF}", "Permanent to seasonal"),
    (f"{NONE} {ALL} {NONE}", "Ephemeral permanent"),
    (f"{NONE} {HALF} {NONE}", "Ephemeral seasonal"),
]


@pytest.mark.parametrize(("text", "name"), TABLE)
def test_transitions_are_called_as_jrc_calls_them(text, name):
    days, water, seen = years(text)
    found = history(days, water, seen)
    first = Span(Month(2000, 1), Month(2000, 12))
    last = Span(Month(2002, 1), Month(2002, 12))
    code = int(found.transition(first, last, STRICT)[0, 0])
    assert {c.value: c.name for c in TRANSITIONS.classes}[code] == name


def test_the_table_of_transitions_has_all_classes_and_their_colours():
    assert {name for _, name in TABLE} == set(TRANSITIONS.names)
    known = ["ffffff", "0000ff", "22b14c", "d1102d", "99d9ea", "b5e61d", "e6a1aa", "ff7f27"]
    known += ["ffc90e", "7f7f7f", "c3c3c3"]
    assert [c.color for c in TRANSITIONS.classes] == [f"#{color}" for color in known]


def test_what_a_span_did_not_see_has_no_transition():
    days, water, seen = years(f"{'.' * 12} {ALL} {ALL}")
    found = history(days, water, seen)
    first = Span(Month(2000, 1), Month(2000, 12))
    last = Span(Month(2002, 1), Month(2002, 12))
    assert found.transition(first, last, STRICT)[0, 0] == NOT_SEEN


def test_months_that_nobody_saw_do_not_make_permanent_water_seasonal():
    days, water, seen = years("ww..wwww..ww")
    found = history(days, water, seen)
    assert found.state(found.span, STRICT)[0, 0] == PERMANENT
    assert found.seasonality(2000)[0, 0] == 8


def test_a_wrong_month_can_be_forgiven():
    days, water, seen = years("wwwwwlwwwwww llllllllwlll")
    found = history(days, water, seen)
    spans = [Span(Month(year, 1), Month(year, 12)) for year in (2000, 2001)]
    assert [found.state(span, STRICT)[0, 0] for span in spans] == [SEASONAL, SEASONAL]
    lenient = Constancy(0.9, 0.1)
    assert [found.state(span, lenient)[0, 0] for span in spans] == [PERMANENT, DRY]


def test_recurrence_counts_the_years_that_were_seen_in_the_season_of_water():
    # Water is in spring; the second year was seen in autumn only, the third was dry.
    days, water, seen = years("llwwllllllll ........llll llllllllllll llwlllllllll")
    found = history(days, water, seen)
    assert found.recurrence()[0, 0] == round(100 * 2 / 3)


def test_a_month_is_what_most_of_its_observations_are_and_ties_are_water():
    days = [date(2020, 5, day) for day in (1, 8, 15)] + [date(2020, 6, day) for day in (1, 8)]
    water = np.array([[1, 0], [0, 0], [0, 1], [1, 0], [0, 0]], bool)[:, None]
    found = history(days, water)
    np.testing.assert_array_equal(found.seasonality(2020), [[1, 0]])


def test_dates_out_of_order_are_refused():
    made = WaterHistory((1, 1), Span(Month(2020, 1), Month(2020, 12)))
    one = np.ones((1, 1), bool)
    made.add(Month(2020, 5), one, one)
    with pytest.raises(ValueError, match="2020-04 comes after 2020-05"):
        made.add(Month(2020, 4), one, one)
    with pytest.raises(ValueError, match="outside"):
        made.add(Month(2021, 1), one, one)


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.1, 1.0))
@settings(max_examples=25)
def test_layers_are_those_that_xarray_computes_of_the_whole_series(seed, count, clear):
    random = np.random.default_rng(seed)
    offsets = np.sort(random.integers(0, 1400, count))
    times = pd.to_datetime("2018-03-01") + pd.to_timedelta(offsets, "D")
    days = [time.date() for time in times]
    water = random.random((count, 4, 5)) < random.random((4, 5))
    seen = random.random((count, 4, 5)) < clear
    made = history(days, water, seen)
    cube = xr.DataArray(water.astype(float), dims=("time", "y", "x"), coords={"time": times})
    cube = cube.where(seen)
    share = cube.groupby("time.month").mean().mean("month")
    expected = np.floor(100 * share + 0.5)
    expected = xr.where((expected == 0) & (share > 0), 1, expected).fillna(NOT_SEEN)
    np.testing.assert_array_equal(made.occurrence(), expected)
    np.testing.assert_array_equal(made.observations(), seen.sum(axis=0))
    label = ("time", times.year * 12 + times.month - 1)
    monthly = cube.assign_coords(label=label).groupby("label").mean()
    known = np.isfinite(monthly)
    wet = (monthly >= 0.5).where(known)
    year = days[-1].year
    here = wet.label // 12 == year
    expected = wet[here].sum("label").where(known[here].any("label"), NOT_SEEN)
    np.testing.assert_array_equal(made.seasonality(year), expected)
    np.testing.assert_array_equal(
        made.recurrence(), recurrence(wet.to_numpy(), wet.label.to_numpy())
    )


def recurrence(wet, labels):
    """Pixel by pixel, in the words of the definition."""
    found = np.full(wet.shape[1:], NOT_SEEN)
    for y, x in np.ndindex(found.shape):
        series = wet[:, y, x]
        known = ~np.isnan(series)
        if not known.any():
            continue
        season = {label % 12 for label, w in zip(labels, series, strict=True) if w == 1}
        of = {
            label // 12
            for label, k in zip(labels, known, strict=True)
            if k and label % 12 in season
        }
        water = {label // 12 for label, w in zip(labels, series, strict=True) if w == 1}
        found[y, x] = np.floor(100 * len(water) / len(of) + 0.5) if of else 0
    return found


def test_halves_leave_the_year_in_the_middle_out():
    first, last = halves(Span(Month(2018, 4), Month(2022, 2)))
    assert (str(first), str(last)) == ("2018-04..2019-12", "2021-01..2022-02")
    assert halves(Span(Month(2020, 1), Month(2020, 12))) is None


def test_floods_are_water_where_none_is_permanent():
    water, seen, permanent = np.meshgrid(*[[False, True]] * 3, indexing="ij")
    codes = flood_codes(water, seen, permanent)
    names = {c.value: c.name for c in FLOOD.classes} | {NOT_SEEN: "-"}
    expected = [[["-", "-"], ["Land", "Fallen dry"]], [["-", "-"], ["Flooded", "Permanent water"]]]
    assert [[[names[int(c)] for c in row] for row in plane] for plane in codes] == expected
