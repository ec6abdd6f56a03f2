"""How good a network is on held-out chips, and what makes its confidence mean something."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.torch_device import device_of
from geoseg.models.training.base import IGNORE, HeldOutSource
from geoseg.models.training.network_input import Scaler, as_chips, padded
from geoseg.ops.accuracy import Confusion, Scores, score
from geoseg.ops.calibration import Reliability

# A temperature outside says that the network knows all or nothing of these pixels.
_COLDEST, _HOTTEST = 0.05, 20.0
# Halvings of the interval above: to far below what float32 can tell.
_HALVINGS = 50
# Of the golden ratio, in 64 bits: multiples of it, cut to 64 bits, fill the range evenly.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What held-out pixels say.

    Attributes:
        confusion: Pixels by true and by predicted class.
        loss: Mean negative log-likelihood at temperature 1; NaN where no pixel is known.
        reliability: Confidence against accuracy at temperature 1.
        temperature: What logits were divided by for the next two.
        calibrated_loss: Mean negative log-likelihood with it.
        calibrated: Confidence against accuracy with it.
    """

    confusion: Confusion
    loss: float
    reliability: Reliability
    temperature: float
    calibrated_loss: float
    calibrated: Reliability

    @property
    def scores(self) -> Scores:
        """IoU, F1 and the like."""
        return score(self.confusion.counts)

    def summary(self, card: ModelCard) -> dict[str, Any]:
        """``mean_iou``, ``overall_accuracy``, ``iou`` by class name, ``loss``; None for NaN."""
        found = self.scores
        return {
            "mean_iou": _number(found.mean_iou),
            "overall_accuracy": _number(found.accuracy),
            "iou": {
                name: _number(float(iou))
                for name, iou in zip(card.legend.names, found.iou, strict=True)
            },
            "loss": _number(self.loss),
        }


def judge(
    card: ModelCard,
    network: nn.Module,
    held_out: HeldOutSource,
    *,
    temperature: float = 1.0,
    device: str = "auto",
    threads: int | None = None,
) -> Judged:
    """Count right and wrong pixels, chip by chip; memory is that of the largest chip.

    The network is left in the mode it was in, and on ``device``.

    Raises:
        ModelError: There is no such device, or a chip does not fit the card.
    """
    count = len(card.legend.classes)
    confusion = Confusion.empty(count)
    plain, calibrated = _Likelihood(1.0), _Likelihood(temperature)
    for logits, labels in _answers(card, network, held_out, device=device, threads=threads):
        found = logits.argmax(dim=1).cpu().numpy()
        confusion += Confusion.of(labels.astype(np.int64), found, count)
        plain.add(logits, labels)
        if temperature != 1.0:
            calibrated.add(logits, labels)
    after = plain if temperature == 1.0 else calibrated
    return Judged(
        confusion, plain.mean, plain.reliability, temperature, after.mean, after.reliability
    )


def fit_temperature(
    card: ModelCard,
    network: nn.Module,
    held_out: HeldOutSource,
    *,
    pixels: int = 200_000,
    device: str = "auto",
    threads: int | None = None,
) -> float:
    """What to divide logits by so that confidence is right on average (Guo et al. 2017).

    It is where the negative log-likelihood is least. That is convex in the inverse of the
    temperature, so its slope is followed to 0 by halving. Of the held-out pixels at most ``pixels``
    are used, evenly spread, always the same ones.

    Raises:
        ModelError: No held-out pixel has a label, there is no such device, or a chip does not fit.
    """
    sample = _Sample(pixels)
    for logits, labels in _answers(card, network, held_out, device=device, threads=threads):
        sample.add(logits.cpu().numpy(), labels)
    scores, truth = sample.taken()
    if not len(truth):
        raise ModelError(
            f"model {card.name!r}: no held-out pixel has a label, so its confidence cannot be "
            f"calibrated"
        )
    return _temperature(torch.from_numpy(scores).double(), torch.from_numpy(truth).long())


