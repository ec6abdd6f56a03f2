"""The network of Dynamic World, and how the published weights come into it.

Brown et al. 2022, doi:10.1038/s41597-022-01307-4. Written anew from a description of its layers;
what it gives is what the published model gives, to 1e-5 in the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError
from geoseg.legend import LEGENDS
from geoseg.models.base import ModelCard

CARD: Final = ModelCard(
    name="dynamicworld",
    version="1.0.0",
    bands=(
        "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "swir16", "swir22",
    ),
    units="reflectance",
    # 30th and 70th percentile of log(0.005 * DN + 1), as published.
    mean=(
        1.7417268007636313, 1.7261204997060209, 1.6798346251414997, 1.7734969472909623,
        2.289154079164943, 2.382939712192371, 2.3828939530384052, 2.1952484264967844,
        1.554812948247501,
    ),
    std=(
        2.023298706048351, 2.038905204308012, 2.179592821212937, 2.2890068333026603,
        2.6171674549378166, 2.773418590375327, 2.7578332604178284, 2.789092484314204,
        2.4140534947492487,
    ),
    scaling="dynamicworld",
    legend=LEGENDS["dynamicworld"],
    stride=2,
    reach=22,
    size=512,
    margin=24,
    gsd=(10.0, 10.0),
    architecture={"name": "dynamicworld"},
    activation_bytes=1192,
)  # fmt: skip
"""What the published network needs and gives; ``reach`` and ``activation_bytes`` are measured."""

_NORM_EPSILON = 1e-3
_LENGTH_EPSILON = 1e-12


class DynamicWorld(nn.Module):
    """Residual blocks of separable convolutions at half resolution, and a direction in the end.

    Halving is bilinear with anti-aliasing, doubling is bilinear, as TensorFlow does them (pixels
    are areas); beyond the chip are zeros. Before the last layer features are brought to length 1.

    Args:
        bands: Input channels, each between 0 and 1.
        classes: Output channels (logits).
    """

    def __init__(self, bands: int = 9, classes: int = 9) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(bands, 64, 3, padding=1), _norm(64), Mish())
        self.halve = Halving(64)
        self.encoder = nn.Sequential(Residual(64, 96), Residual(96, 144))
        self.skip = _unit(64, 48)
        self.decoder = Residual(144 + 48, 144)
        self.head = nn.Conv2d(144, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)`` of ``(chip, band, y, x)``, of any size."""
        size = x.shape[-2:]
        x = self.halve(self.stem(x))
        x = self.decoder(torch.cat([self.encoder(x), self.skip(x)], dim=1))
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        length = x.square().sum(dim=1, keepdim=True).clamp_min(_LENGTH_EPSILON)
        logits: Tensor = self.head(x * length.rsqrt())
        return logits


class Residual(nn.Module):
    """Three separable units, and a 1x1 convolution around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _unit(inputs, outputs), _unit(outputs, outputs), _unit(outputs, outputs)
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1), _norm(outputs), Mish())

    def forward(self, x: Tensor) -> Tensor:
        """``outputs`` channels, the same height and width."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


class Halving(nn.Module):
    """Half as many rows and columns, each a weighted mean of up to four; odd sizes round down."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        triangle = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = torch.outer(triangle, triangle).expand(channels, 1, 4, 4).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(chip, channel, y // 2, x // 2)``, but at least one pixel."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2 or min(height, width) < 4:
            size = (max(1, height // 2), max(1, width // 2))
            return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        # The same as above, to the last bits, and seven times faster.
        x = F.conv2d(x, self.kernel, stride=2, padding=1, groups=len(self.kernel))
        # At the rim one of the four is missing: its eighth goes to the others.
        vertical, horizontal = (_rim(n // 2, like=x) for n in (height, width))
        return x * vertical[:, None] * horizontal


class Mish(nn.Module):
    """``x * tanh(softplus(x))`` (Misra 2019).

    On a CPU torch's own takes half of the time of the whole network. With ``q = sigmoid(-x)`` it is
    ``x * (2 / (1 + q * q) - 1)``, which takes a quarter of that, and no more memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if torch.is_grad_enabled() or x.is_cuda:
            return F.mish(x)
        return x.neg().sigmoid_().square_().add_(1).reciprocal_().mul_(2).sub_(1).mul_(x)


def from_tensorflow(variables: Mapping[str, NDArray[Any]]) -> DynamicWorld:
    """The network with the variables of the published SavedModel, by their names there.

    Raises:
        ModelError: A variable is missing, or has another shape.
    """
    network = DynamicWorld()
    state = network.state_dict()
    for ours, theirs, axes in _names():
        if theirs not in variables:
            raise ModelError(
                f"no variable {theirs!r} among {len(variables)}: these are not the weights of "
                f"Dynamic World's forward model"
            )
        found = variables[theirs]
        wanted = tuple(state[ours].shape)
        if found.ndim != len(axes) or tuple(found.shape[axis] for axis in axes) != wanted:
            raise ModelError(
                f"variable {theirs!r} has the shape {found.shape}: these are not the weights of "
                f"Dynamic World's forward model"
            )
        state[ours] = torch.from_numpy(np.array(found.transpose(axes), np.float32, order="C"))
    network.load_state_dict(state)
    return network.eval()


def _names() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Our name of each tensor, TensorFlow's, and TensorFlow's axes in our order."""
    for ours, theirs in _layers():
        if theirs.startswith("batch"):
            pairs = {"weight": "gamma", "bias": "beta"}
            pairs |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
            yield from ((f"{ours}.{a}", f"{theirs}/{b}", (0,)) for a, b in pairs.items())
            continue
        deep = theirs.startswith("depthwise")
        # (y, x, in, out), and (y, x, channel, 1) where each channel has its own kernel.
        kernel, axes = ("depthwise_kernel", (2, 3, 0, 1)) if deep else ("kernel", (3, 2, 0, 1))
        yield f"{ours}.weight", f"{theirs}/{kernel}", axes
        yield f"{ours}.bias", f"{theirs}/bias", (0,)


def _layers() -> Iterator[tuple[str, str]]:
    """Our layers and TensorFlow's, which are numbered in the order they were made in."""
    yield from _unit_layers("stem", conv=0, norm=0)
    yield from _unit_layers("skip", conv=1, norm=1, deep=0)
    blocks = {"encoder.0": (2, 3, 1), "encoder.1": (6, 10, 4), "decoder": (10, 17, 7)}
    for block, (conv, norm, deep) in blocks.items():
        for k in range(3):
            yield from _unit_layers(
                f"{block}.body.{k}", conv=conv + k, norm=norm + 2 * k, deep=deep + k
            )
        yield from _unit_layers(f"{block}.shortcut", conv=conv + 3, norm=norm + 6)
    yield "head", _numbered("conv2d", 14)


def _unit_layers(
    ours: str, *, conv: int, norm: int, deep: int | None = None
) -> Iterator[tuple[str, str]]:
    yield f"{ours}.0", _numbered("conv2d", conv)
    yield f"{ours}.1", _numbered("batch_normalization", norm)
    if deep is not None:
        yield f"{ours}.3", _numbered("depthwise_conv2d", deep)
        yield f"{ours}.4", _numbered("batch_normalization", norm + 1)


def _numbered(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    """A separable convolution: across channels, then across space in each channel."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1),
        _norm(outputs),
        Mish(),
        nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs),
        _norm(outputs),
        Mish(),
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_NORM_EPSILON)


def _rim(count: int, *, like: Tensor) -> Tensor:
    """Ones, and 8/7 at both ends."""
    factors = like.new_ones(count)
    factors[0] = factors[-1] = 8 / 7
    return factors
