"""Scores to what is told of each pixel beside its class, all in whole percent.

``confidence`` is the highest probability, ``margin`` the highest less the second highest,
``entropy`` that of Shannon over its largest value, ``log(classes)``, and ``probabilities`` are all
of them. ``disagreement`` is about several answers: see :func:`disagreement_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.classify import most_likely

Layer = Literal["confidence", "entropy", "margin", "disagreement", "probabilities"]

LAYERS: Final[tuple[Layer, ...]] = (
    "confidence",
    "entropy",
    "margin",
    "disagreement",
    "probabilities",
)
"""In the order in which products list them."""

NO_PERCENT = 255
"""What stands where nothing was predicted, in every layer."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of chips: index of the likeliest class ``(chip, y, x)``, and layers.

    Layers are percents ``(chip, y, x)`` uint8, ``probabilities`` ``(chip, class, y, x)``.
    """

    index: Bytes
    layers: Mapping[Layer, Bytes]


def describe(
    scores: NDArray[np.float32],
    wanted: Iterable[Layer],
    disagreement: NDArray[np.float32] | None = None,
) -> Answer:
    """The likeliest class and the layers ``wanted``.

    Args:
        scores: Probabilities ``(class, y, x)`` or ``(chip, class, y, x)``.
        wanted: Which layers.
        disagreement: ``(y, x)`` or ``(chip, y, x)`` in 0..1; a single answer does not disagree.
    """
    axis = scores.ndim - 3
    index, confidence = most_likely(scores)
    layers: dict[Layer, Bytes] = {}
    for layer in wanted:
        if layer == "confidence":
            layers[layer] = confidence
        elif layer == "entropy":
            layers[layer] = percent(entropy_of(scores) / log_of(scores.shape[axis]))
        elif layer == "margin":
            layers[layer] = percent(_margin(scores, axis))
        elif layer == "probabilities":
            layers[layer] = percent(scores)
        else:
            none = np.zeros(index.shape, np.float32)
            layers[layer] = percent(none if disagreement is None else disagreement)
    return Answer(index, layers)


def entropy_of(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shannon's entropy along ``class`` in nats; 0 log 0 is 0."""
    axis = scores.ndim - 3
    # The smallest normal number times its own logarithm is 0 in any sum of probabilities.
    logs = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    entropy: NDArray[np.float32] = -(scores * logs).sum(axis=axis, dtype=np.float32)
    return entropy


def disagreement_of(
    mean: NDArray[np.float32], mean_entropy: NDArray[np.float32], answers: int
) -> NDArray[np.float32]:
    """How much several answers differ, 0..1: the generalised Jensen-Shannon divergence.

    It is the entropy of the mean less the mean of the entropies, which is the mean Kullback-Leibler
    divergence of the answers from their mean (Lakshminarayanan et al. 2017, arXiv:1612.01474,
    section 2.4) and the mutual information between answer and class (Houlsby et al. 2011,
    arXiv:1112.5745): doubt that comes from not knowing which model or view is right. A pixel that
    all of them call half water has none of it, however uncertain they are. Divided by the most
    that it can be, ``log(min(answers, classes))``.

    Args:
        mean: Mean probabilities ``(class, y, x)`` or ``(chip, class, y, x)``.
        mean_entropy: Mean of the answers' entropies in nats, without ``class``.
        answers: How many there were.
    """
    most = log_of(min(answers, mean.shape[mean.ndim - 3]))
    out: NDArray[np.float32] = np.clip((entropy_of(mean) - mean_entropy) / most, 0, 1)
    return out


def log_of(count: int) -> np.float32:
    """The logarithm that entropies of ``count`` outcomes are divided by; of one, nothing is."""
    return np.float32(np.log(max(count, 2)))


def percent(share: NDArray[Any]) -> Bytes:
    """Whole percents, rounded half to even."""
    out: Bytes = np.rint(np.clip(share, 0, 1) * np.float32(100)).astype(np.uint8)
    return out


def _margin(scores: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    planes = np.moveaxis(scores, axis, 0)
    if len(planes) < 2:
        return np.asarray(planes[0], np.float32)
    two = np.partition(planes, -2, axis=0)
    return np.asarray(two[-1] - two[-2], np.float32)
