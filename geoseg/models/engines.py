"""What can compute a network: engines and number formats by name. Imports none of them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from geoseg.errors import ModelError

Engine = Literal["torch", "onnxruntime", "openvino"]
ENGINES: Final[tuple[Engine, ...]] = ("torch", "onnxruntime", "openvino")

Precision = Literal["fp32", "bf16", "fp16"]

PRECISIONS: Final[dict[Engine, tuple[Precision, ...]]] = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16"),
}
"""What each of them computes in; of the same precision, not the same bits."""

NEEDS: Final[dict[Engine, tuple[str, ...]]] = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
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
    if runtime.engine == "torch":
        return
    for name, version in wanted.items():
        found = version_of(name)
        if found != version:
            raise ModelError(
                f"engine {runtime}: {name} {found} is here, the run was begun with {version}: "
                f"install the same on all workers"
            )


def version_of(package: str) -> str:
    """The version that is installed, or ``"missing"``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def processor() -> str:
    """What the CPU calls itself: trials on one say nothing of another."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(dict.fromkeys(kept)) or f"{platform.machine()} {platform.processor()}"
