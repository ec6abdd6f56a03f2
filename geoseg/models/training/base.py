"""What training works on: labelled chips, drawn by number, and how it goes about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.models.registry import Precision

IGNORE = 255
"""Label of a pixel that nobody knows, or that is not to be learnt from."""

LossName = Literal["cross_entropy", "focal", "dice", "soft_iou", "lovasz", "boundary"]


@dataclass(frozen=True, slots=True)
class LabelledChips:
    """Chips in the physical units of the model's card, and what is known of their pixels.

    Attributes:
        values: ``(chip, band, y, x)`` float32, bands in the order of the card.
        labels: ``(chip, y, x)`` uint8, index of the class in the card's legend, or :data:`IGNORE`.
        valid: ``(chip, y, x)`` bool: where ``values`` mean something. Labels of pixels that are
            not valid are :data:`IGNORE`.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


class ChipSource(Protocol):
    """Where batches come from. May be asked from another thread than the one that trains."""

    def batch(self, step: int) -> LabelledChips:
        """The batch of a step: the same step always gives the same bytes, in any order.

        This is what makes a resumed training follow the same curve: nothing but the number of the
        step has to be remembered.
        """
        ...


class HeldOutSource(Protocol):
    """What a model is judged by: every held-out pixel once."""

    def __iter__(self) -> Iterator[LabelledChips]:
        """Chips one by one (``chip`` is 1), of any size, in an order that never changes.

        A chip may carry context that is not judged: its labels are :data:`IGNORE` there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Other suns, sensors, seasons and atmospheres, drawn for each chip, computed on the device.

    All of it is a chip's physics, so the numbers are those of the card's units: reflectance in
    0..1, or for ``dn`` the share of ``span`` (255 for 8 bits). 0 switches a part off.

    Attributes:
        d4: The eight symmetries of the square.
        scale: Factors of the ground sample distance, drawn log-uniformly between these two.
        gain: Standard deviation of a factor for all bands of a chip.
        band_gain: Standard deviation of a factor for each band.
        offset: Standard deviation of what is added to each band.
        gamma: Standard deviation of the logarithm of an exponent.
        haze: Most path radiance that is added, the more the bluer the band.
        haze_share: Share of the chips that have haze.
        shade: Deepest soft-edged shadow, as the share of light that is lost.
        shade_share: Share of the chips that have one.
        blur: Largest standard deviation of a Gaussian blur, in pixels.
        noise: Standard deviation of what is added to each pixel.
        band_drop: Share of the chips in which one band is missing (enters the network as 0).
        elastic: Largest displacement of an elastic deformation, in pixels.
    """

    d4: bool = True
    scale: tuple[float, float] = (0.75, 1.33)
    gain: float = 0.1
    band_gain: float = 0.05
    offset: float = 0.005
    gamma: float = 0.0
    haze: float = 0.03
    haze_share: float = 0.2
    shade: float = 0.0
    shade_share: float = 0.0
    blur: float = 0.0
    noise: float = 0.004
    band_drop: float = 0.0
    elastic: float = 0.0


@dataclass(frozen=True, slots=True)
class SelfTraining:
    """Learning from unlabelled chips by a mean teacher (Tarvainen & Valpola 2017).

    Attributes:
        weight: Of the loss on unlabelled chips, once it has grown to its full size.
        confidence: Pixels of which the teacher is less sure are not learnt from.
        ramp: Share of all steps over which the weight grows from 0.
    """

    weight: float = 1.0
    confidence: float = 0.8
    ramp: float = 0.3


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a network is trained. The same settings, chips and seed give the same weights.

    Attributes:
        steps: Batches that are learnt from.
        batch: Chips in a batch.
        losses: Weight of each loss in the sum.
        class_weights: Of cross-entropy and focal loss, in the order of the legend; None: all 1.
        label_smoothing: Of cross-entropy.
        focal_gamma: Of the focal loss.
        learning_rate: The highest of the cosine schedule.
        warmup: Share of the steps over which it grows to that.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average of the weights, which is what is judged and kept; 0: none.
        precision: Of the forward and backward pass; losses are always in fp32.
        validate_every: Steps between two looks at what is held out.
        patience: Looks without a better mean IoU after which training stops; None: never.
        checkpoint_every: Steps between two checkpoints.
        seed: Of the weights, the augmentation and the order of the chips.
        augmentation: None: chips as they are.
        self_training: Needs a source of unlabelled chips.
    """

    steps: int = 2000
    batch: int = 16
    losses: Mapping[LossName, float] = field(
        default_factory=lambda: {"cross_entropy": 1.0, "dice": 0.5}
    )
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    learning_rate: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.995
    precision: Precision = "fp32"
    validate_every: int = 200
    patience: int | None = None
    checkpoint_every: int = 200
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    self_training: SelfTraining | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One line of ``metrics.jsonl``.

    Attributes:
        step: Steps done.
        loss: Mean of the training loss since the look before.
        learning_rate: At this step.
        seconds: Since the training began, over all its sessions.
        held_out: Scores of what is held out (``mean_iou``, ``overall_accuracy``, ``iou`` by class
            name, ``loss``); None where it was not looked at.
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    held_out: Mapping[str, Any] | None = None


class Watcher(Protocol):
    """Is told how training goes."""

    def step(self, done: int, of: int, loss: float) -> None:
        """A step is done."""
        ...

    def looked(self, look: Look) -> None:
        """What is held out was looked at, or a line of metrics is due."""
        ...


@runtime_checkable
class Narrator(Protocol):
    """A watcher that is also told in words what a user should know."""

    def note(self, text: str) -> None:
        """A sentence: training goes on from a checkpoint, or begins anew and why."""
        ...
