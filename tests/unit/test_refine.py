"""Each refinement against another implementation of the same thing, and against plain examples."""

import numpy as np
import pytest
import rasterio.features
from scipy import ndimage

from geoseg.errors import PlanError
from geoseg.grid import Window
from geoseg.ops.refine.base import LARGEST_HALO, View, check_halo
from geoseg.ops.refine.boxes import count_box, sum_box
from geoseg.ops.refine.guided import Guided
from geoseg.ops.refine.majority import Majority
from geoseg.ops.refine.morphology import Morphology
from geoseg.ops.refine.sieve import FillHoles, Sieve

NODATA = 255
CROSS = ndimage.generate_binary_structure(2, 1)


def view(classes, **more):
    classes = np.asarray(classes, np.uint8)
    return View(classes, NODATA, Window(0, 0, *classes.shape), classes.shape, **more)


def drawn(*rows):
    """A map from letters: '.' has no class."""
    return np.array([[NODATA if c == "." else ord(c) - ord("a") for c in row] for row in rows])


def noise(seed, shape=(37, 41), classes=3, holes=0.1):
    random = np.random.default_rng(seed)
    codes = random.integers(0, classes, shape).astype(np.uint8)
    return np.where(random.random(shape) < holes, NODATA, codes).astype(np.uint8)


@pytest.mark.parametrize("radius", [0, 1, 3, 60])
def test_boxes_are_those_of_scipy(radius):
    random = np.random.default_rng(radius)
    values, marks = random.standard_normal((2, 23, 31)), random.random((23, 31)) < 0.4
    kernel = np.ones((2 * radius + 1, 2 * radius + 1))
    wanted = [ndimage.convolve(v, kernel, mode="constant") for v in values]
    np.testing.assert_allclose(sum_box(values, radius), wanted, atol=1e-9)
    counted = ndimage.convolve(marks.astype(int), kernel.astype(int), mode="constant")
    np.testing.assert_array_equal(count_box(marks, radius), counted)


