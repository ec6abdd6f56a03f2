"""From physical values to what a network takes, as the engine does it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geoseg.models.base import ModelCard
from geoseg.models.scaling import curve, linear


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
