"""Shapes of polygons as a map in a browser can draw them: cut to the view, simple, with few holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.io.polygon_layers import Box, PolygonLayer, in_degrees, shapes_of

MOST_RINGS: Final = 400
"""Rings of one polygon that are sent: MapLibre GL leaves out all but the 500 largest, and fills what
lay in the others (``classifyRings`` in its fill bucket)."""

_DEEPEST: Final = 12  # times that a polygon is halved


@dataclass(frozen=True, slots=True)
class Drawn:
    """A shape as GeoJSON; of a polygon with many holes there are several.

    ``only`` is what it is for, if not for both: ``fill`` of a part, ``line`` of the boundary.
    """

    geometry: str
    only: Literal["", "fill", "line"] = ""


def drawn_shapes(
    layer: PolygonLayer, blobs: Sequence[bytes], *, box: Box, pixel: float
) -> list[list[Drawn]]:
    """What to draw of each polygon; nothing of what cannot be read, or is beside the view.

    Args:
        layer: Whose they are.
        blobs: Geometries as the GeoPackage has them.
        box: What is looked at, in the layer's CRS; what is far beyond it is cut off.
        pixel: Degrees that a pixel of the screen is high; what is finer is left out.
    """
    if not blobs:
        return []
    shapes = in_degrees(layer, _cut(shapes_of(blobs), box))
    shapes = shapely.simplify(_without_specks(shapes, pixel**2), pixel / 2)
    return [_drawn(shape) for shape in shapes]


def _cut(shapes: NDArray[np.object_], box: Box) -> NDArray[np.object_]:
    """Without what is further beyond a box than it is wide: large polygons are seen in part."""
    left, low, right, top = box
    wide, tall = right - left, top - low
    room = (left - wide, low - tall, right + wide, top + tall)
    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        beyond = (bounds[:, :2] < room[:2]).any(axis=1) | (bounds[:, 2:] > room[2:]).any(axis=1)
    cut = shapes.copy()
    for index in np.flatnonzero(beyond):
        cut[index] = _within(shapes[index], room)
    return cut


def _within(shape: Any, room: Box) -> Any:
    """The part of a polygon in a box, as polygons: what it touches in lines is no part."""
    found = shapely.intersection(shape if shape.is_valid else shape.buffer(0), shapely.box(*room))
    parts = [part for part in shapely.get_parts(found) if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _without_specks(shapes: NDArray[np.object_], least: float) -> NDArray[np.object_]:
    """Without holes that are smaller than a pixel, where there are so many that it matters."""
    many = _rings(shapes) > MOST_RINGS
    kept = shapes.copy()
    for index in np.flatnonzero(many):
        parts = [_larger_holes(part, least) for part in shapely.get_parts(shapes[index])]
        kept[index] = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return kept


def _larger_holes(polygon: Any, least: float) -> Any:
    holes = shapely.get_rings(polygon)[1:]
    kept = holes[shapely.area(shapely.polygons(holes)) >= least] if len(holes) else []
    return shapely.Polygon(polygon.exterior, list(kept))


def _rings(shapes: NDArray[np.object_]) -> NDArray[np.int64]:
    """How many rings each shape has; 0 of none."""
    parts, of = shapely.get_parts(shapes, return_index=True)
    rings = np.maximum(shapely.get_num_interior_rings(parts), 0) + 1
    counts: NDArray[np.int64] = np.bincount(of, weights=rings, minlength=len(shapes)).astype(
        np.int64
    )
    return counts


def _drawn(shape: Any) -> list[Drawn]:
    """A shape as it is, or in parts with its outline where it has too many holes."""
    if shape is None or shape.is_empty:
        return []
    if max(_rings(shapely.get_parts(shape)), default=0) <= MOST_RINGS:
        return [Drawn(str(shapely.to_geojson(shape)))]
    parts = [part for one in shapely.get_parts(shape) for part in _parts(one, _DEEPEST)]
    lines = shapely.to_geojson(shapely.boundary(shape))
    filled = [Drawn(str(shapely.to_geojson(part)), "fill") for part in parts]
    return [*filled, Drawn(str(lines), "line")]


def _parts(polygon: Any, deepest: int) -> list[Any]:
    """A polygon halved until no part has too many holes."""
    if deepest == 0 or len(polygon.interiors) < MOST_RINGS:
        return [polygon]
    left, low, right, top = polygon.bounds
    across, up = (left + right) / 2, (low + top) / 2
    if right - left > top - low:
        halves = [(left, low, across, top), (across, low, right, top)]
    else:
        halves = [(left, low, right, up), (left, up, right, top)]
    found = [part for half in halves for part in shapely.get_parts(_within(polygon, half))]
    return [part for one in found for part in _parts(one, deepest - 1)]
