"""The project's own network: a small U-Net whose reach is finite, so that tiles join exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GeosegUNet(nn.Module):
    """A U-Net of three halvings (stride 8) made of plain 3x3 convolutions.

    No squeeze-and-excite, no global pooling, no attention: what a pixel becomes depends on its
    neighbourhood alone, and moving the scene by 8 pixels moves the map by 8 pixels. Skips are
    added, not concatenated, after a 1x1 convolution at the coarser level, which halves the memory
    traffic at full resolution, where a CPU spends most of its time.

    Args:
        bands: Input channels.
        classes: Output channels (logits).
        widths: Channels at 1, 1/2, 1/4 and 1/8 of the resolution.
        depths: Residual blocks after each halving.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        widths: tuple[int, int, int, int] = (16, 32, 64, 96),
        depths: tuple[int, int, int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        self.stem = _convolution(bands, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                _convolution(widths[level], widths[level + 1], stride=2),
                *(Residual(widths[level + 1]) for _ in range(depths[level])),
            )
            for level in range(3)
        )
        self.lateral = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[level + 1], widths[level], 1, bias=False),
                nn.BatchNorm2d(widths[level]),
            )
            for level in range(3)
        )
        self.merge = nn.ModuleList(_convolution(widths[level], widths[level]) for level in range(3))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)`` of ``(chip, band, y, x)``; sides are multiples of 8."""
        x = self.stem(x)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        for level in (2, 1, 0):
            x = nn.functional.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.merge[level](x + skips[level])
        logits: Tensor = self.head(x)
        return logits


class Residual(nn.Module):
    """A 3x3 convolution around which the input is carried."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return torch.relu(x + self.conv(x))


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
