"""What geoseg asks of a model: a card, read before any weight is, and scores for chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.ops.layers import Answer, Layer, describe
from geoseg.scene import Units


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that must be known about a model before its weights are loaded.

    Attributes:
        name: What workflows call it.
        version: Semantic version of the weights.
        bands: Common names of the input bands, in order.
        units: What the numbers must be: ``"reflectance"`` (0..1) or ``"dn"`` (as stored).
        mean: Per band, subtracted; in ``units``, or where the ``scaling`` says.
        std: Per band, divided by; likewise.
        legend: Classes in the order of the scores.
        stride: Chip starts and sizes are multiples of it (2 ** downsamplings).
        reach: How far a pixel's influence goes, in pixels (measured); None: unlimited.
        size: Chip size in pixels the model works well with.
        margin: Pixels at chip borders that are not used; at least ``reach`` for exact seams.
        gsd: Ground sample distance range in metres that it was trained for.
        architecture: Name and parameters to build the network, e.g.
            ``{"name": "unet", "encoder": "mobilenetv2_100", "depth": 3}``.
        weights: File name of the weights beside the card, its sha256, or None for untrained.
        activation_bytes: Peak memory of a forward pass per chip pixel (measured).
        about: Title, description, licence, training sets, metrics: for people and catalogs.
        scaling: How physical values enter the network: ``"standardise"`` is
            ``(x - mean) / std``; for the others see :mod:`geoseg.models.scaling`.
        output: What the network gives: ``"logits"`` or ``"probabilities"``, one plane for each
            class; or, for two classes, ``"logit"`` or ``"probability"``: one plane, of the second.
        fixed: The network takes chips of ``size`` and no others.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    units: Units
    mean: tuple[float, ...]
    std: tuple[float, ...]
    legend: Legend
    stride: int = 32
    reach: int | None = None
    size: int = 512
    margin: int = 64
    gsd: tuple[float, float] | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    sha256: str | None = None
    activation_bytes: int = 1024
    about: Mapping[str, Any] = field(default_factory=dict)
    scaling: str = "standardise"
    output: str = "logits"
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Chips as they were read: ``physical = values * scale + offset``.

    ``values`` ``(chip, band, y, x)`` of any numeric dtype, ``scale`` and ``offset`` ``(band,)``,
    ``valid`` ``(chip, y, x)``. Pixels that are not valid enter the network as 0, after
    scaling: as the band's mean, where the card's scaling is the usual one.
    """

    values: NDArray[Any]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    valid: NDArray[np.bool_]


class Segmenter(Protocol):
    """A loaded model.

    The same chip always gives the same bits, whatever else is in the batch, and whichever thread
    asks.
    """

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether several threads may call at once; else one at a time."""
        ...

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """Probabilities ``(chip, class, y, x)`` that sum to 1 over classes."""
        ...

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index of the likeliest class, and its probability in percent, both ``(chip, y, x)``.

        The first of equals wins; percent is rounded half to even, as ``np.rint`` does.
        """
        ...


@runtime_checkable
class Describing(Segmenter, Protocol):
    """A segmenter that makes layers itself: on its device, or from several answers."""

    def answer(self, batch: Batch, wanted: Sequence[Layer]) -> Answer:
        """Classes and the layers ``wanted``, equal to those of its scores up to rounding."""
        ...


@runtime_checkable
class Voting(Segmenter, Protocol):
    """A segmenter with several answers for each chip, which may disagree."""

    def weigh(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The scores, and how much the answers disagree, ``(chip, y, x)`` in 0..1."""
        ...


@runtime_checkable
class Grouping(Segmenter, Protocol):
    """A segmenter that computes so many chips together, however few it is asked for."""

    def chips_at_once(self, shape: tuple[int, int]) -> int:
        """How many chips of ``shape`` ``(y, x)``."""
        ...


def whole_batch(segmenter: Segmenter, chips: int, shape: tuple[int, int]) -> int:
    """At least so many ``chips`` of ``shape`` ``(y, x)``, and as many as waste nothing."""
    if not isinstance(segmenter, Grouping):
        return chips
    together = segmenter.chips_at_once(shape)
    return -(-chips // together) * together


def ask(segmenter: Segmenter, batch: Batch, wanted: Sequence[Layer]) -> Answer:
    """Classes and layers of any segmenter, by the shortest way that it knows."""
    if tuple(wanted) == ("confidence",):
        index, confidence = segmenter.classify(batch)
        return Answer(index, {"confidence": confidence})
    if isinstance(segmenter, Describing):
        return segmenter.answer(batch, wanted)
    return describe(segmenter.scores(batch), wanted)
