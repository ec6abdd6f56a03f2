"""Class labels from polygons and points in vector files, brought onto a raster's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import Transformer

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.feature_values import features_where
from geoseg.io.label_raster import NO_LABEL
from geoseg.ops.inside import edges_of, inside

SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".kml", ".gml")

_DEVIATION = 0.05  # pixels by which a reprojected edge may miss the true one
_MOST_POINTS = 5_000_000
_POLYGONS, _POINTS = {"Polygon", "MultiPolygon"}, {"Point", "MultiPoint"}


@dataclass(frozen=True, slots=True)
class Features:
    """Labelled shapes of one kind, in the CRS of their file.

    Attributes:
        path: Of the file.
        kind: ``polygons`` or ``points``.
        shapes: ``(feature,)`` geometries.
        codes: ``(feature,)`` 0..255, their own or standing for names.
        names: By code; empty where the file has codes.
        crs: Of the shapes.
        unlabelled: How many features were left out, as they have no label or no shape.
        beside: Other columns that were asked for and are there, ``(feature,)`` each.
    """

    path: Path
    kind: str
    shapes: NDArray[np.object_]
    codes: NDArray[np.int16]
    names: Mapping[int, str]
    crs: CRS
    unlabelled: int
    beside: Mapping[str, NDArray[Any]]

    @property
    def coded(self) -> bool:
        """Whether the codes are the file's own."""
        return not self.names


def read_features(
    path: Path,
    *,
    layer: str | None = None,
    column: str | None = None,
    beside: Sequence[str] = (),
    where: Mapping[str, object] | None = None,
    one_class: bool = False,
) -> Features:
    """Read the labels of a vector file.

    Args:
        path: Anything that GDAL reads, or GeoParquet.
        layer: May be left out where there is one with shapes.
        column: Of names or codes; may be left out where there is one column.
        beside: Other columns to read where they are there.
        where: Columns, and what they must be (or hold, where they have lists); features of which
            that is not so are as if they were not there.
        one_class: All features have code 0; no column is needed.

    Raises:
        InputError: It cannot be read, or layer, column, CRS or labels are not clear.
    """
    frame = features_where(path, read_table(path, layer), where or {}, "labels.where")
    if one_class:
        column = "geoseg:class"
        frame = frame.assign(**{column: 0})
    column = pick_column(path, frame, column)
    shapes = np.asarray(frame.geometry.values)
    values = frame[column].map(_only_entry)
    keep = _labelled(values, shapes)
    if not keep.any():
        raise InputError(f"{path}: none of {len(frame)} features has a label in column {column!r}")
    codes, names = _codes(path, column, values[keep].to_numpy())
    return Features(
        path,
        _kind(path, shapes[keep]),
        shapes[keep],
        codes,
        names,
        CRS(frame.crs.to_wkt()),
        int((~keep).sum()),
        {name: frame[name][keep].to_numpy() for name in beside if name in frame.columns},
    )


