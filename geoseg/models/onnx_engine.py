"""ONNX networks as segmenters, run by onnxruntime on a CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import Batch, ModelCard
from geoseg.models.card_rules import planes
from geoseg.models.intact import read_weights
from geoseg.models.onnx_file import OnnxFile, describe, load_runtime, open_session
from geoseg.models.registry import ModelPackage
from geoseg.models.scaling import bent, linear, temperature
from geoseg.ops.classify import most_likely
from geoseg.ops.layers import Answer, Layer
from geoseg.ops.layers import describe as of_scores

Floats = NDArray[np.float32]

_TINY: Final = np.float32(1e-12)


class OnnxSegmenter:
    """Implements :class:`geoseg.models.base.Segmenter`.

    Chips go through the network one by one, whatever the batch, so that their bits do not depend
    on their neighbours. Where the network takes chips of one size only, smaller ones are filled up
    with pixels that are not valid.

    Args:
        card: What the network needs and gives.
        path: The file, for messages.
        data: What it holds.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        threads: CPU threads for one chip; None: as many as there are cores.

    Raises:
        ModelError: The file is not what the card says, or there is no such device.
    """

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        data: bytes,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self._card, self._path = card, path
        self._device = _device(device)
        self._session = open_session(path, data, threads=threads, device=self._device)
        self._file = describe(path, self._session)
        self._temperature = temperature(card)
        _check_shapes(card, self._file)
        self._check_chip()

    @classmethod
    def load(
        cls,
        package: ModelPackage,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Self:
        """The model of a package."""
        if package.weights is None:
            raise ModelError(f"model {package.card.name!r} has no weights")
        if precision != "fp32":
            raise ModelError(
                f"model {package.card.name!r}: ONNX has the precision it was exported with; "
                f"precision {precision!r} is for models of torch: use fp32"
            )
        data, _ = read_weights(package.weights, package.card.sha256)
        return cls(package.card, package.weights, data, device=device, threads=threads)

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

    @property
    def parallel(self) -> bool:
        """On a CPU every thread may compute chips of its own; a GPU has one queue."""
        return self._device == "cpu"

    def scores(self, batch: Batch) -> Floats:
        """Probabilities ``(chip, class, y, x)`` that sum to 1 over classes."""
        count, _, height, width = batch.values.shape
        out = np.empty((count, len(self.card.legend.classes), height, width), np.float32)
        for chip, scores in self._each(batch):
            out[chip] = scores
        return out

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index of the likeliest class, and its probability in percent, both ``(chip, y, x)``."""
        shape = batch.valid.shape
        index, percent = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        for chip, scores in self._each(batch):
            best, highest = most_likely(scores[None])
            index[chip], percent[chip] = best[0], highest[0]
        return index, percent

    def answer(self, batch: Batch, wanted: Sequence[Layer]) -> Answer:
        """Classes and layers, chip by chip: no more than one chip's scores are kept."""
        shape = batch.valid.shape
        if not len(batch.values):
            return of_scores(self.scores(batch), wanted)
        index = np.empty(shape, np.uint8)
        layers: dict[Layer, NDArray[np.uint8]] = {}
        for chip, scores in self._each(batch):
            found = of_scores(scores, wanted)
            index[chip] = found.index
            for layer, values in found.layers.items():
                out = layers.setdefault(layer, np.empty((shape[0], *values.shape), np.uint8))
                out[chip] = values
        return Answer(index, layers)

    def _each(self, batch: Batch) -> Iterator[tuple[int, Floats]]:
        gain, bias = (
            v.astype(np.float32).reshape(-1, 1, 1)
            for v in linear(self.card, batch.scale, batch.offset)
        )
        for chip in range(len(batch.values)):
            x = bent(self.card, batch.values[chip].astype(np.float32) * gain + bias)
            x = np.where(batch.valid[chip], x, np.float32(0))
            yield chip, self._softmax(self._run(x), batch, chip)

    def _run(self, x: Floats) -> Floats:
        """What the network gives for one chip ``(band, y, x)``: ``(plane, y, x)``."""
        height, width = x.shape[1:]
        if self._file.sides is not None:
            below, right = self._file.sides[0] - height, self._file.sides[1] - width
            if below < 0 or right < 0:
                raise BlockError(
                    f"{self._path}: takes chips of {self._file.sides[0]} x {self._file.sides[1]} "
                    f"px, not of {height} x {width}: leave `tiling.size` to the model's card"
                )
            x = np.pad(x, ((0, 0), (0, below), (0, right)))
        try:
            (y,) = self._session.run(None, {self._file.input: np.ascontiguousarray(x[None])})
        except Exception as error:  # it raises many classes of its own
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BlockError(
                f"{self._path}: cannot do a chip of {height} x {width} px: {line}"
            ) from error
        found: Floats = y[0, :, :height, :width].astype(np.float32, copy=False)
        return found

    def _softmax(self, y: Floats, batch: Batch, chip: int) -> Floats:
        logits = _logits(y, self.card.output) / np.float32(self._temperature)
        with np.errstate(invalid="ignore"):
            parts = np.exp(logits - logits.max(axis=0, keepdims=True))
        total = parts.sum(axis=0, keepdims=True, dtype=np.float32)
        if np.isnan(total).any():
            seen = batch.values[chip][:, batch.valid[chip]]
            span = f"{seen.min()} to {seen.max()}" if seen.size else "none"
            raise BlockError(
                f"model {self.card.name}: the network gave NaN for chip {chip} of its batch, "
                f"whose valid numbers are {span}"
            )
        scores: Floats = parts / total
        return scores

    def _check_chip(self) -> None:
        """Refuse a network that does not answer a small chip as its card says."""
        side = 3 * self.card.stride if self._file.sides is None else self.card.size
        try:
            found = self._run(np.zeros((len(self.card.bands), side, side), np.float32)).shape
        except (BlockError, IndexError) as error:
            raise ModelError(
                f"model {self.card.name!r}: its network does not take chips of {side} px, as its "
                f"card says: {error}"
            ) from error
        wanted = planes(self.card)
        if found != (wanted, side, side):
            raise ModelError(
                f"model {self.card.name!r}: for a chip of {side} px its network gives "
                f"{found[0]} planes of {found[1:]}; the card says {wanted} of the chip's size"
            )


