"""Scenes brought onto a grid of choice: another CRS, another resolution, snapped pixel edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor, hypot, isfinite

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geoseg.errors import SceneError
from geoseg.grid import GeoBox
from geoseg.io.area import AreaRef, lonlat_bounds
from geoseg.io.grids import (
    DEGREE,
    covers,
    metres_per_unit,
    pixel_sides,
    same_grid,
    shift_between,
)
from geoseg.io.headers import read_header
from geoseg.io.refs import MaskRef
from geoseg.ops.metric import measure_grid
from geoseg.scene import Mask, Scene

_PER_SIDE = 64
"""Points along each side of a scene whose places bound it: sides are curved elsewhere."""

_HAIR = 1e-3
"""Parts of a pixel by which a scene may reach over a pixel edge without needing another pixel."""

_LONGEST = 10_000_000
"""Pixels along a side beyond which a resolution is a mistake."""

_TRANSVERSE_MERCATOR = "9807"
_MIDDLE_MERIDIAN = "8802"
"""Codes of EPSG."""

_FARTHEST_OFF = 35.0
"""Degrees from the middle meridian within which PROJ promises to be exact (its page on tmerc)."""

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GridWish:
    """Which grid products are made on.

    Attributes:
        crs: Code or WKT; ``"utm"``: the zone of the area's middle, else the scene's own zone, or
            that of its middle (UPS beyond 84° north and 80° south); None: the scene's own.
        resolution: Height and width of a pixel ``(y, x)``; None: those of the finest band.
        degrees: Whether ``resolution`` is in degrees; else it is in metres.
        anchor: ``(x, y)`` of a corner of a pixel in the CRS; all pixel edges lie whole pixels
            from there.
        like: A raster file whose grid is taken as it is; nothing else is said then.
    """

    crs: str | None = None
    resolution: tuple[float, float] | None = None
    degrees: bool = False
    anchor: tuple[float, float] = (0.0, 0.0)
    like: str | None = None


def place_scene(
    scene: Scene, wish: GridWish, *, area: AreaRef | None = None, mask: MaskRef | None = None
) -> Scene:
    """``scene`` on the grid that is wished for; reads no pixel.

    Masks hide as far around as before, on the ground. ``mask`` is what was said of the explicit
    one, ``area`` is only looked at for its UTM zone.

    Raises:
        SceneError: The scene has no CRS, or does not lie where the wished grid can be.
        AreaError: The area cannot be read.
        ValueError: The scene is clipped already: its area is in the CRS that it had.
    """
    if scene.area is not None:
        raise ValueError(f"scene {scene.id} has an area; place it before it is clipped")
    return put_on(scene, target_grid(scene, wish, area=area), mask=mask)


def put_on(scene: Scene, grid: GeoBox, *, mask: MaskRef | None = None) -> Scene:
    """``scene`` on ``grid``; its masks hide as far around as before, on the ground."""
    if same_grid(grid, scene.grid):
        return scene
    masks = tuple(replace(m, dilate=_dilation(m, mask, scene.grid, grid)) for m in scene.masks)
    return replace(scene, grid=grid, masks=masks)


def target_grid(scene: Scene, wish: GridWish, *, area: AreaRef | None = None) -> GeoBox:
    """The grid that is wished for: north up, around the whole scene, on whole pixels.

    Metres are those of the projection. For a CRS in degrees they are turned into degrees of
    latitude (111 320 m) for both sides, wherever the scene lies: so neighbours share pixel edges.

    Raises:
        SceneError: See :func:`place_scene`.
        AreaError: The area cannot be read.
    """
    if wish.like is not None:
        return _grid_like(scene, wish.like)
    crs = _crs(scene, wish, area)
    height, width = _resolution(scene, wish, crs)
    xs, ys = _outline(scene, scene.grid, crs)
    west, east = _snapped(xs, width, wish.anchor[0])
    south, north = _snapped(ys, height, wish.anchor[1])
    shape = north - south, east - west
    if max(shape) > _LONGEST:
        raise SceneError(
            f"scene {scene.id}: {shape[0]} x {shape[1]} pixels on the grid that is asked for; "
            f"set a coarser grid.resolution (it is {height:.6g} x {width:.6g} in {_name(crs)})"
        )
    x, y = wish.anchor[0] + west * width, wish.anchor[1] + north * height
    return GeoBox(shape, Affine(width, 0, x, 0, -height, y), crs)


def where_data_can_be(scene: Scene) -> bytes | None:
    """A polygon (WKB in the grid's CRS) around the files of all bands; None: they fill the grid.

    What lies outside has no pixel of some band, so that nothing there is valid.
    """
    others = {band.grid for band in scene.bands.values()}
    if all(shift_between(grid, scene.grid) is not None for grid in others):
        others = {grid for grid in others if not covers(grid, scene.grid)}
    if not others or scene.grid.crs is None:
        return None
    shapes = []
    for grid in others:
        try:
            xs, ys = _outline(scene, grid, scene.grid.crs)
        except SceneError:
            continue
        if scene.grid.crs.geographic:
            # The grid may go on beyond 180 degrees.
            box = scene.grid.boundingbox
            xs = xs + 360 * round((box.left + box.right - xs.min() - xs.max()) / 720)
        shape = shapely.Polygon(np.column_stack([xs, ys])) if len(xs) == len(ys) else None
        if shape is None or not shape.is_valid:
            shape = shapely.box(xs.min(), ys.min(), xs.max(), ys.max())
        shapes.append(shape)
    if not shapes:
        return None
    a = scene.grid.affine
    # Sides are drawn with chords, and kernels round.
    wide = shapely.buffer(shapely.intersection_all(shapes), 2 * hypot(a.a, a.b, a.d, a.e))
    return bytes(shapely.to_wkb(wide))


def _snapped(values: Points, step: float, anchor: float) -> tuple[int, int]:
    """First and last pixel edge around ``values``, counted from ``anchor``."""
    low, high = ((float(v) - anchor) / step for v in (values.min(), values.max()))
    first = floor(low + _HAIR)
    return first, max(ceil(high - _HAIR), first + 1)


def _grid_like(scene: Scene, file: str) -> GeoBox:
    try:
        grid = read_header(file).grid
    except SceneError as error:
        raise SceneError(f"grid.like: {error}") from error
    if grid.crs is None:
        raise SceneError(f"grid.like: {file}: has no CRS")
    back = ~grid.affine
    xs, ys = _outline(scene, scene.grid, grid.crs)
    cols, rows = back.a * xs + back.b * ys + back.c, back.d * xs + back.e * ys + back.f
    height, width = grid.shape
    if cols.max() <= 0 or rows.max() <= 0 or cols.min() >= width or rows.min() >= height:
        raise SceneError(
            f"scene {scene.id}: does not touch {file} (grid.like); it reaches over "
            f"[{xs.min():.8g}, {ys.min():.8g}, {xs.max():.8g}, {ys.max():.8g}] in "
            f"{_name(grid.crs)}"
        )
    return grid


def _own(scene: Scene) -> CRS:
    if scene.grid.crs is None:
        raise SceneError(f"scene {scene.id}: has no CRS, so that no grid can be chosen for it")
    return scene.grid.crs


def _crs(scene: Scene, wish: GridWish, area: AreaRef | None) -> CRS:
    if wish.crs is None:
        return _own(scene)
    if wish.crs.lower() == "utm":
        return _utm(scene, area)
    try:
        crs = CRS(wish.crs)
    except (ValueError, RuntimeError) as error:
        raise SceneError(
            f"grid.crs: {wish.crs} is not understood; write a known code like EPSG:32629, utm, or "
            f"WKT"
        ) from error
    if not (crs.projected or crs.geographic):
        raise SceneError(f"grid.crs: {wish.crs} maps nothing to a plane; take a projected CRS")
    return crs


def _utm(scene: Scene, area: AreaRef | None) -> CRS:
    own = _own(scene)
    if area is not None:
        west, south, east, north = lonlat_bounds(area)
        lon, lat = (west + east + (360 if west > east else 0)) / 2, (south + north) / 2
    elif own.epsg is not None and (32600 < own.epsg <= 32660 or 32700 < own.epsg <= 32760):
        # Tiles at the rim of their zone stay there: that costs no resampling.
        return own
    else:
        lon, lat = _middle(scene)
    if lat > 84 or lat < -80:
        return CRS("EPSG:5041" if lat > 0 else "EPSG:5042")
    zone = floor((lon + 180) / 6) % 60 + 1
    return CRS(f"EPSG:{(32600 if lat >= 0 else 32700) + zone}")


def _middle(scene: Scene) -> tuple[float, float]:
    """Longitude and latitude of a scene's middle."""
    height, width = scene.grid.shape
    x, y = scene.grid.affine @ (width / 2, height / 2)
    change = Transformer.from_crs(_own(scene).proj, "EPSG:4326", always_xy=True)
    lon, lat = change.transform(x, y)
    if not (isfinite(lon) and isfinite(lat)):
        raise SceneError(
            f"scene {scene.id}: its middle is not on the globe, so that it has no UTM zone; set "
            f"grid.crs to a code"
        )
    return float(lon), float(lat)


def _resolution(scene: Scene, wish: GridWish, crs: CRS) -> tuple[float, float]:
    """Height and width of a pixel in units of ``crs``."""
    if wish.resolution is None:
        a = scene.grid.affine
        own = hypot(a.b, a.e), hypot(a.a, a.d)
        if crs == _own(scene):
            return own
        factor = _metres(_own(scene)) / _metres(crs)
        # Rounded: neighbours whose headers differ in the last digits must get the same.
        return float(f"{own[0] * factor:.6g}"), float(f"{own[1] * factor:.6g}")
    height, width = wish.resolution
    if wish.degrees and not crs.geographic:
        raise SceneError(
            f"grid.resolution: {height:g} deg; {_name(crs)} counts in {crs.units[0]}: write it in "
            f"m, or take a CRS in degrees"
        )
    unit = 1.0 if wish.degrees else _metres(crs)
    return height / unit, width / unit


def _metres(crs: CRS) -> float:
    return DEGREE if crs.geographic else metres_per_unit(crs)


def _outline(scene: Scene, grid: GeoBox, crs: CRS) -> tuple[Points, Points]:
    """Places around a grid of ``scene`` in ``crs``.

    Longitudes go on beyond ±180° rather than jump. Around a pole, only bounds are told.
    """
    height, width = grid.shape
    if grid.crs is None:
        raise SceneError(f"scene {scene.id}: has no CRS, so that no grid can be chosen for it")
    if crs == grid.crs:
        points = [grid.affine @ at for at in ((0, 0), (width, 0), (width, height), (0, height))]
        return np.array([p[0] for p in points]), np.array([p[1] for p in points])
    along = np.linspace(0, 1, 2 * _PER_SIDE, endpoint=False)
    zero, one = np.zeros_like(along), np.ones_like(along)
    # A trace inside: 180 degrees east are 180 degrees west, and maps of the world end there.
    cols = _inside(np.concatenate([along, one, 1 - along, zero, [0.0]]), width)
    rows = _inside(np.concatenate([zero, along, one, 1 - along, [0.0]]), height)
    try:
        change = Transformer.from_crs(grid.crs.proj, crs.proj, always_xy=True)
        xs, ys = change.transform(*_at(grid, cols, rows))
    except ProjError as error:
        raise SceneError(
            f"scene {scene.id}: cannot be projected to {_name(crs)} ({error})"
        ) from error
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise SceneError(
            f"scene {scene.id}: reaches where {_name(crs)} (grid.crs) is not defined; choose a CRS "
            f"made for its place, or utm"
        )
    if crs.geographic:
        return _around(grid, crs, xs, ys)
    _check_uncut(scene, crs, xs, ys)
    _check_near(scene, grid, crs, cols, rows)
    return xs, ys


def _inside(share: Points, size: int) -> Points:
    trace = _HAIR / 10
    return trace + share * (size - 2 * trace)


def _at(grid: GeoBox, cols: Points, rows: Points) -> tuple[Points, Points]:
    a = grid.affine
    return a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f


def _around(grid: GeoBox, crs: CRS, lon: Points, lat: Points) -> tuple[Points, Points]:
    """An outline in degrees without jumps; around a pole, all longitudes up to it."""
    steps = np.diff(lon)
    steps -= 360 * np.round(steps / 360)
    going = lon[0] + np.concatenate([[0.0], np.cumsum(steps)])
    if abs(going[-1] - going[0]) > 180:
        pole = 90.0 if _holds(grid, crs, 90.0) else -90.0
        return np.array([-180.0, 180.0]), np.array([*lat, pole])
    middle = (going.min() + going.max()) / 2
    return going - 360 * floor((middle + 180) / 360), lat


def _holds(grid: GeoBox, crs: CRS, lat: float) -> bool:
    """Whether a pole lies on the grid."""
    change = Transformer.from_crs(crs.proj, grid.crs.proj, always_xy=True)  # type: ignore[union-attr]  # checked before
    x, y = change.transform(0.0, lat)
    if not (isfinite(x) and isfinite(y)):
        return False
    col, row = ~grid.affine @ (x, y)
    return bool(0 <= col <= grid.shape[1] and 0 <= row <= grid.shape[0])


def _check_uncut(scene: Scene, crs: CRS, xs: Points, ys: Points) -> None:
    """Refuse what a projection tears apart: where it is cut, middles are not in the middle."""
    x0, xm, x1 = xs[:-1:2], xs[1::2], xs[2::2]
    y0, ym, y1 = ys[:-1:2], ys[1::2], ys[2::2]
    step = np.hypot(x1 - x0, y1 - y0)
    off = np.hypot(xm - (x0 + x1) / 2, ym - (y0 + y1) / 2)
    if np.any((off > 0.25 * step) & (step > 4 * np.median(step))):
        raise SceneError(
            f"scene {scene.id}: lies across a line along which {_name(crs)} (grid.crs) is cut, "
            f"like the antimeridian; choose another CRS, or utm"
        )


def _check_near(scene: Scene, grid: GeoBox, crs: CRS, cols: Points, rows: Points) -> None:
    """Refuse to lay half the globe onto a transverse Mercator map, such as UTM.

    PROJ computes it far beyond what it is made for.
    """
    operation = crs.proj.coordinate_operation
    if operation is None or operation.method_code != _TRANSVERSE_MERCATOR or grid.crs is None:
        return
    middle = next(p.value for p in operation.params if p.code == _MIDDLE_MERIDIAN)
    change = Transformer.from_crs(grid.crs.proj, crs.proj.geodetic_crs, always_xy=True)
    lon, lat = (np.radians(values) for values in change.transform(*_at(grid, cols, rows)))
    apart = lon - np.radians(middle)
    off = np.degrees(np.abs(np.arcsin(np.clip(np.cos(lat) * np.sin(apart), -1, 1))))
    behind = (np.cos(apart) < 0) & (np.abs(lat) < np.radians(80))
    if off.max() > _FARTHEST_OFF or behind.any():
        far = np.degrees(np.abs((apart + np.pi) % (2 * np.pi) - np.pi)).max()
        raise SceneError(
            f"scene {scene.id}: reaches {far:.0f} degrees of longitude from {middle:g}, the middle "
            f"of {_name(crs)} (grid.crs), which is made for a few; cut the files to the area that "
            f"is wanted first, or choose another CRS: utm for a small scene, EPSG:6933 for a large"
        )


def _dilation(mask: Mask, ref: MaskRef | None, before: GeoBox, after: GeoBox) -> int:
    """The dilation of a mask in pixels of ``after``, no shorter on the ground than it was."""
    if not mask.dilate:
        return 0
    if ref is not None and ref.dilate and ref.dilate_unit == "m":
        metres = ref.dilate
    else:
        metres = mask.dilate * _side(before)
    return ceil(metres / _side(after) - 1e-2)


def _side(grid: GeoBox) -> float:
    """The shorter side of most pixels on the ground, in metres.

    As the projection says, where that is right to 2 %: who asks for 30 m of 10 m means 3 pixels.
    """
    measured = float(np.median(measure_grid(grid).steps, axis=(0, 1)).min())
    said = min(pixel_sides(grid))
    return said if abs(measured / said - 1) < 0.02 else measured


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.epsg}" if crs.epsg is not None else str(crs.proj.name)
