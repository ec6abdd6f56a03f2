"""Label files with the images that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.grids import same_grid
from geoseg.io.label_files import LabelFile, RasterLabels, VectorLabels, read_vector
from geoseg.io.label_images import PlainImage
from geoseg.io.label_raster import NO_LABEL, LabelRaster
from geoseg.io.label_vectors import Features, LabelPolygons
from geoseg.ops.content_hash import tidy

_OUTSIDE = 256

Codes = Callable[[Window], NDArray[np.int16]]


@dataclass(frozen=True, slots=True, eq=False)
class LabelItem:
    """A label file, opened.

    Attributes:
        file: Where it is.
        part: Of the split that it belongs to; "" where there is none.
        labels: What it holds.
        images: Of the same place; of a raster at most one.
    """

    file: LabelFile
    part: str
    labels: RasterLabels | VectorLabels
    images: tuple[PlainImage, ...]

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(self.file.path)

    @property
    def grid(self) -> GeoBox:
        """Of a raster: where it lies, as far as the file or an image of its size says."""
        if isinstance(self.labels, VectorLabels):
            raise TypeError("polygons have no grid")
        own = self.labels.grid
        if not self.labels.placed and self.images and self.images[0].grid.shape == own.shape:
            return self.images[0].grid
        return own


def open_items(
    parts: dict[str, Sequence[LabelFile]], images: Sequence[Path]
) -> tuple[LabelItem, ...]:
    """Open all label files and find their images.

    One image belongs to one label file; of several the one that is called alike; all of them to
    a single vector file.

    Raises:
        InputError: A file cannot be read, or is there twice, or no image belongs to any label.
    """
    opened = [PlainImage(path) for path in images]
    by_stem = {image.path.stem: image for image in opened}
    found = []
    files = [(part, file) for part, some in parts.items() for file in some]
    seen: set[tuple[Path, int, str | None]] = set()
    for part, file in files:
        key = (file.path.resolve(), file.band, file.layer)
        if key in seen:
            raise InputError(f"{file.path}: is there twice")
        seen.add(key)
        labels = read_vector(file) if file.is_vector else RasterLabels(file)
        own = by_stem.get(file.path.stem)
        if len(files) == 1 and (file.is_vector or len(opened) == 1):
            mine = tuple(opened)
        else:
            mine = (own,) if own is not None else ()
        found.append(LabelItem(file, part, labels, mine))
    if opened and not any(item.images for item in found):
        raise InputError(
            f"image: none of {len(opened)} images is called like a label file "
            f"({opened[0].path.name}, {files[0][1].path.name})"
        )
    return tuple(found)


def codes_on(item: LabelItem, image: PlainImage) -> tuple[Codes, ...] | str:
    """Ways to read labels on an image's grid, to be taken together, or why that cannot be done.

    Labels on another grid are seen at pixel centres, which moves their edges by up to half a pixel,
    all alike if the two grids are out of step. Seen at a quarter of a pixel before and behind the
    centres, they lie right on average.
    """
    labels = item.labels
    if isinstance(labels, VectorLabels):
        return _polygons_on(labels, image)
    if labels.placed and image.placed:
        if same_grid(labels.grid, image.grid):
            return (labels.codes,)
        file = item.file
        return tuple(LabelRaster(file.path, g, file.band).codes for g in _beside(image.grid))
    if labels.grid.shape == image.grid.shape:
        return (labels.codes,)
    return "labels and image are not of one size, and lie nowhere"


def _polygons_on(labels: VectorLabels, image: PlainImage) -> tuple[Codes, ...] | str:
    if not image.placed:
        return "the image does not say where it lies"
    if labels.kinds.keys() - {"Polygon", "MultiPolygon"}:
        return "only polygons have edges"
    features = as_features(labels)
    return tuple(_Outlined(LabelPolygons(features, grid)) for grid in _beside(image.grid))


def _beside(grid: GeoBox) -> list[GeoBox]:
    """The grid, moved by a quarter of a pixel either way."""
    moves = (Affine.translation(part, part) for part in (-0.25, 0.25))
    return [GeoBox(grid.shape, grid.affine @ move, grid.crs) for move in moves]


@dataclass(frozen=True, slots=True)
class _Outlined:
    """Polygons in front of what is around them: that too is something else than they are."""

    polygons: LabelPolygons

    def __call__(self, window: Window) -> NDArray[np.int16]:
        codes = self.polygons.codes(window)
        codes[codes == NO_LABEL] = _OUTSIDE
        return codes


def as_features(labels: VectorLabels) -> Features:
    """The same features with a code for each of their labels.

    Raises:
        InputError: There are more than 256 different labels.
    """
    keys = [label if isinstance(label, int) else tidy(label) for label in labels.labels]
    known = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    if len(known) > 256:
        raise InputError(f"{labels.path}: has {len(known)} different labels")
    first = {known[key]: str(label) for key, label in zip(keys, labels.labels, strict=True)}
    codes = np.array([known[key] for key in keys], np.int16)
    return Features(labels.path, "polygons", labels.shapes, codes, first, labels.crs, 0, {})
