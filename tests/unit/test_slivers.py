"""Polygons on one another, thin ones and gaps: against their definition and PROJ's geodesics."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer

from geoseg.ops.slivers import find_gaps, find_overlaps, measure_shapes

UTM = CRS("EPSG:32629")
AT = (500_000.0, 5_900_000.0)


def placed(*shapes):
    return np.array([shapely.affinity.translate(s, *AT) for s in shapes], dtype=np.object_)


def test_sizes_are_those_of_the_ellipsoid():
    holed = shapely.box(0, 0, 100, 50).difference(shapely.box(10, 10, 20, 20))
    shapes = placed(shapely.box(0, 0, 2, 500), holed, shapely.Point(1, 1))
    found = measure_shapes(shapes, UTM)
    # UTM has 0.9996 of the true length in its middle.
    assert found.area[:2] == pytest.approx(np.array([1000, 4900]) / 0.9996**2, rel=1e-5)
    assert found.perimeter[:2] == pytest.approx(np.array([1004, 340]) / 0.9996, rel=1e-5)
    assert found.width[0] == pytest.approx(2 * 1000 / 1004 / 0.9996, rel=1e-5)
    assert np.isnan(found.width[2])
    degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    there = shapely.transform(holed, lambda xy: np.column_stack(
        degrees.transform(xy[:, 0] + AT[0], xy[:, 1] + AT[1])
    ))  # fmt: skip
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(there))
    assert found.area[1] == pytest.approx(abs(area), rel=1e-9)
    assert measure_shapes(np.array([there]), CRS("EPSG:4326")).area[0] == pytest.approx(abs(area))


def test_overlaps_are_areas_not_lines():
    a, b = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)
    c, d = shapely.box(9, 0, 11, 1), shapely.box(0, 20, 5, 25)
    hair = shapely.box(-5, 0, 0.0001, 10)
    found = find_overlaps(placed(a, b, c, d, a, hair), UTM)
    assert found.pairs.tolist() == [[0, 2], [0, 4], [1, 2], [2, 4]]
    assert found.area == pytest.approx(np.array([1, 100, 1, 1]) / 0.9996**2, rel=1e-4)
    assert not len(find_overlaps(placed(a, b), UTM).pairs)


def test_gaps_are_thin_holes_between_several():
    left, right = shapely.box(0, 0, 10, 30), shapely.box(10.5, 0, 20, 30)
    lids = shapely.box(0, 30, 20, 40), shapely.box(0, -10, 20, 0)
    limits = {"min_width": 1.0, "min_area": 2.0}
    holes, sizes = find_gaps(placed(left, right, *lids), UTM, **limits)
    assert len(holes) == 1
    assert sizes.area == pytest.approx([15], rel=1e-3)
    wide = shapely.box(14, 0, 20, 30)
    assert not len(find_gaps(placed(left, wide, *lids), UTM, **limits)[0])
    courtyard = shapely.box(0, 0, 10, 10).difference(shapely.box(5, 5, 5.5, 9))
    assert not len(find_gaps(placed(courtyard), UTM, **limits)[0])
    filled = [courtyard, shapely.box(5, 5, 5.5, 9)]
    assert not len(find_gaps(placed(*filled), UTM, **limits)[0])
