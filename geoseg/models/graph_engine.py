"""The arithmetic around a network that another runtime computes: numbers in, classes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import Batch, ModelCard
from geoseg.models.card_rules import planes
from geoseg.models.scaling import STANDARDISE, bent, linear, temperature
from geoseg.ops.layers import Answer, Layer
from geoseg.ops.layers import describe as of_scores

Floats = NDArray[np.float32]

_TINY: Final = np.float32(1e-12)

# Rows that go through the softmax together: few enough that all their classes stay in the cache.
_ROWS: Final = 32


class GraphSegmenter(ABC):
    """A segmenter whose network is a graph that some runtime computes; see its subclasses.

    Implements :class:`geoseg.models.base.Segmenter`. Chips go through the network one by one,
    whatever the batch, so that their bits do not depend on their neighbours. Where the network
    takes chips of one size only, smaller ones are filled up with pixels that are not valid.

    Args:
        card: What the network needs and gives.
        what: The network as messages call it.
        sides: Height and width that chips must have; None where they are free.
    """

    def __init__(self, card: ModelCard, what: str, sides: tuple[int, int] | None) -> None:
        self._card, self._what, self._sides = card, what, sides
        self._temperature = np.float32(temperature(card))

    @abstractmethod
    def _compute(self, x: Floats) -> Floats:
        """What the network gives for one chip ``(1, band, y, x)``: ``(1, plane, y, x)``."""

    @property
    @abstractmethod
    def parallel(self) -> bool:
        """Whether several threads may call at once; else one at a time."""

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

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
            for rows in _strips(shape[1]):
                index[chip, rows], percent[chip, rows] = _most_likely(scores[:, rows])
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
        for chip, x in enumerate(network_inputs(self.card, batch)):
            yield chip, self._softmax(self._run(x), batch, chip)

    def _run(self, x: Floats) -> Floats:
        """What the network gives for one chip ``(band, y, x)``: ``(plane, y, x)``."""
        height, width = x.shape[1:]
        if self._sides is not None:
            below, right = self._sides[0] - height, self._sides[1] - width
            if below < 0 or right < 0:
                raise BlockError(
                    f"{self._what}: takes chips of {self._sides[0]} x {self._sides[1]} "
                    f"px, not of {height} x {width}: leave `tiling.size` to the model's card"
                )
            x = np.pad(x, ((0, 0), (0, below), (0, right)))
        try:
            y = self._compute(np.ascontiguousarray(x[None]))
        except Exception as error:  # runtimes raise many classes of their own
            raise BlockError(
                f"{self._what}: cannot do a chip of {height} x {width} px: {first_line(error)}"
            ) from error
        found: Floats = y[0, :, :height, :width].astype(np.float32, copy=False)
        return found

    def _softmax(self, y: Floats, batch: Batch, chip: int) -> Floats:
        logits = _logits(y, self.card.output)
        scores = np.empty(logits.shape, np.float32)
        broken = False
        for rows in _strips(logits.shape[1]):
            parts = np.divide(logits[:, rows], self._temperature, out=scores[:, rows])
            with np.errstate(invalid="ignore"):
                parts -= parts.max(axis=0)
            np.exp(parts, out=parts)
            total = parts.sum(axis=0, dtype=np.float32)
            broken |= bool(np.isnan(total).any())
            parts /= total
        if broken:
            seen = batch.values[chip][:, batch.valid[chip]]
            span = f"{seen.min()} to {seen.max()}" if seen.size else "none"
            raise BlockError(
                f"model {self.card.name}: the network gave NaN for chip {chip} of its batch, "
                f"whose valid numbers are {span}"
            )
        return scores

    def _check_answer(self, shape: Sequence[int], side: int) -> None:
        """Refuse a network whose answer to a chip of ``side`` px is not as the card says."""
        wanted = planes(self.card)
        if tuple(shape) != (wanted, side, side):
            raise ModelError(
                f"model {self.card.name!r}: for a chip of {side} px its network gives "
                f"{shape[0]} planes of {tuple(shape[1:])}; the card says {wanted} of the chip's size"
            )

    def _small_side(self) -> int:
        """Of the smallest chip that shows what the network gives."""
        return 3 * self.card.stride if self._sides is None else self.card.size

    def _not_taken(self, side: int, error: Exception) -> ModelError:
        return ModelError(
            f"model {self.card.name!r}: its network does not take chips of {side} px, as its "
            f"card says: {error}"
        )


def network_inputs(card: ModelCard, batch: Batch) -> Iterator[Floats]:
    """Chip by chip, ``(band, y, x)`` as it enters the network: scaled, and 0 where it is not valid."""
    gain, bias = (
        v.astype(np.float32).reshape(-1, 1, 1) for v in linear(card, batch.scale, batch.offset)
    )
    for values, valid in zip(batch.values, batch.valid, strict=True):
        x, hidden = np.empty(values.shape, np.float32), None if valid.all() else ~valid
        for rows in _strips(values.shape[1]):
            part = x[:, rows]
            part[...] = values[:, rows]
            part *= gain
            part += bias
            if card.scaling != STANDARDISE:
                part[...] = bent(card, part)
            if hidden is not None:
                np.copyto(part, np.float32(0), where=hidden[rows])
        yield x


def check_graph(card: ModelCard, where: str, *, bands: int, sides: tuple[int, int] | None) -> None:
    """Refuse a graph whose input is not what the card says.

    Raises:
        ModelError: Says what it takes, and what the card says.
    """
    if bands != len(card.bands):
        raise ModelError(
            f"{where}: takes {bands} bands, the card names {len(card.bands)}: "
            f"{', '.join(card.bands)}"
        )
    if (sides is not None) != card.fixed or sides not in (None, (card.size,) * 2):
        takes = "any size" if sides is None else f"{sides[0]} x {sides[1]} px only"
        says = f"{card.size} x {card.size} px only" if card.fixed else "any size"
        raise ModelError(f"{where}: takes chips of {takes}, the card says {says}")


def first_line(error: Exception) -> str:
    """What an error of a runtime says, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _strips(height: int) -> Iterator[slice]:
    for start in range(0, height, _ROWS):
        yield slice(start, start + _ROWS)


def _most_likely(scores: Floats) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What :func:`geoseg.ops.classify.most_likely` says, plane by plane: argmax would copy them all."""
    highest, index = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
    for number, plane in enumerate(scores[1:], start=1):
        np.copyto(index, np.uint8(number), where=plane > highest)
        np.maximum(highest, plane, out=highest)
    highest *= np.float32(100)
    return index, np.rint(highest, out=highest).astype(np.uint8)


def _logits(y: Floats, output: str) -> Floats:
    """One plane of logits for each class."""
    if output == "logits":
        return y
    if output == "logit":
        return np.concatenate([np.zeros_like(y), y])
    shares = np.concatenate([1 - y, y]) if output == "probability" else y
    logs: Floats = np.log(np.maximum(shares, _TINY))
    return logs
