"""Class probabilities in time: the median of a period's maps, and a hidden Markov model over periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.layers import NO_PERCENT

Bytes = NDArray[np.uint8]
Shares = NDArray[np.float32]

NO_INDEX = 255
"""Index of a class where there is none."""


def median_shares(percents: Bytes) -> tuple[Shares, NDArray[np.uint16]]:
    """The median of the probabilities of each class over dates, made to sum to 1.

    A date counts at a pixel where it has a probability of each class. Of an even number of dates
    the two in the middle are averaged.

    Args:
        percents: ``(date, class, y, x)`` percents, :data:`geoseg.ops.layers.NO_PERCENT` where a
            date has none.

    Returns:
        ``(class, y, x)``; all 0 where no date counts. Where all medians are 0 (dates that do not
        agree on anything), the means stand for them. And how many dates count, ``(y, x)``.
    """
    dates, classes, height, width = percents.shape
    shares = np.zeros((classes, height * width), np.float32)
    count = np.zeros(height * width, np.uint16)
    _median(percents.reshape(dates, classes, -1), shares, count)
    return shares.reshape(classes, height, width), count.reshape(height, width)


def shares_of_classes(
    index: NDArray[np.integer], percent: Bytes | None, classes: int, assumed: int
) -> Bytes:
    """Probabilities of maps that tell no more than a class, and perhaps how sure it is.

    The class of a pixel gets its confidence, at least an equal share; the others share the rest.

    Args:
        index: ``(y, x)`` of the class in the legend; outside of 0..``classes`` - 1 there is none.
        percent: ``(y, x)`` confidence; None, or :data:`NO_PERCENT` somewhere: ``assumed``.
        classes: How many there are.
        assumed: Percent.

    Returns:
        ``(class, y, x)`` percents.
    """
    there = (index >= 0) & (index < classes)
    if percent is None:
        percent = np.full(index.shape, assumed, np.uint8)
    sure = np.where(percent == NO_PERCENT, assumed, percent).astype(np.float64)
    sure = np.maximum(sure, 100 / classes)
    rest = np.rint((100 - sure) / max(1, classes - 1))
    found = np.repeat(rest[None], classes, axis=0)
    rows, cols = np.nonzero(there)
    found[index[rows, cols], rows, cols] = np.rint(sure[rows, cols])
    found[:, ~there] = NO_PERCENT
    return found.astype(np.uint8)


def most_likely(shares: Shares) -> tuple[Bytes, Bytes]:
    """The index of the likeliest class and its percent, ``(y, x)`` each.

    Of equals the first class is taken; :data:`NO_INDEX` and ``NO_PERCENT`` where all are 0.
    """
    index = shares.argmax(axis=0).astype(np.uint8)
    top = shares.max(axis=0)
    percent = np.floor(100 * top + np.float32(0.5)).astype(np.uint8)
    index[top == 0] = NO_INDEX
    percent[top == 0] = NO_PERCENT
    return index, percent


_LEAST = 1e-12
"""Of what a period says of a class: what cannot be would leave no path through time."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """How classes follow each other from period to period: a hidden Markov model.

    Attributes:
        transition: ``(from, to)`` probabilities; rows sum to 1, 0 is what cannot be.
        trust: How far probabilities are believed: the rest, ``1 - trust``, is spread over all
            classes, so that no single map can overrule all others.
        independence: How much each further date of a period counts beside its first: 1 where
            errors of dates have nothing to do with each other, 0 where all err alike.
    """

    transition: NDArray[np.float64]
    trust: float = 0.95
    independence: float = 0.5

    def __post_init__(self) -> None:
        rows = self.transition.sum(axis=1)
        if (self.transition < 0).any() or not np.allclose(rows, 1):
            raise ValueError("the rows of a transition matrix are probabilities that sum to 1")
        if (np.diag(self.transition) <= 0).any():
            raise ValueError("a class that cannot stay what it is leaves no path through time")

    @classmethod
    def staying(
        cls,
        classes: int,
        stay: float,
        priced: dict[tuple[int, int], float] | None = None,
        *,
        trust: float = 0.95,
        independence: float = 0.5,
    ) -> Dynamics:
        """Classes stay what they are with probability ``stay``; all others are alike.

        Args:
            classes: How many there are.
            stay: Probability from one period to the next.
            priced: Other probabilities of single changes ``(from, to)``, 0 for what cannot be;
                the row is made to sum to 1 by its diagonal, so that what is forbidden stays.
            trust: As the attribute.
            independence: As the attribute.

        Raises:
            ValueError: The changes of a class are likelier than 1.
        """
        share = (1 - stay) / max(1, classes - 1)
        matrix = np.full((classes, classes), share)
        for (source, target), probability in (priced or {}).items():
            matrix[source, target] = probability
        np.fill_diagonal(matrix, 0.0)
        np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
        return cls(matrix, trust, independence)


def decode(shares: Shares, dates: NDArray[np.uint16], dynamics: Dynamics) -> tuple[Bytes, Bytes]:
    """The likeliest history of each pixel, and how likely each class of it is, all periods seen.

    Classes are those of the Viterbi path, which has no change of probability 0; percents are the
    posterior marginals (forward-backward) of those classes. A period without observation says
    nothing, and is filled by its neighbours in time. All classes are alike before the first. What
    a period says is its shares to the power of ``1 + independence * (dates - 1)``: as if so many
    maps that know nothing of each other had said the same.

    Args:
        shares: ``(period, class, y, x)``; all 0 where a period has no observation.
        dates: ``(period, y, x)``, how many there are behind them.
        dynamics: How classes follow each other.

    Returns:
        ``(period, y, x)`` indices of classes and percents; :data:`NO_INDEX` and ``NO_PERCENT``
        for pixels that no period saw.

    Source: Rabiner 1989, doi:10.1109/5.18626; in land cover Abercrombie & Friedl 2016,
    doi:10.1109/TGRS.2015.2463689.
    """
    periods, classes, height, width = shares.shape
    flat = np.ascontiguousarray(shares.reshape(periods, classes, -1))
    index = np.full((periods, height * width), NO_INDEX, np.uint8)
    percent = np.full((periods, height * width), NO_PERCENT, np.uint8)
    weight = 1 + dynamics.independence * (np.maximum(dates, 1).astype(np.float32) - 1)
    weights = np.ascontiguousarray(weight.reshape(periods, -1))
    _decode(flat, weights, dynamics.transition, dynamics.trust, index, percent)
    return index.reshape(periods, height, width), percent.reshape(periods, height, width)


@entry
def _median(percents: Any, shares: Any, count: Any) -> None:
    dates, classes, pixels = percents.shape
    held = np.empty(dates, np.uint8)
    counts = np.empty(dates, np.bool_)
    for p in range(pixels):
        for d in range(dates):
            counts[d] = True
            for c in range(classes):
                if percents[d, c, p] > 100:
                    counts[d] = False
            count[p] += counts[d]
        total = _fill_medians(percents, shares, counts, held, p)
        if total == 0.0:
            total = _fill_means(percents, shares, counts, p)
        if total > 0.0:
            for c in range(classes):
                shares[c, p] /= total


@helper
def _fill_medians(percents: Any, shares: Any, counts: Any, held: Any, p: int) -> float:
    total = 0.0
    for c in range(percents.shape[1]):
        used = 0
        for d in range(percents.shape[0]):
            if counts[d]:
                value = percents[d, c, p]
                at = used
                while at > 0 and held[at - 1] > value:
                    held[at] = held[at - 1]
                    at -= 1
                held[at] = value
                used += 1
        if used == 0:
            return 0.0
        middle = used // 2
        value = float(held[middle])
        if used % 2 == 0:
            value = (value + float(held[middle - 1])) / 2
        shares[c, p] = value
        total += value
    return total


@helper
def _fill_means(percents: Any, shares: Any, counts: Any, p: int) -> float:
    total = 0.0
    for c in range(percents.shape[1]):
        for d in range(percents.shape[0]):
            if counts[d]:
                shares[c, p] += float(percents[d, c, p])
                total += float(percents[d, c, p])
    return total


@entry
def _decode(
    shares: Any, weights: Any, transition: Any, trust: float, index: Any, percent: Any
) -> None:
    periods, classes, pixels = shares.shape
    emission = np.empty((periods, classes))
    forward = np.empty((periods, classes))
    best = np.empty((2, classes))
    came = np.empty((periods, classes), np.uint8)
    for p in range(pixels):
        seen = False
        for t in range(periods):
            total = 0.0
            for c in range(classes):
                total += shares[t, c, p]
            seen = seen or total > 0
            _emit(shares[t, :, p], total, weights[t, p], trust, emission[t])
        if seen:
            _viterbi(emission, transition, best, came, index, p)
            _marginals(emission, transition, forward, best, index, percent, p)


@helper
def _emit(shares: Any, total: float, weight: float, trust: float, emission: Any) -> None:
    """What a period says of each class; the largest is 1, and none is quite 0."""
    classes = len(emission)
    top = -np.inf
    for c in range(classes):
        share = shares[c] / total if total > 0 else 1 / classes
        emission[c] = weight * np.log(trust * share + (1 - trust) / classes)
        top = max(top, emission[c])
    for c in range(classes):
        emission[c] = max(np.exp(emission[c] - top), _LEAST)


@helper
def _viterbi(emission: Any, transition: Any, best: Any, came: Any, index: Any, p: int) -> None:
    periods, classes = emission.shape
    for c in range(classes):
        best[0, c] = emission[0, c]
    for t in range(1, periods):
        top = 0.0
        for c in range(classes):
            came[t, c] = _likeliest_before(best, transition, c)
            best[1, c] = best[0, came[t, c]] * transition[came[t, c], c] * emission[t, c]
            top = max(top, best[1, c])
        for c in range(classes):
            best[0, c] = best[1, c] / top
    last = 0
    for c in range(classes):
        if best[0, c] > best[0, last]:
            last = c
    for t in range(periods - 1, -1, -1):
        index[t, p] = last
        if t > 0:
            last = came[t, last]


@helper
def _likeliest_before(best: Any, transition: Any, c: int) -> int:
    """Of paths that are equally likely the one that stays is taken."""
    chosen, likely = c, best[0, c] * transition[c, c]
    for b in range(len(transition)):
        if best[0, b] * transition[b, c] > likely:
            chosen, likely = b, best[0, b] * transition[b, c]
    return chosen


@helper
def _marginals(
    emission: Any, transition: Any, forward: Any, back: Any, index: Any, percent: Any, p: int
) -> None:
    _go_forward(emission, transition, forward)
    periods, classes = emission.shape
    for c in range(classes):
        back[0, c] = 1.0
    for t in range(periods - 1, -1, -1):
        total = 0.0
        for c in range(classes):
            total += forward[t, c] * back[0, c]
        share = forward[t, index[t, p]] * back[0, index[t, p]] / total
        percent[t, p] = np.uint8(np.floor(100 * share + 0.5))
        _go_back(emission[t], transition, back)


@helper
def _go_forward(emission: Any, transition: Any, forward: Any) -> None:
    """Scaled so that each period sums to 1."""
    periods, classes = emission.shape
    for t in range(periods):
        total = 0.0
        for c in range(classes):
            prior = 1.0
            if t > 0:
                prior = 0.0
                for b in range(classes):
                    prior += forward[t - 1, b] * transition[b, c]
            forward[t, c] = prior * emission[t, c]
            total += forward[t, c]
        for c in range(classes):
            forward[t, c] /= total


@helper
def _go_back(emission: Any, transition: Any, back: Any) -> None:
    """From what a period says of later ones to what the one before says; the largest is 1."""
    classes = len(transition)
    top = 0.0
    for b in range(classes):
        back[1, b] = 0.0
        for c in range(classes):
            back[1, b] += transition[b, c] * emission[c] * back[0, c]
        top = max(top, back[1, b])
    for b in range(classes):
        back[0, b] = back[1, b] / top
