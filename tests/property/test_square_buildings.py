"""Buildings that stand free are made square, and nothing comes in their way."""

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from polygon_reference import geometries, grid_of
from scipy import ndimage
from shapely import affinity

from geoseg.errors import InputError
from geoseg.ops.topology import shaper
from geoseg.ops.topology.shaping import Shaping
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_array

BUILDING = 5


@st.composite
def towns(draw):
    """Grass, trees, and turned rectangles, some with a corner or a courtyard cut out."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(60, 140))
    trees = ndimage.gaussian_filter(rng.standard_normal((size, size)), 4)
    array = np.where(trees > draw(st.sampled_from([0.06, 0.12])), 2, 1).astype(np.uint8)
    buildings = []
    for _ in range(draw(st.integers(1, 14))):
        width, height = rng.uniform(4, 20, 2)
        shape = shapely.box(-width / 2, -height / 2, width / 2, height / 2)
        if rng.random() < 0.3:
            shape = shape.difference(shapely.box(0, 0, width, height))
        elif rng.random() < 0.3:
            shape = shape.difference(affinity.scale(shape, 0.4, 0.4))
        turned = affinity.rotate(shape, rng.uniform(0, 90))
        buildings.append(affinity.translate(turned, *rng.uniform(0, size, 2)))
    array[rasterio.features.rasterize(buildings, (size, size)) == 1] = BUILDING
    return array


def town_of(array, shaping, **options):
    return vectorize_array(array, grid_of(array), wanted=Wanted(shaping=shaping), **options)


def buildings_of(table):
    return geometries(table)[np.asarray(table["class_code"]) == BUILDING]


def is_square(polygon):
    edges = np.diff(shapely.get_coordinates(polygon.exterior), axis=0)
    edges /= np.hypot(*edges.T)[:, None]
    return bool(np.abs((edges * np.roll(edges, 1, 0)).sum(1)).max() < 1e-4)


@settings(max_examples=50, deadline=None)
@given(
    towns(),
    st.integers(5, 60),
    st.sampled_from(["visvalingam", "douglas-peucker"]),
    st.sampled_from([20.0, 1e5]),
    st.sampled_from(["chaikin", "corners"]),
)
def test_towns_are_valid_coverages_whatever_the_blocks(array, block, simplify, amount, smooth):
    shaping = Shaping(simplify, amount, smooth, 2, (BUILDING,), 15.0)
    with pytest.MonkeyPatch.context() as patch:
        # Lines wait for fewer rows, so that blocks matter.
        patch.setattr(shaper, "_LARGEST", 40)
        table = town_of(array, shaping, block=block).read_all()
        assert table.equals(town_of(array, shaping, block=200).read_all())
    ours = geometries(table)
    assert shapely.is_valid(ours).all()
    assert shapely.coverage_is_valid(ours)
    exact = town_of(array, None).read_all()
    assert table["polygon_id"].equals(exact["polygon_id"])
    assert shapely.area(ours).sum() == pytest.approx(array.size * 100)


def lone_building(angle, *, beside=None):
    array = np.ones((60, 60), np.uint8)
    shape = affinity.translate(affinity.rotate(shapely.box(-11, -6, 11, 6), angle), 30, 30)
    array[rasterio.features.rasterize([shape], array.shape) == 1] = BUILDING
    if beside is not None:
        rows, cols = np.nonzero(array == BUILDING)
        array[rows.max() + 1 + beside :, cols[rows.argmax()]] = 2
    return array


@pytest.mark.parametrize("angle", [0, 17, 33, 45, 71])
def test_a_building_that_stands_free_is_square(angle):
    shaping = Shaping("visvalingam", 400.0, "chaikin", 2, (BUILDING,), 15.0)
    (building,) = buildings_of(town_of(lone_building(angle), shaping).read_all())
    assert is_square(building)
    assert len(building.exterior.coords) == 5
    assert building.area == pytest.approx(22 * 12 * 100, rel=0.05)


def test_one_that_something_is_near_stays_as_it_is():
    shaping = Shaping(square=(BUILDING,), square_within=15.0)
    free, hemmed = (
        buildings_of(town_of(lone_building(33, beside=gap), shaping).read_all())[0]
        for gap in (8, 1)
    )
    assert is_square(free)
    raw = buildings_of(town_of(lone_building(33), None).read_all())[0]
    assert len(free.exterior.coords) == 5
    assert hemmed.equals(raw)


def test_what_is_not_square_is_simplified_but_not_rounded():
    array = np.ones((60, 60), np.uint8)
    rows, cols = np.indices(array.shape)
    array[np.hypot(rows - 30, cols - 30) < 15] = BUILDING
    simple, smooth = (
        buildings_of(
            town_of(array, Shaping("visvalingam", 200.0, how, 3, (BUILDING,), 15.0)).read_all()
        )
        for how in (None, "chaikin")
    )
    assert simple[0].equals(smooth[0])


@pytest.mark.parametrize("metres", [0.0, -1.0, float("inf")])
def test_tolerances_are_above_0(metres):
    with pytest.raises(InputError, match="more than 0"):
        Shaping(square=(1,), square_within=metres)


def test_tolerances_are_not_many_pixels():
    shaping = Shaping(square=(1,), square_within=5000.0)
    with pytest.raises(InputError, match="263 m are the most"):
        town_of(np.ones((9, 9), np.uint8), shaping, block=9).read_all()
