"""One pass over chips on a device: from stored numbers to classes, percents or scores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoseg.errors import BlockError
from geoseg.models.architectures import check_stride
from geoseg.models.base import ModelCard
from geoseg.models.engines import Precision
from geoseg.models.scaling import curve, temperature
from geoseg.models.torch_device import DTYPES, Tuning, compiled
from geoseg.models.traced import as_logits
from geoseg.ops.layers import Layer, log_of

Output = Layer | str
"""``"index"`` of the likeliest class, ``"scores"``, or a layer in percent."""

BROKEN: Final = "broken"
"""Output ``(chip,)`` that every pass has: whether the network gave NaN for a pixel of the chip."""

ALONE: Final = threading.RLock()
"""Held while kernels are started or recorded, and while memory of a GPU is taken or given back.

The flags of cuDNN belong to the process, and what is recorded breaks where another thread waits for
the whole device. Kernels run on once they are started, so that this is held for a moment only.
"""


@dataclass(frozen=True, slots=True)
class OnDevice:
    """Chips as they lie on a device.

    ``stored`` ``(chip, band, y, x)``, where ``unsigned`` says that its int16 are the bits of
    uint16, which torch knows only in part; ``valid`` ``(chip, y, x)``; ``linear`` ``(2, band)``:
    gain and bias of each band.
    """

    stored: Tensor
    unsigned: bool
    valid: Tensor
    linear: Tensor


class Pass:
    """A network with all that is computed before and after it, on one device.

    Args:
        card: What the network needs and gives.
        network: Gives what the card says; it becomes this object's own.
        device: Where it is put.
        precision: Of the network's arithmetic.
        tuning: How it is run.

    Raises:
        ModelError: The card's stride or classes are not the network's.
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        device: torch.device,
        precision: Precision,
        tuning: Tuning,
    ) -> None:
        self.card, self.device = card, device
        self.unrecorded: str | None = None  # why its kernels cannot be recorded as a graph
        self._low, self._dtype = precision != "fp32", DTYPES[precision]
        self._temperature = temperature(card)
        self._curve = curve(card, device)
        network = as_logits(network.eval().float().cpu(), card)
        check_stride(network, card)
        _fold_norms(network)
        self._layout = tuning.layout(device, low=self._low)
        network = network.to(device, memory_format=self._layout)  # type: ignore[call-overload]  # missing in torch's stubs
        if self._low and device.type == "cuda":
            _round_weights(network, self._dtype)
        self._network: Callable[[Tensor], Tensor] = network
        if tuning.compiled:
            self._network = compiled(network, device)
        if device.type == "cuda":
            with ALONE:
                torch.cuda.synchronize(device)  # other streams may use the weights from now on

    def shape_of(self, output: Output, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an output of chips ``(chip, y, x)``."""
        if output in ("probabilities", "scores"):
            return (shape[0], len(self.card.legend.classes), *shape[1:])
        return shape[:1] if output == BROKEN else shape

    def __call__(self, chips: OnDevice, wanted: Sequence[Output]) -> Mapping[str, Tensor]:
        """The outputs ``wanted``, and which chips are :data:`BROKEN`; starts no transfer."""
        gain, bias = chips.linear[:, :, None, None]
        numbers = chips.stored
        if chips.unsigned:
            numbers = numbers.to(torch.int32).bitwise_and_(0xFFFF)
        # A copy also where it is fp32 already: the caller's array is not ours to standardise.
        numbers = numbers.to(torch.float32, copy=True)
        x = self._curve(numbers.mul_(gain).add_(bias))
        x = torch.where(chips.valid[:, None], x, 0.0)
        scores, broken = self._softmax(self._logits(x.contiguous(memory_format=self._layout)))
        found = {BROKEN: broken}
        if "scores" in wanted:
            found["scores"] = scores
        if set(wanted) - {"scores"}:
            index, highest = _most_likely(scores)
            for output in wanted:
                if output == "index":
                    found["index"] = index
                elif output != "scores":
                    share = _share(output, scores, highest)
                    found[output] = share.mul(100).round().to(torch.uint8)
        return found

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """Kernels that are chosen by shape alone, and on CUDA full fp32 where it is asked for."""
        if self.device.type == "cpu":
            yield
            return
        with (
            ALONE,
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=self._low
            ),
        ):
            yield

    def _logits(self, x: Tensor) -> Tensor:
        """Where the network takes chips of one size only, smaller ones are filled up."""
        height, width = x.shape[-2:]
        if self.card.fixed:
            x = self._filled(x)
        # Graphs may not keep what a cache of rounded weights would throw away behind them.
        with torch.autocast(
            self.device.type,
            self._dtype,
            enabled=self._low,
            cache_enabled=self.device.type == "cpu",
        ):
            logits = self._network(x)
        return logits[..., :height, :width]

    def _filled(self, x: Tensor) -> Tensor:
        """With pixels as those that are not valid."""
        size, (height, width) = self.card.size, x.shape[-2:]
        if max(height, width) > size:
            raise BlockError(
                f"model {self.card.name}: takes chips of {size} x {size} px, not of {height} x "
                f"{width}: leave `tiling.size` to the model's card"
            )
        return nn.functional.pad(x, (0, size - width, 0, size - height))

    def _softmax(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and which chips have NaN among them."""
        logits = logits.float().contiguous()
        if self._temperature != 1.0:
            logits = logits / self._temperature
        parts = (logits - logits.amax(dim=1, keepdim=True)).exp_()
        total = parts.sum(dim=1, keepdim=True)
        # Infinities become NaN in the subtraction above, so one look at the sums finds both.
        return parts.div_(total), total.isnan().flatten(1).any(dim=1)


def _most_likely(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Index and value of the first of the highest scores along ``class``.

    Comparing whole planes is several times faster than ``max(dim=1)`` on a CPU.
    """
    planes = scores.unbind(dim=1)
    highest = planes[0].clone()
    best = torch.zeros_like(highest, dtype=torch.uint8)
    for number, plane in enumerate(planes[1:], start=1):
        best.masked_fill_(plane > highest, number)
        torch.maximum(highest, plane, out=highest)
    return best, highest


def _share(layer: Output, scores: Tensor, highest: Tensor) -> Tensor:
    """A layer in 0..1; see :mod:`geoseg.ops.layers`."""
    if layer == "confidence":
        return highest
    if layer == "probabilities":
        return scores
    if layer == "entropy":
        entropy: Tensor = torch.special.entr(scores).sum(dim=1)
        return entropy.div_(float(log_of(scores.shape[1]))).clamp_(0, 1)
    if layer == "margin":
        return highest - _second(scores, highest)
    return torch.zeros_like(highest)  # one answer does not disagree


def _second(scores: Tensor, highest: Tensor) -> Tensor:
    """The second highest score along ``class``, plane by plane: ``topk`` is slow on a CPU."""
    first = torch.full_like(highest, -1.0)
    second = torch.zeros_like(highest)
    for plane in scores.unbind(dim=1):
        torch.maximum(second, torch.minimum(plane, first), out=second)
        torch.maximum(first, plane, out=first)
    return second


def _round_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Round the weights of convolutions once, and not for each chip: autocast does the same."""
    for module in network.modules():
        if type(module) in (nn.Conv2d, nn.ConvTranspose2d):
            module.to(dtype)


def _fold_norms(network: nn.Module) -> None:
    """Merge batch norms into the convolutions before them, where a sequence shows which."""
    for child in network.children():
        if isinstance(child, nn.Sequential):
            for at in range(len(child) - 1):
                conv, norm = child[at], child[at + 1]
                if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                    child[at], child[at + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        _fold_norms(child)
