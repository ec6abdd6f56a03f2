"""Networks with a plain or a light head: FCN and LR-ASPP over timm's encoders, and Fast-SCNN."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.models.timm_encoder import TimmEncoder


class FCN(nn.Module):
    """A fully convolutional network (Long et al. 2015): an encoder, two convolutions, enlarged.

    The head is torchvision's.

    Args:
        encoder: Any encoder of timm that gives feature maps.
        bands: Input channels.
        classes: Output channels (logits).
        output_stride: 8 or 16 dilates encoders that can be, for finer maps.
    """

    def __init__(
        self, encoder: str, bands: int, classes: int, *, output_stride: int | None = None
    ) -> None:
        from torchvision.models.segmentation.fcn import FCNHead  # noqa: PLC0415 (takes a second)

        super().__init__()
        self.encoder = TimmEncoder(encoder, bands, output_stride=output_stride)
        self.head = FCNHead(self.encoder.channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)`` of ``(chip, band, y, x)``."""
        return _enlarged(self.head(self.encoder(x)[-1]), x)


class LRASPP(nn.Module):
    """Lite R-ASPP (Howard et al. 2019): maps at 1/8 and 1/16, one gate over the whole chip.

    The head is torchvision's.

    Args:
        encoder: An encoder of timm; made for its MobileNetV3.
        bands: Input channels.
        classes: Output channels (logits).
        inter_channels: Width of the head.
    """

    def __init__(
        self, encoder: str, bands: int, classes: int, *, inter_channels: int = 128
    ) -> None:
        from torchvision.models.segmentation.lraspp import LRASPPHead  # noqa: PLC0415 (the same)

        super().__init__()
        self.encoder = TimmEncoder(encoder, bands, reductions=(8, 16), output_stride=16)
        low, high = self.encoder.channels
        self.head = LRASPPHead(low, high, classes, inter_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)`` of ``(chip, band, y, x)``."""
        low, high = self.encoder(x)
        return _enlarged(self.head(OrderedDict(low=low, high=high)), x)


class FastSCNN(nn.Module):
    """Fast-SCNN (Poudel, Liwicki & Cipolla 2019, arXiv:1902.04502), as in its table 1.

    Three strided layers are shared by a deep path at 1/32 with pyramid pooling and a shallow one
    at 1/8; both are added. 1.1 million numbers, whatever the scene.

    Args:
        bands: Input channels.
        classes: Output channels (logits).
    """

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            _unit(bands, 32, 3, stride=2),
            _separable(32, 48, stride=2),
            _separable(48, 64, stride=2),
        )
        self.context = nn.Sequential(
            *_bottlenecks(64, 64, count=3, stride=2),
            *_bottlenecks(64, 96, count=3, stride=2),
            *_bottlenecks(96, 128, count=3, stride=1),
            PyramidPooling(128, 128),
        )
        self.deep = nn.Sequential(
            _unit(128, 128, 3, groups=128), nn.Conv2d(128, 128, 1, bias=False), nn.BatchNorm2d(128)
        )
        self.shallow = nn.Sequential(nn.Conv2d(64, 128, 1, bias=False), nn.BatchNorm2d(128))
        self.head = nn.Sequential(
            _separable(128, 128), _separable(128, 128), nn.Dropout(0.1), nn.Conv2d(128, classes, 1)
        )
        self.output_stride = 32

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)`` of ``(chip, band, y, x)``."""
        shallow = self.down(x)
        deep = _enlarged(self.context(shallow), shallow)
        fused = torch.relu(self.deep(deep) + self.shallow(shallow))
        return _enlarged(self.head(fused), x)


class PyramidPooling(nn.Module):
    """Means over 1, 2, 3 and 6 parts of each axis, beside the map itself (Zhao et al. 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bins = (1, 2, 3, 6)
        self.stages = nn.ModuleList(
            nn.Sequential(PartMeans(n), _unit(inputs, inputs // len(bins), 1)) for n in bins
        )
        self.merge = _unit(2 * inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The same height and width."""
        means = [_enlarged(stage(x), x) for stage in self.stages]
        merged: Tensor = self.merge(torch.cat([x, *means], dim=1))
        return merged


class PartMeans(nn.Module):
    """What ``nn.AdaptiveAvgPool2d(parts)`` gives, as two products of matrices.

    ONNX knows no adaptive pooling of maps whose size is free; products it knows.
    """

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """``(chip, channel, parts, parts)``."""
        rows, cols = (self._weights(n, x) for n in x.shape[-2:])
        return rows @ (x @ cols.transpose(0, 1))

    def _weights(self, length: int, like: Tensor) -> Tensor:
        """``(parts, length)``: part ``i`` has ``floor(i * n / k)`` up to ``ceil((i + 1) * n / k)``."""
        part = torch.arange(self.parts, device=like.device)[:, None]
        at = torch.arange(length, device=like.device)[None]
        # at < ceil(b / k) is at * k < b, and at >= floor(a / k) is at * k > a - k.
        inside = (at * self.parts > part * length - self.parts) & (
            at * self.parts < (part + 1) * length
        )
        weights = inside.to(like.dtype)
        return weights / weights.sum(dim=1, keepdim=True)


class _Bottleneck(nn.Module):
    """An inverted residual (Sandler et al. 2018) that is six times wider inside."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        inner = 6 * inputs
        self.body = nn.Sequential(
            _unit(inputs, inner, 1),
            _unit(inner, inner, 3, stride=stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.carries = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``outputs`` channels."""
        y: Tensor = self.body(x)
        return x + y if self.carries else y


def _bottlenecks(inputs: int, outputs: int, *, count: int, stride: int) -> list[nn.Module]:
    first = _Bottleneck(inputs, outputs, stride=stride)
    return [first, *(_Bottleneck(outputs, outputs, stride=1) for _ in range(count - 1))]


def _separable(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """Across space in each channel, then across channels."""
    return nn.Sequential(
        _unit(inputs, inputs, 3, stride=stride, groups=inputs), _unit(inputs, outputs, 1)
    )


def _unit(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of ``like``."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
