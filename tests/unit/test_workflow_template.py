"""Where products go, whatever scenes are called."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import WorkflowError
from geoseg.workflow import expand_directory, loads
from geoseg.workflow.template import safe_name

DATE = datetime(2024, 3, 5, 10, 30, tzinfo=UTC)


def expand(template, *, scene="S2A_29UNU", date=DATE):
    return expand_directory(template, scene=scene, date=date, name="water", stem="B04")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("products", "products"),
        ("../p/{name}/{scene}/{stem}", "../p/water/S2A_29UNU/B04"),
        ("{date}", "2024-03-05"),
        ("{date:%Y/%m/%d}/{date:%H%M}", "2024/03/05/1030"),
        ("{{a}}", "{a}"),
        ("/abs/{date:w%V}", "/abs/w10"),
    ],
)
def test_filled_in(template, expected):
    assert expand(template) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{scn}",
        "{}",
        "{0}",
        "{scene.real}",
        "{scene[0]}",
        "{date:%Q}",
        "{date:%}",
        "{date:x}",
        "{",
        "}",
        "{date:{scene}}",
    ],
)
def test_refused(template):
    with pytest.raises(WorkflowError):
        expand(template)


def test_date_must_be_known():
    assert expand("{scene}", date=None) == "S2A_29UNU"
    with pytest.raises(
        WorkflowError, match=r"has {date}, but scene S2A_29UNU has no date; set input.date"
    ):
        expand("{date:%Y}", date=None)


@pytest.mark.parametrize(
    "scene",
    ["..", ".", "", "../../etc/passwd", "/etc", "a/../b", "..\\x", "C:\\x", "\0", "~", "a\nb"],
)
def test_scenes_stay_inside(scene):
    parts = PurePosixPath(expand("out/{scene}", scene=scene)).parts
    assert len(parts) == 2
    assert parts[1] not in (".", "..")
    assert "\\" not in parts[1]


def test_harmless_names_stay_as_they_are():
    for name in ("S2A_MSIL2A_20221005T115411", "a.b-c", "Köln_2024", "日本"):
        assert safe_name(name) == name


@given(st.text(max_size=200), st.text(max_size=200))
def test_different_scenes_go_to_different_folders(one, other):
    names = safe_name(one), safe_name(other)
    assert all(len(name) < 140 and name not in ("", ".", "..") for name in names)
    assert not any(c in name for name in names for c in "/\\\0: ")
    if names[0] == names[1]:
        assert one == other or safe_name(one) == one or safe_name(other) == other


def test_of_a_workflow():
    text = "geoseg: 1\nname: w\ninput: {kind: sample}\nmodel: m\noutput: {directory: 'p/{name}'}\n"
    assert loads(text).directory(scene="a", date=None, stem="b") == "p/w"
