"""Any window of the made-up landscape is the crop of the whole, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.ops.synthetic import NO_CLASS, Observation, observe
from geoseg.ops.synthetic.lines import Discs, Lines, coarse_window, upsample
from geoseg.ops.synthetic.noise import cells, fbm, grain, parcels, positions, salt

SIZE = (230, 260)
WHOLE = Window(0, 0, *SIZE)


@st.composite
def windows(draw, size=SIZE):
    y0, x0 = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    y1, x1 = draw(st.integers(y0 + 1, size[0])), draw(st.integers(x0 + 1, size[1]))
    return Window(y0, x0, y1, x1)


def see(window: Window, season: int, seed: int = 3) -> Observation:
    return observe(window, size=SIZE, seed=seed, season=season, cloud_cover=0.2)


@pytest.fixture(scope="module", params=[0, 1])
def whole(request):
    return request.param, see(WHOLE, request.param)


@settings(max_examples=60)
@given(window=windows())
def test_a_window_is_the_crop_of_the_whole(whole, window):
    season, expected = whole
    rows, cols = window.slices
    found = see(window, season)
    np.testing.assert_array_equal(found.dn, expected.dn[:, rows, cols])
    np.testing.assert_array_equal(found.classes, expected.classes[rows, cols])
    half = np.s_[window.y0 // 2 : (window.y1 + 1) // 2, window.x0 // 2 : (window.x1 + 1) // 2]
    np.testing.assert_array_equal(found.scl, expected.scl[half])


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 2**32 - 1),
    season=st.sampled_from([0, 1]),
    cover=st.sampled_from([0.0, 0.06, 0.95]),
)
def test_every_size_works(size, seed, season, cover):
    made = observe(Window(0, 0, *size), size=size, seed=seed, season=season, cloud_cover=cover)
    assert made.dn.shape == (6, *size)
    assert made.classes.shape == size
    assert made.scl.shape == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    assert ((made.dn == 0).all(axis=0) == (made.classes == NO_CLASS)).all()
    assert set(np.unique(made.classes)) <= {1, 2, 3, 4, 5, 6, int(NO_CLASS)}
    assert set(np.unique(made.scl)) <= {0, 3, 4, 5, 6, 8, 9, 10}


@settings(max_examples=40)
@given(window=windows(), shift=st.integers(-20_000, 20_000))
def test_fields_depend_on_position_alone(window, shift):
    big = Window(shift, shift, SIZE[0] + shift, SIZE[1] + shift)
    small = Window(window.y0 + shift, window.x0 + shift, window.y1 + shift, window.x1 + shift)
    seed = salt(1, "x")
    (by, bx), (sy, sx) = positions(big), positions(small)
    crop = window.slices
    np.testing.assert_array_equal(
        fbm(sy, sx, seed, wave=33, octaves=5), fbm(by, bx, seed, wave=33, octaves=5)[crop]
    )
    np.testing.assert_array_equal(grain(small, seed), grain(big, seed)[crop])
    large, little = cells(by, bx, seed, size=20), cells(sy, sx, seed, size=20)
    for whole, part in zip(large, little, strict=True):
        np.testing.assert_array_equal(part, whole[crop])
    large = parcels(by, bx, large.id, block=(20, 40), smallest=30)
    little = parcels(sy, sx, little.id, block=(20, 40), smallest=30)
    for whole, part in zip(large, little, strict=True):
        np.testing.assert_array_equal(part, whole[crop])


@settings(max_examples=40)
@given(
    window=windows(),
    points=st.lists(
        st.tuples(st.floats(-50, 300), st.floats(-50, 300), st.floats(0.1, 9)),
        min_size=2,
        max_size=9,
    ),
)
def test_distances_are_those_of_geometry(window, points):
    import shapely

    way = np.array(points, np.float32)
    lines = Lines(np.concatenate([way[:-1], way[1:]], axis=1))
    lines.segments[:, [2, 5]] = 2.0  # of one width, so that geometry has a word for it
    path = shapely.linestrings(way[:, ::-1][:, 1:].astype(float))
    ys, xs = positions(window)
    expected = shapely.distance(shapely.points(xs, ys), path) - 2.0
    found = lines.distance(window, reach=12.0)
    near = expected < 11.9
    np.testing.assert_allclose(found[near], expected[near], atol=2e-3)
    assert (found[expected > 12.1] > 1e5).all()


@given(window=windows())
def test_discs_are_closest_at_their_centre(window):
    discs = Discs(np.array([[40, 50, 30], [90, 60, 45], [200, 220, 12]], np.float32))
    ys, xs = positions(window)
    each = np.stack(
        [1 - np.hypot(ys - y, xs - x) / r for y, x, r in discs.discs.astype(float)]
    ).max(axis=0)
    found, which = discs.closeness(window, reach=2.0)
    np.testing.assert_allclose(found, np.maximum(each, -1), atol=1e-4)
    assert ((which < 0) == (found <= -1)).all()


@given(window=windows(), step=st.integers(2, 9))
def test_upsampling_is_exact_on_planes(window, step):
    around = coarse_window(window, step)
    ys, xs = positions(around, step)
    found = upsample(2 * ys - xs + 7, around, window, step)
    fine_y, fine_x = positions(window)
    np.testing.assert_allclose(found, 2 * fine_y - fine_x + 7, atol=1e-3)
