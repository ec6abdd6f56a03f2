"""Segment a block of several scenes, each as a whole, and make one map of what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter, thread_time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, full_window
from geoseg.io.base import Patch, RasterStore
from geoseg.io.composite import FAR_SEEING, CombinedPixels, grown
from geoseg.models.base import Segmenter
from geoseg.ops.classify import to_codes
from geoseg.ops.composite import clear_distance
from geoseg.ops.layers import NO_PERCENT, describe
from geoseg.scene import Rule
from geoseg.steps.segment import (
    OBSERVATIONS,
    Loaded,
    Predicted,
    SegmentBlocks,
    Segmented,
    Tiling,
    infer,
    prepare,
    seen_from,
    stitched_scores,
)


class Joining(Protocol):
    """Takes what the model says of one scene after the other, oldest first."""

    def add(
        self, loaded: Loaded, quality: NDArray[np.float32], segmenter: Segmenter, tiling: Tiling
    ) -> None:
        """Add a scene; ``quality`` ``(y, x)`` of the block is positive where it is valid."""
        ...

    def result(self, segmenter: Segmenter, tiling: Tiling, valid: NDArray[np.bool_]) -> Segmented:
        """What came of all of them; ``valid`` ``(y, x)`` where any of them was."""
        ...


class Best:
    """Each pixel from the scene with the highest quality there; of equals, from the latest."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._quality = np.zeros(shape, np.float32)
        self._best: Segmented | None = None

    def add(
        self, loaded: Loaded, quality: NDArray[np.float32], segmenter: Segmenter, tiling: Tiling
    ) -> None:
        """Add a scene; see :class:`Joining`."""
        found = infer(loaded, segmenter, tiling)
        better = loaded.mapped & (quality >= self._quality)
        np.copyto(self._quality, quality, where=better)
        if self._best is None:
            self._best = found
            return
        np.copyto(self._best.classes, found.classes, where=better)
        np.copyto(self._best.confidence, found.confidence, where=better)
        for name, values in found.layers.items():
            np.copyto(self._best.layers[name], values, where=better)

    def result(self, segmenter: Segmenter, tiling: Tiling, valid: NDArray[np.bool_]) -> Segmented:
        """What came of all of them; see :class:`Joining`."""
        return self._best or nothing(segmenter, tiling, valid.shape)


