"""Networks of torch as ONNX for other engines: converted once, kept by content in a cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.engines import version_of
from geoseg.models.formats import ONNX, by_name
from geoseg.models.registry import ModelPackage

CACHE = "GEOSEG_CACHE"
"""Environment variable: the folder of what can be made again; else ``~/.cache/geoseg``."""

_MAKERS = ("torch", "onnx", "timm", "segmentation-models-pytorch")


def cache_folder() -> Path:
    """Where converted networks and trials of engines are kept; it may not be there yet."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        # Relative ones are to be ignored, says the XDG base directory specification.
        return (base if base.is_absolute() else Path.home() / ".cache") / "geoseg"
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"geoseg-{os.getuid()}")  # users without a home


def as_onnx(package: ModelPackage) -> ModelPackage:
    """The package with its network as ONNX; converted where nobody has yet, which takes seconds.

    Conversion compares the scores with torch's on a fixed chip before it lets anything out. A
    package that is ONNX already is given back as it is.

    Raises:
        ModelError: The network cannot be converted, or the packages for it are missing.
    """
    if package.weights is None:
        raise ModelError(
            f"model {package.card.name!r} has no weights: it must be trained before use"
        )
    if by_name(package.weights.name) is ONNX:
        return package
    folder = cache_folder() / "networks" / _key(package)
    file = folder / "network.onnx"
    if not file.is_file():
        _convert(package, file)
    card = replace(package.card, weights=file.name, sha256=None, output="logits")
    return ModelPackage(card, folder, package.allow_code)


def _convert(package: ModelPackage, file: Path) -> None:
    """Write ``file``; whole, or not at all. Two that do it at once write the same."""
    from geoseg.models.exporting import Wish, write_export  # noqa: PLC0415 (torch takes seconds)

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".making-") as room:
            made = Path(room, file.name)
            write_export(package, made, Wish("onnx"))
            made.replace(file)
    except OSError as error:
        raise ModelError(
            f"{file}: cannot be written: {error.strerror or error}; set {CACHE} to a folder that "
            f"can"
        ) from error


def _key(package: ModelPackage) -> str:
    """Hash of all that decides what the conversion gives."""
    weights = package.weights
    assert weights is not None, "asked for a package without weights"  # noqa: S101 (its only caller looks)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    card = replace(package.card, about={})
    about = [digest, repr(card), package.card.about.get("temperature"), code()]
    versions = {name: version_of(name) for name in _MAKERS}
    return hashlib.sha256(json.dumps([*about, versions]).encode()).hexdigest()[:32]


@cache
def code() -> str:
    """Hash of this floor's own code: what builds, converts and runs networks."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
