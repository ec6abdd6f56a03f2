"""How large the pixels of a grid are on the ground: areas and lengths on the ellipsoid."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, hypot, log2

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.grid import GeoBox

Floats = NDArray[np.float64]

_TOLERANCE = 1e-6  # relative error of what is interpolated between nodes
_FEWEST, _MOST = 8, 1024  # cells of the node mesh along an axis
_LONGEST_STEP = 500.0  # metres; chords and flat quads are exact to 1e-9 over that
_COUNT_BITS = 62  # sums of areas over the whole grid must fit into int64


@dataclass(frozen=True, slots=True)
class Metric:
    """Ground sizes at the nodes of a mesh over a grid, bilinear in between.

    The mesh has ``(rows + 1, cols + 1)`` nodes, evenly spread over the lattice coordinates
    ``0..height`` and ``0..width``, so that what a pixel measures depends on no block.

    Attributes:
        shape: Height and width of the grid in pixels.
        density: ``(rows + 1, cols + 1)``; square metres that a pixel covers at each node.
        steps: ``(rows + 1, cols + 1, 2)``; metres per pixel going down and going right.
        skew: ``(rows + 1, cols + 1)``; the dot product of these two steps on the ground, square
            metres: 0 where they are at right angles.
        unit: Square metres of one count. Areas are summed as whole counts, for integers give the
            same sum in any order. A power of two, so small that the whole grid takes 62 bits.
    """

    shape: tuple[int, int]
    density: Floats
    steps: Floats
    skew: Floats
    unit: float = field(init=False)

    def __post_init__(self) -> None:
        largest = float(self.density.max()) * self.shape[0] * self.shape[1]
        object.__setattr__(self, "unit", 2.0 ** (floor(log2(largest)) + 1 - _COUNT_BITS))

    @property
    def spacing(self) -> tuple[float, float]:
        """Pixels between nodes ``(y, x)``."""
        rows, cols = self.density.shape
        return self.shape[0] / (rows - 1), self.shape[1] / (cols - 1)

    def row_density(self, y0: int, y1: int) -> Floats:
        """Counts per pixel along the middle of rows ``y0:y1``, ``(row, node column)``."""
        at = (np.arange(y0, y1) + 0.5) / self.spacing[0]
        node = np.minimum(at.astype(np.int64), self.density.shape[0] - 2)
        part = (at - node)[:, None]
        rows: Floats = self.density[node] * (1 - part) + self.density[node + 1] * part
        return rows / self.unit


def measure_grid(grid: GeoBox) -> Metric:
    """Measure ``grid`` on the ellipsoid of its CRS.

    Pixel edges are taken as straight in the CRS, as every GIS draws them. At each node the two
    tangent vectors of the pixel are differenced in earth-centred coordinates (nothing happens at
    poles or the antimeridian); their cross product is the area. The mesh is refined until
    interpolation errs by less than 1e-6. A grid without CRS, or whose CRS is not tied to the
    earth, is measured in the plane, in its own units (taken as metres where they have no name).
    Nodes that the CRS cannot place on the earth are measured in the plane, too.
    """
    measure = _Tangents(grid)
    cells = [_FEWEST, _FEWEST]
    for axis in (0, 1):
        while cells[axis] < min(_MOST, grid.shape[axis]) and _error(measure, cells, axis):
            cells[axis] *= 2
    density, steps, skew = measure.at_nodes(cells)
    return Metric((int(grid.shape[0]), int(grid.shape[1])), density, steps, skew)


def _error(measure: _Tangents, cells: list[int], axis: int) -> bool:
    """Whether a mesh of ``cells`` is too coarse along ``axis``."""
    finer = [n * 2 if i == axis else n for i, n in enumerate(cells)]
    density = np.moveaxis(measure.at_nodes(finer)[0], axis, 0)
    between = (density[:-2:2] + density[2::2]) / 2
    return bool(np.any(np.abs(between - density[1::2]) > _TOLERANCE * density[1::2]))


class _Tangents:
    """What one pixel down and one pixel right are on the ground, anywhere on a grid."""

    def __init__(self, grid: GeoBox) -> None:
        self._shape = grid.shape
        self._affine = a = grid.affine
        dot = a.a * a.b + a.d * a.e
        self._planar = hypot(a.b, a.e), hypot(a.a, a.d), abs(a.determinant), dot
        crs = None if grid.crs is None else grid.crs.proj
        self._to_earth = _transformer(crs)
        self._ellipsoid = None if crs is None else crs.ellipsoid
        self._step = 0.5
        if self._to_earth is None:
            factor = _unit_factor(crs)
            down, right, area, dot = self._planar
            self._planar = down * factor, right * factor, area * factor**2, dot * factor**2
        else:
            _, steps, _ = self._measure(*(np.array([n / 2.0]) for n in grid.shape))
            self._step = min(0.5, _LONGEST_STEP / 2 / float(steps.max()))

    def at_nodes(self, cells: list[int]) -> tuple[Floats, Floats, Floats]:
        """Density, steps and skew at the nodes of a mesh."""
        rows, cols = (np.linspace(0, n, k + 1) for n, k in zip(self._shape, cells, strict=True))
        return self._measure(*np.meshgrid(rows, cols, indexing="ij"))

    def _measure(self, row: Floats, col: Floats) -> tuple[Floats, Floats, Floats]:
        if self._to_earth is None:
            down = right = np.zeros((*row.shape, 3)) * np.nan
        else:
            h = self._step
            down = (self._place(row + h, col) - self._place(row - h, col)) / (2 * h)
            right = (self._place(row, col + h) - self._place(row, col - h)) / (2 * h)
        area = np.linalg.norm(np.cross(down, right), axis=-1)
        steps = np.stack([np.linalg.norm(down, axis=-1), np.linalg.norm(right, axis=-1)], -1)
        good = np.isfinite(area)
        return (
            np.where(good, area, self._planar[2]),
            np.where(good[..., None], steps, self._planar[:2]),
            np.where(good, np.sum(down * right, axis=-1), self._planar[3]),
        )

    def _place(self, row: Floats, col: Floats) -> Floats:
        """Earth-centred coordinates in metres of lattice points, ``(..., 3)``."""
        assert self._to_earth is not None  # noqa: S101 - for the type checker
        assert self._ellipsoid is not None  # noqa: S101 - for the type checker
        a = self._affine
        x, y = a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f
        lon, lat = self._to_earth.transform(x, y)
        lon, lat = np.radians(lon), np.radians(lat)
        # PROJ says inf for what it cannot place.
        lon, lat = (np.where(np.isfinite(v), v, np.nan) for v in (lon, lat))
        major, minor = self._ellipsoid.semi_major_metre, self._ellipsoid.semi_minor_metre
        squeeze = (minor / major) ** 2
        normal = major / np.sqrt(1 - (1 - squeeze) * np.sin(lat) ** 2)
        across = normal * np.cos(lat)
        up = normal * squeeze * np.sin(lat)
        return np.stack([across * np.cos(lon), across * np.sin(lon), up], -1)


def _transformer(crs: CRS | None) -> Transformer | None:
    """From ``crs`` to longitude and latitude on its own datum; None where it has none."""
    base = None if crs is None else crs.geodetic_crs
    return None if base is None else Transformer.from_crs(crs, base.to_2d(), always_xy=True)


def _unit_factor(crs: CRS | None) -> float:
    return float(crs.axis_info[0].unit_conversion_factor) if crs and crs.axis_info else 1.0
