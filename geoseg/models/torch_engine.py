"""Torch networks as segmenters: from stored numbers to classes in one pass on the device."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.errors import BlockError, ModelError
from geoseg.models.architectures import build
from geoseg.models.base import Batch, ModelCard
from geoseg.models.formats import PT2, TORCHSCRIPT, by_name
from geoseg.models.intact import read_weights
from geoseg.models.registry import ModelPackage, Precision
from geoseg.models.scaling import linear
from geoseg.models.torch_cuda import CudaLane
from geoseg.models.torch_device import Tuning, checked_precision, device_of
from geoseg.models.torch_lanes import Arrays, DirectLane, Lane, Lanes, OnHost
from geoseg.models.torch_pass import ALONE, BROKEN, Output, Pass
from geoseg.models.traced import open_graph
from geoseg.models.weights_file import load_weights
from geoseg.ops.layers import Answer, Layer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What did not fit: so many chips, perhaps beside those of other calls, and what torch said."""

    count: int
    beside: bool
    said: str


class TorchSegmenter:
    """Implements :class:`geoseg.models.base.Segmenter`.

    On a GPU several callers get a lane each, so that transfers of one overlap with kernels of
    another; a caller with many chips takes two lanes in turns. Where the GPU's memory does not
    suffice, half as many chips are computed at once from then on, and in the end one at a time on
    one lane (see docs/decisions/0025-what-a-gpu-computes-at-once.md).

    Args:
        card: What the network needs and gives.
        network: Gives logits ``(chip, class, y, x)``; it becomes this object's own.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        precision: Of the network's arithmetic.
        threads: CPU threads that torch uses for one chip; None leaves them. Sums over a layer are
            cut differently for each number, which shows in the last bit: results that must not
            depend on the machine want 1, and several callers at once.
        tuning: How it is run.

    Raises:
        ModelError: There is no such device or precision, or the card's stride is not the network's.
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self._card, self._threads, self._tuning = card, threads, tuning or Tuning()
        self._device = device_of(device)
        precision = checked_precision(precision, self._device)
        self._pass = Pass(card, network, self._device, precision, self._tuning)
        self._lanes = Lanes(self._lane, self._tuning.calls(self._device))
        # Kernels are chosen by the shape of the batch, and differ in the last bit: so that a
        # chip's bits do not depend on its neighbours, networks always see as many chips at once.
        self._at_once: dict[tuple[int, int], int] = {}
        self._guard = threading.Lock()

    @classmethod
    def load(
        cls,
        package: ModelPackage,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        tuning: Tuning | None = None,
    ) -> Self:
        """The model of a package, with its weights."""
        return cls(
            package.card,
            load_network(package),
            device=device,
            precision=precision,
            threads=threads,
            tuning=tuning,
        )

    @classmethod
    def untrained(cls, card: ModelCard, *, seed: int = 0, threads: int | None = None) -> Self:
        """The card's network with random weights, for tests and benchmarks."""
        return cls(card, build(card, seed=seed), device="cpu", threads=threads)

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

    @property
    def parallel(self) -> bool:
        """Every thread may compute chips of its own; on a GPU they wait for a lane."""
        return True

    def chips_at_once(self, shape: tuple[int, int]) -> int:
        """How many chips of ``shape`` ``(y, x)`` are computed together, however few are asked for.

        Batches of a multiple waste nothing. Grows never, and shrinks where memory ends.
        """
        with self._guard:
            return self._at_once.setdefault(shape, self._tuning.chips(self._device, shape))

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """Probabilities ``(chip, class, y, x)`` that sum to 1 over classes."""
        return self._ask(batch, ("scores",))["scores"]

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index of the likeliest class, and its probability in percent, both ``(chip, y, x)``."""
        found = self._ask(batch, ("index", "confidence"))
        return found["index"], found["confidence"]

    def answer(self, batch: Batch, wanted: Sequence[Layer]) -> Answer:
        """Classes and layers, made on the device: only bytes come back from it."""
        found = self._ask(batch, ("index", *wanted))
        return Answer(found["index"], {layer: found[layer] for layer in wanted})

    def _ask(self, batch: Batch, wanted: tuple[Output, ...]) -> dict[str, NDArray[Any]]:
        """The outputs ``wanted`` of all chips."""
        if self._threads is not None:
            # OpenMP keeps this for each thread of the caller; setting it anew costs nothing.
            torch.set_num_threads(self._threads)
        out: dict[str, NDArray[Any]] = {
            name: np.empty(
                self._pass.shape_of(name, batch.valid.shape),
                np.float32 if name == "scores" else np.uint8,
            )
            for name in wanted
        }
        gain_and_bias = np.stack(linear(self._card, batch.scale, batch.offset)).astype(np.float32)
        flying: deque[tuple[Lane, slice]] = deque()
        start, count = 0, len(batch.values)
        with torch.inference_mode():
            try:
                while start < count or flying:
                    lane = self._free_lane(len(flying)) if start < count else None
                    if lane is None:
                        self._land(*flying.popleft(), batch, out)
                        continue
                    chips = self._launch(lane, batch, start, gain_and_bias, wanted)
                    if chips is not None:
                        flying.append((lane, chips))
                        start = chips.stop
            finally:
                for lane, _ in flying:
                    self._drop(lane)
        return out

    def _lane(self) -> Lane:
        if self._device.type == "cpu":
            return DirectLane(self._pass)
        return CudaLane(self._pass, graphs=self._tuning.graphs)

    def _free_lane(self, flying: int) -> Lane | None:
        """One more, where a caller with so many ``flying`` should not land one of them first."""
        if flying > (self._device.type != "cpu"):
            return None
        return self._lanes.take(wait=not flying)

    def _launch(
        self,
        lane: Lane,
        batch: Batch,
        start: int,
        gain_and_bias: NDArray[np.float32],
        wanted: tuple[Output, ...],
    ) -> slice | None:
        """Start the next chips; None where memory did not suffice, and less is to be tried now."""
        height, width = batch.valid.shape[1:]
        count = self.chips_at_once((height, width))
        chips = slice(start, min(start + count, len(batch.values)))
        beside = self._lanes.several
        try:
            lane.launch(
                OnHost(batch.values[chips], batch.valid[chips], gain_and_bias), count, wanted
            )
        except BaseException as error:
            if not _is_of_memory(error):
                self._drop(lane)
                raise
            tried = _Tried(count, beside, str(error).splitlines()[0])
        else:
            return chips
        # Not before the error is gone, for it holds on to what was computed until then.
        self._make_room(lane, (height, width), tried)
        return None

    def _land(self, lane: Lane, chips: slice, batch: Batch, out: Mapping[str, Any]) -> None:
        """Keep what a lane has computed, and let others have it."""
        try:
            found, count = lane.fetch(), chips.stop - chips.start
            self._check(found, chips, batch)
            for name, values in out.items():
                values[chips] = found[name][:count]
        finally:
            self._lanes.give(lane)

    def _drop(self, lane: Lane) -> None:
        try:
            lane.clear()
        finally:
            self._lanes.give(lane)

    def _make_room(self, lane: Lane, shape: tuple[int, int], tried: _Tried) -> None:
        """Half the chips at once from now on; or one lane less, where it is one already.

        Raises:
            BlockError: Not even one chip fits, alone.
        """
        lane.clear()
        self._lanes.rest()
        if self._device.type == "cuda":
            with ALONE:
                torch.cuda.empty_cache()
        name, size, count = self._card.name, f"{shape[0]} x {shape[1]} px", tried.count
        with self._guard:
            less = self._at_once[shape] < count  # another call came to it first
            if not less and count > 1:
                self._at_once[shape], less = count // 2, True
                log.warning(
                    "model %s: %d chips of %s at once do not fit into the memory of %s: %d from "
                    "now on", name, count, size, self._device, count // 2,
                )  # fmt: skip
        if less or tried.beside:
            if less:
                self._lanes.give(lane)
            elif self._lanes.retire(lane):
                log.warning(
                    "model %s: a chip of %s needs memory of %s that another call has: one call "
                    "less at once from now on", name, size, self._device,
                )  # fmt: skip
            return
        self._lanes.give(lane)
        raise BlockError(
            f"model {name}: a chip of {size} does not fit into the memory of {self._device}: make "
            f"`tiling.size` smaller, take `model.precision: bf16` or `model.device: cpu`, or let "
            f"fewer processes share the device ({tried.said})"
        )

    def _check(self, found: Arrays, chips: slice, batch: Batch) -> None:
        broken = np.flatnonzero(found[BROKEN][: chips.stop - chips.start])
        if len(broken):
            chip = chips.start + int(broken[0])
            seen = batch.values[chip][:, batch.valid[chip]]
            span = f"{seen.min()} to {seen.max()}" if seen.size else "none"
            raise BlockError(
                f"model {self.card.name}: the network gave NaN for chip {chip} of its batch, "
                f"whose valid numbers are {span}"
            )


def _is_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch's own, or one inside a library of NVIDIA's."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def load_network(package: ModelPackage) -> nn.Module:
    """The network of a package with its weights, whichever format they have.

    Raises:
        ModelError: They are missing, damaged, of another network, or run code unasked.
    """
    if package.weights is None:
        raise ModelError(
            f"model {package.card.name!r} has no weights: it must be trained before use"
        )
    if by_name(package.weights.name) in (PT2, TORCHSCRIPT):
        data, known = read_weights(package.weights, package.card.sha256)
        return open_graph(package.weights, data, known, allow_code=package.allow_code)
    network = build(package.card)
    load_weights(network, package.weights, package.card.sha256)
    return network
