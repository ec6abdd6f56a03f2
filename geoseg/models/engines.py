"""What can compute a network: engines and number formats by name. Imports none of them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from geoseg.errors import ModelError

Engine = Literal["torch", "onnxruntime", "openvino", "torch-compile"]
ENGINES: Final[tuple[Engine, ...]] = ("torch", "onnxruntime", "openvino", "torch-compile")

Precision = Literal["fp32", "bf16", "fp16", "int8"]

PRECISIONS: Final[dict[Engine, tuple[Precision, ...]]] = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
    "torch-compile": ("fp32", "bf16", "fp16"),
}
"""What each of them computes in; of the same precision, not the same bits."""

ONLY_ASKED: Final = ("fp16", "int8", "torch-compile")
"""What nothing takes of itself: a CPU cannot show what fp16 gives, int8 is coarse, and each worker
needs a compiler and half a minute for :func:`torch.compile`."""

NEEDS: Final[dict[Engine, tuple[str, ...]]] = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "torch-compile": ("torch",),
}
"""Packages whose versions decide the bits."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """An engine and the number format that it computes in."""

    engine: Engine = "torch"
    precision: Precision = "fp32"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that decide the bits; ``"missing"`` where one is not installed."""
        return {name: version_of(name) for name in NEEDS[self.engine]}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an engine takes of a worker's memory, beside the worker without any.

    Attributes:
        fixed: Bytes of its code, loaded, and of what it sets up for a network.
        copies: How many times the weights' bytes come on top.
        activations: Share of the card's ``activation_bytes`` that a pixel of a chip takes.
    """

    fixed: int
    copies: float
    activations: float

    def base(self, weights: int) -> int:
        """Bytes before the first chip, for weights of so many bytes."""
        return self.fixed + round(self.copies * weights)

    def chip(self, pixels: int, activation_bytes: int) -> int:
        """Bytes of one chip on its way through the network."""
        return round(pixels * activation_bytes * self.activations)


_MIB: Final = 2**20

_FOOTPRINTS: Final = {
    Runtime("torch", "fp32"): Footprint(445 * _MIB, 5, 1.6),
    Runtime("torch", "bf16"): Footprint(445 * _MIB, 6, 0.8),
    Runtime("torch-compile", "fp32"): Footprint(920 * _MIB, 5, 1.6),
    Runtime("torch-compile", "bf16"): Footprint(920 * _MIB, 6, 1.1),
    Runtime("onnxruntime", "fp32"): Footprint(150 * _MIB, 7, 0.8),
    Runtime("openvino", "fp32"): Footprint(185 * _MIB, 2, 0.8),
    Runtime("openvino", "bf16"): Footprint(190 * _MIB, 2, 0.7),
    Runtime("openvino", "int8"): Footprint(190 * _MIB, 2, 0.7),
}
"""By what workers of a run show in ``benchmarks/memory.py`` (``docs/speed.md``): chips of two sizes, one
and two of them at once. They keep freed memory for the next array, so that a chip takes more than what is
alive of it."""


_ON_GPU: Final = {
    "torch": Footprint(1240 * _MIB, 3, 0.05),
    "torch-compile": Footprint(1290 * _MIB, 3, 0.05),
}
"""Of the host's memory, as ``benchmarks/memory.py --gpu`` shows it (``docs/gpu.md``): CUDA's libraries,
mostly; activations are on the GPU, and what travels there is pinned."""


def memory_of(runtime: Runtime, *, gpu: bool = False) -> Footprint:
    """What ``runtime`` takes of a worker's memory; as in fp32 where nothing else is known.

    A worker that computes by another engine never loads torch. With ``gpu`` it is the memory of the
    host, where a GPU computes; of onnxruntime on one, torch's, as it was not measured.
    """
    if gpu:
        return _ON_GPU.get(runtime.engine, _ON_GPU["torch"])
    return _FOOTPRINTS.get(runtime, _FOOTPRINTS[Runtime(runtime.engine)])


def _plain(runtime: Runtime) -> Runtime:
    """Compiled or not, it is torch."""
    return Runtime("torch", runtime.precision) if runtime.engine == "torch-compile" else runtime


def is_installed(engine: Engine) -> bool:
    """Whether the engine's packages are there."""
    return all(find_spec(name) is not None for name in NEEDS[engine])


def check_precision(engine: Engine, precision: str) -> None:
    """Refuse what the engine does not compute in.

    Raises:
        ModelError: Says what it does.
    """
    if engine not in PRECISIONS:
        raise ModelError(f"engine {engine!r}: wanted {', '.join(ENGINES)}")
    if precision not in PRECISIONS[engine]:
        raise ModelError(
            f"engine {engine!r} does not compute in {precision!r}: wanted "
            f"{' or '.join(PRECISIONS[engine])}"
        )


def check_versions(runtime: Runtime, wanted: Mapping[str, str]) -> None:
    """Refuse a machine whose engine is not the one that a run was begun with.

    Torch is left out: its builds for CPUs and GPUs have different versions.

    Raises:
        ModelError: Says what is here, and what is wanted.
    """
    if _plain(runtime).engine == "torch":
        return
    for name, version in wanted.items():
        found = version_of(name)
        if found != version:
            raise ModelError(
                f"engine {runtime}: {name} {found} is here, the run was begun with {version}: "
                f"install the same on all workers"
            )


@cache
def version_of(package: str) -> str:
    """The version that is installed, or ``"missing"``, as this process found it first."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def has_bf16() -> bool:
    """Whether the CPU computes in bf16 itself; where it does not say, it may."""
    words = processor().split()
    said = any(word in words for word in ("flags", "Features"))
    return not said or any(word in words for word in ("avx512_bf16", "amx_bf16", "bf16"))


def processor() -> str:
    """What the CPU calls itself: trials on one say nothing of another."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(dict.fromkeys(kept)) or f"{platform.machine()} {platform.processor()}"
