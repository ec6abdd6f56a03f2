"""Bands of a scene that are read in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.grid import GeoBox
from geoseg.io.grids import shift_between
from geoseg.ops.validity import fitting_nodata
from geoseg.scene import Band


@dataclass(frozen=True, slots=True)
class Group:
    """Bands that are read in one call, and where they go among those asked for."""

    positions: tuple[int, ...]
    bands: tuple[Band, ...]

    @property
    def indexes(self) -> tuple[int, ...]:
        """Of the bands in their file."""
        return tuple(band.index for band in self.bands)


def groups_of(bands: Sequence[Band], grid: GeoBox) -> list[Group]:
    """Bands by file; those that are resampled also by how."""
    found: dict[tuple[object, ...], list[int]] = {}
    for position, band in enumerate(bands):
        key: tuple[object, ...] = (band.uri,)
        if shift_between(band.grid, grid) is None:
            key = (band.uri, band.grid, band.dtype, band.resampling, repr(gaps(band)))
        found.setdefault(key, []).append(position)
    return [Group(tuple(at), tuple(bands[i] for i in at)) for at in found.values()]


def gaps(band: Band) -> float | None:
    """What GDAL is told to leave out of a weighted mean."""
    dtype = np.dtype(band.dtype)
    nodata = fitting_nodata(dtype, band.nodata)
    if nodata is None and np.issubdtype(dtype, np.floating):
        return float("nan")
    return nodata
