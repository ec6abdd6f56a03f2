"""Torch networks as segmenters: from stored numbers to classes in one pass on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoseg.errors import BlockError, ModelError
from geoseg.models.architectures import build, check_stride
from geoseg.models.base import Batch, ModelCard
from geoseg.models.formats import PT2, TORCHSCRIPT, by_name
from geoseg.models.intact import read_weights
from geoseg.models.registry import ModelPackage, Precision
from geoseg.models.scaling import curve, linear, temperature
from geoseg.models.traced import as_logits, open_graph
from geoseg.models.weights_file import load_weights
from geoseg.ops.layers import Answer, Layer, log_of

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Kernels are chosen by the shape of the batch, and differ in the last bit: so that a chip's bits
# do not depend on its neighbours, networks always see the same number of chips.
_CHIPS_AT_ONCE: Final = {"cpu": 1, "cuda": 4}


class TorchSegmenter:
    """Implements :class:`geoseg.models.base.Segmenter`.

    Args:
        card: What the network needs and gives.
        network: Gives logits ``(chip, class, y, x)``; it becomes this object's own.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        precision: Of the network's arithmetic.
        threads: CPU threads that torch uses for one chip; None leaves them. Sums over a layer are
            cut differently for each number, which shows in the last bit: results that must not
            depend on the machine want 1, and several callers at once.

    Raises:
        ModelError: There is no such device or precision, or the card's stride is not the network's.
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> None:
        self._card, self._threads = card, threads
        self._device = device_of(device)
        self._precision = checked_precision(precision, self._device)
        self._temperature = temperature(card)
        self._curve = curve(card, self._device)
        network = as_logits(network.eval().float().cpu(), card)
        check_stride(network, card)
        _fold_norms(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    @classmethod
    def load(
        cls,
        package: ModelPackage,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> Self:
        """The model of a package, with its weights."""
        network = load_network(package)
        return cls(package.card, network, device=device, precision=precision, threads=threads)

    @classmethod
    def untrained(cls, card: ModelCard, *, seed: int = 0, threads: int | None = None) -> Self:
        """The card's network with random weights, for tests and benchmarks."""
        return cls(card, build(card, seed=seed), device="cpu", threads=threads)

    @property
    def card(self) -> ModelCard:
        """What the model needs and gives."""
        return self._card

    @property
    def parallel(self) -> bool:
        """On a CPU every thread may compute chips of its own; a GPU has one queue."""
        return self._device.type == "cpu"

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """Probabilities ``(chip, class, y, x)`` that sum to 1 over classes."""
        count, _, height, width = batch.values.shape
        out = np.empty((count, len(self.card.legend.classes), height, width), np.float32)
        with torch.inference_mode():
            for chips, scores in self._forward(batch):
                out[chips] = scores.cpu().numpy()
        return out

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index of the likeliest class, and its probability in percent, both ``(chip, y, x)``."""
        shape = batch.valid.shape
        index, percent = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        with torch.inference_mode():
            for chips, scores in self._forward(batch):
                best, highest = _most_likely(scores)
                index[chips] = best.cpu().numpy()
                percent[chips] = highest.mul(100).round().to(torch.uint8).cpu().numpy()
        return index, percent

    def answer(self, batch: Batch, wanted: Sequence[Layer]) -> Answer:
        """Classes and layers, made on the device: only bytes come back from it."""
        shape, classes = batch.valid.shape, len(self.card.legend.classes)
        index = np.empty(shape, np.uint8)
        layers: dict[Layer, NDArray[np.uint8]] = {
            layer: np.empty(
                (shape[0], classes, *shape[1:]) if layer == "probabilities" else shape, np.uint8
            )
            for layer in wanted
        }
        with torch.inference_mode():
            for chips, scores in self._forward(batch):
                best, highest = _most_likely(scores)
                index[chips] = best.cpu().numpy()
                for layer, out in layers.items():
                    share = _share(layer, scores, highest)
                    out[chips] = share.mul(100).round().to(torch.uint8).cpu().numpy()
        return Answer(index, layers)

    def _forward(self, batch: Batch) -> Iterator[tuple[slice, Tensor]]:
        """Scores on the device, for a few chips at a time."""
        if self._threads is not None:
            # OpenMP keeps this for each thread of the caller; setting it anew costs nothing.
            torch.set_num_threads(self._threads)
        step = _CHIPS_AT_ONCE[self._device.type]
        gain, bias = self._linear(batch)
        for start in range(0, len(batch.values), step):
            chips = slice(start, min(start + step, len(batch.values)))
            valid = torch.from_numpy(_own(batch.valid[chips])).to(self._device)
            x = self._curve(_numbers(batch.values[chips], self._device).mul_(gain).add_(bias))
            x = _fill_up(torch.where(valid[:, None], x, 0.0), step)
            logits = self._logits(x.contiguous(memory_format=torch.channels_last))
            yield chips, self._softmax(logits[: len(valid)], batch, start)

    def _linear(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One gain and bias per band for scale, offset, mean and std together."""
        gain, bias = (
            torch.from_numpy(v.astype(np.float32).reshape(-1, 1, 1)).to(self._device)
            for v in linear(self.card, batch.scale, batch.offset)
        )
        return gain, bias

    def _logits(self, x: Tensor) -> Tensor:
        """The network, with repeatable kernels, and with full fp32 on CUDA where asked for.

        Where it takes chips of one size only, smaller ones are filled up, as with pixels that are
        not valid.
        """
        height, width = x.shape[-2:]
        if self._card.fixed:
            x = self._filled(x)
        low = self._precision != "fp32"
        repeatable = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=low
        )
        autocast = torch.autocast(self._device.type, _DTYPES[self._precision], enabled=low)
        with repeatable, autocast:
            logits: Tensor = self._network(x)
        return logits[..., :height, :width]

    def _filled(self, x: Tensor) -> Tensor:
        size, (height, width) = self._card.size, x.shape[-2:]
        if max(height, width) > size:
            raise BlockError(
                f"model {self._card.name}: takes chips of {size} x {size} px, not of {height} x "
                f"{width}: leave `tiling.size` to the model's card"
            )
        return nn.functional.pad(x, (0, size - width, 0, size - height))

    def _softmax(self, logits: Tensor, batch: Batch, start: int) -> Tensor:
        logits = logits.float().contiguous()
        if self._temperature != 1.0:
            logits = logits / self._temperature
        parts = (logits - logits.amax(dim=1, keepdim=True)).exp_()
        total = parts.sum(dim=1, keepdim=True)
        # Infinities become NaN in the subtraction above, so one look at the sums finds both.
        broken = total.isnan().flatten(1).any(dim=1).nonzero()
        if len(broken):
            chip = start + int(broken[0])
            seen = batch.values[chip][:, batch.valid[chip]]
            span = f"{seen.min()} to {seen.max()}" if seen.size else "none"
            raise BlockError(
                f"model {self.card.name}: the network gave NaN for chip {chip} of its batch, "
                f"whose valid numbers are {span}"
            )
        return parts.div_(total)


def load_network(package: ModelPackage) -> nn.Module:
    """The network of a package with its weights, whichever format they have.

    Raises:
        ModelError: They are missing, damaged, of another network, or run code unasked.
    """
    if package.weights is None:
        raise ModelError(
            f"model {package.card.name!r} has no weights: it must be trained before use"
        )
    if by_name(package.weights.name) in (PT2, TORCHSCRIPT):
        data, known = read_weights(package.weights, package.card.sha256)
        return open_graph(package.weights, data, known, allow_code=package.allow_code)
    network = build(package.card)
    load_weights(network, package.weights, package.card.sha256)
    return network


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


def _share(layer: Layer, scores: Tensor, highest: Tensor) -> Tensor:
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


def _numbers(values: NDArray[Any], device: torch.device) -> Tensor:
    """Stored numbers as fp32 on the device; small integers travel as they are."""
    kind = values.dtype.newbyteorder("=")
    if kind == np.uint16:
        # Torch knows uint16 only in part: send the bits as int16, and drop the sign there.
        bits = torch.from_numpy(_own(values.astype(kind, copy=False)).view(np.int16)).to(device)
        return bits.to(torch.int32).bitwise_and_(0xFFFF).to(torch.float32)
    if kind not in (np.uint8, np.int8, np.int16, np.int32):
        kind = np.dtype(np.float32)
    stored = torch.from_numpy(_own(values.astype(kind, copy=False))).to(device)
    # A copy also where it is fp32 already: the caller's array is not ours to standardise.
    return stored.to(torch.float32, copy=True)


def _own(values: NDArray[Any]) -> NDArray[Any]:
    """The same values as torch wants them: contiguous and writeable."""
    return np.require(values, requirements=["C", "W"])


def _fill_up(x: Tensor, count: int) -> Tensor:
    if len(x) == count:
        return x
    return torch.cat([x, x.new_zeros((count - len(x), *x.shape[1:]))])


def _fold_norms(network: nn.Module) -> None:
    """Merge batch norms into the convolutions before them, where a sequence shows which."""
    for child in network.children():
        if isinstance(child, nn.Sequential):
            for at in range(len(child) - 1):
                conv, norm = child[at], child[at + 1]
                if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                    child[at], child[at + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        _fold_norms(child)


def check_device(name: str, precision: Precision) -> None:
    """See :func:`geoseg.models.registry.check_device`."""
    checked_precision(precision, device_of(name))


def device_of(name: str) -> torch.device:
    """The device that is called so; ``"auto"``: CUDA where there is any.

    Raises:
        ModelError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: wanted auto, cpu, cuda or cuda:N") from error
    if device.type not in _CHIPS_AT_ONCE:
        raise ModelError(f"device {name!r}: wanted auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            f"devices here; use auto or cpu"
        )
    return device


def checked_precision(precision: str, device: torch.device) -> Precision:
    """The precision, where the device can compute so.

    Raises:
        ModelError: It cannot.
    """
    if precision not in _DTYPES:
        raise ModelError(f"precision {precision!r}: wanted {', '.join(_DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("precision 'fp16' needs CUDA; on a CPU use bf16 or fp32")
    return precision  # type: ignore[return-value]  # one of the three
