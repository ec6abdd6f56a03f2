"""Patterns find files and name scenes."""

import pytest

from geoseg.errors import SceneError
from geoseg.io.patterns import common_stem, find, stem


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("a_B2.tif", "a_B3.tif", "b_B2.tif", "x/c_B2.tif", "x/y/d_B2.tif", "odd[1].tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a_B2.tif", [(None, "a_B2.tif")]),
        ("*_B2.tif", [(None, "a_B2.tif"), (None, "b_B2.tif")]),
        ("{scene}_B2.tif", [("a", "a_B2.tif"), ("b", "b_B2.tif")]),
        ("{scene}_B?.tif", [("a", "a_B2.tif"), ("a", "a_B3.tif"), ("b", "b_B2.tif")]),
        ("a_B[!3].tif", [(None, "a_B2.tif")]),
        (
            "**/{scene}_B2.tif",
            [
                (s, p)
                for s, p in zip(
                    "abcd", ("a_B2.tif", "b_B2.tif", "x/c_B2.tif", "x/y/d_B2.tif"), strict=True
                )
            ],
        ),
        ("x/*/{scene}_*.tif", [("d", "x/y/d_B2.tif")]),
        ("odd[1].tif", [(None, "odd[1].tif")]),
    ],
)
def test_find(files, pattern, found):
    assert find(pattern) == [(scene, str(files / path)) for scene, path in found]
    assert find(str(files / pattern)) == find(pattern)


def test_a_scene_is_called_the_same_twice(files):
    for name in ("s1/s1_B2.tif", "s2/other_B2.tif"):
        (files / name).parent.mkdir()
        (files / name).touch()
    assert find("{scene}/{scene}_B2.tif") == [("s1", str(files / "s1/s1_B2.tif"))]


def test_folders_are_not_files(files):
    (files / "e.tif").mkdir()
    with pytest.raises(SceneError, match=r"e\*: no file matches"):
        find("e*")


def test_nothing_found(files):
    with pytest.raises(SceneError, match=rf"^none\.tif: no such file in {files}$"):
        find("none.tif")
    with pytest.raises(
        SceneError, match=rf"^q/\*\.tif: no file matches; there is no folder {files}/q$"
    ):
        find("q/*.tif")
    with pytest.raises(SceneError, match=rf"^\*\.jp2: no file matches; {files} holds [^\n]+$"):
        find("*.jp2")


def test_what_is_not_local_is_left_alone():
    assert find("https://host/a*.tif?x={scene}") == [(None, "https://host/a*.tif?x={scene}")]
    assert stem("https://host/a.b.tif?token=1.2") == "a.b"


def test_common_stem():
    assert common_stem(["/d/tahoe_green.tif", "/d/tahoe_nir.tif"]) == "tahoe"
    assert common_stem(["/d/sundarbans/B02.tif", "/d/sundarbans/B03.tif"]) == "sundarbans"
    assert common_stem(["/d/one_only.tif"]) == "one_only"
    assert common_stem(["/d/s-1 x.tif", "/d/s-1 y.tif"]) == "s-1"
