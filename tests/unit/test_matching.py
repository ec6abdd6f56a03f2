"""Which class is which: by name, by code, as somebody says; and what is said where it is unclear."""

import numpy as np
import pytest

from geoseg.errors import InputError
from geoseg.ops.matching import Side, match

MAP = Side("map.tif", {1: "Water", 2: "Trees", 4: "Crops"})
PLAIN = Side("plain.tif", {})


def names(matching, side, codes):
    """The class of each code, None where it says nothing."""
    indices = getattr(matching, side).apply(np.array(codes, np.int16))
    return [None if i < 0 else matching.classes[i] for i in indices]


def test_by_name_where_both_have_names():
    matching = match(MAP, Side("truth.tif", {10: "trees", 80: "WATER"}))
    assert names(matching, "truth", [10, 80, -1]) == ["Trees", "Water", None]
    assert names(matching, "prediction", [1, 2, 4, -1]) == ["Water", "Trees", "Crops", None]
    # The same code, another class.
    other = match(MAP, Side("truth.tif", {1: "Trees", 2: "Water"}))
    assert names(other, "truth", [1, 2]) == ["Trees", "Water"]


def test_by_code_where_one_has_none():
    assert names(match(MAP, PLAIN), "truth", [1, 4]) == ["Water", "Crops"]
    assert names(match(PLAIN, MAP), "prediction", [1, 4, 9]) == ["Water", "Crops", "9"]
    assert names(match(PLAIN, PLAIN), "truth", [0, 255]) == ["0", "255"]
    texts = Side("t.gpkg", {0: "2", 1: "7"}, coded=False)
    assert names(match(PLAIN, texts), "truth", [0, 1]) == ["2", "7"]


def test_what_has_no_counterpart_is_named():
    with pytest.raises(InputError) as caught:
        match(MAP, Side("truth.tif", {10: "Tree cover"})).truth.apply(np.array([10]))
    assert str(caught.value) == (
        "truth.tif: holds 10 (Tree cover), which is none of the prediction's classes "
        "(Water, Trees, Crops); say which it is with mapping 'Tree cover=CLASS', or leave it out "
        "with ignore 'Tree cover'"
    )
    with pytest.raises(InputError, match=r"truth.tif: holds 9, which is none"):
        match(MAP, Side("truth.tif", {})).truth.apply(np.array([1, 9]))
    with pytest.raises(InputError, match=r"t.gpkg: holds 'Wood', which is none"):
        match(MAP, Side("t.gpkg", {0: "Wood"}, coded=False)).truth.apply(np.array([0]))


def test_as_somebody_says():
    truth = Side("truth.tif", {10: "Tree cover", 20: "Shrub", 80: "Water"})
    matching = match(
        MAP, truth, mapping={"tree COVER": "trees", "20": "4", "5": "Crops", "7": "ignore"}
    )
    assert names(matching, "truth", [10, 20, 80, 5, 7]) == [
        "Trees", "Crops", "Water", "Crops", None,
    ]  # fmt: skip


def test_classes_are_merged():
    mapping = {"prediction:Water": "Water", "prediction:*": "Land", "*": "Land", "80": "Water"}
    matching = match(MAP, Side("truth.tif", {10: "Tree cover", 80: "Sea"}), mapping=mapping)
    assert matching.classes == ("Water", "Land")
    assert names(matching, "prediction", [1, 2, 4, 77]) == ["Water", "Land", "Land", "Land"]
    assert names(matching, "truth", [10, 80, 33]) == ["Land", "Water", "Land"]
    # What the prediction calls a class still finds it after it was renamed.
    merged = match(MAP, MAP, mapping={"prediction:Trees": "Plants", "prediction:Crops": "Plants"})
    assert names(merged, "truth", [1, 2, 4]) == ["Water", "Plants", "Plants"]


def test_a_class_that_only_the_truth_has():
    truth = Side("truth.tif", {1: "Water", 7: "Snow"})
    matching = match(MAP, truth, mapping={"Snow": "snow"})
    assert names(matching, "truth", [7]) == ["snow"]


def test_what_is_left_out():
    matching = match(MAP, MAP, ignore=["Trees", "4"], mapping={"prediction:1": "ignore"})
    assert names(matching, "truth", [1, 2, 4]) == [None, None, None]
    assert names(matching, "prediction", [1, 2]) == [None, "Trees"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ignore": ["Tree"]}, "ignore: map.tif has no class 'Tree', did you mean 'Trees'?"),
        ({"ignore": ["256"]}, "ignore: map.tif has no class '256'; it has Water, Trees, Crops"),
        ({"mapping": {"Wood": "Trees"}}, "mapping: map.tif has no class 'Wood'"),
        ({"mapping": {"Trees": "Wood"}}, "mapping: map.tif has no class 'Wood'"),
        ({"mapping": {"Trees": ""}}, "mapping: 'Trees' to '': expected CLASS=CLASS"),
        ({"mapping": {"prediction:": "a"}}, "mapping: 'prediction:' to 'a': expected"),
        ({"mapping": {"Trees": "1", "2": "1"}}, "mapping: class '2' of the truth is mapped twice"),
        ({"mapping": {"Trees": "1"}, "ignore": ["2"]}, "ignore: '2' is also mapped to '1'"),
    ],
)
def test_what_cannot_be_meant(options, said):
    with pytest.raises(InputError) as caught:
        match(MAP, MAP, **options)
    assert str(caught.value).startswith(said)
