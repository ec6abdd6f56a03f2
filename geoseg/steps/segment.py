"""Segment a scene, block by block: load, infer, save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, full_window
from geoseg.io.base import Patch, Pixels, RasterStore
from geoseg.io.traffic import METER
from geoseg.models.base import Batch, Segmenter, Voting, ask
from geoseg.ops import stitch
from geoseg.ops.areas import class_areas
from geoseg.ops.classify import to_codes
from geoseg.ops.layers import NO_PERCENT, Layer, describe
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.tiling import Chip, Lattice, hull

OBSERVATIONS: Final = "observations"
"""Name of the layer that counts in how many scenes a pixel is valid."""

Stitched = tuple[NDArray[np.uint8], dict[Layer, NDArray[np.uint8]]]
"""Index of the class, and the layers, of a block."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a scene is cut for the model, and how the pieces are joined.

    ``layers`` are what is kept beside classes and confidence. Chips of which a smaller share of
    pixels is valid than ``min_valid`` are not predicted.
    """

    lattice: Lattice
    seams: stitch.Seams = "crop"
    weights: stitch.Weights = "hann"
    batch: int = 1
    layers: tuple[Layer, ...] = ()
    min_valid: float = 0.0

    @property
    def wanted(self) -> tuple[Layer, ...]:
        """All layers that the model is asked for."""
        return ("confidence", *self.layers)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A block with all that its chips see.

    ``patch`` covers ``at``, which may reach beyond the scene at its lower and right rim (see
    :class:`geoseg.ops.tiling.Chip`); ``chips`` are those that have anything to decide here,
    ``skipped`` counts the others, ``thin`` those of them that would have, but of which too little
    is valid. ``decided`` are the pixels ``(y, x)`` of the block that a chip speaks for; None: all.
    """

    block: Window
    at: Window
    patch: Patch
    chips: tuple[Chip, ...]
    skipped: int
    thin: int = 0
    decided: NDArray[np.bool_] | None = None

    @property
    def mapped(self) -> NDArray[np.bool_]:
        """Pixels of the block ``(y, x)`` that get a class: valid ones that a chip speaks for."""
        return self.valid if self.decided is None else self.valid & self.decided

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Valid pixels of the block ``(y, x)``."""
        return self.patch.valid[self.block.within(self.at).slices]


@dataclass(frozen=True, slots=True)
class Segmented:
    """The classes (codes) and confidence (percent) of a block, both ``(y, x)`` uint8.

    ``layers`` are percents ``(y, x)``, or ``(class, y, x)`` of the probabilities; of scenes that
    are combined, also the number of observations.
    """

    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    layers: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


def load(block: Window, pixels: Pixels, bands: tuple[str, ...], tiling: Tiling) -> Loaded:
    """Read ``block`` with the halo that its chips need, padded to the model's stride."""
    scene = full_window(pixels.grid)
    return prepare(block, pixels.read(bands, seen_from(block, scene, tiling)), scene, tiling)


def seen_from(block: Window, scene: Window, tiling: Tiling) -> Window:
    """What the chips of ``block`` see of ``scene``."""
    by = stitch.NEEDS[tiling.seams]
    return hull(tiling.lattice.chips(scene.shape, block, by=by)) & scene


def prepare(block: Window, patch: Patch, scene: Window, tiling: Tiling) -> Loaded:
    """A block from the ``patch`` that its chips see."""
    chips = tiling.lattice.chips(scene.shape, block, by=stitch.NEEDS[tiling.seams])
    at = hull(chips)
    patch = _padded(patch, at, scene)
    useful = tuple(c for c in chips if _decides(c, patch.valid, at, block, tiling))
    enough = tuple(c for c in useful if _is_valid_enough(c, patch.valid, at, scene, tiling))
    thin = len(useful) - len(enough)
    decided = _decided(enough, block, tiling) if thin else None
    return Loaded(block, at, patch, enough, len(chips) - len(enough), thin, decided)


def infer(loaded: Loaded, segmenter: Segmenter, tiling: Tiling) -> Segmented:
    """Predict the chips of a block and stitch them."""
    stitched = _crop if tiling.seams == "crop" else _blend
    index, told = stitched(loaded, segmenter, tiling)
    layers = {str(name): percents for name, percents in told.items()}
    legend, valid = segmenter.card.legend, loaded.mapped
    for percent in layers.values():
        percent[..., ~valid] = NO_PERCENT
    confidence = layers.pop("confidence")
    if loaded.patch.observations is not None:
        part = loaded.block.within(loaded.at).slices
        layers[OBSERVATIONS] = loaded.patch.observations[part]
    return Segmented(to_codes(index, valid, legend.values, legend.nodata), confidence, layers)


def _decides(
    chip: Chip, valid: NDArray[np.bool_], at: Window, block: Window, tiling: Tiling
) -> bool:
    """Whether a valid pixel of the block depends on ``chip``: chips of nodata cost nothing."""
    part = (chip.owns if tiling.seams == "crop" else chip.sees) & block
    return bool(valid[part.within(at).slices].any())


