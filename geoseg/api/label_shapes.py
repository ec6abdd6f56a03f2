"""Regions and polygons of labels: how many, how large, and which are broken, thin or in the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from shapely.geometry.base import BaseGeometry

from geoseg.api.label_items import LabelItem
from geoseg.errors import InputError
from geoseg.io.grids import pixel_area, pixel_sides
from geoseg.io.label_files import RasterLabels, VectorLabels
from geoseg.io.label_raster import NO_LABEL
from geoseg.ops.content_hash import tidy
from geoseg.ops.findings import Finding, Level
from geoseg.ops.slivers import find_gaps, find_overlaps, measure_shapes
from geoseg.run.resources import available_cores
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_windows
from geoseg.workflow.units import Area, Length

BLOCK = 1024
_MOST_SHAPES = 50_000  # of one kind in one file that are kept to be drawn
_POLYGONS = {"Polygon", "MultiPolygon"}
_POINTS = {"Point", "MultiPoint"}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is small and what is thin.

    Attributes:
        area: Smaller regions and polygons are specks.
        width: Thinner ones (twice the area over the perimeter) are slivers.
    """

    area: Area
    width: Length

    @classmethod
    def parse(cls, area: str, width: str) -> Thresholds:
        """From texts like ``3 px`` or ``0.1 ha``, and ``1 px`` or ``5 m``.

        Raises:
            InputError: They are none.
        """
        try:
            return cls(Area.parse(area), Length.parse(width))
        except ValueError as error:
            raise InputError(f"min-area or min-width: {error}") from error


@dataclass(frozen=True, slots=True)
class Drawn:
    """A place to look at, in the CRS of its file."""

    what: str
    text: str
    file: str
    shape: BaseGeometry
    crs: CRS


@dataclass(slots=True)
class Shapes:
    """What the shapes of one file say.

    Attributes:
        regions: Connected regions, or polygons, by class as written.
        area: Square metres by class; empty where nothing says how large pixels are.
        findings: What is wrong with them.
        drawn: Where.
    """

    regions: Counter[int | str] = field(default_factory=Counter)
    area: dict[int | str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)

    def add_area(self, key: int | str, area: float) -> None:
        """So many square metres more of a class."""
        self.area[key] = self.area.get(key, 0.0) + area


def look_at_shapes(item: LabelItem, limits: Thresholds, *, workers: int | None) -> Shapes:
    """Go through the regions of a raster, or the features of a vector file."""
    if isinstance(item.labels, RasterLabels):
        return _regions(item, item.labels, limits, workers or available_cores())
    return _Features(item, item.labels, limits).look()


def _regions(item: LabelItem, labels: RasterLabels, limits: Thresholds, threads: int) -> Shapes:
    grid, found = item.grid, Shapes()
    placed = grid.crs is not None
    # Without a CRS a pixel is one wide.
    side, size = (max(pixel_sides(grid)), pixel_area(grid)) if placed else (1.0, 1.0)
    smallest = limits.area.square_metres(size) * (1 - 1e-6)
    thinnest = limits.width.metres(side) * (1 - 1e-6)
    specks, slivers = _Kind(), _Kind()
    for batch in vectorize_windows(
        labels.codes,
        grid,
        nodata=NO_LABEL,
        wanted=Wanted(connectivity=8),
        block=BLOCK,
        threads=threads,
    ):
        shapes, codes, area, around, cut = (
            batch.column(name).to_numpy(zero_copy_only=False)
            for name in ("geometry", "class_code", "area_m2", "perimeter_m", "touches_edge")
        )
        for code in np.unique(codes):
            found.regions[int(code)] += int((codes == code).sum())
            if placed:
                found.add_area(int(code), float(area[codes == code].sum()))
        # What the edge of the raster cuts may be large.
        speck = ~cut & (area < smallest)
        sliver = ~cut & ~speck & (2 * area < thinnest * around)
        specks.add(area[speck], shapes[speck])
        slivers.add(area[sliver], shapes[sliver])
    _tell(found, item, specks, "specks", f"smaller than {limits.area}")
    _tell(found, item, slivers, "slivers", f"thinner than {limits.width}")
    return found


