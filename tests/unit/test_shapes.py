"""What simplifying and smoothing make of shapes that one can draw by hand."""

import numpy as np
import pytest
import shapely
from polygon_reference import NORTH_UP, OBLONG, ROTATED, as_set, geometries, grid_of

from geoseg.errors import InputError
from geoseg.ops.topology.shaping import Shaping
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_array

WITHOUT = Shaping()
VISVALINGAM, DOUGLAS_PEUCKER = "visvalingam", "douglas-peucker"


def shaped(array, shaping, transform=NORTH_UP, crs="EPSG:32633", **options):
    grid = grid_of(array, transform, crs)
    return vectorize_array(array, grid, wanted=Wanted(shaping=shaping), **options)


def drawn(*rows):
    return np.array([[int(char) for char in row] for row in rows], np.uint8)


def diagonal(size):
    rows, cols = np.indices((size, size))
    return (cols > rows).astype(np.uint8) + 1


def patch(size, margin, code=2):
    out = np.ones((size, size), np.uint8)
    out[margin:-margin, margin:-margin] = code
    return out


def vertices(polygon):
    return shapely.get_num_coordinates(polygon) - 1 - shapely.get_num_interior_rings(polygon)


def test_without_a_method_only_junctions_are_added():
    array = drawn("1122", "1122", "3333", "1333", "4433")
    exact = vectorize_array(array, grid_of(array)).read_all()
    ours = shaped(array, WITHOUT, block=2).read_all()
    codes = ours["class_code"].to_pylist()
    assert as_set(shapely.simplify(geometries(ours), 0), codes) == as_set(
        shapely.simplify(geometries(exact), 0), codes
    )
    # 3 lies below 1 and 2, which meet in the middle of its upper side.
    of_three = geometries(ours)[codes.index(3)]
    assert (500000, 5300020) in of_three.exterior.coords
    assert ours["perimeter_m"].to_pylist() == pytest.approx(exact["perimeter_m"].to_pylist())


@pytest.mark.parametrize("method", [VISVALINGAM, DOUGLAS_PEUCKER])
def test_a_staircase_becomes_a_line_without_a_trace_of_blocks(method):
    array = diagonal(40)
    lower = geometries(shaped(array, Shaping(method, 60), block=7).read_all())
    # Three corners of the raster less one, the ends of the line, and one vertex that must stay.
    assert [vertices(polygon) <= 6 for polygon in lower] == [True, True]
    assert shapely.coverage_is_valid(lower)


@pytest.mark.parametrize(("transform", "pixel"), [(NORTH_UP, 100.0), (OBLONG, 21.0)])
def test_amounts_are_square_metres_on_the_ground(transform, pixel):
    array = diagonal(12)
    as_it_is = shaped(array, WITHOUT, transform, None).read_all()
    # The smallest triangles of a staircase are half a pixel.
    assert (
        shaped(array, Shaping(VISVALINGAM, 0.499 * pixel), transform, None)
        .read_all()
        .equals(as_it_is)
    )
    simpler = shaped(array, Shaping(VISVALINGAM, 0.501 * pixel), transform, None).read_all()
    assert vertices(geometries(simpler)[0]) < vertices(geometries(as_it_is)[0])


def test_amounts_are_metres_on_the_ground():
    array = patch(30, 10)
    array[9, 12:14] = 2  # a bump of 30 m upwards on an oblong grid: 0.7 m down, 30 m right
    for metres, corners in [(0.69, 6), (0.71, 4)]:
        table = shaped(array, Shaping(DOUGLAS_PEUCKER, metres), OBLONG, None).read_all()
        bump = geometries(table)[table["class_code"].to_pylist().index(2)]
        assert vertices(bump) == corners


def test_metres_are_those_of_the_ground_in_degrees_too():
    degrees = 1 / 3600 / 3
    array = diagonal(20)
    at_60_north = type(NORTH_UP)(degrees, 0, 10, 0, -degrees, 60)
    pixel = 10.29 * 5.16  # at 60 degrees a pixel is half as wide as high
    as_it_is = shaped(array, WITHOUT, at_60_north, "EPSG:4326").read_all()
    for share, changes in [(0.49, False), (0.51, True)]:
        shaping = Shaping(VISVALINGAM, share * pixel)
        assert changes != shaped(array, shaping, at_60_north, "EPSG:4326").read_all().equals(
            as_it_is
        )


def test_single_pixels_stay_squares():
    array = np.ones((9, 9), np.uint8)
    array[4, 4] = 2
    for shaping in (Shaping(VISVALINGAM, 1e9), Shaping(DOUGLAS_PEUCKER, 1e6)):
        areas = shapely.area(geometries(shaped(array, shaping).read_all()))
        assert sorted(areas) == [100, 8000]


