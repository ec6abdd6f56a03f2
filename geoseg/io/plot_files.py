"""Plots of land from vector files: outlines and points on the globe, and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from shapely.geometry.base import BaseGeometry

from geoseg.errors import InputError
from geoseg.io.label_vectors import read_table
from geoseg.io.plot_shapes import (
    GEOD,
    Shaped,
    circle,
    has_decimals,
    polygon_on_globe,
    swapped,
    turned,
)

TRACES: dict[str, tuple[str, ...]] = {
    "ProducerName": ("producername", "producer_name", "producer"),
    "ProducerCountry": ("producercountry", "producer_country", "country_code", "country"),
    "ProductionPlace": ("productionplace", "production_place", "place"),
}
"""Properties that TRACES knows of a plot, and what columns that have them may be called."""

_IDS = ("plot_id", "plotid", "plot", "id", "productionplace", "name")
_AREAS = ("area", "area_ha", "hectares", "ha")
_POINTS = ("Point", "MultiPoint")


@dataclass(frozen=True, slots=True)
class PlotWishes:
    """How a file of plots is to be read.

    Attributes:
        layer: Of a file with several.
        id_column: Of names that are each a plot's own; without it one of the usual names, or the
            number of the row.
        area_column: Of hectares, for plots that are points.
        swap: Latitudes come first in the file.
        largest_point: Hectares up to which a plot may be a point, and that a point stands for that
            brings no area.
        decimals: Of coordinates in degrees; None where nobody asks.
    """

    layer: str | None = None
    id_column: str | None = None
    area_column: str | None = None
    swap: bool = False
    largest_point: float = 4.0
    decimals: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """One plot.

    Attributes:
        id: Its name, or the number of its row.
        row: From 1.
        shape: Polygons in longitude and latitude (WGS84), valid, cut at the antimeridian; a circle
            of the plot's area where it is a point; None where there is no usable one.
        point: The point that it was given as.
        area_ha: On the ellipsoid; of a point what its file says.
        notes: What is odd about it, a sentence each.
        properties: What TRACES wants to know, as far as the file says it.
    """

    id: str
    row: int
    shape: BaseGeometry | None
    point: BaseGeometry | None
    area_ha: float
    notes: tuple[str, ...]
    properties: dict[str, str]


def read_plots(path: Path, wishes: PlotWishes) -> list[Plot]:
    """The plots of a file, one for each of its rows.

    Outlines that cross themselves are repaired and those that cannot be used are kept without a
    shape; the notes of each plot say so.

    Raises:
        InputError: The file cannot be read, is empty, has no CRS, or its coordinates are none on
            the globe or seem to be swapped.
    """
    frame = read_table(path, wishes.layer)
    if not len(frame):
        raise InputError(f"{path}: has no plots: the file is empty")
    names = _column(path, frame, wishes.id_column, _IDS)
    areas = _column(path, frame, wishes.area_column, _AREAS)
    shapes = np.asarray(frame.geometry.values)
    shapes = swapped(shapes) if wishes.swap else shapes
    globe = _on_globe(path, shapes, frame.crs)
    ids = _ids(path, frame, names, must=wishes.id_column is not None)
    hectares = _numbers(frame, areas)
    told = {key: _column(path, frame, None, known) for key, known in TRACES.items()}
    coarse = ~has_decimals(shapes, wishes.decimals) if frame.crs.is_geographic else None
    plots = []
    for row, shape in enumerate(globe):
        made = _shape(shape, hectares[row], wishes)
        notes = list(made.notes)
        if coarse is not None and coarse[row] and wishes.decimals:
            notes.append(f"coordinates seem to have fewer than {wishes.decimals} decimals")
        values = {key: frame[name].iloc[row] for key, name in told.items() if name}
        properties = {k: str(v) for k, v in values.items() if _said(v)}
        point = shape if made.is_point else None
        plots.append(
            Plot(ids[row], row + 1, made.shape, point, made.area_ha, tuple(notes), properties)
        )
    if all(plot.shape is None for plot in plots):
        why = "; ".join(dict.fromkeys(note for plot in plots for note in plot.notes))
        raise InputError(f"{path}: none of {len(plots)} plots can be used: {why}")
    return plots


def _shape(shape: BaseGeometry | None, hectares: float, wishes: PlotWishes) -> Shaped:
    if shape is None or shape.is_empty:
        return Shaped(None, 0.0, ("has no outline and no point",))
    if shape.geom_type not in _POINTS:
        return polygon_on_globe(shape)
    if shape.geom_type == "MultiPoint" and len(shapely.get_parts(shape)) > 1:
        return Shaped(None, 0.0, ("has several points: one plot is one point or an outline",))
    notes = []
    if not hectares > 0:
        hectares = wishes.largest_point
        notes.append(
            f"is a point without an area: taken as {hectares:g} ha, the most it may stand for"
        )
    elif hectares > wishes.largest_point:
        notes.append(
            f"is a point of {hectares:g} ha: above {wishes.largest_point:g} ha an outline is needed"
        )
    notes.append("is a point: a circle of its area was looked at")
    return Shaped(turned(circle(shape, hectares)), hectares, tuple(notes), is_point=True)


def _on_globe(path: Path, shapes: NDArray[Any], crs: Any) -> NDArray[Any]:
    """The shapes in longitude and latitude on WGS84."""
    bounds = shapely.total_bounds(shapes)
    if crs.is_geographic and np.isfinite(bounds).all():
        west, south, east, north = bounds
        if max(abs(south), abs(north)) > 90:
            if max(abs(west), abs(east)) <= 90 and max(abs(south), abs(north)) <= 180:
                raise InputError(
                    f"{path}: has latitudes from {south:g} to {north:g}: longitude and latitude seem "
                    f"to be swapped; try --swap"
                )
            raise InputError(
                f"{path}: coordinates like {west:g}, {south:g} are no longitude and latitude, though "
                f"the file says so; give it its true CRS (ogr2ogr -a_srs EPSG:... out in)"
            )
        if max(abs(west), abs(east)) > 360:
            raise InputError(f"{path}: has longitudes from {west:g} to {east:g}; try --swap")
    if crs.equals("OGC:CRS84") or crs.to_epsg() == 4326:
        return shapes
    change = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    if not crs.is_geographic:
        # A straight edge of a projection is not one in degrees.
        shapes = shapely.segmentize(shapes, 1000.0 / float(crs.axis_info[0].unit_conversion_factor))
    moved: NDArray[Any] = shapely.transform(
        shapes, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
    )
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise InputError(f"{path}: has coordinates that its CRS ({crs.name}) cannot place")
    return moved


def _column(path: Path, frame: Any, wanted: str | None, usual: tuple[str, ...]) -> str | None:
    """The column that is asked for, else the first of usual name."""
    columns = {str(n).casefold(): str(n) for n in frame.columns if n != frame.geometry.name}
    if wanted is not None:
        if wanted not in frame.columns:
            raise InputError(f"{path}: no column {wanted!r}; it has {', '.join(columns.values())}")
        return wanted
    return next((columns[name] for name in usual if name in columns), None)


def _ids(path: Path, frame: Any, column: str | None, *, must: bool) -> list[str]:
    rows = [str(n) for n in range(1, len(frame) + 1)]
    if column is None:
        return rows
    values = frame[column]
    texts = [_text(v) if _said(v) else "" for v in values]
    if len(set(texts)) == len(texts) and all(texts):
        return texts
    if must:
        twice = next((t for t in texts if not t or texts.count(t) > 1), "")
        raise InputError(
            f"{path}: {column!r} is no name of its own for each plot: {twice!r} is not"
        )
    return rows


def _said(value: Any) -> bool:
    """Whether a cell of a table has anything."""
    return value is not None and not pd.isna(value)


def _text(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _numbers(frame: Any, column: str | None) -> NDArray[np.float64]:
    if column is None:
        return np.full(len(frame), np.nan)
    texts = [str(value).strip().replace(",", ".") for value in frame[column]]
    return np.array([_number(text) for text in texts])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def overlaps(plots: list[Plot]) -> dict[int, list[str]]:
    """Notes on plots that lie on others, by index; hairs along shared edges are none."""
    shapes = np.array([plot.shape for plot in plots], object)
    notes: dict[int, list[str]] = {}
    one, two = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for i, j in zip(one.tolist(), two.tolist(), strict=True):
        if i >= j:
            continue
        shared = _hectares(shapely.intersection(shapes[i], shapes[j]))
        least = min(plots[i].area_ha, plots[j].area_ha)
        if shared < max(1e-4, 1e-4 * least):
            continue
        same = shared > 0.999 * max(plots[i].area_ha, plots[j].area_ha)
        for own, other in ((i, j), (j, i)):
            name = plots[other].id
            words = f"is the same as plot {name}" if same else f"overlaps plot {name}"
            notes.setdefault(own, []).append(words if same else f"{words} on {shared:.4f} ha")
    return notes


def _hectares(shape: BaseGeometry) -> float:
    geod: Geod = GEOD
    return abs(float(geod.geometry_area_perimeter(shapely.orient_polygons(shape))[0])) / 1e4
