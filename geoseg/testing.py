"""Stand-ins for scenes, stores and models whose answers are known, and the segmenters' contract.

Nothing here needs torch or files: plug-ins can test themselves against it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import Patch
from geoseg.legend import LandClass, Legend
from geoseg.models.base import Batch, ModelCard, Segmenter, ask
from geoseg.models.scaling import DYNAMICWORLD
from geoseg.ops.classify import most_likely
from geoseg.ops.layers import describe

LAND_WATER = Legend(
    "land-water", (LandClass(1, "Land", "#ede9e4"), LandClass(2, "Water", "#1a5bab"))
)
"""Two classes whose codes are not their indices, so that mixing them up shows."""


def utm_grid(shape: tuple[int, int], *, pixel: float = 10.0) -> GeoBox:
    """A north-up grid of ``shape`` in UTM zone 33N; ``pixel`` in metres."""
    transform = Affine(pixel, 0.0, 500_000.0, 0.0, -pixel, 5_800_000.0)
    return GeoBox(shape, transform, "EPSG:32633")


class ArrayPixels:
    """A :class:`geoseg.io.base.Pixels` over an array ``(band, y, x)`` in memory.

    ``reads`` lists the windows that were asked for, in order. A pixel is valid where ``valid``
    says so and no band is ``nodata``.
    """

    def __init__(
        self,
        values: NDArray[Any],
        *,
        bands: Sequence[str] = ("b1",),
        grid: GeoBox | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        nodata: float | None = None,
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        assert values.ndim == 3, f"values must be (band, y, x), not {values.shape}"
        assert len(bands) == len(values), f"{len(bands)} names for {len(values)} bands"
        self._values, self._bands = values, tuple(bands)
        self._grid = utm_grid(values.shape[1:]) if grid is None else grid
        assert tuple(self._grid.shape) == values.shape[1:], "the grid does not fit the values"
        self._scale, self._offset = np.float32(scale), np.float32(offset)
        self.valid = np.ones(values.shape[1:], np.bool_) if valid is None else valid
        if nodata is not None:
            self.valid = self.valid & (values != nodata).all(axis=0)
        self.reads: list[Window] = []
        self.closed = False

    @property
    def grid(self) -> GeoBox:
        """The grid that windows refer to."""
        return self._grid

    def read(self, bands: Sequence[str], window: Window) -> Patch:
        """The pixels of ``window``, which must lie inside the grid."""
        assert not self.closed, "read after close"
        assert bool(window), f"{window} is empty"
        assert window & full_window(self.grid) == window, f"{window} is not inside"
        self.reads.append(window)
        rows, cols = window.slices
        picked = [self._bands.index(band) for band in bands]
        return Patch(
            self._values[picked, rows, cols].copy(),
            np.full(len(picked), self._scale, np.float32),
            np.full(len(picked), self._offset, np.float32),
            self.valid[rows, cols].copy(),
        )

    def close(self) -> None:
        """Reading is an error from now on."""
        self.closed = True


class ArrayStore:
    """A :class:`geoseg.io.base.RasterStore` in memory; refuses to be written twice."""

    def __init__(self, shape: tuple[int, int], *, fill: int = 255) -> None:
        self.values = np.full(shape, fill, np.uint8)
        self.written = np.zeros(shape, np.bool_)
        self._lock = threading.Lock()

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:
        """Store one block."""
        assert values.dtype == np.uint8, f"{values.dtype} is not uint8"
        assert values.shape == window.shape, f"{values.shape} does not fit {window}"
        with self._lock:
            assert self.written[window.slices].shape == window.shape, f"{window} is outside"
            assert not self.written[window.slices].any(), f"{window} is written twice"
            self.written[window.slices] = True
            self.values[window.slices] = values

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Any window; pixels never written are the fill value."""
        return self.values[window.slices].copy()


class ConstantModel:
    """A segmenter that always gives the same scores: maps of it must be flat to the last bit."""

    def __init__(
        self, scores: Sequence[float] = (0.25, 0.75), *, card: ModelCard | None = None
    ) -> None:
        self._scores = np.asarray(scores, np.float32)
        self._card = card or fake_card("constant", reach=0)
        assert len(self._scores) == len(self._card.legend.classes), "a score for every class"

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

    @property
    def parallel(self) -> bool:
        """Nothing is kept between calls."""
        return True

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """The constant, at every pixel."""
        chips, _, height, width = batch.values.shape
        wanted = (chips, len(self._scores), height, width)
        return np.broadcast_to(self._scores[:, None, None], wanted).copy()

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The same class everywhere."""
        return most_likely(self.scores(batch))


class LocalMean:
    """A segmenter that looks ``radius`` pixels around each: water where their mean is positive.

    Its answer depends on context as a network's does, beyond a chip it sees zeros as a network
    does, and its arithmetic is exact in any place: run on the whole scene as one chip, it gives
    the answer that tiles must reproduce bit for bit.
    """

    def __init__(self, radius: int, *, bands: Sequence[str] = ("b1",), stride: int = 1) -> None:
        self.radius = radius
        card = fake_card("local-mean", bands=bands, reach=radius)
        self._card = replace(card, stride=stride, size=64 * stride, margin=0)

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

    @property
    def parallel(self) -> bool:
        """Nothing is kept between calls."""
        return True

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """Land and water: a smooth function of the mean over bands and neighbours."""
        shape = (len(batch.scale), 1, 1)
        stored = batch.values.astype(np.float64)
        physical = stored * batch.scale.reshape(shape) + batch.offset.reshape(shape)
        mean = np.asarray(self.card.mean)
        std = np.asarray(self.card.std)
        z = (physical - mean.reshape(shape)) / std.reshape(shape)
        z = np.where(batch.valid[:, None], z, 0.0)
        around = _box_mean(z.sum(axis=1), self.radius)
        # Only operations that IEEE 754 rounds exactly: the bits do not depend on the place.
        water = 0.5 * (1.0 + around / (1.0 + np.abs(around)))
        return np.stack([1.0 - water, water], axis=1).astype(np.float32)

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index and percent, from the scores."""
        return most_likely(self.scores(batch))


