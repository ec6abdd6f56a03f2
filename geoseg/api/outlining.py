"""What is asked of polygons, in the numbers of one raster: codes, square metres, layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoseg.grid import GeoBox
from geoseg.io.vector import LAND_USE, Theme
from geoseg.legend import Legend
from geoseg.ops.metric import measure_grid
from geoseg.ops.mmu.rules import MinimumUnit
from geoseg.ops.topology.shaping import Ground, Shaping, ground_of
from geoseg.steps.polygons import Least, Wanted
from geoseg.workflow.units import Area, Length
from geoseg.workflow.vector import OTHERS, Vector, area_of, named

SUFFIX_OF: Mapping[str, str] = {
    "gpkg": ".gpkg",
    "geoparquet": ".parquet",
    "flatgeobuf": ".fgb",
    "pmtiles": ".pmtiles",
}


@dataclass(frozen=True, slots=True)
class Outlining:
    """How the polygons of one raster are made.

    Attributes:
        wanted: Which polygons, and what becomes of their outlines.
        unit: What becomes of small regions before they are outlined; None: nothing.
        themes: Layers of a GeoPackage.
    """

    wanted: Wanted
    unit: MinimumUnit | None
    themes: tuple[Theme, ...]


def outlining(vector: Vector, legend: Legend, grid: GeoBox, *, title: str) -> Outlining:
    """The numbers of ``vector`` for a raster on ``grid`` whose classes ``legend`` has."""
    ground = ground_of(measure_grid(grid))
    codes = _codes(legend, vector.classes) if vector.classes else ()
    least = {} if vector.small == "merge" else _by_code(vector.min_area, legend)
    wanted = Wanted(
        codes,
        least={code: _least(area) for code, area in least.items()},
        connectivity=vector.connectivity,
        shaping=_shaping(vector, legend, ground),
    )
    themes = [
        Theme(name, _codes(legend, classes), title)
        for name, classes in (vector.layers or {LAND_USE: ()}).items()
    ]
    return Outlining(wanted, _unit(vector, legend), tuple(themes))


def _codes(legend: Legend, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(c.value for c in legend.select(names)) if names else ()


def _by_code(areas: Mapping[str, Area], legend: Legend) -> dict[int, Area]:
    """The area of each class that has one above 0."""
    own = {name.casefold(): area for name, area in areas.items()}
    found = {c.value: area_of(own, c.name.casefold()) for c in legend.classes}
    return {code: area for code, area in found.items() if area.value}


def _least(area: Area) -> Least:
    if area.unit == "px":
        return Least(pixels=area.pixels(1.0))
    return Least(square_metres=area.square_metres(1.0))


def _unit(vector: Vector, legend: Legend) -> MinimumUnit | None:
    """The minimum unit, in pixels or on the ground."""
    if not vector.reassigns:
        return None
    small = _by_code(vector.min_area, legend) if vector.small == "merge" else {}
    holes = _by_code(vector.fill_holes, legend)
    if OTHERS in vector.fill_holes and vector.classes:
        # One limit for all means all that are outlined.
        wanted = {*_codes(legend, vector.classes), *_codes(legend, named(vector.fill_holes))}
        holes = {code: area for code, area in holes.items() if code in wanted}
    units = {area.unit == "px" for area in (*small.values(), *holes.values())}
    return MinimumUnit(
        areas={code: area.square_metres(1.0) for code, area in small.items()},
        unit="px" if units == {True} else "m2",
        by=vector.merge_by,
        fill_holes={code: area.square_metres(1.0) for code, area in holes.items()},
        connectivity=vector.connectivity,
    )


def _shaping(vector: Vector, legend: Legend, ground: Ground) -> Shaping | None:
    how, amount = vector.simplify, 0.0
    if isinstance(how, Length):
        amount = how.metres(ground.pixel)
    elif how is not None:
        amount = how.square_metres(ground.area)
    if how is None and vector.smooth is None and not vector.square:
        return None
    simplify = "douglas-peucker" if isinstance(how, Length) else "visvalingam"
    return Shaping(
        None if how is None else simplify,  # type: ignore[arg-type]  # one of its words
        amount,
        vector.smooth,
        square=_codes(legend, vector.square),
        square_within=vector.square_within.metres(ground.pixel),
    )


def areas_record(
    written: Mapping[int, tuple[float, float]], legend: Legend
) -> list[dict[str, Any]]:
    """Hectares by class: of pixels, of the outlines that were written, and the difference."""
    names = {c.value: c.name for c in legend.classes}
    return [
        {
            "code": code,
            "name": names.get(code, f"Class {code}"),
            "pixels_ha": round(pixels / 1e4, 4),
            "written_ha": round(shaped / 1e4, 4),
            "drift_percent": round(100 * (shaped / pixels - 1), 4) if pixels else None,
        }
        for code, (pixels, shaped) in written.items()
    ]
