"""Charts: the same bytes whatever the process did before, names as they are, every number drawn."""

import re
import subprocess
import sys
from datetime import date
from hashlib import sha256
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from geoseg.io.charts import (
    Curve,
    Interval,
    confusion_chart,
    curves_chart,
    intervals_chart,
    reliability_chart,
    short,
)
from geoseg.ops.calibration import Reliability, calibrate

COUNTS = np.array([[900, 100, 0], [30, 70, 0], [0, 0, 0]])
NAMES = ("Water", "Grass and shrub", "Crops")
CURVES = {
    "loss": {"training": Curve((0, 1, 2), (3, 2, 1)), "validation": Curve((0, 1), (3, np.nan))},
    "mIoU": {"validation": Curve((0, 1, 2), (0.1, 0.5, 0.7))},
}


def reliability():
    confidence = np.repeat([0.05, 0.55, 0.95], [10, 100, 890])
    return calibrate(Reliability.of(confidence, np.arange(1000) % 10 > 0))


def charts(form):
    return [
        confusion_chart(COUNTS, NAMES, form=form),
        reliability_chart(reliability(), form=form),
        curves_chart(CURVES, form=form),
    ]


def digest(form):
    return sha256(b"".join(charts(form))).hexdigest()


@pytest.mark.parametrize("form", ["svg", "png"])
def test_bytes_do_not_depend_on_what_was_done_before(form, monkeypatch):
    here = digest(form)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30)
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "red")
    assert digest(form) == here
    assert mpl.rcParams["font.size"] == 30, "the settings of the process are its own"
    code = f"import sys; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r}); "
    code += f"from test_charts import digest; print(digest({form!r}))"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert there == here


def test_svg_has_no_date_and_no_version():
    for chart in charts("svg"):
        text = chart.decode()
        assert "<svg" in text
        assert not re.search(r"20\d\d-\d\d|matplotlib\.org|Matplotlib v", text)


def test_png_can_be_read_and_is_not_blank():
    for chart in charts("png"):
        image = np.asarray(Image.open(BytesIO(chart)).convert("L"))
        assert min(image.shape) > 200
        assert len(np.unique(image)) > 50


def test_a_confusion_is_darker_where_more_was_taken_for_it():
    image = np.asarray(Image.open(BytesIO(confusion_chart(COUNTS, NAMES, form="png"))).convert("L"))
    one_class = confusion_chart(np.array([[7]]), ["all"], form="png")
    assert (np.asarray(Image.open(BytesIO(one_class)).convert("L")) < 80).mean() > 0.2
    assert 0.02 < (image < 80).mean() < 0.2


@pytest.mark.parametrize(
    "name",
    ["$x_", "a & <b>", "水 and ice", "a name that is much longer than fits into a line of it", ""],
)
@pytest.mark.filterwarnings("error")
def test_names_are_text_whatever_they_hold(name):
    assert confusion_chart(np.array([[5]]), [name]).startswith(b"<?xml")
    assert curves_chart({name or "-": {name or "-": Curve((0, 1), (0, 1))}})


def test_nothing_to_show():
    assert reliability_chart(calibrate(Reliability.empty()))
    assert confusion_chart(np.zeros((2, 2), np.int64), ["a", "b"])
    assert curves_chart({"loss": {}})
    with pytest.raises(ValueError, match="panel"):
        curves_chart({})


def test_counts_in_few_characters():
    numbers = (0, 999, 1000, 12_345, 999_499, 999_500, 123_456_789, 36_000**2)
    assert [short(n) for n in numbers] == ["0", "999", "1k", "12.3k", "999k", "1M", "123M", "1.3G"]


def test_intervals_are_drawn_with_gaps_and_the_same_each_time():
    days = [date(2020, 1, 1), date(2020, 2, 1), date(2020, 3, 1)]
    shown = Interval(days, [1.0, float("nan"), 3.0], [0.5, 0.0, 3.0], [2.0, 4.0, 3.0])
    one, other = (intervals_chart({"A $lake": shown}, y_label="ha") for _ in range(2))
    assert one == other
    assert b"<svg" in one
    more = intervals_chart({"A": shown, "B": shown}, y_label="ha", form="png")
    assert Image.open(BytesIO(more)).height > 300
    with pytest.raises(ValueError, match="needs a panel"):
        intervals_chart({}, y_label="ha")
