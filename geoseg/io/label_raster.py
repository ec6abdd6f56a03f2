"""Class codes and confidences from rasters of anyone's, on any grid that is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_raster import check_placed, read_legend
from geoseg.io.grids import same_grid
from geoseg.io.headers import Header, read_header
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef
from geoseg.ops.classify import NO_CONFIDENCE
from geoseg.scene import Scene

NO_LABEL = -1
_BAND = "labels"


class _Numbers:
    """The first band of a file, laid onto a grid by nearest neighbour."""

    def __init__(self, path: Path, grid: GeoBox | None, index: int = 1) -> None:
        # What is usual in a workflow's scenes must be said in other words of a single raster.
        check_placed(path)
        header = read_header(str(path))
        ref = BandRef(str(path), index, scale=1.0, offset=0.0, resampling="nearest")
        band = header.band(_BAND, ref)
        mask = header.own_mask()
        self.path = path
        self.grid = grid or header.grid
        self.dtype = np.dtype(band.dtype)
        masks = () if mask is None else (mask,)
        self._pixels = ScenePixels(Scene(str(path), {_BAND: band}, self.grid, masks))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(y, x)`` as stored, and where there are any."""
        patch = self._pixels.read([_BAND], window)
        return patch.values[0], patch.valid

    def close(self) -> None:
        """Let go of open files."""
        self._pixels.close()


class LabelRaster(_Numbers):
    """Class codes. Implements :class:`geoseg.steps.assess.Labels`.

    Whole numbers in a file of floating point are codes, too; -1 is none. May be read from several threads.

    Args:
        path: The file.
        grid: What windows refer to; the file's own without it.
        index: Of the band, from 1; names are those of the first.

    Raises:
        SceneError: It cannot be opened, has no CRS, or holds complex numbers.
    """

    kind = "raster"
    coded = True

    def __init__(self, path: Path, grid: GeoBox | None = None, index: int = 1) -> None:
        super().__init__(path, grid, index)
        self.names = named_codes(path)

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes 0..255 of a window ``(y, x)``; :data:`NO_LABEL` where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
        """
        values, valid = self.read(window)
        valid &= values != NO_LABEL  # what sets of labels often have where nobody has looked
        strange = valid & ~((values >= 0) & (values <= 255) & (values == np.floor(values)))
        if strange.any():
            raise SceneError(
                f"{self.path}: holds {values[strange][0]}; class codes are whole numbers 0 to 255"
            )
        codes = values.astype(np.int16)
        codes[~valid] = NO_LABEL
        return codes


class SceneCodes(LabelRaster):
    """Class codes of any band of a raster, on the grid of the scene that they are labels of.

    A file that does not say where it lies is laid onto the scene pixel by pixel. A code that is
    ``listed`` counts even where the file calls it nodata. May be read from several threads.

    Args:
        path: The file.
        scene: What it labels.
        band: Number of the band.
        listed: Codes that stand for something.
        trim: Take a file without a place that is larger than the scene, and leave out its right
            and lower rim.

    Raises:
        SceneError: It cannot be opened, or does not fit the scene.
    """

    def __init__(
        self,
        path: Path,
        scene: Scene,
        *,
        band: int = 1,
        listed: Collection[int] = (),
        trim: bool = False,
    ) -> None:
        header = read_header(str(path), placeless=True)
        header.check_index(band, "labels")
        own = header.nodata[band - 1]
        hole = None if own is None or own in listed else own
        self.path, self.names = path, named_codes(path)
        self.grid = scene.grid
        placed = _placed(header, scene, trim=trim)
        ref = BandRef(str(path), band, 1.0, 0.0, "none" if hole is None else hole, "nearest")
        numbers = replace(header.band(_BAND, ref), grid=placed)
        self.dtype = np.dtype(numbers.dtype)
        # Of more than two bands none is an alpha band of codes, whatever its colour says.
        mask = header.own_mask() if header.masked or (header.count == 2 and band == 1) else None
        masks = () if mask is None or own is not None else (replace(mask, grid=placed),)
        # A file without a place may be larger than the scene: its own pixels are what is read.
        grid = placed if header.grid.crs is None else scene.grid
        self._pixels = ScenePixels(Scene(str(path), {_BAND: numbers}, grid, masks))


def _placed(header: Header, scene: Scene, *, trim: bool) -> GeoBox:
    """Where a label raster lies.

    Raises:
        SceneError: That is not known, or beside the scene.
    """
    grid, image = scene.grid, scene.sources[0]
    if header.grid.crs is None:
        sizes = list(zip(header.grid.shape, grid.shape, strict=True))
        larger = all(label >= pixels for label, pixels in sizes)
        if not larger or (header.grid.shape != grid.shape and not trim):
            hint = "; set labels.trim: true to cut its right and lower rim" if larger else ""
            raise SceneError(
                f"{header.uri}: has {_by(header.grid)} pixels and does not say where it lies; "
                f"{image} has {_by(grid)}, and only labels of the same size can be laid "
                f"onto it{hint}"
            )
        return GeoBox(header.grid.shape, grid.affine, grid.crs)
    if grid.crs is None:
        raise SceneError(
            f"{image}: does not say where it lies, but its labels {header.uri} do: give the image "
            f"its CRS and geotransform (gdal_edit.py -a_srs -a_ullr)"
        )
    return grid if same_grid(header.grid, grid) else header.grid


def _by(grid: GeoBox) -> str:
    return f"{grid.shape[0]} x {grid.shape[1]}"


class ConfidenceRaster(_Numbers):
    """How sure a model was, in 0..1: from whole percents (255: nothing) or shares of 1.

    May be read from several threads.

    Raises:
        SceneError: It cannot be opened, or has no CRS.
    """

    def shares(self, window: Window) -> NDArray[np.float64]:
        """Confidence ``(y, x)`` in 0..1, NaN where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number out of range.
        """
        values, valid = self.read(window)
        whole = self.dtype.kind in "iu"
        if whole:
            valid &= values != NO_CONFIDENCE
        most = 100 if whole else 1
        strange = valid & ~((values >= 0) & (values <= most))
        if strange.any():
            raise SceneError(
                f"{self.path}: holds {values[strange][0]}; a confidence is a whole percent "
                f"0 to 100, or in floating point 0 to 1"
            )
        return np.where(valid, values.astype(np.float64) / most, np.nan)


def named_codes(path: Path) -> dict[int, str]:
    """Names of the codes that a raster names.

    Raises:
        SceneError: The file cannot be opened.
    """
    return {c.value: c.name for c in read_legend(path).classes if c.name != f"Class {c.value}"}