def _is_valid_enough(
    chip: Chip, valid: NDArray[np.bool_], at: Window, scene: Window, tiling: Tiling
) -> bool:
    """Whether enough of what the chip sees of the scene is valid: whichever block asks."""
    if not tiling.min_valid:
        return True
    seen = valid[(chip.sees & scene).within(at).slices]
    return bool(np.count_nonzero(seen) >= tiling.min_valid * seen.size)


def _decided(chips: Iterable[Chip], block: Window, tiling: Tiling) -> NDArray[np.bool_]:
    """Pixels of the block that at least one of ``chips`` decides."""
    decided = np.zeros(block.shape, np.bool_)
    for chip in chips:
        part = (chip.owns if tiling.seams == "crop" else chip.sees) & block
        if part:
            decided[part.within(block).slices] = True
    return decided


def _padded(patch: Patch, at: Window, scene: Window) -> Patch:
    """``patch`` with pixels beyond the scene's rim added as not valid."""
    below, right = max(0, at.y1 - scene.y1), max(0, at.x1 - scene.x1)
    if not below and not right:
        return patch
    values = np.pad(patch.values, ((0, 0), (0, below), (0, right)))
    valid = np.pad(patch.valid, ((0, below), (0, right)))
    counts = patch.observations
    if counts is not None:
        counts = np.pad(counts, ((0, below), (0, right)))
    return Patch(values, patch.scale, patch.offset, valid, counts)


def _batches(loaded: Loaded, size: int) -> Iterator[tuple[tuple[Chip, ...], Batch]]:
    patch = loaded.patch
    for start in range(0, len(loaded.chips), size):
        group = loaded.chips[start : start + size]
        windows = [chip.sees.within(loaded.at).slices for chip in group]
        values = np.stack([patch.values[:, rows, cols] for rows, cols in windows])
        valid = np.stack([patch.valid[rows, cols] for rows, cols in windows])
        yield group, Batch(values, patch.scale, patch.offset, valid)


def _crop(loaded: Loaded, segmenter: Segmenter, tiling: Tiling) -> Stitched:
    shape, classes = loaded.block.shape, len(segmenter.card.legend.classes)
    index = np.zeros(shape, np.uint8)
    layers: dict[Layer, NDArray[np.uint8]] = {
        layer: np.zeros((classes, *shape) if layer == "probabilities" else shape, np.uint8)
        for layer in tiling.wanted
    }
    for chips, batch in _batches(loaded, tiling.batch):
        answer = ask(segmenter, batch, tiling.wanted)
        for number, chip in enumerate(chips):
            stitch.paste_owned(index, chip, loaded.block, answer.index[number])
            for layer, out in layers.items():
                stitch.paste_owned(out, chip, loaded.block, answer.layers[layer][number])
    return index, layers


def _blend(loaded: Loaded, segmenter: Segmenter, tiling: Tiling) -> Stitched:
    scores, disagreement = stitched_scores(loaded, segmenter, tiling)
    answer = describe(scores, tiling.wanted, disagreement)
    return answer.index, dict(answer.layers)


