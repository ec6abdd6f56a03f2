"""How far a network looks and what a pixel of it costs: measured, to be kept in its card."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_LARGEST_CANVAS = 640
_FAR = 2048
_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations")
# Parameters that are added: on zeros all else stays zero, where the faintest path shows.
_ADDED = ("bias", "embed", "token")
_WEIGHING = (nn.MultiheadAttention, nn.Softmax)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a network.

    Attributes:
        reach: Pixels; None: it looks further than 300 px, or everywhere.
        activation_bytes: Peak of a forward pass in fp32 per chip pixel, without the weights.
        parameters: Trained numbers.
        flops_per_pixel: Multiplications and additions, two for each pair.
    """

    reach: int | None
    activation_bytes: int
    parameters: int
    flops_per_pixel: int


def measure(network: nn.Module, *, bands: int, stride: int, size: int = 256) -> Measured:
    """Measure ``network`` on chips of ``size`` pixels."""
    reach = structural_reach(network, bands=bands, stride=stride)
    return replace(costs(network, bands=bands, size=size), reach=reach)


def costs(network: nn.Module, *, bands: int, size: int = 256) -> Measured:
    """All but the reach, which is None: also of graphs, whose weights cannot be changed."""
    network = copy.deepcopy(network).float().cpu().eval()
    chip = torch.zeros(1, bands, size, size)
    with torch.inference_mode(), _PeakBytes() as memory:
        network(chip)
    with torch.inference_mode(), FlopCounterMode(display=False) as flops:
        network(chip)
    return Measured(
        reach=None,
        activation_bytes=-(-memory.peak // size**2),
        parameters=sum(p.numel() for p in network.parameters()),
        flops_per_pixel=round(flops.get_total_flops() / size**2),
    )


def structural_reach(network: nn.Module, *, bands: int, stride: int) -> int | None:
    """The farthest that any pixel can be felt, whatever the weights; None where there is no end.

    Weights are made positive and activations straight, so that no path from a pixel to the output
    cancels another or dies on its way; then one pixel is pushed, for every position it can have in
    the stride, and the output that moves is looked at in float64. Trained weights can only reach
    less far. A network that no push moves tells nothing: None.
    """
    if any(isinstance(m, nn.GroupNorm | nn.InstanceNorm2d) for m in network.modules()):
        return None  # statistics of the whole chip
    straight = _straightened(network)
    canvas = max(128, 4 * stride)
    while True:
        if _ends_within(straight, bands, stride, canvas):
            reach = _along_strips(straight, bands, stride, canvas)
            if reach is not None and not _jumps(straight, bands, stride, reach):
                return reach
        if canvas >= _LARGEST_CANVAS:
            return None
        canvas = min(2 * canvas, -(-_LARGEST_CANVAS // stride) * stride)


def _ends_within(network: nn.Module, bands: int, stride: int, canvas: int) -> bool:
    """Whether one push in the middle of a square is felt somewhere, and nowhere at its rim."""
    middle = canvas // 2 // stride * stride
    felt = False
    for base, still in _canvases(network, bands, (canvas, canvas)):
        moved = _moved(network, base, still, (middle, middle))
        if len(moved):
            felt = True
            if int(moved.min()) < stride or int(moved.max()) >= canvas - stride:
                return False
    return felt


def _along_strips(network: nn.Module, bands: int, stride: int, length: int) -> int | None:
    """Reach along a column and along a row; None where it gets to an end.

    A path goes as far along one axis as it does on a square, and a strip costs a tenth of one.
    """
    near = max(64, 2 * stride)
    middle = length // 2 // stride * stride
    # The first and the last pixel of a stride are felt farthest: what does not end, ends early here.
    shifts = sorted(range(stride), key=lambda shift: min(shift, stride - 1 - shift))
    reach = None
    for axis, shape in enumerate(((length, near), (near, length))):
        beside = near // 2 // stride * stride
        for base, still in _canvases(network, bands, shape):
            for shift in shifts:
                at = middle + shift
                place = (at, beside + shift) if axis == 0 else (beside + shift, at)
                moved = _moved(network, base, still, place)[:, axis]
                if not len(moved):
                    continue
                low, high = int(moved.min()), int(moved.max())
                if low < stride or high >= length - stride:
                    return None
                reach = max(reach or 0, at - low, high - at)
    return reach


def _canvases(
    network: nn.Module, bands: int, shape: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Chips and what the network says of them before any pixel is pushed.

    What multiplies features (gates, attention) shows on ones, and mostly at once; on zeros even
    the faintest path does.
    """
    for level in (1.0, 0.0):
        base = torch.full((1, bands, *shape), level, dtype=torch.float64)
        with torch.inference_mode():
            yield base, network(base)


def _jumps(network: nn.Module, bands: int, stride: int, reach: int) -> bool:
    """Whether a path leads farther than ``reach``, past the rim of the canvas that it was seen on.

    Dilated convolutions make such paths; they are looked for far along one column and one row.
    """
    far, near = _FAR // stride * stride, max(64, 2 * stride)
    for shape in ((far, near), (near, far)):
        base = torch.zeros((1, bands, *shape), dtype=torch.float64)
        with torch.inference_mode():
            still = network(base)
        at = shape[0] // 2 // stride * stride, shape[1] // 2 // stride * stride
        moved = _moved(network, base, still, at)
        if len(moved) and int((moved - torch.tensor(at)).abs().max()) > reach:
            return True
    return False


def _moved(network: nn.Module, base: Tensor, still: Tensor, at: tuple[int, int]) -> Tensor:
    """Output pixels ``(n, 2)`` that are not ``still`` once the pixel ``at`` of the base is pushed."""
    pushed = base.clone()
    pushed[..., at[0], at[1]] += 1.0
    with torch.inference_mode():
        return torch.nonzero((network(pushed) != still).any(dim=1)[0])


def _straightened(network: nn.Module) -> nn.Module:
    """A linear copy in float64: positive averages for weights, no activation, no norm, no bias.

    Weights are not all equal: convolutions that standardise theirs would make nothing of them.
    """
    network = copy.deepcopy(network).double().cpu().eval()
    random = torch.Generator().manual_seed(0)
    for module in list(network.modules()):
        for name, child in module.named_children():
            straight = type(child).__module__ in _ACTIVATIONS and not isinstance(child, _WEIGHING)
            if straight or isinstance(child, nn.LayerNorm):
                setattr(module, name, nn.Identity())
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        for name, parameter in module.named_parameters(recurse=False):
            if any(word in name for word in _ADDED):
                nn.init.zeros_(parameter)
            else:
                inputs = math.prod(parameter.shape[1:]) or 1
                nn.init.uniform_(parameter, 0.5 / inputs, 1.0 / inputs, generator=random)
    return network


class _PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base is untyped
    """Counts the bytes of live tensors that operations make, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's base is untyped
        self.live, self.peak = 0, 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if _is(t)}
        for tensor in filter(_is, tree_leaves(out)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given and tensor not in self._seen:
                self._seen.add(tensor)
                self._grow(storage.nbytes())
                weakref.finalize(tensor, self._grow, -storage.nbytes())
        return out

    def _grow(self, count: int) -> None:
        self.live += count
        self.peak = max(self.peak, self.live)


def _is(value: object) -> bool:
    return isinstance(value, Tensor)