def test_a_channel_of_one_pixel_is_not_pinched_off():
    array = drawn("1111111111", "1200000001", "1022222221", "1200000001", "1111111111")
    # 0 winds around a stripe of 2: nothing may touch, however much goes.
    table = shaped(array, Shaping(VISVALINGAM, 1e9, "chaikin", 3)).read_all()
    ours = geometries(table)
    assert shapely.coverage_is_valid(ours)
    assert len(ours) == len(vectorize_array(array, grid_of(array)).read_all())


def test_chaikin_rounds_every_corner_and_corners_keeps_right_angles():
    array = patch(40, 10)
    rounded, square = (
        geometries(shaped(array, Shaping(smooth=smooth, rounds=2)).read_all())
        for smooth in ("chaikin", "corners")
    )
    assert sorted(vertices(p) for p in square) == [4, 8]
    assert sorted(vertices(p) for p in rounded) == [4 * 4, 4 + 4 * 4]
    # Cutting the corners of a square forever leaves 5/6 of it.
    assert min(shapely.area(rounded)) / min(shapely.area(square)) == pytest.approx(0.84, abs=0.02)


def test_points_of_smoothing_are_those_of_chaikin():
    array = patch(12, 2)
    inner = min(
        geometries(shaped(array, Shaping(smooth="chaikin", rounds=3)).read_all()),
        key=lambda p: p.area,
    )
    points = np.array([[2, 2], [10, 2], [10, 10], [2, 10]], float)
    for _ in range(3):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1)
        points = points.reshape(-1, 2)
    x, y = NORTH_UP @ points.T
    assert set(zip(x, y, strict=True)) == set(inner.exterior.coords)


def test_the_frame_of_the_raster_stays():
    array = drawn("1111", "1221", "1222", "3332")
    table = shaped(array, Shaping(VISVALINGAM, 1e9, "chaikin", 3)).read_all()
    outline = shapely.union_all(geometries(table))
    assert outline.equals(shapely.box(499980, 5300000, 500020, 5300040))


@pytest.mark.parametrize("transform", [NORTH_UP, OBLONG, ROTATED])
def test_perimeters_are_those_of_what_is_written(transform):
    array = diagonal(30)
    array[5:9, 20:28] = 3
    shaping = Shaping(DOUGLAS_PEUCKER, 12, "chaikin", 2)
    table = shaped(array, shaping, transform, None).read_all()
    lengths = shapely.length(geometries(table))
    np.testing.assert_allclose(table["perimeter_m"].to_numpy(), lengths, rtol=1e-9)


def test_what_classes_gain_and_lose_is_reported():
    array = patch(40, 10)
    array[0:5, 0:5] = 3
    polygons = shaped(array, Shaping(VISVALINGAM, 200, "chaikin", 2), crs=None)
    table = polygons.read_all()
    codes, areas = np.asarray(table["class_code"]), shapely.area(geometries(table))
    assert list(polygons.written) == [1, 2, 3]
    for code, (pixels, written) in polygons.written.items():
        assert pixels == pytest.approx(100 * np.count_nonzero(array == code))
        assert written == pytest.approx(areas[codes == code].sum())
    assert polygons.written[2][1] < polygons.written[2][0]
    exact = vectorize_array(array, grid_of(array))
    exact.read_all()
    assert all(pixels == written for pixels, written in exact.written.values())


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"simplify": "ramer"}, "'ramer'"),
        ({"simplify": VISVALINGAM, "amount": -1.0}, "-1"),
        ({"simplify": VISVALINGAM, "amount": float("nan")}, "nan"),
        ({"smooth": "bezier"}, "'bezier'"),
        ({"smooth": "chaikin", "rounds": 9}, "1 to 5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, complaint):
    with pytest.raises(InputError, match=complaint):
        Shaping(**setting)


@pytest.mark.parametrize("smooth", ["chaikin", "corners"])
def test_a_corner_is_not_cut_where_something_stands_in_it(smooth):
    array = patch(40, 10)
    array[11, 11] = 3  # an island just inside a corner that cutting would leave outside
    array[12:28, 28] = 1  # and a gap along a side
    ours = geometries(shaped(array, Shaping(smooth=smooth, rounds=3)).read_all())
    assert shapely.is_valid(ours).all()
    assert shapely.coverage_is_valid(ours)
    assert shapely.area(ours).sum() == pytest.approx(40 * 40 * 100)
