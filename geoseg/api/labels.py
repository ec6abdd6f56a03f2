"""Label sets: what they are, as a hash for a model's card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from geoseg.io.label_files import LabelFile, RasterLabels, VectorLabels, read_vector
from geoseg.ops.content_hash import RasterContent, features_digest, set_hash
from geoseg.run.resources import available_cores

__all__ = ["LabelFile", "content_hash"]


def content_hash(
    files: Iterable[LabelFile],
    *,
    names: Mapping[int, str] | None = None,
    workers: int | None = None,
) -> str:
    """The content hash of a set of labels, for a model's card: ``sha256:v1:`` and 64 hex digits.

    It does not depend on file formats, compression, or the order of files and features, and
    changes with any label, place or name: see :mod:`geoseg.ops.content_hash`.

    Args:
        files: All of the set, in any order.
        names: Of codes, instead of what the files call them: those of the legend that is trained
            on.
        workers: Files that are read at once; one a core without it.

    Raises:
        InputError: A file cannot be read.
    """
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        return set_hash(pool.map(lambda file: layer_digest(file, names), files))


def layer_digest(file: LabelFile, names: Mapping[int, str] | None = None) -> bytes:
    """The digest of one file.

    Raises:
        InputError: It cannot be read.
    """
    if file.is_vector:
        return vector_digest(read_vector(file), names)
    raster, content = RasterLabels(file), RasterContent()
    for window in raster.strips():
        content.add(raster.codes(window))
    return raster_digest(raster, content, names)


def raster_digest(
    raster: RasterLabels, content: RasterContent, names: Mapping[int, str] | None = None
) -> bytes:
    """The digest of a raster all of whose strips have been added to ``content``."""
    grid = raster.grid if raster.placed else None
    return content.digest(grid, raster.path.stem, raster.names if names is None else names)


def vector_digest(vector: VectorLabels, names: Mapping[int, str] | None = None) -> bytes:
    """The digest of a vector layer that was read."""
    return features_digest(vector.crs.proj, vector.labels, vector.shapes, names or {})
