"""Areas of interest: polygons from a file, a box or WKT, brought onto a scene's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from geoseg.errors import AreaError
from geoseg.grid import GeoBox, Window, crop, full_window
from geoseg.io.environment import is_remote
from geoseg.ops.inside import edges_of, inside
from geoseg.scene import Scene

_DEVIATION = 0.05
"""Pixels by which a reprojected edge may miss the true one."""

_HAIR = 1e-6
"""Parts of a pixel that rounding may add to bounds."""

_MOST_POINTS = 2_000_000
_POLYGONS = ("Polygon", "MultiPolygon")


@dataclass(frozen=True, slots=True)
class AreaRef:
    """An area of interest: exactly one of ``file``, ``bbox`` and ``wkt``.

    Attributes:
        file: Vector file; all polygons of ``layer`` together are the area.
        bbox: West, south, east, north; in longitude and latitude with west > east across the
            antimeridian.
        wkt: A polygon or a multipolygon.
        layer: Layer of the file; may be left out where only one has polygons.
        crs: Of bbox or wkt (without it, longitude and latitude), or of a file that has none.
    """

    file: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    wkt: str | None = None
    layer: str | None = None
    crs: str | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.file, self.bbox, self.wkt)) != 1:
            raise AreaError("area: say exactly one of file, bbox and wkt")

    @property
    def label(self) -> str:
        """How messages call it."""
        if self.file is None:
            return "area.bbox" if self.bbox is not None else "area.wkt"
        return f"area {self.file}" + (f" (layer {self.layer})" if self.layer else "")


def clip_scene(scene: Scene, area: AreaRef, *, cut: bool = False) -> Scene:
    """``scene``, valid only where pixel centres lie in ``area``.

    With ``cut`` its grid is cut to the area's bounds, along the edges of pixels.

    Raises:
        AreaError: The area cannot be read, is empty, or has no pixel of the scene.
    """
    shape, crs = read_area(area)
    grid = scene.grid
    if grid.crs is None:
        raise AreaError(f"scene {scene.id}: has no CRS, so that no area can be found on it")
    frame = _frame(grid, margin=2)
    if crs != grid.crs:
        moved = _reprojected(_polygonal(_near(shape, crs, grid)), crs, grid, area)
    else:
        moved = shape
    if grid.crs.geographic:
        moved = _turned(moved, frame)
    clipped = _polygonal(shapely.intersection(shapely.make_valid(moved), frame))
    if clipped.is_empty or not clipped.intersects(_frame(grid, margin=0)):
        raise AreaError(
            f"{area.label}: does not touch scene {scene.id}; it reaches over {_bounds(shape, crs)}, "
            f"the scene over {_bounds(_frame(grid, margin=0), grid.crs)}"
        )
    if not _has_pixel(clipped, grid):
        raise AreaError(f"{area.label}: no pixel centre of scene {scene.id} lies in it")
    if cut:
        grid = crop(grid, _window_around(clipped, grid))
    return replace(scene, grid=grid, area=shapely.to_wkb(shapely.normalize(clipped)))


def _window_around(shape: BaseGeometry, grid: GeoBox) -> Window:
    """The pixels that the bounds of ``shape`` touch."""
    x0, y0, x1, y1 = _in_pixels(shape, grid).bounds
    # A hair inside: bounds on a pixel edge need no pixel beyond.
    y0, x0, y1, x1 = y0 + _HAIR, x0 + _HAIR, y1 - _HAIR, x1 - _HAIR
    around = Window(int(np.floor(y0)), int(np.floor(x0)), int(np.ceil(y1)), int(np.ceil(x1)))
    return around & full_window(grid)


def _in_pixels(shape: BaseGeometry, grid: GeoBox) -> BaseGeometry:
    back = ~grid.affine
    return shapely.transform(
        shape,
        lambda xy: np.column_stack(
            (
                back.a * xy[:, 0] + back.b * xy[:, 1] + back.c,
                back.d * xy[:, 0] + back.e * xy[:, 1] + back.f,
            )
        ),
    )


def _turned(shape: BaseGeometry, frame: BaseGeometry) -> BaseGeometry:
    """``shape`` in longitudes as the grid counts them: some go on beyond 180°, or from 0 to 360."""
    west, _, east, _ = frame.bounds
    left, _, right, _ = shape.bounds
    turns = range(int(np.ceil((west - right) / 360)), int(np.floor((east - left) / 360)) + 1)
    copies = [shapely.transform(shape, lambda xy, k=k: xy + np.array([360 * k, 0])) for k in turns]
    return shapely.union_all(copies) if copies else shape


def area_touches(area: bytes, grid: GeoBox, window: Window) -> bool:
    """Whether ``window`` of ``grid`` meets an area (WKB in the grid's CRS)."""
    return bool(_prepared(area).intersects(_outline(grid, window)))


def read_area(area: AreaRef) -> tuple[BaseGeometry, CRS]:
    """The area as one valid polygon or multipolygon, and its CRS.

    Raises:
        AreaError: It cannot be read, has no polygons, or has no CRS.
    """
    if area.file is not None:
        return _from_file(area, area.file)
    crs = _crs(area, area.crs or "EPSG:4326")
    if area.bbox is not None:
        return _box(area, area.bbox, crs), crs
    try:
        parsed = shapely.from_wkt(area.wkt)
    except shapely.errors.ShapelyError as error:
        reason = str(error).removeprefix("ParseException: ")
        raise AreaError(f"{area.label}: not WKT ({reason})") from error
    return _union([parsed], area), crs


def _box(
    area: AreaRef, bbox: tuple[float, float, float, float], crs: CRS
) -> shapely.Polygon | shapely.MultiPolygon:
    """The polygon of a bbox; two, where it lies across the antimeridian."""
    west, south, east, north = bbox
    if not south < north or west == east or (west > east and not crs.geographic):
        raise AreaError(f"{area.label}: {list(bbox)} is not [west, south, east, north]")
    if west < east:
        return shapely.box(west, south, east, north)
    if east + 360 - west >= 180:
        raise AreaError(
            f"{area.label}: {list(bbox)} would reach over {east + 360 - west:g} degrees across the "
            f"antimeridian; bounds are [west, south, east, north]"
        )
    halves = shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
    return shapely.MultiPolygon(halves)


def lonlat_bounds(area: AreaRef) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees: what catalogs are searched by.

    West is greater than east where the shortest way around all polygons crosses the antimeridian,
    as in STAC and GeoJSON (RFC 7946, 5.2).

    Raises:
        AreaError: It cannot be read, has no polygons, or has no CRS.
    """
    shape, crs = read_area(area)
    change = Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True)
    boxes = [change.transform_bounds(*part.bounds) for part in shapely.get_parts(shape)]
    west, east = _shortest_span([(box[0], box[2]) for box in boxes])
    return west, min(box[1] for box in boxes), east, max(box[3] for box in boxes)


def _shortest_span(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The shortest range of longitudes that holds all ``spans`` (west > east: across 180°)."""
    if any(west <= east and east - west >= 360 for west, east in spans):
        return -180.0, 180.0
    # Counted from the first west, so that what crosses 180 degrees is in one piece.
    starts = sorted(((w + 180) % 360 - 180, (e - w) % 360) for w, e in spans)
    best = (-180.0, 180.0, 360.0)
    for origin, _ in starts:
        reach = max((west - origin) % 360 + length for west, length in starts)
        if reach < best[2]:
            best = origin, origin + reach, reach
    west, east, _ = best
    return west, east if east <= 180 else east - 360


def _from_file(area: AreaRef, file: str) -> tuple[BaseGeometry, CRS]:
    import pyogrio  # noqa: PLC0415 (brings pandas, which most runs do without)

    if not is_remote(file) and not Path(file).exists():
        raise AreaError(f"{area.label}: no such file")
    try:
        layer = _layer(area, pyogrio.list_layers(file))
        meta, _, shapes, _ = pyogrio.raw.read(file, layer=layer, columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, ValueError) as error:
        reason = str(error).replace(f"'{file}' ", "").partition(";")[0].rstrip(".")
        raise AreaError(f"{area.label}: not a vector file that can be read ({reason})") from error
    own = meta["crs"]
    if own is None and area.crs is None:
        raise AreaError(f"{area.label}: has no CRS; say which it is with area.crs: EPSG:...")
    if shapes is None or not len(shapes):
        raise AreaError(f"{area.label}: has no features")
    return _union(shapely.from_wkb(shapes), area), _crs(area, own or area.crs)


def _layer(area: AreaRef, layers: NDArray[np.object_]) -> str:
    """The layer to read: the one asked for, or the only one with shapes."""
    names = [str(name) for name, _ in layers]
    shown = ", ".join(names) or "none"
    if area.layer is not None:
        if area.layer not in names:
            raise AreaError(f"area {area.file}: no layer {area.layer}; it has {shown}")
        return area.layer
    drawn = [str(name) for name, kind in layers if kind is not None]
    polygons = [str(name) for name, kind in layers if kind and "Polygon" in kind]
    candidates = polygons or drawn
    if len(candidates) != 1:
        what = "several layers" if candidates else "no layer with shapes"
        raise AreaError(f"area {area.file}: has {what} ({shown}); say which with area.layer")
    return candidates[0]


def _union(shapes: Sequence[BaseGeometry] | NDArray[np.object_], area: AreaRef) -> BaseGeometry:
    """All polygons as one, made valid; refuses what is none."""
    drawn = [shape for shape in shapes if shape is not None and not shape.is_empty]
    found = [shape for shape in drawn if shape.geom_type in (*_POLYGONS, "GeometryCollection")]
    whole = _polygonal(shapely.union_all(shapely.make_valid(np.array(found, dtype=object))))
    if whole.is_empty:
        kinds = sorted({shape.geom_type for shape in drawn})
        has = f"only {', '.join(kinds)}" if kinds else "only empty shapes"
        raise AreaError(f"{area.label}: has no polygons, {has}")
    return whole


def _polygonal(shape: BaseGeometry) -> BaseGeometry:
    """The polygons of ``shape``: touching areas meet in points and lines too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


def _crs(area: AreaRef, text: str | None) -> CRS:
    try:
        return CRS(text)
    except (ValueError, RuntimeError) as error:
        raise AreaError(
            f"{area.label}: the CRS {text} is not understood; write a known code like EPSG:32629, "
            f"or WKT"
        ) from error


def _frame(grid: GeoBox, *, margin: int) -> BaseGeometry:
    """The outline of ``grid``, wider by ``margin`` pixels."""
    height, width = (int(n) for n in grid.shape)
    return _outline(grid, Window(-margin, -margin, height + margin, width + margin))


def _outline(grid: GeoBox, at: Window) -> BaseGeometry:
    """A rectangle of pixels in the grid's CRS; of a rotated grid, a rotated one."""
    corners = ((at.x0, at.y0), (at.x1, at.y0), (at.x1, at.y1), (at.x0, at.y1))
    return shapely.Polygon([grid.affine @ corner for corner in corners])


def _near(shape: BaseGeometry, crs: CRS, grid: GeoBox) -> BaseGeometry:
    """The part of ``shape`` around the scene: a country must not be projected to cut a tile."""
    outline = shapely.segmentize(_frame(grid, margin=2), max(grid.shape) / 16 * _step(grid))
    back = Transformer.from_crs(grid.crs.proj, crs.proj, always_xy=True)  # type: ignore[union-attr]  # checked before
    xy = shapely.get_coordinates(_moved(outline, back))
    if not np.isfinite(xy).all():
        return shape
    if crs.geographic:
        steps = np.diff(xy[:, 0])
        xy[1:, 0] = xy[0, 0] + np.cumsum(steps - 360 * np.round(steps / 360))
    (west, south), (east, north) = xy.min(axis=0), xy.max(axis=0)
    x, y = (east - west) / 2, (north - south) / 2
    around = shapely.box(west - x, south - y, east + x, north + y)
    if not crs.geographic:
        return shapely.intersection(shape, around)
    if abs(xy[-1, 0] - xy[0, 0]) > 180:
        # Around a pole: any longitude may be near, and all of the pole's side is.
        middle = _moved(shapely.Point(grid.affine @ (grid.shape[1] / 2, grid.shape[0] / 2)), back)
        low, high = (south - y, 90) if middle.y > 0 else (-90, north + y)
        return shapely.intersection(shape, shapely.box(-720, low, 720, high))
    return shapely.intersection(shape, _on_all_turns(around))


def _on_all_turns(box: shapely.Polygon) -> BaseGeometry:
    """A box in longitude and latitude wherever the globe is counted from."""
    turns = (
        shapely.transform(box, lambda xy, k=k: xy + np.array([360 * k, 0])) for k in (-1, 0, 1)
    )
    return shapely.union_all(list(turns))


def _step(grid: GeoBox) -> float:
    """Length of a pixel in units of the CRS."""
    return float(abs(grid.affine.determinant) ** 0.5)


def _moved(shape: BaseGeometry, change: Transformer) -> BaseGeometry:
    return shapely.transform(
        shape, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
    )


def _reprojected(shape: BaseGeometry, crs: CRS, grid: GeoBox, area: AreaRef) -> BaseGeometry:
    """``shape`` in the grid's CRS; straight edges become as curved as they are there."""
    if shape.is_empty:
        return shape
    change = Transformer.from_crs(crs.proj, grid.crs.proj, always_xy=True)  # type: ignore[union-attr]  # checked before
    allowed = _DEVIATION * _step(grid)
    west, south, east, north = shape.bounds
    length = max(east - west, north - south)
    try:
        while True:
            dense = shapely.segmentize(shape, length)
            moved = _moved(dense, change)
            points = shapely.get_num_coordinates(dense)
            if _error(dense, moved, change) <= allowed or points > _MOST_POINTS:
                break
            length /= 4
    except ProjError as error:
        raise AreaError(f"{area.label}: cannot be projected to {grid.crs} ({error})") from error
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise AreaError(f"{area.label}: reaches where {grid.crs} is not defined")
    return moved


def _error(dense: BaseGeometry, moved: BaseGeometry, change: Transformer) -> float:
    """How far the middles of edges lie beside where they should be."""
    worst = 0.0
    before, after = (shapely.get_rings(shapely.get_parts(shape)) for shape in (dense, moved))
    for ring, image in zip(before, after, strict=True):
        xy, uv = shapely.get_coordinates(ring), shapely.get_coordinates(image)
        middle = (xy[:-1] + xy[1:]) / 2
        true = np.column_stack(change.transform(middle[:, 0], middle[:, 1]))
        worst = max(worst, float(np.abs(true - (uv[:-1] + uv[1:]) / 2).max(initial=0)))
    return worst


def _has_pixel(shape: BaseGeometry, grid: GeoBox) -> bool:
    """Whether a pixel's centre lies in ``shape``; only slivers are looked at closely."""
    pixels = _in_pixels(shape, grid)
    height, width = (int(n) for n in grid.shape)
    x0, y0, x1, y1 = pixels.bounds
    window = Window(
        max(0, int(np.floor(y0))),
        max(0, int(np.floor(x0))),
        min(height, int(np.ceil(y1))),
        min(width, int(np.ceil(x1))),
    )
    if not window:
        return False
    if window.shape[0] * window.shape[1] > 1_000_000:
        return True
    rings = shapely.get_rings(shapely.get_parts(pixels))
    return bool(inside(edges_of(shapely.get_coordinates(ring) for ring in rings), window).any())


def _bounds(shape: BaseGeometry, crs: CRS) -> str:
    """West, south, east, north for a message."""
    name = f"EPSG:{crs.epsg}" if crs.epsg else crs.proj.name
    return f"[{', '.join(f'{number:.8g}' for number in shape.bounds)}] in {name}"


@lru_cache(maxsize=16)
def _prepared(area: bytes) -> BaseGeometry:
    shape = shapely.from_wkb(area)
    shapely.prepare(shape)
    return shape
