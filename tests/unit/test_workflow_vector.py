"""What workflows say of polygons, and what they are told when it is wrong."""

import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data
from geoseg.workflow.units import Area, Length
from geoseg.workflow.vector import area_of, named


def read(overrides=(), **vector):
    data = {
        "geoseg": 1,
        "name": "water",
        "input": {"kind": "files", "path": "a.tif"},
        "model": "m",
        "output": {"directory": "p", "vector": vector},
    }
    return from_data(data, overrides=list(overrides)).output.vector


def test_one_area_is_that_of_all_classes():
    vector = read(min_area="0.5 ha")
    assert area_of(vector.min_area, "Water") == Area(0.5, "ha")
    assert (vector.small, vector.merge_by, vector.reassigns) == ("merge", "border", True)
    assert named(vector.min_area) == ()


def test_classes_may_have_areas_of_their_own():
    areas = read(min_area={"Water": "400 m2", "others": "corine"}).min_area
    assert area_of(areas, "Water") == Area(400, "m2")
    assert area_of(areas, "Forest") == Area(25, "ha")
    assert named(areas) == ("Water",)
    assert area_of(read(min_area={"Water": "400 m2"}).min_area, "Forest").value == 0


@pytest.mark.parametrize(("preset", "hectares"), [("corine", 25), ("EUDR", 0.5), ("radd", 0.2)])
def test_presets_are_areas(preset, hectares):
    assert read(min_area=preset).min_area == {"others": Area(hectares, "ha")}


@pytest.mark.parametrize(
    ("vector", "reassigns"),
    [
        ({}, False),
        ({"min_area": 0}, False),
        ({"min_area": "1 ha", "small": "drop"}, False),
        ({"min_area": "1 ha", "small": "drop", "fill_holes": "9 px"}, True),
        ({"fill_holes": {"Water": "1 ha"}}, True),
    ],
)
def test_pixels_only_change_their_class_where_that_is_asked_for(vector, reassigns):
    assert read(**vector).reassigns == reassigns


@pytest.mark.parametrize(
    ("written", "tolerance"),
    [
        ("8 m", Length(8, "m")),
        ("1 px", Length(1, "px")),
        ("200 m2", Area(200, "m2")),
        (0, None),
        (None, None),
        ("0 m", None),
    ],
)
def test_a_length_or_an_area_says_how_to_simplify(written, tolerance):
    assert read(simplify=written).simplify == tolerance


def test_layers_list_their_classes():
    assert read(layers={"all": [], "wet": ["Water"]}).layers == {"all": (), "wet": ("Water",)}
    assert read().layers is None


def test_settings_reach_into_it():
    vector = read(["output.vector.min_area.Water=1 ha"], min_area={"others": "2 ha"})
    assert vector.min_area == {"Water": Area(1, "ha"), "others": Area(2, "ha")}


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ({"min_area": "corin"}, ("min_area: expected an area", "did you mean 'corine'?")),
        ({"min_area": {"Water": "4 acres"}}, ("min_area.Water: expected", "corine, eudr, radd")),
        ({"fill_holes": "eudr"}, ("fill_holes: expected an area like", "found 'eudr'")),
        ({"fill_holes": {"Water": "x"}}, ("fill_holes.Water: expected an area",)),
        ({"simplify": "8 s"}, ("simplify: expected a tolerance like '8 m'", "Visvalingam")),
        ({"simplify": True}, ("simplify: expected a tolerance",)),
        ({"smooth": "round"}, ("smooth: expected corners or chaikin",)),
        ({"square_within": "0 m"}, ("square_within: expected a length above 0",)),
        ({"square_within": "1 ha"}, ("square_within: expected a length like",)),
        ({"min_area": "4 px", "fill_holes": "1 ha"}, ("fill_holes: expected all areas in px",)),
        ({"min_area": {"A": "4 px", "others": "1 ha"}}, ("min_area: expected all areas in px",)),
        ({"layers": {}}, ("layers: expected layers and their classes",)),
        ({"layers": {"a b": []}}, ("a layer's name", "found 'a b'")),
        ({"layers": {"a": [], "A": []}}, ("layers.A: expected each layer only once",)),
        ({"layers": {"a": "Water"}}, ("layers.a: expected a list of classes",)),
        ({"simplfy": "8 m"}, ("did you mean 'simplify'?",)),
    ],
)
def test_what_is_wrong_is_told(vector, words):
    with pytest.raises(WorkflowError) as told:
        read(**vector)
    for word in words:
        assert word in str(told.value)
