"""The shipped stand-ins keep the contract that real segmenters must keep."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from geoseg.grid import Window
from geoseg.models.base import Batch
from geoseg.models.views import CommitteeSegmenter
from geoseg.testing import (
    ArrayPixels,
    ArrayStore,
    ConstantModel,
    LocalMean,
    SegmenterContract,
    fake_card,
)


class TestLocalMean(SegmenterContract):
    def open(self, *, threads):
        return LocalMean(3)


class TestLocalMeanWithStride(SegmenterContract):
    def open(self, *, threads):
        return LocalMean(5, bands=("red", "nir"), stride=8)


class TestConstantModel(SegmenterContract):
    def open(self, *, threads):
        return ConstantModel((0.25, 0.75), card=fake_card("constant", bands=("red", "nir")))


class TestViewsOfOne(SegmenterContract):
    def open(self, *, threads):
        return CommitteeSegmenter([LocalMean(3, bands=("red", "nir"), stride=2)], symmetries="d4")


class TestScalesOfTwo(SegmenterContract):
    def open(self, *, threads):
        members = [LocalMean(2, bands=("red", "nir")), LocalMean(4, bands=("nir",), stride=2)]
        return CommitteeSegmenter(members, scales=(Fraction(1), Fraction(3, 2)))


def test_local_mean_equals_a_naive_mean():
    random = np.random.default_rng(0)
    values = random.integers(-100, 100, (1, 1, 12, 15)).astype(np.int16)
    ones, zeros = np.ones(1, np.float32), np.zeros(1, np.float32)
    batch = Batch(values, ones, zeros, np.ones((1, 12, 15), np.bool_))
    index, _ = LocalMean(2).classify(batch)
    padded = np.pad(values[0, 0], 2)
    naive = [[padded[y : y + 5, x : x + 5].mean() > 0 for x in range(15)] for y in range(12)]
    np.testing.assert_array_equal(index[0], np.array(naive))


def test_array_store_refuses_a_second_write():
    store = ArrayStore((4, 6))
    store.write(Window(0, 0, 2, 6), np.ones((2, 6), np.uint8))
    with pytest.raises(AssertionError, match="twice"):
        store.write(Window(1, 0, 3, 6), np.ones((2, 6), np.uint8))
    assert (store.read(Window(2, 0, 4, 6)) == 255).all()


def test_array_pixels_reads_windows_of_bands_in_order():
    values = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    pixels = ArrayPixels(values, bands=("red", "nir"), nodata=5, scale=0.5)
    patch = pixels.read(["nir", "red"], Window(1, 1, 3, 3))
    np.testing.assert_array_equal(patch.values, values[::-1, 1:3, 1:3])
    assert patch.valid.tolist() == [[False, True], [True, True]]
    assert patch.scale.tolist() == [0.5, 0.5]
    pixels.close()
    with pytest.raises(AssertionError, match="close"):
        pixels.read(["red"], Window(0, 0, 1, 1))


def test_testing_and_registry_do_not_import_torch():
    code = (
        "import sys, geoseg.testing, geoseg.models.registry as r; r.available();"
        "bad = {'torch', 'timm', 'torchvision', 'segmentation_models_pytorch'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