class Mean:
    """The mean of all scores, weighted by quality: it goes to 0 where a scene ends."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._weight = np.zeros(shape, np.float32)
        self._scores: NDArray[np.float32] | None = None
        self._disagreement: NDArray[np.float32] | None = None

    def add(
        self, loaded: Loaded, quality: NDArray[np.float32], segmenter: Segmenter, tiling: Tiling
    ) -> None:
        """Add a scene; see :class:`Joining`."""
        scores, disagreement = stitched_scores(loaded, segmenter, tiling)
        self._weight += quality
        share = np.zeros_like(quality)
        np.divide(quality, self._weight, out=share, where=quality > 0)
        # As a running mean: what only one scene says stays what it says, to the last bit.
        self._scores = _moved(self._scores, scores, share)
        if disagreement is not None:
            self._disagreement = _moved(self._disagreement, disagreement, share)

    def result(self, segmenter: Segmenter, tiling: Tiling, valid: NDArray[np.bool_]) -> Segmented:
        """What came of all of them; see :class:`Joining`."""
        if self._scores is None:
            return nothing(segmenter, tiling, valid.shape)
        answer = describe(self._scores, tiling.wanted, self._disagreement)
        layers = {str(name): percents for name, percents in answer.layers.items()}
        for percents in layers.values():
            percents[..., ~valid] = NO_PERCENT
        legend, confidence = segmenter.card.legend, layers.pop("confidence")
        return Segmented(
            to_codes(answer.index, valid, legend.values, legend.nodata), confidence, layers
        )


def joining(rule: Rule, shape: tuple[int, int]) -> Joining:
    """What a mosaic by ``rule`` is made with."""
    return Mean(shape) if rule == "probability" else Best(shape)


def nothing(segmenter: Segmenter, tiling: Tiling, shape: Sequence[int]) -> Segmented:
    """A block of which no scene has a valid pixel."""
    legend = segmenter.card.legend
    layers = {
        str(name): np.full(
            (len(legend.classes), *shape) if name == "probabilities" else tuple(shape),
            NO_PERCENT,
            np.uint8,
        )
        for name in tiling.layers
    }
    none = np.full(tuple(shape), NO_PERCENT, np.uint8)
    return Segmented(np.full(tuple(shape), legend.nodata, np.uint8), none, layers)


class MosaicBlocks(SegmentBlocks):
    """Scenes on one grid, a model and two stores; see :class:`SegmentBlocks`.

    The model sees each scene that has a valid pixel in the block, one after the other, with all
    that its chips see of that scene. What it says is joined by ``rule``: ``best_quality`` and
    ``latest`` take one scene, ``probability`` the mean weighted by the distance to what is hidden
    or missing. The result depends neither on blocks nor on the order that scenes were listed in.
    """

    def __init__(
        self,
        pixels: CombinedPixels,
        rule: Rule,
        segmenter: Segmenter,
        stores: tuple[RasterStore, RasterStore],
        tiling: Tiling,
        *,
        layers: Mapping[str, RasterStore] | None = None,
        model_threads: int | ThreadPoolExecutor = 1,
    ) -> None:
        super().__init__(
            pixels, segmenter, *stores, tiling, layers=layers, model_threads=model_threads
        )
        self._combined, self._rule = pixels, rule

    def _predict(self, block: Window) -> Predicted:
        joined = joining(self._rule, block.shape)
        counts = np.zeros(block.shape, np.uint8)
        mapped = np.zeros(block.shape, np.bool_)
        chips = skipped = thin = 0
        seconds = dict.fromkeys(("read", "wait", "infer", "infer_cpu"), 0.0)
        start = perf_counter()
        for loaded, quality in self._views(block):
            read = perf_counter()
            took, cpu = self._model.submit(self._add, joined, loaded, quality).result()
            counts += loaded.valid & (counts < np.iinfo(np.uint8).max)
            mapped |= loaded.mapped
            chips, skipped = chips + len(loaded.chips), skipped + loaded.skipped
            thin += loaded.thin
            wait = perf_counter() - read - took
            told = {"read": read - start, "wait": wait, "infer": took, "infer_cpu": cpu}
            seconds = {key: value + told[key] for key, value in seconds.items()}
            start = perf_counter()
        result = joined.result(self._segmenter, self._tiling, mapped)
        result = replace(result, layers={**result.layers, OBSERVATIONS: counts})
        dropped = int(np.count_nonzero((counts > 0) & ~mapped))
        return Predicted(result, mapped, chips, skipped, seconds, thin, dropped)

    def _add(
        self, joined: Joining, loaded: Loaded, quality: NDArray[np.float32]
    ) -> tuple[float, float]:
        """Seconds on the wall and CPU seconds that a scene took in the model."""
        start, cpu = perf_counter(), thread_time()
        joined.add(loaded, quality, self._segmenter, self._tiling)
        return perf_counter() - start, thread_time() - cpu

    def _views(self, block: Window) -> Iterator[tuple[Loaded, NDArray[np.float32]]]:
        """The block in each scene that has a valid pixel there, oldest first, and how good it is."""
        grid, members = self._combined.grid, self._combined.members
        scene = full_window(grid)
        sees = seen_from(block, scene, self._tiling)
        wide = sees | grown(block, grid) if self._rule in FAR_SEEING else sees
        wanted = self._combined.wanted(wide)
        for member in members.touching(block):
            patch = members.read(member, self._segmenter.card.bands, wide)
            quality = patch.valid.astype(np.float32)
            if self._rule in FAR_SEEING:
                quality = clear_distance(patch.valid)
            loaded = prepare(block, _cut(patch, wanted, wide, sees), scene, self._tiling)
            if loaded.valid.any():
                yield loaded, np.where(loaded.mapped, quality[block.within(wide).slices], 0)


def _cut(patch: Patch, wanted: NDArray[np.bool_], wide: Window, part: Window) -> Patch:
    """A part of a patch, valid only where it is ``wanted``."""
    rows, cols = part.within(wide).slices
    valid = patch.valid[rows, cols] & wanted[rows, cols]
    values = patch.values[:, rows, cols]
    values[:, ~valid] = 0
    return Patch(values, patch.scale, patch.offset, valid)


def _moved(
    mean: NDArray[np.float32] | None, new: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A running mean that moves towards ``new`` by ``share``."""
    if mean is None:
        return new * (share > 0)
    mean += (new - mean) * share
    return mean
