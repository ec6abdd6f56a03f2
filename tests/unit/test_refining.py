"""From what a workflow says to steps that know pixels and codes, and what the plan makes of them."""

from dataclasses import replace

import pytest
from rasters import DEGREES

from geoseg.api.refining import check_steps, refinement, wanted_layers
from geoseg.errors import ModelError, PlanError
from geoseg.grid import GeoBox
from geoseg.ops.refine.guided import Guided
from geoseg.ops.refine.majority import Majority
from geoseg.ops.refine.morphology import Morphology
from geoseg.ops.refine.sieve import FillHoles, Sieve
from geoseg.plan import Resources, TilingWish, memory_needed, plan_scene
from geoseg.scene import Band, Scene
from geoseg.testing import fake_card, utm_grid
from geoseg.workflow import from_data

CARD = fake_card("any", bands=("red", "nir"), reach=8)


def scene(grid=None):
    grid = utm_grid((900, 1100)) if grid is None else grid
    return Scene(
        "s", {b: Band("s.tif", i + 1, grid, "uint16") for i, b in enumerate(CARD.bands)}, grid
    )


def workflow(*steps, **raster):
    return from_data(
        {
            "geoseg": 1,
            "name": "t",
            "input": {"kind": "files", "path": "a.tif"},
            "model": {"name": "m", "tta": "flips"},
            "postprocess": list(steps),
            "output": {"directory": "p", "raster": raster},
        }
    )


def steps_of(*steps, on=None):
    return refinement(workflow(*steps), CARD, scene() if on is None else on).steps


@pytest.mark.parametrize(
    ("area", "small", "hole"),
    [("400 m2", 4, 4), ("450 m2", 5, 4), ("399 m2", 4, 3), ("7 px", 7, 7), ("0.1 ha", 10, 10)],
)
def test_areas_become_pixels(area, small, hole):
    """Regions below an area are small; holes of up to an area are filled."""
    found = steps_of(
        {"step": "sieve", "min_area": area, "passes": 2},
        {"step": "fill_holes", "classes": ["Water"], "max_area": area},
    )
    assert found == (Sieve(small, 2), FillHoles((2,), hole))


def test_pixels_of_degrees_are_measured_in_the_middle():
    grid = GeoBox((200, 300), DEGREES, "EPSG:4326")
    (found,) = steps_of({"step": "sieve", "min_area": "1 ha"}, on=scene(grid))
    from geoseg.models.registry import ground_sample_distance

    assert found.pixels == pytest.approx(1e4 / ground_sample_distance(grid) ** 2, abs=1)


def test_classes_become_codes_and_steps_keep_their_order():
    found = steps_of(
        {"step": "smooth", "radius": 3, "strength": 0.5},
        {"step": "open", "classes": ["water", "Land"], "size": 5},
        {"step": "majority"},
    )
    assert found == (Guided(3, 0.5), Morphology("open", (2, 1), 5), Majority(3))
    assert refinement(workflow({"step": "smooth"}), CARD, scene()).guide == ("red", "nir")
    bands = refinement(workflow({"step": "smooth", "bands": ["nir"]}), CARD, scene())
    assert bands.guide == ("nir",)
    assert refinement(workflow({"step": "majority"}), CARD, scene()).guide == ()
    assert refinement(workflow(), CARD, scene()) is None


def test_layers_that_the_model_is_asked_for():
    assert wanted_layers(workflow()) == ()
    assert wanted_layers(workflow(margin=True, entropy=True)) == ("entropy", "margin")
    assert wanted_layers(workflow({"step": "smooth"}, disagreement=True)) == (
        "disagreement",
        "probabilities",
    )


def test_what_the_model_does_not_have():
    with pytest.raises(ModelError, match=r"postprocess\.1\.classes.*did you mean 'Water'"):
        check_steps(workflow({"step": "majority"}, {"step": "close", "classes": ["Watr"]}), CARD)
    with pytest.raises(ModelError, match=r"postprocess\.0\.bands: .* does not read blue"):
        check_steps(workflow({"step": "smooth", "bands": ["blue"]}), CARD)
    with pytest.raises(PlanError, match=r"looks 1999 px"):
        steps_of({"step": "sieve", "min_area": "10 ha"})


def test_the_plan_counts_layers_steps_and_passes():
    resources = Resources(workers=1, lanes=2)
    plain = TilingWish(size=256, margin=8, block=480)
    card = replace(CARD, size=256, margin=8)
    wishes = [
        plain,
        replace(plain, layers=("entropy",)),
        replace(plain, layers=("entropy", "probabilities"), passes=4.0),
        replace(plain, refinement=refinement(workflow({"step": "majority"}), CARD, scene())),
    ]
    plans = [plan_scene(scene(), card, wish, resources) for wish in wishes]
    pixels = 900 * 1100
    assert [p.bytes_written // pixels for p in plans] == [2, 3, 5, 3]
    assert plans[2].passes == 4
    assert plans[0].memory_per_worker < plans[1].memory_per_worker < plans[2].memory_per_worker
    # A wide look makes refining the largest part of the memory.
    far = refinement(workflow({"step": "sieve", "min_area": "400 px"}), CARD, scene())
    wide = replace(plain, refinement=far)
    needed = memory_needed(scene(), card, plans[0].lattice, wide, 480, resources)
    assert (
        needed.most(wide.footprints) - plans[0].memory_per_worker
        > 2 * (480 + 2 * 799) ** 2 * 96 / 2
    )
