"""The legends that come with geoseg."""

import pytest

from geoseg.legend import LANDCOVER, LEGENDS


@pytest.mark.parametrize("name", sorted(LEGENDS))
def test_legends_go_by_their_name(name):
    assert LEGENDS[name].name == name


def test_codes_are_those_of_their_makers():
    assert LEGENDS["worldcover"].values == (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
    assert LEGENDS["worldcover"].select(("mangroves",))[0].color == "#00cf75"
    assert LEGENDS["dynamicworld"].values == tuple(range(9))
    assert LEGENDS["dynamicworld"].names[6] == "Built"
    assert LEGENDS["esri"].values == (1, 2, 4, 5, 7, 8, 9, 10, 11)
    assert LEGENDS["water"].names == ("Land", "Water")
    assert LEGENDS["forest"].names == ("Non-forest", "Forest")
    assert LEGENDS["landcover"] is LANDCOVER
    assert LANDCOVER.nodata == 255
