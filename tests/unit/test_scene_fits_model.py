"""Whether a scene is what a model can read: bands, units, sizes of pixels, classes."""

import re
from dataclasses import replace

import pytest
from affine import Affine
from packages import BANDS

from geoseg.errors import ModelError
from geoseg.grid import GeoBox
from geoseg.legend import LEGENDS
from geoseg.models.base import ModelCard
from geoseg.models.registry import (
    check_classes,
    check_scene,
    ground_sample_distance,
)
from geoseg.scene import Band, Scene
from geoseg.testing import utm_grid

CARD = ModelCard(
    name="m",
    version="1.0.0",
    bands=("red", "nir"),
    units="reflectance",
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    legend=LEGENDS["water"],
    gsd=(10.0, 20.0),
)
DN = replace(CARD, units="dn", about={"dtype": "uint8"})


def scene_of(
    *, grid=None, units="reflectance", bands=BANDS, dtype="uint16", scale=1e-4, offset=0.0
):
    grid = utm_grid((100, 100)) if grid is None else grid
    band = Band("a.tif", 1, grid, dtype, scale, offset)
    return Scene("S2A", dict.fromkeys(bands, band), grid, units=units)


def test_a_scene_that_fits():
    assert check_scene(CARD, scene_of()) == []
    assert check_scene(DN, scene_of(units="dn", dtype="uint8", scale=1.0)) == []
    # What nobody has scaled is as it is stored.
    assert check_scene(DN, scene_of(units=None, dtype="uint8", scale=1.0)) == []


@pytest.mark.parametrize(
    ("card", "scene", "message"),
    [
        (
            CARD,
            scene_of(bands=("red", "green")),
            r"no band nir, which model m needs; .* red, green",
        ),
        (CARD, scene_of(bands=()), r"no band red, nir, .* has none: .*`input.bands`"),
        (CARD, scene_of(units=None), r"what its numbers mean is not known.*`input.units: reflect"),
        (CARD, scene_of(units="dn"), r"are dn as stored, and model m needs reflectance"),
        (DN, scene_of(), r"scaled to reflectance, and model m needs them as stored: set `input."),
        (DN, scene_of(units=None), r"scaled to unknown units, and model m needs them as stored"),
        (DN, scene_of(units=None, scale=1.0, offset=-0.1), r"scaled to unknown units"),
    ],
)
def test_a_scene_that_cannot_be_read_by_the_model(card, scene, message):
    with pytest.raises(ModelError, match=f"^scene S2A: .*{message}"):
        check_scene(card, scene)


@pytest.mark.parametrize(
    ("pixel", "doubt"),
    [(10, False), (20, False), (9.2, False), (21.9, False), (8, True), (25, True)],
)
def test_pixels_of_another_size_are_doubted(pixel, doubt):
    warnings = check_scene(CARD, scene_of(grid=utm_grid((100, 100), pixel=pixel)))
    assert len(warnings) == doubt
    if doubt:
        assert re.match(
            rf"scene S2A: pixels of {pixel:g}\.?\d* m; model m .* 10 to 20 m", warnings[0]
        )
    assert check_scene(replace(CARD, gsd=None), scene_of(grid=utm_grid((9, 9), pixel=pixel))) == []


def test_numbers_of_another_type_are_doubted():
    (warning,) = check_scene(DN, scene_of(units="dn", scale=1.0))
    assert "numbers are uint16; model m was trained on uint8" in warning
    assert check_scene(replace(DN, about={}), scene_of(units="dn", scale=1.0)) == []


def test_class_names():
    check_classes(LEGENDS["water"], ["water", "LAND"], what="output.vector.classes")
    message = r"^here: the model has no class 'Watr', did you mean 'Water'\?;? its .* Land, Water$"
    with pytest.raises(ModelError, match=message):
        check_classes(LEGENDS["water"], ["Land", "Watr"], what="here")


PIXEL = 10.0 / 111_319.49
GRIDS = {
    "utm": (utm_grid((100, 100)), 10.0),
    "rotated": (
        GeoBox((50, 50), Affine(6, 8, 500_000, 8, -6, 5_000_000), "EPSG:32633"),
        10.0,
    ),
    "south up": (GeoBox((50, 50), Affine(10, 0, 500_000, 0, 10, 5_000_000), "EPSG:32633"), 10.0),
    "degrees": (GeoBox((10, 10), Affine(PIXEL, 0, 20, 0, -PIXEL, 0), "EPSG:4326"), 10.0),
    "web mercator at 60 N": (
        GeoBox((10, 10), Affine(20, 0, 2e6, 0, -20, 8_399_737.9), "EPSG:3857"),
        10.0,
    ),
    "feet": (
        GeoBox((10, 10), Affine(10, 0, 1_600_000, 0, -10, 600_000), "EPSG:2263"),
        3.048,
    ),
    "one pixel": (utm_grid((1, 1)), 10.0),
}


@pytest.mark.parametrize("name", GRIDS)
def test_ground_sample_distance(name):
    grid, wanted = GRIDS[name]
    assert ground_sample_distance(grid) == pytest.approx(wanted, rel=0.01)


LOCAL = (
    'ENGCRS["site",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["m",1]]'
)


@pytest.mark.parametrize("crs", [None, LOCAL, "EPSG:4326", "EPSG:32633"])
def test_a_place_that_is_nowhere_has_no_pixel_size(crs):
    far = 1e12 if crs and crs.startswith("EPSG") else 0.0
    grid = GeoBox((10, 10), Affine(0.05, 0, far, 0, -0.05, far), crs)
    assert ground_sample_distance(grid) is None
    assert check_scene(CARD, scene_of(grid=grid)) == []
