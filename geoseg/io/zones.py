"""Zones from a vector file on a raster's grid: how much of each pixel each of them covers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from odc.geo.crs import CRS

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.label_vectors import in_pixels, read_table
from geoseg.ops.metric import Metric
from geoseg.ops.zonal import Coverage, pixel_counts, whole

TILE = 256
"""Pixels; coverage is computed in tiles of the grid, so that no block changes its last digits."""

_POLYGONS = ("Polygon", "MultiPolygon")
_ASKING = threading.Lock()  # what GEOS prepares of a shape is no two threads' business


@dataclass(frozen=True, slots=True)
class Zones:
    """Named polygons that touch a grid; a single one everywhere where no polygons are asked for.

    Attributes:
        names: ``(zone,)``.
        shapes: ``(zone,)`` in the CRS of their file; empty for the zone that is everywhere.
        crs: Of the shapes.
        bounds: ``(zone, 4)`` of first and last column and row: x0, y0, x1, y1, in pixels.
    """

    names: tuple[str, ...]
    shapes: NDArray[np.object_]
    crs: CRS | None
    bounds: NDArray[np.float64]
    _pixels: NDArray[np.object_]

    @classmethod
    def everywhere(cls, grid: GeoBox, name: str = "all") -> Zones:
        """One zone that is the whole grid."""
        height, width = full_window(grid).shape
        none = np.empty(0, object)
        return cls((name,), none, None, np.array([[0.0, 0.0, width, height]]), none)

    @classmethod
    def read(cls, path: Path, grid: GeoBox, *, name: str | None, layer: str | None = None) -> Zones:
        """The polygons of a file that touch ``grid``; those of the same name are one zone.

        Args:
            path: Anything that GDAL reads, or GeoParquet.
            grid: Of the raster.
            name: Column of the names; may be left out where there is one, or one called name.
            layer: May be left out where there is one with shapes.

        Raises:
            InputError: It cannot be read, has no polygons there, or column or layer are not clear.
        """
        frame, column = _polygons(path, name, layer)
        shapes = np.asarray(frame.geometry.values)
        keep = np.array([s is not None and s.geom_type in _POLYGONS for s in shapes])
        texts = [_text(value) for value in frame[column].to_numpy()[keep]]
        return cls.of(path, texts, shapes[keep], CRS(frame.crs.to_wkt()), grid)

    @classmethod
    def of(
        cls,
        path: Path,
        names: Sequence[str],
        shapes: NDArray[np.object_],
        crs: CRS,
        grid: GeoBox,
    ) -> Zones:
        """Polygons with their names, in the order of these; ``path`` is for messages.

        Raises:
            InputError: None of them touches the grid.
        """
        unique = sorted(set(names))
        listed = np.array(names, object)
        joined = np.empty(len(unique), object)
        for i, one in enumerate(unique):
            found = shapes[listed == one]
            joined[i] = (
                found[0] if len(found) == 1 else shapely.union_all(shapely.make_valid(found))
            )
        pixels = in_pixels(path, joined, crs, grid)
        height, width = full_window(grid).shape
        touching = shapely.intersects(pixels, shapely.box(0, 0, width, height))
        if not touching.any():
            raise InputError(f"{path}: none of its {len(names)} polygons touches the raster")
        kept = [one for one, here in zip(unique, touching, strict=True) if here]
        shapely.prepare(pixels)
        bounds = shapely.bounds(pixels[touching])
        return cls(tuple(kept), joined[touching], crs, bounds, pixels[touching])

    def chosen(self, numbers: NDArray[np.int64]) -> Zones:
        """Some of them."""
        names = tuple(self.names[i] for i in numbers)
        return replace(
            self,
            names=names,
            shapes=self.shapes[numbers],
            bounds=self.bounds[numbers],
            _pixels=self._pixels[numbers],
        )

    def within(self, window: Window) -> NDArray[np.int64]:
        """Numbers of the zones whose bounds touch a window."""
        x0, y0, x1, y1 = self.bounds.T
        touch = (x0 < window.x1) & (x1 > window.x0) & (y0 < window.y1) & (y1 > window.y0)
        return np.flatnonzero(touch)

    def cover(self, window: Window, metric: Metric) -> Coverage:
        """What the zones cover of the pixels of a window, exact at their edges."""
        if self.crs is None:
            return whole(window, metric)
        zones = self.within(window)
        shares: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        for tile in _tiles(window):
            for i in range(len(zones)):
                pixel, share = _shares(self._pixels[zones[i]], tile, window)
                shares.append((np.full(len(pixel), i, np.int64), pixel, share))
        if not shares:
            none = np.empty(0, np.int64)
            return Coverage(zones, none, none, none)
        zone, pixel, share = (np.concatenate(part) for part in zip(*shares, strict=True))
        counts = pixel_counts(window, metric).ravel()[pixel]
        weight = np.where(share >= 1, counts, np.rint(counts * share).astype(np.int64))
        return Coverage(zones, zone, pixel, weight)


def check_zones(path: Path, name: str | None) -> None:
    """Refuse a file that :meth:`Zones.read` would refuse on any grid.

    Raises:
        InputError: It cannot be read, has no polygons, or column or layer are not clear.
    """
    _polygons(path, name, None)


def _polygons(path: Path, name: str | None, layer: str | None) -> tuple[Any, str]:
    """The features of a file, and the column of their names."""
    frame = read_table(path, layer)
    kinds = {shape.geom_type for shape in frame.geometry if shape is not None}
    if not kinds & set(_POLYGONS):
        raise InputError(f"{path}: has {', '.join(sorted(kinds)) or 'nothing'}; wanted polygons")
    columns = [str(column) for column in frame.columns if column != frame.geometry.name]
    likely = columns if len(columns) == 1 else [c for c in columns if c.casefold() == "name"]
    if name is None and len(likely) == 1:
        return frame, likely[0]
    if name in columns:
        return frame, str(name)
    found = f"no column {name!r}" if name is not None else f"{len(columns)} columns"
    listed = ", ".join(columns) or "there is none"
    raise InputError(f"{path}: {found}; say which has the names of its polygons: {listed}")


def _tiles(window: Window) -> list[Window]:
    """The tiles of the grid that a window touches."""
    rows = range(window.y0 // TILE, -(-window.y1 // TILE))
    cols = range(window.x0 // TILE, -(-window.x1 // TILE))
    return [Window(r * TILE, c * TILE, (r + 1) * TILE, (c + 1) * TILE) for r in rows for c in cols]


def _shares(
    shape: Any, tile: Window, window: Window
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels of the part of a tile that lies in the window, and how much of them is covered."""
    box = shapely.box(tile.x0, tile.y0, tile.x1, tile.y1)
    with _ASKING:
        touched, filled = shape.intersects(box), shape.contains(box)
    if not touched:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    if filled:
        cells, share = np.arange(TILE * TILE), np.ones(TILE * TILE)
    else:
        cells, share = _covered(shapely.intersection(shape, box), tile)
    row, col = tile.y0 + cells // TILE, tile.x0 + cells % TILE
    height, width = window.shape
    row, col = row - window.y0, col - window.x0
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    return (row * width + col)[inside], share[inside]


def _covered(part: Any, tile: Window) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # Rows run down, and exactextract's rasters up: y is turned.
    flipped = shapely.transform(
        part, lambda xy: np.column_stack((xy[:, 0] - tile.x0, tile.y0 - xy[:, 1]))
    )
    polygons = [p for p in shapely.get_parts(flipped) if p.geom_type == "Polygon" and p.area > 0]
    if not polygons:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.MultiPolygon(polygons)),
    }
    raster = NumPyRasterSource(np.zeros((TILE, TILE), np.uint8), 0, -TILE, TILE, 0)
    (found,) = exact_extract(
        raster, JSONFeatureSource([feature]), ["cell_id", "coverage"], output="geojson"
    )
    values = found["properties"]
    return np.asarray(values["cell_id"], np.int64), np.asarray(values["coverage"], np.float64)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
