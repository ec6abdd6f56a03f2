"""What workflows say of views, ensembles and refinement, and what they are told when it is wrong."""

from fractions import Fraction

import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data
from geoseg.workflow.units import Area


def data(**changes):
    base = {
        "geoseg": 1,
        "name": "water",
        "input": {"kind": "files", "path": "a.tif"},
        "model": "m",
        "output": {"directory": "p"},
    }
    return {**base, **changes}


def test_steps_are_read_in_order():
    steps = from_data(
        data(
            postprocess=[
                {"step": "majority"},
                {"step": "sieve", "min_area": "0.1 ha"},
                {"step": "close", "classes": ["Water"], "size": 5},
            ]
        )
    ).postprocess
    assert [step.step for step in steps] == ["majority", "sieve", "close"]
    assert (steps[0].size, steps[1].min_area, steps[1].passes) == (3, Area(0.1, "ha"), 1)


def test_scales_are_fractions():
    model = from_data(data(model={"name": "m", "scales": [1, 0.75, 1.3333333]})).model
    assert model.scales == (Fraction(1), Fraction(3, 4), Fraction(4, 3))
    assert model.answers == 3


def test_settings_reach_into_lists_and_short_forms():
    given = data(postprocess=[{"step": "majority"}])
    settings = ["model.tta=d4", "postprocess.0.size=7", "postprocess.1={step: smooth}"]
    workflow = from_data(given, overrides=settings[:2])
    assert (workflow.model.name, workflow.model.tta) == ("m", "d4")
    assert workflow.postprocess[0].size == 7
    with pytest.raises(WorkflowError, match="put it first"):
        from_data(given, overrides=settings)
    other = from_data(given, overrides=["model.ensemble=[a, b]"]).model
    assert (other.name, other.ensemble) == (None, ("a", "b"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"postprocess": [{"step": "seive"}]}, "did you mean 'sieve'"),
        ({"postprocess": [{}]}, "required: majority, open, close, sieve"),
        ({"postprocess": [{"step": "majority", "siz": 3}]}, "did you mean 'size'"),
        ({"postprocess": [{"step": "majority", "size": 4}]}, "an odd number"),
        ({"postprocess": [{"step": "open", "size": 3}]}, "classes: required"),
        ({"postprocess": [{"step": "sieve", "min_area": 0}]}, "above 0"),
        ({"postprocess": [{"step": "smooth", "bands": ["a", "b", "c", "d"]}]}, "at most 3 bands"),
        ({"postprocess": [{"step": "smooth", "strength": 0}]}, "at least 1e-06"),
        ({"model": {"name": "m", "scales": [1.3]}}, "a fraction of at most eighths"),
        ({"model": {"name": "m", "scales": [1, 1.0]}}, "only once"),
        ({"model": {"ensemble": ["a"]}}, "at least two models"),
        ({"model": {"ensemble": ["a", "b"], "path": "./c"}}, "exactly one of name, path and"),
        (
            {"output": {"directory": "p", "raster": {"disagreement": True}}},
            "output.raster.disagreement: needs several answers",
        ),
    ],
)
def test_what_is_wrong_is_said(changes, words):
    with pytest.raises(WorkflowError, match=words):
        from_data(data(**changes))
