"""What a result depends on, as hashes: inputs, model, settings, code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import geoseg
from geoseg.errors import ProductError
from geoseg.io.dataset_files import GDAL, dataset_files
from geoseg.io.staging import store_place
from geoseg.redaction import without_secrets
from geoseg.scene import Scene

WHOLE_FILE_BYTES = 256 * 2**20
"""Up to this size a file is hashed whole; beyond, in samples (with size and times of change)."""

SAMPLES = 64
SAMPLE_BYTES = 2**20

CODE = (
    "ops",
    "steps",
    "models",
    "io/arcs.py",
    "io/area.py",
    "io/band_groups.py",
    "io/base.py",
    "io/chunk_objects.py",
    "io/combining.py",
    "io/composite.py",
    "io/environment.py",
    "io/grids.py",
    "io/handles.py",
    "io/headers.py",
    "io/limits.py",
    "io/made_once.py",
    "io/members.py",
    "io/mmu_files.py",
    "io/opening.py",
    "io/reader.py",
    "io/remote.py",
    "io/target_grid.py",
    "io/tiles.py",
    "io/trust.py",
    "io/vrt.py",
    "io/whole_files.py",
    "io/zarr_group.py",
    "io/zarr_store.py",
    "api/jobs.py",
    "api/minimum.py",
    "grid.py",
    "legend.py",
    "plan/scene.py",
    "plan/wishes.py",
    "scene.py",
)
"""What of the package changes the pixels and polygons of a result: all that workers load to make
blocks, but for what only tells, asks or moves (a test holds the two against each other)."""

LIBRARIES = (
    "numpy",
    "rasterio",
    "torch",
    "shapely",
    "pyproj",
    "odc-geo",
    "numba",
    "timm",
    "segmentation-models-pytorch",
    "transformers",
)
"""Libraries that results depend on; those that are not installed cannot change any."""


def digest(value: Any) -> str:
    """sha256 of a JSON-able value, whatever the order of its keys and the signatures in it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    text = without_secrets(text)  # an address that is signed anew means the same file
    return hashlib.sha256(text.encode()).hexdigest()


class FileState(NamedTuple):
    """What tells that a file may be another now: bytes, and nanoseconds of its last changes.

    ``changed`` is that of content or status (ctime), which no program can set.
    """

    size: int
    modified: int
    changed: int


def files(sources: Iterable[str]) -> list[str]:
    """All files that rasters are read from, each once; see :func:`dataset_files`."""
    return list(dict.fromkeys(file for uri in sources for file in dataset_files(uri)))


def states(paths: Iterable[str]) -> dict[str, FileState]:
    """Of the files on this machine. Taken before they are hashed, and compared after all is read."""
    found = {}
    for path in paths:
        with suppress(OSError, ValueError):
            stat = Path(path).stat()
            found[path] = FileState(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def check_states(before: Mapping[str, FileState]) -> None:
    """Refuse to make products of files of which some blocks may have seen another content.

    Raises:
        ProductError: A file is not as it was when the run began.
    """
    now = states(before)
    for path, was in before.items():
        if now.get(path) != was:
            what = "was changed" if path in now else "went away"
            raise ProductError(
                f"{path}: {what} while it was read; the map would be a mixture of both, so no "
                f"products are made of it. Run again once the file is complete: it starts anew"
            )


def inputs(sources: Iterable[str]) -> list[dict[str, Any]]:
    """Every file that is read, with its size and hash; remote ones by name only."""
    return [_describe(uri) for uri in sources]


def meaning(scene: Scene) -> list[Any]:
    """How the numbers of a scene's files are read, as far as their headers decide it.

    An ``.aux.xml`` beside a file may change that, without a byte of the file.
    """
    if scene.combined is not None:
        return [[one.id, *meaning(one)] for one in scene.combined.scenes]
    bands = {
        name: [b.index, b.dtype, b.scale, b.offset, b.nodata, b.resampling, repr(b.grid)]
        for name, b in scene.bands.items()
    }
    masks = [[m.index, m.kind, m.values, m.dilate, repr(m.grid)] for m in scene.masks]
    return [bands, masks, scene.units]


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
    """Versions of geoseg, and of GDAL and the libraries that results depend on."""
    found = {"geoseg": geoseg.__version__, "gdal": GDAL}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _describe(uri: str) -> dict[str, Any]:
    path = Path(uri)
    if not path.is_file():
        return {"href": without_secrets(uri)}
    stat = path.stat()
    away = store_place(path)  # the same from whatever machine, however often it is brought here
    about: dict[str, Any] = {"href": str(away or uri), "bytes": stat.st_size}
    if stat.st_size <= WHOLE_FILE_BYTES:
        with path.open("rb") as file:
            return about | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    # Nobody can set the last one back: a file that was replaced by one of the same size and time of
    # change is another, wherever the samples lie.
    times = {"modified": stat.st_mtime_ns, "changed": stat.st_ctime_ns}
    sampled = {"sha256_of_samples": _sampled(path, stat.st_size)}
    return about | (times if away is None else {}) | sampled


def _sampled(path: Path, size: int) -> str:
    """Hash of evenly spread samples: a changed header or many changed tiles are noticed."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek(i * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            hasher.update(file.read(SAMPLE_BYTES))
    return hasher.hexdigest()