def _logits(y: Floats, output: str) -> Floats:
    """One plane of logits for each class."""
    if output == "logits":
        return y
    if output == "logit":
        return np.concatenate([np.zeros_like(y), y])
    shares = np.concatenate([1 - y, y]) if output == "probability" else y
    logs: Floats = np.log(np.maximum(shares, _TINY))
    return logs


def _check_shapes(card: ModelCard, file: OnnxFile) -> None:
    if file.bands != len(card.bands):
        raise ModelError(
            f"{file.path}: takes {file.bands} bands, the card names {len(card.bands)}: "
            f"{', '.join(card.bands)}"
        )
    if (file.sides is not None) != card.fixed or file.sides not in (None, (card.size,) * 2):
        sides = "any size" if file.sides is None else f"{file.sides[0]} x {file.sides[1]} px only"
        says = f"{card.size} x {card.size} px only" if card.fixed else "any size"
        raise ModelError(f"{file.path}: takes chips of {sides}, the card says {says}")


def _device(name: str) -> str:
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise ModelError(f"device {name!r}: wanted auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return "cpu"
    if "CUDAExecutionProvider" in load_runtime().get_available_providers():
        return "cuda" if kind == "auto" else name
    if kind == "auto":
        return "cpu"
    raise ModelError(
        f"device {name!r}: this onnxruntime has no CUDA (pip install onnxruntime-gpu); use auto or "
        f"cpu"
    )
