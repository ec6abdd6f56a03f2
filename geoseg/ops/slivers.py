"""Polygons that are broken, thin, on top of one another, or leave thin gaps.

How thin a shape is: twice its area over its perimeter, which is the width of a long strip and half
the side of a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

_DEPTH = 1e-3
"""Metres: overlaps and gaps that are thinner are rounding of coordinates."""

_POLYGONS = (3, 6)  # shapely's type ids


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Sizes of shapes on the ellipsoid, ``(shape,)`` each, NaN for what has none.

    Attributes:
        area: Square metres.
        perimeter: Metres, of all rings.
        width: Metres: twice the area over the perimeter.
    """

    area: NDArray[np.float64]
    perimeter: NDArray[np.float64]
    width: NDArray[np.float64]


def measure_shapes(shapes: NDArray[np.object_], crs: CRS) -> Measures:
    """Measure polygons; a CRS that is not tied to the earth is measured in its plane."""
    base = crs.geodetic_crs
    round_earth = crs.ellipsoid
    if base is None or round_earth is None:
        area, perimeter = shapely.area(shapes), shapely.length(shapes)
    else:
        geod = Geod(a=round_earth.semi_major_metre, b=round_earth.semi_minor_metre)
        change = Transformer.from_crs(crs, base.to_2d(), always_xy=True)
        degrees = shapely.transform(
            shapely.force_2d(shapes), lambda xy: np.column_stack(change.transform(*xy.T))
        )
        sizes = [_measure(shape, geod) for shape in degrees]
        area, perimeter = np.array(sizes, np.float64).reshape(-1, 2).T
    flat = ~np.isin(shapely.get_type_id(shapes), _POLYGONS)
    area, perimeter = np.where(flat, np.nan, area), np.where(flat, np.nan, perimeter)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Measures(area, perimeter, 2 * area / perimeter)


def _measure(shape: Any, geod: Geod) -> tuple[float, float]:
    """Area and length of all rings; of rings alone, as pyproj adds holes that turn the wrong way."""
    area = length = 0.0
    for part in shapely.get_parts(shape):
        if part.geom_type != "Polygon":
            continue
        for number, ring in enumerate(shapely.get_rings(part)):
            size, around = geod.polygon_area_perimeter(*shapely.get_coordinates(ring).T)
            area += abs(size) if number == 0 else -abs(size)
            length += around
    return area, length


@dataclass(frozen=True, slots=True, eq=False)
class Clashes:
    """Pairs of polygons that lie on one another.

    Attributes:
        pairs: ``(pair, 2)`` numbers of the shapes, the smaller first.
        shapes: ``(pair,)`` what they share.
        area: ``(pair,)`` square metres.
    """

    pairs: NDArray[np.int64]
    shapes: NDArray[np.object_]
    area: NDArray[np.float64]


def find_overlaps(shapes: NDArray[np.object_], crs: CRS) -> Clashes:
    """All pairs of valid polygons that share more than a line (of a millimetre)."""
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes, predicate="intersects")
    keep = one < other
    pairs = np.column_stack([one[keep], other[keep]])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    shared = _polygonal(shapely.intersection(shapes[pairs[:, 0]], shapes[pairs[:, 1]]))
    sizes = measure_shapes(shared, crs)
    deep = np.nan_to_num(sizes.width) > _DEPTH
    return Clashes(pairs[deep], shared[deep], sizes.area[deep])


def find_gaps(
    shapes: NDArray[np.object_], crs: CRS, *, min_width: float, min_area: float
) -> tuple[NDArray[np.object_], Measures]:
    """Holes between polygons that are thin (metres) or small (square metres), and their sizes.

    A hole that one polygon alone leaves is meant to be there.
    """
    together = shapely.union_all(shapes)
    rings = [
        ring
        for part in shapely.get_parts(together)
        for ring in shapely.get_rings(part)[1:]
        if part.geom_type == "Polygon"
    ]
    holes = np.array([shapely.Polygon(ring) for ring in rings], dtype=np.object_)
    sizes = measure_shapes(holes, crs)
    small = (sizes.width > _DEPTH) & ((sizes.width < min_width) | (sizes.area < min_area))
    tree = shapely.STRtree(shapes)
    for number in np.flatnonzero(small):
        # One neighbour: a courtyard, not a gap.
        small[number] = len(tree.query(holes[number], predicate="intersects")) > 1
    return holes[small], Measures(sizes.area[small], sizes.perimeter[small], sizes.width[small])


def _polygonal(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygons of what intersections are; empty where they only touch."""
    out = []
    for shape in shapes:
        parts = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"]
        out.append(shapely.MultiPolygon(parts))
    return np.array(out, dtype=np.object_)
