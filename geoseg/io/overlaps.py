"""Which scenes lie on the same ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geoseg.grid import GeoBox
from geoseg.scene import Scene

_POINTS = 17
"""Points along each side of a scene: sides are curved in other CRS."""

_LEAST = 1e-3
"""Share of the smaller scene: neighbours that share an edge do not overlap."""


def overlapping(scenes: Sequence[Scene]) -> list[tuple[int, int]]:
    """Pairs of scenes that share a file or some ground, by their numbers.

    Scenes that do not say where they lie overlap only with those of the same file.
    """
    pairs = set(_same_files(scenes))
    placed = [i for i, scene in enumerate(scenes) if scene.grid.crs is not None]
    shapes = np.array([_footprint(scenes[i].grid) for i in placed], dtype=object)
    tree = shapely.STRtree(shapes)
    for one, other in tree.query(shapes, predicate="intersects").T.tolist():
        if one < other:
            common = shapely.intersection(shapes[one], shapes[other]).area
            if common > _LEAST * min(shapes[one].area, shapes[other].area):
                pairs.add((placed[one], placed[other]))
    return sorted(pairs)


def _same_files(scenes: Sequence[Scene]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    files = [(u, i) for i, s in enumerate(scenes) for u in {b.uri for b in s.bands.values()}]
    return [(first[u], i) for u, i in files if first.setdefault(u, i) != i]


def _on_ground(
    grid: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = grid.affine
    return a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f


def _footprint(grid: GeoBox) -> shapely.Polygon:
    """The outline in longitude and latitude; empty where that is not defined."""
    rows, cols = (int(n) for n in grid.shape)
    along = np.linspace(0, 1, _POINTS)
    x = np.concatenate([along, np.ones(_POINTS), along[::-1], np.zeros(_POINTS)]) * cols
    y = np.concatenate([np.zeros(_POINTS), along, np.ones(_POINTS), along[::-1]]) * rows
    east, north = _on_ground(grid, x, y)
    if grid.crs is None:
        raise AssertionError("only placed scenes have a footprint")
    try:
        change = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)
        lon, lat = change.transform(east, north)
    except ProjError:
        return shapely.Polygon()
    points = np.column_stack([lon, lat])
    if not np.isfinite(points).all():
        return shapely.Polygon()
    outline = shapely.make_valid(shapely.Polygon(points))
    return outline if outline.area else shapely.Polygon()