@pytest.mark.parametrize("size", [3, 5])
def test_majority_is_a_vote_of_the_neighbourhood(size):
    classes, radius = noise(1), size // 2

    def vote(window):
        here, voters = int(window[len(window) // 2]), window[window != NODATA].astype(int)
        if here == NODATA:
            return NODATA
        counts = np.bincount(voters, minlength=3)
        return here if counts[here] == counts.max() else int(counts.argmax())

    wanted = ndimage.generic_filter(
        classes.astype(float), vote, size=2 * radius + 1, mode="constant", cval=NODATA
    )
    np.testing.assert_array_equal(Majority(size)(view(classes)), wanted)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_closing_is_scipys(size):
    classes = np.where(noise(2, holes=0) == 0, 0, 1).astype(np.uint8)
    box = np.ones((size, size))
    pad = np.pad(classes == 0, size)
    closed = ndimage.binary_closing(pad, box)[size:-size, size:-size]
    # What lies beyond the map does not take back what was closed along its rim.
    eroded_rim = ndimage.binary_erosion(
        ndimage.binary_dilation(classes == 0, box), box, border_value=1
    )
    found = Morphology("close", (0,), size)(view(classes)) == 0
    np.testing.assert_array_equal(found, eroded_rim)
    inner = slice(size, -size)
    np.testing.assert_array_equal(found[inner, inner], closed[inner, inner])


@pytest.mark.parametrize("size", [3, 5])
def test_opening_is_scipys(size):
    random = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(random.standard_normal((60, 60)), 1.5) > 0
    box = np.ones((size, size))
    wanted = ndimage.binary_dilation(ndimage.binary_erosion(mask, box, border_value=1), box)
    found = Morphology("open", (0,), size)(view(np.where(mask, 0, 1))) == 0
    np.testing.assert_array_equal(found, wanted)
    assert wanted.sum() < mask.sum()


def test_what_is_opened_goes_to_the_class_around_it():
    classes = drawn("bbbbccccc", "bbbbccccc", "aaaaaaaaa", "bbbbccccc", "bbbbccccc")
    found = Morphology("open", (0,), 3)(view(classes))
    np.testing.assert_array_equal(found[2], drawn("bbbbccccc")[0])
    line = drawn("...", "aaa", "...")
    np.testing.assert_array_equal(Morphology("open", (0,), 3)(view(line)), line)


def test_clouds_neither_open_nor_close():
    beside_a_cloud = drawn("aa...", "aa...", "aa...", "bbbbb", "bbbbb", "bbbbb")
    for kind in ("open", "close"):
        found = Morphology(kind, (0,), 3)(view(beside_a_cloud))
        np.testing.assert_array_equal(found, beside_a_cloud)


@pytest.mark.parametrize("pixels", [2, 4, 9])
def test_sieve_is_gdals_where_there_is_one_large_neighbour(pixels):
    random = np.random.default_rng(pixels)
    # Blobs of two classes on a plain third one, far enough from one another.
    classes = np.zeros((120, 120), np.uint8)
    for y in range(5, 115, 9):
        for x in range(5, 115, 9):
            shape = ndimage.binary_dilation(random.random((5, 5)) < 0.2, CROSS)
            labels, _ = ndimage.label(shape, CROSS)
            classes[y : y + 5, x : x + 5] = np.where(labels == 1, random.integers(1, 3), 0)
    wanted = rasterio.features.sieve(classes, pixels, connectivity=4)
    assert (wanted != classes).any()
    assert wanted.any()
    np.testing.assert_array_equal(Sieve(pixels)(view(classes)), wanted)


def naive_sieve(classes, pixels):
    out, regions = classes.copy(), []
    for code in np.unique(classes[classes != NODATA]):
        labels, count = ndimage.label(classes == code, CROSS)
        regions += [(code, labels == k + 1) for k in range(count)]
    large = np.zeros(classes.shape, bool)
    for _, where in regions:
        large |= where & (where.sum() >= pixels)
    for _, where in regions:
        if where.sum() >= pixels:
            continue
        borders = np.zeros(256, int)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            moved = np.pad(where, 1)[1 + dy :, 1 + dx :][: where.shape[0], : where.shape[1]]
            beside = np.zeros(where.shape, bool)
            beside[:] = moved & ~where & large
            borders += np.bincount(classes[beside], minlength=256)
        if borders.any():
            out[where] = borders.argmax()
    return out


@pytest.mark.parametrize("seed", range(8))
def test_sieve_takes_the_longest_border_with_what_is_large(seed):
    classes = noise(seed, shape=(26, 30), classes=2 + seed % 2)
    for pixels in (2, 5):
        np.testing.assert_array_equal(Sieve(pixels)(view(classes)), naive_sieve(classes, pixels))
    twice = naive_sieve(naive_sieve(classes, 5), 5)
    np.testing.assert_array_equal(Sieve(5, passes=2)(view(classes)), twice)


def test_sieve_leaves_what_stands_alone():
    classes = drawn("a..bb", "...bb", "..cbb", ".....")
    found = Sieve(4)(view(classes))
    np.testing.assert_array_equal(found, drawn("a..bb", "...bb", "..bbb", "....."))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pixels", [1, 4, 500])
def test_holes_are_scipys_up_to_their_size(seed, pixels):
    random = np.random.default_rng(seed)
    classes = np.where(random.random((30, 34)) < 0.7, 1, random.integers(2, 4, (30, 34)))
    holes = ndimage.binary_fill_holes(classes == 1) & (classes != 1)
    labels, count = ndimage.label(holes, CROSS)
    sizes = ndimage.sum_labels(holes, labels, np.arange(count + 1))
    wanted = np.where(holes & (sizes[labels] <= pixels), 1, classes)
    assert (wanted != classes).any()
    np.testing.assert_array_equal(FillHoles((1,), pixels)(view(classes)), wanted)


def test_holes_of_nodata_stay_and_islands_in_lakes_go_as_one():
    classes = drawn("aaaaaaa", "abbaa.a", "abcaaba", "aaaaaaa")
    found = FillHoles((0,), 5)(view(classes))
    np.testing.assert_array_equal(found, drawn("aaaaaaa", "aaaaa.a", "aaaaaba", "aaaaaaa"))


def naive_guided(percent, guide, valid, radius, strength):
    """The definition: a ridge regression in each window, and the mean of what all say."""
    h, w = valid.shape
    total, count = np.zeros((h, w)), np.zeros((h, w))
    for y, x in np.argwhere(valid):
        rows, cols = (slice(max(0, c - radius), c + radius + 1) for c in (y, x))
        seen = valid[rows, cols]
        inputs, target = guide[:, rows, cols][:, seen].T, percent[rows, cols][seen]
        n = len(target)
        centred = inputs - inputs.mean(axis=0)
        system = centred.T @ centred / n + strength * np.eye(len(guide))
        slope = np.linalg.solve(system, centred.T @ (target - target.mean()) / n)
        level = target.mean() - slope @ inputs.mean(axis=0)
        said = np.tensordot(slope, guide[:, rows, cols], 1) + level
        total[rows, cols] += np.where(seen, said, 0)
        count[rows, cols] += seen
    return total / np.maximum(count, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_guided_filter_is_its_definition(channels, seed):
    random = np.random.default_rng(seed)
    shape, codes = (21, 24), (5, 9, 2)
    valid = random.random(shape) > 0.15
    share = random.dirichlet((1, 1, 1), shape).transpose(2, 0, 1)
    percent = np.rint(100 * share).astype(np.uint8)
    classes = np.where(valid, np.array(codes)[percent.argmax(axis=0)], NODATA)
    percent[:, ~valid] = 255
    guide = random.standard_normal((channels, *shape)).astype(np.float32)
    found = Guided(2, 0.1)(view(classes, percent=percent, codes=codes, guide=guide))
    smooth = np.stack([naive_guided(p.astype(float), guide, valid, 2, 0.1) for p in percent])
    wanted = np.where(valid, np.array(codes)[smooth.argmax(axis=0)], NODATA)
    two = np.sort(smooth, axis=0)
    clear = valid & (two[-1] - two[-2] > 1e-6)
    assert clear.sum() > 0.98 * valid.sum()
    np.testing.assert_array_equal(found[clear], wanted[clear])
    assert (found != classes).any()


def test_guided_filter_stops_at_edges_of_the_image():
    """A patch that the image does not show is worn off; the edge it does show stays."""
    image = np.where(np.arange(40) < 20, -1.0, 1.0)[None].repeat(40, axis=0)
    first = np.where(image < 0, 90, 10).astype(np.uint8)
    first[19:21, 8:10] = 10
    classes = np.where(first > 50, 1, 2)
    percent = np.stack([first, 100 - first])
    guide = image[None].astype(np.float32)
    found = Guided(4, 0.01)(view(classes, percent=percent, codes=(1, 2), guide=guide))
    np.testing.assert_array_equal(found, np.where(image < 0, 1, 2))


def test_steps_that_look_too_far_are_refused():
    check_halo([Sieve(LARGEST_HALO // 2)])
    with pytest.raises(PlanError, match=r"postprocess\[1\] alone looks 1999 px"):
        check_halo([Majority(3), Sieve(1000)])
