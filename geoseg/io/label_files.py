"""Label files as they are, for looking at them: what a map would refuse is read here, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from geoseg.errors import InputError, SceneError
from geoseg.grid import Window, full_window
from geoseg.io.class_names import read_labels
from geoseg.io.feature_values import features_where, label_of
from geoseg.io.label_raster import NO_LABEL
from geoseg.io.label_vectors import SUFFIXES, pick_column, read_table
from geoseg.io.patterns import find
from geoseg.io.plain_raster import PlainRaster

_STRIP = 1 << 22  # pixels that are read at once, row by row


@dataclass(frozen=True, slots=True)
class LabelFile:
    """Where labels are.

    Attributes:
        path: A raster, or a vector file.
        band: Of a raster.
        layer: Of a vector file that has several.
        column: Of a vector file: class names or codes.
        name: The class of all features of a vector file, instead of a column.
        where: Which features of a vector file count: columns, and what they are or hold.
    """

    path: Path
    band: int = 1
    layer: str | None = None
    column: str | None = None
    name: str | None = None
    where: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_vector(self) -> bool:
        """Whether it is not a raster."""
        return (
            self.column is not None or self.name is not None or self.path.suffix.lower() in SUFFIXES
        )


class RasterLabels(PlainRaster):
    """A band of a raster of labels, which may lie nowhere and hold anything.

    Attributes:
        names: By code, as the file says.
        colors: By code, likewise.
        dtype: Of the numbers.

    Raises:
        SceneError: It cannot be opened, has no such band, or holds complex numbers.
    """

    def __init__(self, file: LabelFile) -> None:
        super().__init__(file.path)
        source = self.source()
        self._band = file.band
        if not 1 <= file.band <= source.count:
            raise SceneError(f"{file.path}: no band {file.band}; it has {source.count}")
        self.dtype = np.dtype(source.dtypes[file.band - 1])
        if self.dtype.kind == "c":
            raise SceneError(f"{file.path}: holds complex numbers, no labels")
        said = read_labels(file.path, source)
        # Tables and palettes are of the first band.
        self.names = dict(said.names) if file.band == 1 else {}
        self.colors = dict(said.colors) if file.band == 1 else {}
        self._nodata = source.nodatavals[file.band - 1]
        self._masked = _masked(source, file.band)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(y, x)`` as stored, and where there are any.

        Raises:
            SceneError: It cannot be read there.
        """
        values = self.bands([self._band], window)[0]
        valid = np.ones(values.shape, np.bool_)
        if self._masked:
            valid = self.bands([self._band], window, masks=True)[0] != 0
        if self._nodata is not None:
            valid &= values != self._nodata
        if self.dtype.kind == "f":
            valid &= np.isfinite(values)
        return values, valid

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes 0..255 ``(y, x)``; :data:`NO_LABEL` where there is none, or no such number."""
        values, valid = self.read(window)
        whole = (values >= 0) & (values <= 255)
        if self.dtype.kind == "f":
            whole &= values == np.floor(values)
        good = valid & whole
        return np.where(good, np.where(good, values, 0).astype(np.int16), NO_LABEL)

    def strips(self) -> Iterator[Window]:
        """Windows of full width, from top to bottom."""
        height, width = (int(n) for n in self.grid.shape)
        rows = max(1, _STRIP // width)
        for top in range(0, height, rows):
            yield Window(top, 0, top + rows, width) & full_window(self.grid)


def _masked(source: DatasetReader, band: int) -> bool:
    """Whether a mask hides pixels; a band of four that only GDAL takes for alpha does not."""
    flags = source.mask_flag_enums[band - 1]
    if MaskFlags.alpha in flags:
        said = source.descriptions[source.colorinterp.index(ColorInterp.alpha)]
        return said is None or "alpha" in said.casefold()
    return MaskFlags.per_dataset in flags


@dataclass(frozen=True, slots=True, eq=False)
class VectorLabels:
    """Labelled features as they are.

    Attributes:
        path: Of the file.
        crs: Of the shapes.
        shapes: ``(feature,)``, none of them missing or empty.
        labels: ``(feature,)`` codes or names, as written.
        rows: ``(feature,)`` number of each in the file, from 0.
        unlabelled: Features without a label.
        shapeless: Features without a shape.
        kinds: Features by kind of shape.
    """

    path: Path
    crs: CRS
    shapes: NDArray[np.object_]
    labels: tuple[int | str, ...]
    rows: NDArray[np.int64]
    unlabelled: int
    shapeless: int
    kinds: Mapping[str, int]


def read_vector(file: LabelFile) -> VectorLabels:
    """Read all features of a vector file.

    Raises:
        InputError: It cannot be read, or layer, column or CRS are not clear.
    """
    frame = read_table(file.path, file.layer).reset_index(drop=True)
    if not len(frame):
        raise InputError(f"{file.path}: no features")
    frame = features_where(file.path, frame, file.where, "where")
    if file.name is not None:
        labels: list[int | str | None] = [file.name] * len(frame)
    else:
        labels = [label_of(value) for value in frame[pick_column(file.path, frame, file.column)]]
    shapes = np.asarray(frame.geometry.values)
    drawn = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    given = np.array([label is not None for label in labels])
    keep = drawn & given
    return VectorLabels(
        file.path,
        CRS(frame.crs.to_wkt()),
        shapes[keep],
        tuple(
            label for label, kept in zip(labels, keep, strict=True) if kept and label is not None
        ),
        frame.index.to_numpy(np.int64)[keep],
        int((drawn & ~given).sum()),
        int((~drawn).sum()),
        Counter(shape.geom_type for shape in shapes[keep]),
    )


def expand(paths: Sequence[Path | str]) -> list[Path]:
    """Files, and those that patterns mean; each once, in order.

    Raises:
        SceneError: There is no such file.
    """
    found: dict[Path, None] = {}
    for path in paths:
        text = str(path)
        # What is found is absolute: shown is what was asked for.
        base = None if Path(text).expanduser().is_absolute() else Path.cwd()
        for _, match in find(text):
            file = Path(match)
            inside = base is not None and file.is_relative_to(base)
            found[file.relative_to(base) if base is not None and inside else file] = None
    return list(found)