def _tell(found: Shapes, item: LabelItem, kind: _Kind, what: str, words: str) -> None:
    if not kind.count:
        return
    crs = item.grid.crs
    total = f"{kind.area:,.0f} {'px' if crs is None else 'm²'}"
    text = f"{kind.count:,} regions {words} ({total} in all)"
    found.findings.append(
        Finding("warning", "slivers", what, text, item.name, kind.count, kind.places())
    )
    if crs is not None:
        found.drawn += [Drawn(what, text, item.name, shape, crs) for shape in kind.shapes]


@dataclass(slots=True)
class _Kind:
    """Shapes of one kind, the first of them kept."""

    count: int = 0
    area: float = 0.0
    shapes: list[BaseGeometry] = field(default_factory=list)

    def add(self, area: NDArray[np.float64], shapes: NDArray[np.object_]) -> None:
        self.count += len(area)
        self.area += float(area.sum())
        room = _MOST_SHAPES - len(self.shapes)
        self.shapes += list(shapely.from_wkb(shapes[:room])) if room > 0 and len(shapes) else []

    def places(self) -> tuple[tuple[float, float], ...]:
        return tuple(_place(s) for s in self.shapes[:3])


class _Features:
    """The features of one vector file, and what is found in them."""

    def __init__(self, item: LabelItem, labels: VectorLabels, limits: Thresholds) -> None:
        self.item, self.labels, self.limits = item, labels, limits
        self.found = Shapes()

    def look(self) -> Shapes:
        """All checks."""
        labels, found = self.labels, self.found
        found.regions.update(self._key(label) for label in labels.labels)
        self._missing()
        if not labels.kinds.keys() <= _POLYGONS:
            self._kinds()
        polygons = np.isin(shapely.get_type_id(labels.shapes), (3, 6))
        if not polygons.any():
            self._twice()
            return found
        self._invalid(np.flatnonzero(polygons))
        valid = shapely.make_valid(labels.shapes[polygons])
        names = [self._key(labels.labels[i]) for i in np.flatnonzero(polygons)]
        sizes = measure_shapes(valid, labels.crs.proj)
        for name, area in zip(names, np.nan_to_num(sizes.area), strict=True):
            found.add_area(name, float(area))
        self._overlaps(valid, names)
        self._thin(valid)
        return found

    def _key(self, label: int | str) -> int | str:
        return label if isinstance(label, int) else " ".join(label.split())

    def _say(
        self,
        level: Level,
        what: str,
        text: str,
        shapes: NDArray[np.object_],
        *,
        check: str = "shapes",
    ) -> None:
        count, name = len(shapes), self.item.name
        places = tuple(_place(shape) for shape in shapes[:3])
        self.found.findings.append(Finding(level, check, what, text, name, count, places))
        draw = partial(Drawn, what, text, name, crs=self.labels.crs)
        self.found.drawn += [draw(shape=shape) for shape in shapes[:_MOST_SHAPES]]

    def _missing(self) -> None:
        for what, count, text in (
            ("unlabelled", self.labels.unlabelled, "features have a shape but no label"),
            ("shapeless", self.labels.shapeless, "features have no shape"),
        ):
            if count:
                finding = Finding(
                    "warning", "shapes", what, f"{count:,} {text}", self.item.name, count
                )
                self.found.findings.append(finding)

    def _kinds(self) -> None:
        kinds = self.labels.kinds
        if kinds.keys() <= _POINTS:
            return
        text = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"features are of several kinds ({text}); labels are polygons, or points"
        total = sum(kinds.values())
        self.found.findings.append(
            Finding("fault", "shapes", "kinds-mixed", text, self.item.name, total)
        )

    def _twice(self) -> None:
        """Points in one and the same place."""
        shapes = self.labels.shapes
        _, first, count = np.unique(shapely.to_wkb(shapes), return_index=True, return_counts=True)
        if (count > 1).any():
            text = f"{int((count > 1).sum()):,} places have more than one point"
            self._say("warning", "same-place", text, shapes[first[count > 1]])

    def _invalid(self, polygons: NDArray[np.intp]) -> None:
        shapes = self.labels.shapes[polygons]
        broken = ~shapely.is_valid(shapes)
        if broken.any():
            which = np.flatnonzero(broken)
            row = self.labels.rows[polygons[which[0]]]
            reason = shapely.is_valid_reason(shapes[which[0]])
            text = (
                f"{len(which):,} polygons are not valid (first: feature {row + 1} of the file, "
                f"{reason}); mend them in QGIS with Fix geometries"
            )
            self._say("fault", "invalid", text, shapes[broken])

    def _overlaps(self, valid: NDArray[np.object_], names: list[int | str]) -> None:
        clashes = find_overlaps(valid, self.labels.crs.proj)
        keys = np.array([tidy(str(name)) for name in names], dtype=np.object_)
        differ = np.array([keys[a] != keys[b] for a, b in clashes.pairs], np.bool_)
        for level, what, which in (
            ("fault", "overlap", differ),
            ("warning", "overlap-same", ~differ),
        ):
            if which.any():
                area, (a, b) = clashes.area[which].sum(), clashes.pairs[which][0]
                how = (
                    f"different classes ({names[a]} and {names[b]} first)"
                    if what == "overlap"
                    else "one class"
                )
                text = f"{int(which.sum()):,} overlaps of polygons of {how}, {area:,.1f} m² in all"
                self._say(
                    "fault" if level == "fault" else "warning", what, text, clashes.shapes[which]
                )

    def _thin(self, valid: NDArray[np.object_]) -> None:
        """Specks, slivers and gaps; in pixels of the image, where that is how limits are said."""
        image = next((image for image in self.item.images if image.placed), None)
        if image is None and "px" in {self.limits.area.unit, self.limits.width.unit}:
            text = (
                "slivers and gaps were not looked for: limits are in pixels, and there is no image "
                "(give --image, or --min-area and --min-width in metres)"
            )
            self.found.findings.append(
                Finding("note", "slivers", "not-checked", text, self.item.name)
            )
            return
        side, size = (1.0, 1.0)
        if image is not None:
            side, size = max(pixel_sides(image.grid)), pixel_area(image.grid)
        smallest, thinnest = self.limits.area.square_metres(size), self.limits.width.metres(side)
        sizes = measure_shapes(valid, self.labels.crs.proj)
        speck = np.nan_to_num(sizes.area) < smallest
        sliver = ~speck & (sizes.width < thinnest)
        for what, which, words, limit in (
            ("specks", speck, "smaller", self.limits.area),
            ("slivers", sliver, "thinner", self.limits.width),
        ):
            if which.any():
                total = np.nan_to_num(sizes.area[which]).sum()
                text = (
                    f"{int(which.sum()):,} polygons {words} than {limit} ({total:,.1f} m² in all)"
                )
                self._say("warning", what, text, valid[which], check="slivers")
        holes, gaps = find_gaps(valid, self.labels.crs.proj, min_width=thinnest, min_area=smallest)
        if len(holes):
            text = f"{len(holes):,} thin gaps between polygons ({gaps.area.sum():,.1f} m² in all)"
            self._say("warning", "gaps", text, holes, check="slivers")


def _place(shape: BaseGeometry) -> tuple[float, float]:
    point = shapely.point_on_surface(shape)
    if point.is_empty:  # of a shape that is broken
        x, y = shapely.get_coordinates(shape)[0]
        return float(x), float(y)
    return float(point.x), float(point.y)
