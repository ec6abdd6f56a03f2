"""Where a grid lies on the globe, as GeoJSON wants it said (RFC 7946).

Longitudes within ±180°, cut at the antimeridian, rings to the left, poles where they belong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import mapping

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, full_window

_PER_SIDE = 32  # vertices along a side: meridians and parallels are curves in most projections
_DIGITS = 9  # 0.1 mm: a pixel of a drone scene must not shrink to a point

Coordinates = NDArray[np.float64]


def footprint(grid: GeoBox) -> tuple[dict[str, Any], list[float]]:
    """Outline and bounding box of ``grid`` in longitude and latitude.

    Returns:
        A GeoJSON geometry (a MultiPolygon where the grid crosses the antimeridian) and
        ``[west, south, east, north]``, with west > east in that case.

    Raises:
        ProductError: The grid has no CRS, or no part of its outline is on the globe.
    """
    whole, around = _whole(grid)
    parts = shapely.get_parts([_window(whole, turns) for turns in range(-2, 3)])
    # Snapped, so that what the window cut grows together again where it should.
    precision = 10.0**-_DIGITS
    geometry = shapely.union_all(parts[shapely.area(parts) > 0], grid_size=precision)
    geometry = shapely.set_precision(geometry, precision)
    if geometry.is_empty:
        raise ProductError("the grid covers nothing of the globe")
    return mapping(shapely.orient_polygons(geometry)), _bbox(whole, around=around)


def _whole(grid: GeoBox) -> tuple[shapely.Geometry, bool]:
    """The outline, on a globe unrolled as far as it takes, and whether it goes around a pole."""
    t = np.linspace(0, 1, _PER_SIDE, endpoint=False)
    zero, one = np.zeros_like(t), np.ones_like(t)
    down = np.concatenate([zero, t, one, 1 - t, [0.0]])
    along = np.concatenate([t, one, 1 - t, zero, [0.0]])
    lon, lat = _globe(grid, down, along)
    if not np.isfinite(lon).all():
        return _hull(grid), False
    lon = _unwrapped(lon)
    turns = round(float(lon[-1] - lon[0]) / 360)
    lon[-1] = lon[0] + 360 * turns  # summing up has left a hair between the two
    if turns:
        # Go to the pole and back along the seam, to close the ring around it.
        pole = np.sign(lat.mean()) * 90.0
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    polygon = shapely.make_valid(shapely.Polygon(np.c_[lon, lat]))
    # Fewer vertices, moved by less than a millionth of the scene.
    west, south, east, north = polygon.bounds
    return shapely.simplify(polygon, 1e-6 * max(east - west, north - south)), bool(turns)


def _hull(grid: GeoBox) -> shapely.Geometry:
    """Around what is on the globe at all: scenes of a full disc have their corners in space."""
    t = np.linspace(0, 1, 2 * _PER_SIDE + 1)
    down, along = (axis.ravel() for axis in np.meshgrid(t, t, indexing="ij"))
    lon, lat = _globe(grid, down, along)
    seen = np.isfinite(lon)
    if not seen.any():
        raise ProductError("no part of the grid can be told in longitude and latitude")
    lon, lat = lon[seen], lat[seen]
    middle = lon[lon.size // 2]
    near = middle + (lon - middle + 180) % 360 - 180
    return shapely.convex_hull(shapely.MultiPoint(np.c_[near, lat]))


def _globe(grid: GeoBox, down: Coordinates, along: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Longitude and latitude of places given as shares of the grid's height and width."""
    if grid.crs is None:
        raise ProductError("a footprint needs a grid with a CRS; this one has none")
    height, width = full_window(grid).shape
    a, b, c, d, e, f = tuple(grid.affine)[:6]
    col, row = along * width, down * height
    transformer = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = transformer.transform(a * col + b * row + c, d * col + e * row + f)
    gone = ~(np.isfinite(lon) & np.isfinite(lat))
    return np.where(gone, np.nan, lon), np.where(gone, np.nan, np.clip(lat, -90, 90))


def _unwrapped(lon: Coordinates) -> Coordinates:
    """Longitudes without jumps, which may then leave ±180°."""
    steps = np.diff(lon)
    return np.asarray(
        lon[0] + np.concatenate([[0.0], np.cumsum(steps - 360 * np.round(steps / 360))])
    )


def _window(whole: shapely.Geometry, turns: int) -> shapely.Geometry:
    """What of ``whole`` lies in this turn of the globe, moved to within ±180°."""
    box = shapely.box(360 * turns - 180, -90, 360 * turns + 180, 90)
    part = shapely.intersection(whole, box)
    return shapely.transform(part, lambda xy: xy - [360 * turns, 0])


def _bbox(whole: shapely.Geometry, *, around: bool) -> list[float]:
    west, south, east, north = (round(float(v), _DIGITS) for v in whole.bounds)
    if around or east - west >= 360:
        return [-180.0, south, 180.0, north]
    return [_wrap(west, -180.0), south, _wrap(east, 180.0), north]


def _wrap(lon: float, seam: float) -> float:
    """``lon`` within ±180°, and ``seam`` where it lies on the antimeridian."""
    inside = round((lon + 180) % 360 - 180, _DIGITS)
    return seam if abs(inside) == 180 else inside