def _box_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Mean over ``(2 * radius + 1) ** 2`` pixels of ``(chip, y, x)``; zeros outside."""
    for axis in (1, 2):
        length = values.shape[axis]
        pads = [(0, 0)] * 3
        pads[axis] = (radius, radius)
        padded = np.pad(values, pads)
        total = np.zeros_like(values)
        for shift in range(2 * radius + 1):
            total += np.take(padded, range(shift, shift + length), axis=axis)
        values = total
    return values / (2 * radius + 1) ** 2


def fake_card(name: str, *, bands: Sequence[str] = ("b1",), reach: int | None = 0) -> ModelCard:
    """A card for a stand-in: land and water from ``bands``, nothing standardised."""
    ones = (1.0,) * len(bands)
    return ModelCard(
        name=name,
        version="1.0.0",
        bands=tuple(bands),
        units="reflectance",
        mean=tuple(0.0 for _ in bands),
        std=ones,
        legend=LAND_WATER,
        stride=1,
        reach=reach,
        size=64,
        margin=0,
        architecture={"name": name},
    )


def random_batch(
    card: ModelCard, shape: tuple[int, int], *, chips: int = 1, seed: int = 0
) -> Batch:
    """Chips of ``shape`` with stored numbers like a scene's, about a tenth of them not valid."""
    random = np.random.default_rng(seed)
    size = (chips, len(card.bands), *shape)
    mean, std = (np.asarray(v).reshape(-1, 1, 1) for v in (card.mean, card.std))
    physical = mean + std * random.standard_normal(size)
    if card.scaling == DYNAMICWORLD:
        physical = np.expm1(physical.clip(0, 4)) / 50  # its mean and std are of logarithms
    scale = 1e-4 if card.units == "reflectance" else 1.0
    values = np.clip(np.rint(physical / scale), -32768, 32767).astype(np.int16)
    count = len(card.bands)
    return Batch(
        values,
        np.full(count, scale, np.float32),
        np.zeros(count, np.float32),
        random.random((chips, *shape)) > 0.1,
    )