def _temperature(logits: Tensor, labels: Tensor) -> float:
    """Of logits ``(pixel, class)`` and true classes ``(pixel,)``."""
    true = logits.gather(1, labels[:, None])[:, 0].mean()

    def slope(inverse: float) -> float:
        expected = (logits * (logits * inverse).softmax(dim=1)).sum(dim=1).mean()
        return float(expected - true)

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return round(1 / math.sqrt(low * high), 4)


class _Likelihood:
    """Negative log-likelihood and reliability at one temperature, summed over chips."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._total, self._pixels = 0.0, 0
        self.reliability = Reliability.empty()

    def add(self, logits: Tensor, labels: NDArray[np.uint8]) -> None:
        """Logits ``(pixel, class)`` and true classes ``(pixel,)``."""
        logarithms = (logits / self._temperature).log_softmax(dim=1)
        truth = torch.from_numpy(labels).to(logits.device).long()
        of_truth = logarithms.gather(1, truth[:, None])
        self._total -= float(of_truth.sum(dtype=torch.float64))
        self._pixels += len(labels)
        best, which = logarithms.max(dim=1)
        confidence = best.exp().clamp(max=1.0).cpu().numpy()
        self.reliability += Reliability.of(confidence, (which == truth).cpu().numpy())

    @property
    def mean(self) -> float:
        """NaN where there were no pixels."""
        return self._total / self._pixels if self._pixels else float("nan")


class _Sample:
    """At most ``most`` of any number of pixels, evenly spread; the same ones every time.

    Pixel *i* has the rank ``i * golden`` in 64 bits. Those of the lowest ranks are kept, and
    whenever there are too many, the range of ranks is halved.
    """

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._bits = np.uint64(0)
        self._parts: list[tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]]] = []

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> None:
        """Logits ``(pixel, class)`` and true classes ``(pixel,)``."""
        order = np.arange(self._seen, self._seen + len(labels), dtype=np.uint64)
        self._seen += len(labels)
        part = (order * _GOLDEN, logits, labels)
        self._parts.append(self._thinned(part))
        while sum(len(p[0]) for p in self._parts) > self._most:
            self._bits += np.uint64(1)
            self._parts = [self._thinned(p) for p in self._parts]

    def taken(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Logits and labels of those that were kept."""
        if not self._parts:
            return np.zeros((0, 1), np.float32), np.zeros(0, np.uint8)
        _, logits, labels = zip(*self._parts, strict=True)
        return np.concatenate(logits), np.concatenate(labels)

    def _thinned(
        self, part: tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]]
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]]:
        rank, logits, labels = part
        if not self._bits:
            return part
        kept = (rank >> (np.uint64(64) - self._bits)) == 0
        return rank[kept], logits[kept], labels[kept]


def _answers(
    card: ModelCard,
    network: nn.Module,
    held_out: HeldOutSource,
    *,
    device: str,
    threads: int | None,
) -> Iterator[tuple[Tensor, NDArray[np.uint8]]]:
    """Logits ``(pixel, class)`` and labels ``(pixel,)`` of each chip's known pixels."""
    where = device_of(device)
    scaler = Scaler(card, where)
    network = network.to(where)
    with judging(network), some_threads(threads):
        for given in held_out:
            chips = as_chips(card, given)
            known = chips.labels != IGNORE
            if not known.any():
                continue
            with torch.inference_mode():
                height, width = known.shape[1:]
                values, valid = padded(chips.values.to(where), chips.valid.to(where), card.stride)
                logits: Tensor = network(scaler(values, valid))
                logits = logits[..., :height, :width].float().movedim(1, -1)[known.to(where)]
            yield logits, chips.labels[known].numpy()


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """The network as it is when it is used, then again in the mode it was in."""
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)


@contextmanager
def some_threads(count: int | None) -> Iterator[None]:
    """So many CPU threads for torch; None leaves them."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
