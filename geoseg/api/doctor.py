"""What is installed, what this machine has, and what would mend what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

from geoseg.errors import GeosegError
from geoseg.models.registry import available
from geoseg.run.resources import available_cores, available_memory

LEAST_MEMORY = 3 * 2**30
LEAST_DISK = 2 * 2**30
_PACKAGES = ("numpy", "rasterio", "pyogrio", "shapely", "zarr", "distributed", "torch", "timm")
_OPTIONAL = {
    "onnx": "opens and writes ONNX models",
    "openvino": "makes CPUs several times as fast",
    "transformers": "opens models of Hugging Face",
}


class Finding(NamedTuple):
    """One thing that was looked at; ``mend`` is the command or setting that helps."""

    what: str
    found: str
    ok: bool
    mend: str = ""


def examine() -> list[Finding]:
    """Look at all of it."""
    machine = [_machine(), _memory(), _disk(), _models()]
    return [_python(), *_packages(), _torch(), *machine, *_optional()]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", found, sys.version_info >= (3, 11), "install Python 3.11 or newer")


def _packages() -> list[Finding]:
    findings = []
    for name in _PACKAGES:
        try:
            findings.append(Finding(name, version(name), ok=True))
        except PackageNotFoundError:
            findings.append(Finding(name, "missing", ok=False, mend=f"pip install {name}"))
    return findings


def _optional() -> list[Finding]:
    """What geoseg works without; the command is told all the same."""
    findings = []
    for name, what in _OPTIONAL.items():
        there = find_spec(name) is not None
        found = version(name) if there else f"not installed; pip install 'geoseg[{name}]' {what}"
        findings.append(Finding(f"{name} (optional)", found, ok=True))
    return findings


def _torch() -> Finding:
    """Asked in another process: importing torch here would slow down everything after."""
    if find_spec("torch") is None:
        return Finding("compute", "no torch", ok=False, mend="pip install torch torchvision")
    code = (
        "import torch, torchvision;"
        "print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        return Finding(
            "compute",
            f"torch does not load: {done.stderr.strip().splitlines()[-1:]}",
            ok=False,
            mend="install torch and torchvision together, from the same index",
        )
    return Finding("compute", done.stdout.strip(), ok=True)


def _machine() -> Finding:
    return Finding("cores", str(available_cores()), ok=True)


def _memory() -> Finding:
    memory = available_memory()
    mend = "set cluster.workers: 1 and a smaller tiling.size"
    return Finding("memory", f"{memory / 1e9:.1f} GB", memory >= LEAST_MEMORY, mend)


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    mend = "free some space, or set TMPDIR to another disk"
    return Finding(f"disk ({folder})", f"{free / 1e9:.1f} GB free", free >= LEAST_DISK, mend)


def _models() -> Finding:
    try:
        names = [card.name for card in available()]
    except GeosegError as error:
        return Finding("models", str(error), ok=False, mend="set GEOSEG_MODELS right, or unset it")
    return Finding("models", ", ".join(names) or "none", bool(names), "reinstall geoseg")
