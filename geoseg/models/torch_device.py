"""Devices of torch by name, what they can compute in, and how many chips they are given at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.engines import Precision

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_TYPES: Final = ("cpu", "cuda")

_PIXELS_AT_ONCE: Final = 1 << 20
_MOST_CHIPS: Final = 16
_LANES: Final = 3


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a network is run; all of it changes speed and memory, some of it the last bits.

    Attributes:
        at_once: Chips that go through the network together; None: one on a CPU, and on a GPU as
            many as make about a megapixel, at most 16. It depends on the chip's size and on
            nothing else, since kernels are chosen by shape.
        lanes: Calls that are on a GPU at once, each with a stream and memory of its own; None: 3.
        graphs: Record the kernels of a chip's shape once and replay them (CUDA graphs): the same
            kernels, so the same bits, without the time that Python takes to start them.
        compiled: Let ``torch.compile`` write kernels for each shape: tens of seconds for each
            process, a compiler on each machine, and other last bits.
        channels_last: Bands of a pixel lie beside each other, as CPUs and tensor cores want them;
            None: but in fp32 on a GPU, which computes planes faster.
    """

    at_once: int | None = None
    lanes: int | None = None
    graphs: bool = True
    compiled: bool = False
    channels_last: bool | None = None

    def chips(self, device: torch.device, shape: tuple[int, int]) -> int:
        """Chips of ``shape`` ``(y, x)`` that are computed together."""
        if self.at_once is not None:
            return self.at_once
        if device.type == "cpu":
            return 1
        fit = max(1, min(_MOST_CHIPS, _PIXELS_AT_ONCE // max(1, shape[0] * shape[1])))
        return 1 << (fit.bit_length() - 1)

    def layout(self, device: torch.device, *, low: bool) -> torch.memory_format:
        """Of the network's arrays, where ``low`` says that it computes in less than fp32."""
        last = self.channels_last
        if last is None:
            last = low or device.type == "cpu"
        return torch.channels_last if last else torch.contiguous_format

    def calls(self, device: torch.device) -> int | None:
        """Lanes of a device; None: as many as there are callers."""
        return self.lanes or (None if device.type == "cpu" else _LANES)


def compiled(network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """``network`` with kernels that are written for each shape of chip, when it first comes.

    Raises:
        ModelError: What they are compiled with is missing.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise ModelError(
            "engine 'torch-compile' needs a C++ compiler: install g++ (apt install g++, or "
            "conda install cxx-compiler), or take engine: torch"
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise ModelError("engine 'torch-compile' on a GPU needs triton: pip install triton")
    from torch._inductor import config  # noqa: PLC0415 (a second, for those who compile only)

    # Other processes that compile would outlive a worker that is killed.
    config.compile_threads = 1
    return torch.compile(network, dynamic=False)


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
    if device.type not in _TYPES:
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
    if precision not in DTYPES:
        raise ModelError(f"precision {precision!r}: wanted {', '.join(DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("precision 'fp16' needs CUDA; on a CPU use bf16 or fp32")
    return precision  # type: ignore[return-value]  # one of the three