class SegmenterContract:
    """What every :class:`geoseg.models.base.Segmenter` must do. Subclass it and define ``open``.

    ::

        class TestMine(SegmenterContract):
            def open(self, *, threads):
                return MySegmenter(..., threads=threads)
    """

    def open(self, *, threads: int) -> Segmenter:
        """The segmenter to test; ``threads`` as in :func:`geoseg.models.registry.open_segmenter`."""
        raise NotImplementedError

    def test_scores_are_probabilities(self) -> None:
        """One float32 score for each class, between 0 and 1, that sum to 1."""
        model = self.open(threads=1)
        shape = _chip_shape(model.card)
        scores = model.scores(random_batch(model.card, shape, chips=2))
        assert scores.dtype == np.float32
        assert scores.shape == (2, len(model.card.legend.classes), *shape)
        assert scores.min() >= 0
        assert scores.max() <= 1
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)

    def test_classify_is_argmax_of_scores(self) -> None:
        """The first of the highest scores, and that score in percent."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), chips=2, seed=1)
        index, percent = model.classify(batch)
        wanted_index, wanted_percent = most_likely(model.scores(batch))
        assert index.dtype == percent.dtype == np.uint8
        np.testing.assert_array_equal(index, wanted_index)
        np.testing.assert_array_equal(percent, wanted_percent)

    def test_layers_are_those_of_the_scores(self) -> None:
        """Wherever they are made; logarithms may round to the other side."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), chips=2, seed=8)
        answer = ask(model, batch, ("confidence", "entropy", "margin", "probabilities"))
        wanted = describe(model.scores(batch), answer.layers)
        np.testing.assert_array_equal(answer.index, wanted.index)
        for layer, found in answer.layers.items():
            away = found.astype(int) - wanted.layers[layer]
            assert np.abs(away).max() <= 1, layer
            assert (away != 0).mean() < 0.01, layer

    def test_any_multiple_of_the_stride_is_a_chip(self) -> None:
        """Chips need not be square, and may be as small as one stride."""
        model = self.open(threads=1)
        step = model.card.stride
        for shape in ((step, step), (step, 3 * step), (2 * step, step)):
            index, percent = model.classify(random_batch(model.card, shape))
            assert index.shape == percent.shape == (1, *shape)

    def test_invalid_pixels_do_not_matter(self) -> None:
        """What is stored in pixels that are not valid changes nothing."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), chips=1, seed=2)
        hidden = ~batch.valid[:, None]
        other = np.where(hidden, np.int16(-9999), batch.values)
        np.testing.assert_array_equal(
            model.scores(batch), model.scores(replace(batch, values=other))
        )

    def test_stored_dtype_does_not_matter(self) -> None:
        """The same numbers as uint16, int32 or float32 give the same bits."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), seed=3)
        small = replace(batch, values=np.clip(batch.values, 0, 255))
        wanted = model.scores(small)
        for dtype in ("uint8", "uint16", ">u2", "int32", "float32", "float64"):
            stored = replace(small, values=small.values.astype(dtype))
            np.testing.assert_array_equal(model.scores(stored), wanted, err_msg=dtype)
        big = np.full_like(batch.values, 0).astype(np.uint16) + np.uint16(40_000)
        np.testing.assert_array_equal(
            model.scores(replace(batch, values=big)),
            model.scores(replace(batch, values=big.astype(np.float32))),
        )

    def test_scale_and_offset_are_applied(self) -> None:
        """Stored numbers with scale and offset mean the same as the physical values."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), seed=4)
        count = len(model.card.bands)
        ones, zeros = np.ones(count, np.float32), np.zeros(count, np.float32)
        physical = batch.values.astype(np.float32) * batch.scale.reshape(-1, 1, 1)
        shifted = replace(
            batch, values=batch.values.astype(np.int32) + 1000, offset=-1000 * batch.scale
        )
        wanted = model.scores(Batch(physical, ones, zeros, batch.valid))
        np.testing.assert_allclose(model.scores(batch), wanted, atol=2e-3)
        np.testing.assert_allclose(model.scores(shifted), wanted, atol=2e-3)

    def test_a_chip_does_not_depend_on_its_batch(self) -> None:
        """The same chip gives the same bits, alone or among others, at any place."""
        model = self.open(threads=1)
        batch = random_batch(model.card, _chip_shape(model.card), chips=3, seed=5)
        together = model.scores(batch)
        for k in (2, 0, 1):
            alone = replace(batch, values=batch.values[k : k + 1], valid=batch.valid[k : k + 1])
            np.testing.assert_array_equal(model.scores(alone)[0], together[k])

    def test_a_batch_may_be_empty(self) -> None:
        """No chips, no answers, no error."""
        model = self.open(threads=1)
        shape = _chip_shape(model.card)
        batch = random_batch(model.card, shape)
        nothing = replace(batch, values=batch.values[:0], valid=batch.valid[:0])
        index, percent = model.classify(nothing)
        assert index.shape == percent.shape == (0, *shape)

    def test_shifts_by_the_stride_move_the_answer(self) -> None:
        """Inside the reach from the rim, the answer does not depend on where the chip began."""
        model = self.open(threads=1)
        card = model.card
        if card.reach is None:
            return
        margin = -(-card.reach // card.stride) * card.stride
        length = 2 * margin + 4 * card.stride
        scene = random_batch(card, (length + card.stride, length + card.stride), seed=6)
        first = model.scores(_part(scene, slice(0, length)))
        second = model.scores(_part(scene, slice(card.stride, card.stride + length)))
        inner = slice(margin + card.stride, length - margin)
        moved = slice(margin, length - margin - card.stride)
        np.testing.assert_allclose(
            first[..., inner, inner], second[..., moved, moved], atol=1e-5, rtol=0
        )

    def test_callers_do_not_matter(self) -> None:
        """Several callers at once, where the model allows them: the same bits as one alone."""
        model = self.open(threads=1)
        shape = _chip_shape(model.card)
        odd = shape[0], shape[1] + 3 * model.card.stride
        batches = [random_batch(model.card, odd, seed=seed) for seed in range(6)]
        wanted = [model.scores(batch) for batch in batches]
        with ThreadPoolExecutor(3 if model.parallel else 1) as pool:
            for found, alone in zip(pool.map(model.scores, batches), wanted, strict=True):
                np.testing.assert_array_equal(found, alone)

    def test_threads_hardly_matter(self) -> None:
        """Two threads for a chip may add up in another order than one, and no more than that."""
        one = self.open(threads=1)
        batch = random_batch(one.card, _chip_shape(one.card), seed=7)
        wanted = one.scores(batch)
        two = self.open(threads=2)
        np.testing.assert_allclose(two.scores(batch), wanted, atol=1e-5, rtol=0)


def _chip_shape(card: ModelCard) -> tuple[int, int]:
    """A small chip that is not square."""
    return 4 * card.stride, 6 * card.stride


def _part(batch: Batch, span: slice) -> Batch:
    return replace(batch, values=batch.values[..., span, span], valid=batch.valid[..., span, span])
