"""What a result depends on, as hashes: inputs, model, settings, code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geoseg
from geoseg.redaction import without_secrets

WHOLE_FILE_BYTES = 256 * 2**20
"""Up to this size a file is hashed whole; beyond, in samples (with size and time of change)."""

SAMPLES = 64
SAMPLE_BYTES = 2**20

CODE = (
    "ops",
    "steps",
    "models",
    "io/reader.py",
    "io/remote.py",
    "io/vrt.py",
    "io/combining.py",
    "io/composite.py",
    "io/members.py",
    "io/environment.py",
    "grid.py",
    "scene.py",
)
"""What of the package changes the pixels and polygons of a result."""

LIBRARIES = ("numpy", "rasterio", "torch", "shapely")


def digest(value: Any) -> str:
    """sha256 of a JSON-able value, whatever the order of its keys and the signatures in it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    text = without_secrets(text)  # an address that is signed anew means the same file
    return hashlib.sha256(text.encode()).hexdigest()


def inputs(sources: Iterable[str]) -> list[dict[str, Any]]:
    """Every file that is read, with its size and hash; remote ones by name only."""
    return [_describe(uri) for uri in sources]


def parts(
    *, sources: list[dict[str, Any]], model: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, str]:
    """One hash for each thing that a result depends on, so that a change can be named."""
    return {
        "inputs": digest(sources),
        "model": digest(model),
        "settings": digest(settings),
        "code": code(),
    }


@cache
def code() -> str:
    """Hash of the code that changes results, and of the libraries that do."""
    root = Path(geoseg.__file__).parent
    files = [
        file
        for name in CODE
        for file in ([root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py")))
    ]
    hashes = {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    return digest([hashes, software()])


@cache
def software() -> dict[str, str]:
    """Versions of geoseg and of the libraries that results depend on."""
    return {"geoseg": geoseg.__version__} | {name: version(name) for name in LIBRARIES}


def _describe(uri: str) -> dict[str, Any]:
    path = Path(uri)
    if not path.is_file():
        return {"href": without_secrets(uri)}
    stat = path.stat()
    about: dict[str, Any] = {"href": uri, "bytes": stat.st_size}
    if stat.st_size <= WHOLE_FILE_BYTES:
        with path.open("rb") as file:
            return about | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return about | {"modified": stat.st_mtime_ns, "sha256_of_samples": _sampled(path, stat.st_size)}


def _sampled(path: Path, size: int) -> str:
    """Hash of evenly spread samples: a changed header or many changed tiles are noticed."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek(i * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            hasher.update(file.read(SAMPLE_BYTES))
    return hasher.hexdigest()
