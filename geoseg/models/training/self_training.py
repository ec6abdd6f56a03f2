"""Learning from chips without labels: the mean of a network's past teaches its present.

Sources: Tarvainen & Valpola 2017, arXiv:1703.01780 (mean teacher); Sohn et al. 2020,
arXiv:2001.07685 (labels where the teacher is confident, from a weak view for a strong one).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geoseg.models.training.base import IGNORE, SelfTraining


class MeanTeacher:
    """What the moving average of a network says about chips as they are.

    Args:
        settings: How much it is listened to, and when.
        steps: Of the whole training.
        network: The average, which stays in evaluation mode.
    """

    def __init__(self, settings: SelfTraining, steps: int, network: nn.Module) -> None:
        self._settings, self._steps = settings, steps
        self.network = network

    def weight(self, step: int) -> float:
        """Of the loss on unlabelled chips: it grows as ``exp(-5 (1 - t)^2)`` over the ramp."""
        ramp = self._settings.ramp * self._steps
        done = 1.0 if ramp <= 0 else min(1.0, step / ramp)
        return self._settings.weight * math.exp(-5 * (1 - done) ** 2)

    def labels(self, logits: Tensor, valid: Tensor) -> tuple[Tensor, float]:
        """The likeliest classes ``(chip, y, x)``, and the share of valid pixels that have one.

        Pixels of which the teacher is less sure than it must be are :data:`IGNORE`.
        """
        confidence, classes = logits.float().softmax(dim=1).max(dim=1)
        sure = valid & (confidence >= self._settings.confidence)
        share = float(sure.sum()) / max(1, int(valid.sum()))
        return classes.to(torch.uint8).masked_fill(~sure, IGNORE), share
