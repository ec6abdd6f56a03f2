"""Outlines and points of plots in longitude and latitude: repaired, measured, cut at ±180°."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

GEOD = Geod(ellps="WGS84")

_CORNERS = 72  # of a circle
_SLIVER_HA = 1e-6  # 0.01 m2: what is smaller encloses nothing
_CHANGED = 1e-6  # share of an area that a repair may change unnoticed


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """A shape that can be laid on a raster, its hectares, and what was odd about it."""

    shape: BaseGeometry | None
    area_ha: float
    notes: tuple[str, ...] = ()
    is_point: bool = False


def polygon_on_globe(shape: BaseGeometry) -> Shaped:
    """The polygons of a shape, valid, cut at the antimeridian."""
    flat = unwrapped(shape)
    whole = _polygons(shapely.make_valid(flat))
    notes: list[str] = []
    if shape.geom_type not in {"Polygon", "MultiPolygon", "GeometryCollection"}:
        return Shaped(None, 0.0, (f"is a {shape.geom_type}: a plot is an outline or a point",))
    if whole.is_empty:
        return Shaped(None, 0.0, ("encloses nothing: its area is 0",))
    if not shapely.is_valid(flat):
        why = shapely.is_valid_reason(flat).split("[", maxsplit=1)[0].strip().casefold()
        notes.append(f"outline repaired ({why})")
    made = turned(whole)
    area = hectares(made)
    if area < _SLIVER_HA:
        return Shaped(None, 0.0, ("encloses nothing: its area is 0",))
    if abs(shapely.area(flat) - shapely.area(whole)) > _CHANGED * shapely.area(whole):
        notes.append("the repair changed its area: look at it")
    if len(shapely.get_parts(made)) > 1:
        notes.append(f"has {len(shapely.get_parts(made))} parts")
    return Shaped(made, area, tuple(notes))


def hectares(shape: BaseGeometry) -> float:
    """Area on the ellipsoid of polygons in longitude and latitude; edges are geodesics."""
    # Edges of GeoJSON are straight in degrees: short pieces of them are geodesics, too.
    dense = shapely.segmentize(shapely.orient_polygons(shape), 0.01)
    return abs(float(GEOD.geometry_area_perimeter(dense)[0])) / 1e4


def circle(point: BaseGeometry, area_ha: float) -> BaseGeometry:
    """A polygon of that area on the ellipsoid around a point."""
    lon, lat = shapely.get_coordinates(point)[0]
    around = np.linspace(0, 360, _CORNERS, endpoint=False)
    # A polygon within the circle is smaller than it.
    shrinkage = _CORNERS / 2 * np.sin(2 * pi / _CORNERS) / pi
    radius = sqrt(area_ha * 1e4 / pi / shrinkage)
    n = len(around)
    x, y, _ = GEOD.fwd(np.full(n, lon), np.full(n, lat), around, np.full(n, radius))
    return unwrapped(shapely.Polygon(np.column_stack([x, y])))


def unwrapped(shape: BaseGeometry) -> BaseGeometry:
    """A shape whose rings do not leap from one side of the antimeridian to the other."""
    xy = shapely.get_coordinates(shape)
    if not len(xy) or xy[:, 0].max() - xy[:, 0].min() <= 180:
        return shape
    return shapely.transform(shape, lambda c: np.column_stack([c[:, 0] % 360, c[:, 1]]))


def turned(shape: BaseGeometry) -> BaseGeometry:
    """The same on longitudes within ±180°, cut there (RFC 7946, 3.1.9)."""
    west, _, east, _ = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    parts: list[BaseGeometry] = []
    for turn in (-360, 0, 360):
        piece = shapely.intersection(shape, shapely.box(-180 - turn, -90, 180 - turn, 90))
        moved = shapely.transform(piece, lambda c, t=turn: c + np.array([t, 0.0]))
        parts.extend(p for p in shapely.get_parts(_polygons(moved)) if p.area > 0)
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def swapped(shapes: NDArray[Any]) -> NDArray[Any]:
    """Shapes with x and y in each other's place."""
    moved: NDArray[Any] = shapely.transform(shapes, lambda xy: xy[:, ::-1])
    return moved


def has_decimals(shapes: NDArray[Any], decimals: int | None) -> NDArray[np.bool_]:
    """Which shapes have a coordinate that needs as many decimals."""
    fine = np.zeros(len(shapes), np.bool_)
    xy, of = shapely.get_coordinates(shapes, return_index=True)
    if decimals is not None and len(xy):
        scaled = xy * 10.0 ** (decimals - 1)
        # Degrees in float64 are told to some 1e-14: what is left over is rounding.
        odd = (np.abs(scaled - np.rint(scaled)) > 1e-6).any(axis=1)
        np.logical_or.at(fine, of, odd)
    return fine


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """The polygons of what may have lines and points, too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    kept = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(kept)
