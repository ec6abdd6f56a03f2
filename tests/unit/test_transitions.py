"""Classes of two maps in one numbering, and the codes of their transitions."""

import numpy as np
import pytest

from geoseg.errors import InputError
from geoseg.legend import LandClass, Legend
from geoseg.ops.regions import NODATA
from geoseg.ops.transitions import (
    GAINED,
    LOST,
    NOT_LOOKED_AT,
    NOT_SEEN,
    STAYED,
    STAYED_OUT,
    UNKNOWN,
    common_classes,
    transitions,
)


def legend(*names, first=1, nodata=255):
    classes = tuple(LandClass(i, n, "#102030") for i, n in enumerate(names, first))
    return Legend("some", classes, nodata)


def unnamed(codes):
    return Legend("none", tuple(LandClass(c, f"Class {c}", "#102030") for c in codes), 255)


ONE, TWO = legend("Water", "Trees", "Crops"), legend("trees", "Town", "WATER", first=10)


def test_classes_of_the_same_name_are_the_same_whatever_their_codes():
    common = common_classes(ONE, TWO)
    assert [c.name for c in common.classes] == ["Water", "Trees", "Crops", "Town"]
    assert common.before[[1, 2, 3]].tolist() == [0, 1, 2]
    assert common.after[[10, 11, 12]].tolist() == [1, 3, 0]
    assert common.before[-1] == common.after[-1] == -1
    assert common.before[7] == common.after[1] == UNKNOWN


def test_a_map_without_names_has_those_of_the_other_by_code():
    common = common_classes(ONE, unnamed([1, 2, 3, 4]))
    assert common.after[[1, 2, 3]].tolist() == [0, 1, 2]
    assert common.after[4] == UNKNOWN
    both = common_classes(unnamed([1, 4]), unnamed([4, 1]))
    assert [c.name for c in both.classes] == ["Class 1", "Class 4"]


def test_other_names_are_told_by_whoever_knows():
    with pytest.raises(InputError, match=r"no class in common: one has Water.*names like"):
        common_classes(ONE, legend("Wald", "Wasser"))
    common = common_classes(ONE, legend("Wald", "Wasser"), names={"Wald": "trees", "2": "Water"})
    assert common.after[[1, 2]].tolist() == [1, 0]
    with pytest.raises(InputError, match="later map has no class 'Wold', did you mean 'Wald'"):
        common_classes(ONE, legend("Wald"), names={"Wold": "Trees"})
    with pytest.raises(InputError, match="earlier map has no class 'Tree', did you mean 'Trees'"):
        common_classes(ONE, legend("Wald"), names={"Wald": "Tree"})


def test_what_is_ignored_counts_as_not_seen():
    common = common_classes(ONE, TWO, ignore=["town", "77"])
    assert [c.name for c in common.classes] == ["Water", "Trees", "Crops"]
    assert common.after[11] == common.after[77] == common.before[77] == -1
    with pytest.raises(InputError, match="no map has a class 'Twn'"):
        common_classes(ONE, TWO, ignore=["Twn"])


def test_codes_do_not_depend_on_what_is_asked_for():
    common = common_classes(ONE, TWO)
    every, some = (
        transitions(common),
        transitions(common, before=["Trees"], after=["Crops", "Town"]),
    )
    assert sorted(every.codes.values()) == list(range(1, 13))
    assert some.codes == {pair: every.codes[pair] for pair in ((1, 2), (1, 3))}
    assert [c.name for c in some.legend("x").classes] == [
        "No such change", "Trees to Crops", "Trees to Town", "Not looked at",
    ]  # fmt: skip


def test_tables_say_what_each_pair_is_written_as():
    common = common_classes(ONE, TWO)
    asked = transitions(common, before=["Trees"], after=["Crops"])
    code, loss = asked.code_table(), asked.loss_table()
    water, trees, crops, none = 0, 1, 2, common.none
    at = {(i, j): 1 + common.pair(i, j) for i in range(none + 1) for j in range(none + 1)}
    assert code[at[trees, crops]] == asked.codes[trees, crops]
    assert code[at[trees, water]] == code[at[trees, trees]] == 0
    assert code[at[trees, none]] == code[at[none, trees]] == NOT_SEEN
    assert code[0] == loss[0] == NOT_LOOKED_AT
    expected = {(trees, water): LOST, (crops, trees): GAINED, (trees, trees): STAYED, (water, crops): STAYED_OUT, (none, none): NOT_SEEN}  # fmt: skip
    assert {pair: loss[at[pair]] for pair in expected} == expected
    groups = asked.group_table(by_origin=True)
    assert groups[at[trees, crops]] == groups[at[trees, water]] == trees
    assert groups[at[crops, trees]] == groups[at[water, trees]] == none + trees
    assert groups[at[water, crops]] == groups[at[trees, trees]] == groups[0] == NODATA
    single = asked.group_table(by_origin=False)
    assert len(np.unique(single)) == 1 + 6  # from trees to three, from three to trees


def test_pairs_are_numbers_and_back():
    common = common_classes(ONE, TWO)
    assert common.split(common.pair(3, 2)) == (3, 2)
    assert common.split(common.pair(common.none, 0)) == (common.none, 0)


def test_more_transitions_than_a_raster_holds_need_a_choice():
    many = legend(*(f"Kind {i}" for i in range(20)))
    common = common_classes(many, many)
    with pytest.raises(InputError, match="20 classes have 380 transitions, a raster holds 250"):
        transitions(common)
    asked = transitions(common, before=["Kind 3"])
    assert sorted(asked.codes.values()) == list(range(1, 20))


def test_unknown_classes_and_no_change_at_all_are_refused():
    common = common_classes(ONE, TWO)
    with pytest.raises(
        InputError, match="from: the maps have no class 'Tree', did you mean 'Trees'"
    ):
        transitions(common, before=["Tree"])
    with pytest.raises(InputError, match="from Trees to Trees is no change"):
        transitions(common, before=["Trees"], after=["Trees"])


def test_pixels_without_a_class_may_be_one():
    common = common_classes(legend("Mangrove"), legend("Mangrove"), background="Other")
    assert [(c.value, c.name) for c in common.classes] == [(1, "Mangrove"), (0, "Other")]
    assert common.before[-1] == common.after[-1] == 1
    known = common_classes(ONE, TWO, background="crops")
    assert len(known.classes) == 4
    assert known.after[-1] == 2
