"""The moving average of a network's weights, which is what is judged and kept."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of all tensors of a network, norms' statistics included.

    Early on it forgets faster, so that the random weights it begins with do not stay in it: step
    *n* keeps ``min(decay, (1 + n) / (10 + n))``.

    Args:
        network: What is followed.
        decay: Share that is kept each step; 0: it is the network itself.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._followed = decay, network
        self.network = network if decay <= 0 else _frozen(network)

    def follow(self, step: int) -> None:
        """Take in the network's weights after the step ``step`` (0 is the first)."""
        if self.network is self._followed:
            return
        keep = min(self._decay, (1 + step) / (10 + step))
        ours, theirs = [], []
        pairs = zip(_tensors(self.network), _tensors(self._followed), strict=True)
        with torch.no_grad():
            for mine, new in pairs:
                if mine.dtype.is_floating_point:
                    ours.append(mine)
                    theirs.append(new)
                else:
                    mine.copy_(new)
            torch._foreach_lerp_(ours, theirs, 1 - keep)


def _frozen(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(requires_grad=False)


def _tensors(network: nn.Module) -> list[Tensor]:
    return list(network.state_dict().values())