def stitched_scores(
    loaded: Loaded, segmenter: Segmenter, tiling: Tiling
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The scores ``(class, y, x)`` of a block, 0 where nothing was predicted, and disagreement.

    Disagreement ``(y, x)`` is None where it is not wanted, or the model has a single answer.
    """
    classes, block = len(segmenter.card.legend.classes), loaded.block
    voting = "disagreement" in tiling.layers and isinstance(segmenter, Voting)
    # Disagreement is stitched as one plane more.
    whole: stitch.Crop | stitch.Blend = stitch.Crop(block, classes + voting)
    if tiling.seams == "blend":
        whole = stitch.Blend(block, classes + voting, tiling.weights)
    for chips, batch in _batches(loaded, tiling.batch):
        if voting and isinstance(segmenter, Voting):
            scores, disagreement = segmenter.weigh(batch)
            planes = np.concatenate([scores, disagreement[:, None]], axis=1)
        else:
            planes = segmenter.scores(batch)
        for chip, of_chip in zip(chips, planes, strict=True):
            whole.add(chip, of_chip)
    mean = whole.scores()
    return mean[:classes], mean[classes] if voting else None


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a block came to: the result, its mapped pixels, chips, and seconds by what took them.

    ``dropped`` are valid pixels that have no class, as only ``thin`` chips would decide them.
    """

    result: Segmented
    valid: NDArray[np.bool_]
    chips: int
    skipped: int
    seconds: Mapping[str, float]
    thin: int = 0
    dropped: int = 0


class SegmentBlocks:
    """A scene, a model and two stores, opened on a worker; called once for each block.

    Implements :class:`geoseg.run.base.BlockWork`. Several blocks may be in flight: they read and
    write in their callers' threads, and take turns in the ``model_threads`` that hold the model
    (one, where it is not ``parallel``; or threads that others use, too), so that reading ahead and writing behind overlap with the
    model's work.

    ``layers`` are the stores of the tiling's layers, by name; those of the probabilities are called
    as :func:`plane_names` says. Where :data:`OBSERVATIONS` is one of them, a scene
    that is not combined counts as one observation.
    """

    def __init__(
        self,
        pixels: Pixels,
        segmenter: Segmenter,
        classes: RasterStore,
        confidence: RasterStore,
        tiling: Tiling,
        *,
        layers: Mapping[str, RasterStore] | None = None,
        model_threads: int | ThreadPoolExecutor = 1,
    ) -> None:
        self._pixels, self._segmenter = pixels, segmenter
        self._classes, self._confidence = classes, confidence
        self._layers = layers or {}
        self._tiling, self._metric = tiling, measure_grid(pixels.grid)
        self._lent = isinstance(model_threads, ThreadPoolExecutor)
        if isinstance(model_threads, ThreadPoolExecutor):
            self._model = model_threads
        else:
            threads = model_threads if segmenter.parallel else 1
            self._model = ThreadPoolExecutor(threads, thread_name_prefix="geoseg-model")

    @property
    def waiting(self) -> int:
        """Blocks that are read, and wait for the model now."""
        return self._model._work_queue.qsize()  # noqa: SLF001 (a pool does not say it otherwise)

    def __call__(self, block: Window) -> dict[str, Any]:
        """Do one block; doing it twice gives the same bytes."""
        found = self._predict(block)
        start, result = perf_counter(), found.result
        codes = self._segmenter.card.legend.values
        stored = dict(planes(result.layers, codes))
        self._classes.write(block, result.classes)
        self._confidence.write(block, result.confidence)
        for name, values in stored.items():
            self._layers[name].write(block, values)
        stored |= {"classes": result.classes, "confidence": result.confidence}
        return {
            **_account(found, block, self._tiling.lattice.stride, self._metric),
            "crc": checksums(stored),
            "remote": asdict(METER.take()),
            "memory": most_memory(),
            "seconds": {**found.seconds, "write": perf_counter() - start},
        }

    def close(self) -> None:
        """Let go of files and of the model's threads."""
        if not self._lent:
            self._model.shutdown()
        self._pixels.close()

    def _predict(self, block: Window) -> Predicted:
        start = perf_counter()
        loaded = load(block, self._pixels, self._segmenter.card.bands, self._tiling)
        read = perf_counter()
        result, seconds, cpu = self._model.submit(self._infer, loaded).result()
        wait = perf_counter() - read - seconds
        if OBSERVATIONS in self._layers and OBSERVATIONS not in result.layers:
            seen = loaded.valid.astype(np.uint8)
            result = replace(result, layers={**result.layers, OBSERVATIONS: seen})
        return Predicted(
            result,
            loaded.mapped,
            len(loaded.chips),
            loaded.skipped,
            {"read": read - start, "wait": wait, "infer": seconds, "infer_cpu": cpu},
            loaded.thin,
            int(np.count_nonzero(loaded.valid & ~loaded.mapped)),
        )

    def _infer(self, loaded: Loaded) -> tuple[Segmented, float, float]:
        """The result, seconds on the wall, and CPU seconds of this thread: all of a CPU model's."""
        start, cpu = perf_counter(), thread_time()
        result = infer(loaded, self._segmenter, self._tiling)
        return result, perf_counter() - start, thread_time() - cpu


def most_memory() -> int:
    """The most bytes of memory that this process has had so far; 0 where that is not known."""
    with suppress(OSError, ValueError):
        # Not getrusage: after a fork it tells of the parent, too.
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def plane_names(layers: Iterable[str], codes: Sequence[int]) -> list[str]:
    """The names of one-band rasters that hold ``layers``: one for each class's probability."""
    names: list[str] = []
    for layer in layers:
        many = layer == "probabilities"
        names += [f"probability-{code}" for code in codes] if many else [layer]
    return names


def planes(
    layers: Mapping[str, NDArray[np.uint8]], codes: Sequence[int]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Layers of a block as one-band rasters, with their names."""
    for layer, values in layers.items():
        parts = values if layer == "probabilities" else [values]
        yield from zip(plane_names([layer], codes), parts, strict=True)


def checksums(stored: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """CRC-32 of what was stored, by the names of the stores."""
    return {name: crc32(values.tobytes()) for name, values in stored.items()}


def _account(found: Predicted, block: Window, stride: int, metric: Metric) -> dict[str, Any]:
    """What a block says of itself: counts, areas and how its seams look."""
    valid, result = found.valid, found.result
    counts = np.bincount(result.classes[valid], minlength=256)
    codes = [int(code) for code in np.flatnonzero(counts)]
    areas = class_areas(result.classes, block, metric)
    return {
        "pixels": int(valid.size),
        "valid": int(valid.sum()),
        "chips": found.chips,
        "skipped": found.skipped,
        "thin": found.thin,
        "dropped": found.dropped,
        "counts": {code: int(counts[code]) for code in codes},
        "areas": {code: areas[code] for code in codes},
        "confidence": int(result.confidence[valid].sum(dtype=np.int64)),
        "seams": stitch.seam_steps(result.classes, valid, block, stride),
    }