def _labelled(values: Any, shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which features have both a label and a shape."""
    given = (values.notna() & (values.astype(str).str.strip() != "")).to_numpy()
    labelled: NDArray[np.bool_] = given & ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return labelled


def read_table(path: Path, layer: str | None) -> Any:
    """A layer with all its columns as a data frame.

    Args:
        path: Anything that GDAL reads, or GeoParquet.
        layer: May be left out where there is one with shapes.

    Raises:
        InputError: It cannot be read, has no shapes or no CRS, or the layer is not clear.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            frame = geopandas.read_parquet(path)
        else:
            frame = pyogrio.read_dataframe(path, layer=_layer(path, layer), force_2d=True)
    except (DataSourceError, DataLayerError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a vector file that can be read ({error})") from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise InputError(f"{path}: has no shapes")
    if frame.crs is None:
        raise InputError(f"{path}: no CRS; give it one first (ogr2ogr -a_srs EPSG:... out in)")
    return frame


def _only_entry(value: object) -> object:
    """What is in a list of one; other values as they are."""
    listed = isinstance(value, np.ndarray | list | tuple)
    return value[0] if listed and len(value) == 1 else value  # type: ignore[index, arg-type] # just seen to be a list


def _layer(path: Path, wanted: str | None) -> str:
    layers = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    drawn = [name for name, kind in layers.items() if kind is not None]
    if wanted is None and len(drawn) == 1:
        return drawn[0]
    if wanted in layers:
        return str(wanted)
    found = f"no layer {wanted!r}" if wanted is not None else f"{len(drawn)} layers with shapes"
    raise InputError(f"{path}: {found}; choose a layer: {', '.join(layers) or 'there is none'}")


def pick_column(path: Path, frame: Any, wanted: str | None) -> str:
    """The column that is wanted; the only one without it.

    Raises:
        InputError: There is no such column, or there are several.
    """
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if wanted is None and len(columns) == 1:
        return columns[0]
    if wanted in columns:
        return str(wanted)
    found = f"no column {wanted!r}" if wanted is not None else f"{len(columns)} columns"
    raise InputError(
        f"{path}: {found}; choose the column of class names or codes: "
        f"{', '.join(columns) or 'there is none'}"
    )


def _codes(
    path: Path, column: str, values: NDArray[Any]
) -> tuple[NDArray[np.int16], dict[int, str]]:
    """Codes as they are, or numbers that stand for names."""
    texts = [str(value).strip() for value in values]
    if all(isinstance(value, str) for value in values):
        found = {text.casefold(): text for text in reversed(texts)}
        names = sorted(found.values())
        if len(names) > 256:
            raise InputError(f"{path}: column {column!r} has {len(names)} different labels")
        numbers = {name.casefold(): code for code, name in enumerate(names)}
        return np.array([numbers[t.casefold()] for t in texts], np.int16), dict(enumerate(names))
    try:
        codes = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: column {column!r} has neither texts nor numbers") from error
    strange = ~((codes >= 0) & (codes <= 255) & (codes == np.floor(codes)))
    if strange.any():
        raise InputError(
            f"{path}: column {column!r} holds {codes[strange][0]:g}; "
            f"class codes are whole numbers 0 to 255"
        )
    return codes.astype(np.int16), {}


def _kind(path: Path, shapes: NDArray[np.object_]) -> str:
    kinds = {shape.geom_type for shape in shapes}
    if kinds <= _POLYGONS:
        return "polygons"
    if kinds <= _POINTS:
        return "points"
    raise InputError(f"{path}: has {', '.join(sorted(kinds))}; labels are polygons or points")


class LabelPolygons:
    """Class codes of pixels whose centre lies in a polygon; where some overlap, the last says it.

    Implements :class:`geoseg.steps.assess.Labels`. May be read from several threads.

    Raises:
        InputError: They cannot be brought to the grid's CRS.
    """

    def __init__(self, features: Features, grid: GeoBox) -> None:
        self.path, self.grid, self._codes = features.path, grid, features.codes
        self._shapes = in_pixels(features.path, features.shapes, features.crs, grid)
        self._tree = shapely.STRtree(self._shapes)
        self._edges: dict[int, NDArray[np.float64]] = {}

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes of a window ``(y, x)``; :data:`NO_LABEL` outside of all polygons."""
        out = np.full(window.shape, NO_LABEL, np.int16)
        frame = shapely.box(window.x0, window.y0, window.x1, window.y1)
        for number in sorted(self._tree.query(frame)):
            shape = self._shapes[number]
            x0, y0, x1, y1 = shape.bounds
            near = window & Window(
                int(np.floor(y0)), int(np.floor(x0)), int(np.ceil(y1)) + 1, int(np.ceil(x1)) + 1
            )
            if near:
                hit = inside(self._edges_of(int(number)), near)
                out[near.within(window).slices][hit] = self._codes[number]
        return out

    def _edges_of(self, number: int) -> NDArray[np.float64]:
        if number not in self._edges:
            rings = shapely.get_rings(shapely.get_parts(shapely.get_parts(self._shapes[number])))
            self._edges[number] = edges_of(shapely.get_coordinates(ring) for ring in rings)
        return self._edges[number]


class LabelPoints:
    """Pixels that points lie in, and their codes.

    Attributes:
        places: ``(point, 2)`` row and column; several points may share a pixel.
        values: ``(point,)`` codes.
        numbers: ``(point,)`` which feature each is of.
        outside: How many points lie beside the grid.
    """

    def __init__(self, features: Features, grid: GeoBox) -> None:
        parts, number = shapely.get_parts(features.shapes, return_index=True)
        change = Transformer.from_crs(features.crs.proj, _crs(grid).proj, always_xy=True)
        xy = shapely.get_coordinates(parts)
        x, y = change.transform(xy[:, 0], xy[:, 1])
        columns, rows = ~grid.affine @ (np.asarray(x), np.asarray(y))
        height, width = grid.shape
        inner = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        self.places = np.column_stack([rows[inner], columns[inner]]).astype(np.int64)
        self.numbers = number[inner]
        self.values = features.codes[self.numbers]
        self.outside = int((~inner).sum())

    def blocks(self, size: int) -> list[tuple[Window, NDArray[np.intp]]]:
        """Small windows around points that are near one another, and which points those are."""
        if not len(self.places):
            return []
        _, group = np.unique(self.places // size, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        cuts = np.flatnonzero(np.diff(group.ravel()[order])) + 1
        found = []
        for which in np.split(order, cuts):
            (y0, x0), (y1, x1) = self.places[which].min(axis=0), self.places[which].max(axis=0)
            found.append((Window(int(y0), int(x0), int(y1) + 1, int(x1) + 1), which))
        return found


def _crs(grid: GeoBox) -> CRS:
    if grid.crs is None:
        raise InputError("a grid without a CRS has no place for labels")
    return grid.crs


def in_pixels(
    path: Path, shapes: NDArray[np.object_], crs: CRS, grid: GeoBox
) -> NDArray[np.object_]:
    """Valid polygons in pixels of ``grid``; straight edges become as curved as they are there.

    Args:
        path: For messages.
        shapes: ``(feature,)`` geometries.
        crs: Of the shapes.
        grid: Columns are x, rows y.

    Raises:
        InputError: The grid has no CRS, or a shape reaches where that is not defined.
    """
    shapes = shapely.make_valid(shapes)
    back, target = ~grid.affine, _crs(grid)
    if crs == target:
        return _moved(shapes, lambda x, y: back @ (x, y))
    change = Transformer.from_crs(crs.proj, target.proj, always_xy=True)

    def placed(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        columns, rows = back @ tuple(np.asarray(v) for v in change.transform(x, y))
        return columns, rows

    west, south, east, north = shapely.total_bounds(shapes)
    length = max(east - west, north - south)
    while True:
        dense = shapely.segmentize(shapes, length)
        moved = _moved(dense, placed)
        before, after = (shapely.get_coordinates(s) for s in (dense, moved))
        if not np.isfinite(after).all():
            raise InputError(f"{path}: reaches where the raster's CRS is not defined")
        middle = (before[:-1] + before[1:]) / 2
        error = np.column_stack(placed(middle[:, 0], middle[:, 1])) - (after[:-1] + after[1:]) / 2
        # Between the last point of a shape and the first of the next there is no edge.
        _, of = shapely.get_coordinates(dense, return_index=True)
        edges = of[1:] == of[:-1]
        worst = float(np.abs(error[edges]).max(initial=0.0))
        if worst <= _DEVIATION or len(before) > _MOST_POINTS:
            return moved
        length /= 4


def _moved(shapes: NDArray[np.object_], change: Any) -> NDArray[np.object_]:
    moved: NDArray[np.object_] = shapely.transform(
        shapes, lambda xy: np.column_stack(change(xy[:, 0], xy[:, 1]))
    )
    return moved
