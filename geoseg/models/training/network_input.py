"""From physical values to what a network takes, as the engine does it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.scaling import curve, linear
from geoseg.models.training.base import IGNORE, LabelledChips
from geoseg.models.training.geometry import Chips


class Scaler:
    """The scaling of a card, on a device.

    Args:
        card: Says which, and its numbers.
        device: Where values are.
    """

    def __init__(self, card: ModelCard, device: torch.device) -> None:
        one, none = np.ones(len(card.bands)), np.zeros(len(card.bands))
        self._gain, self._bias = (
            torch.from_numpy(v.astype(np.float32).reshape(-1, 1, 1)).to(device)
            for v in linear(card, one, none)
        )
        self._curve = curve(card, device)

    def __call__(self, values: Tensor, valid: Tensor) -> Tensor:
        """``(chip, band, y, x)`` in channels-last order; pixels that are not valid are 0."""
        x = self._curve((values * self._gain).add_(self._bias))
        x = torch.where(valid[:, None], x, 0.0)
        return x.contiguous(memory_format=torch.channels_last)


def as_chips(card: ModelCard, chips: LabelledChips) -> Chips:
    """Tensors of chips, on the CPU; labels of pixels that are not valid are :data:`IGNORE`.

    Raises:
        ModelError: Other bands, shapes that differ, or labels that the legend does not have.
    """
    _check(card, chips)
    kinds = ((chips.values, np.float32), (chips.labels, np.uint8), (chips.valid, np.bool_))
    # Torch wants arrays that lie as C has them, and that it may write to.
    values, labels, valid = (
        torch.from_numpy(np.require(array, kind, ["C", "W"])) for array, kind in kinds
    )
    return Chips(values, labels.masked_fill(~valid, IGNORE), valid)


def _check(card: ModelCard, chips: LabelledChips) -> None:
    shape = chips.labels.shape
    wanted = (*shape[:1], len(card.bands), *shape[1:])
    if len(shape) != 3 or chips.values.shape != wanted or chips.valid.shape != shape:
        raise ModelError(
            f"model {card.name!r}: chips have values {chips.values.shape}, labels "
            f"{chips.labels.shape}, valid {chips.valid.shape}; wanted "
            f"(chip, {len(card.bands)}, y, x) and twice (chip, y, x)"
        )
    strange = chips.labels[(chips.labels >= len(card.legend.classes)) & (chips.labels != IGNORE)]
    if strange.size:
        raise ModelError(
            f"model {card.name!r}: a chip has the label {strange[0]}; wanted indices below "
            f"{len(card.legend.classes)}, or {IGNORE} for pixels to ignore"
        )


def padded(values: Tensor, valid: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Both with pixels that are not valid below and to the right, up to multiples of ``stride``.

    As :class:`geoseg.ops.tiling.Lattice` does it at the far rim of a scene.
    """
    height, width = valid.shape[-2:]
    below, right = -height % stride, -width % stride
    if not below and not right:
        return values, valid
    pad = torch.nn.functional.pad
    return pad(values, (0, right, 0, below)), pad(valid, (0, right, 0, below))
