"""The part of a workflow that says on which grid products are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import FilePath, exactly, read_crs, read_number
from geoseg.workflow.section import Section
from geoseg.workflow.units import Spacing

_BOTH = "expected 'auto', one size like '10 m' for both sides of a pixel, or [height, width]"


def _grid_crs(value: object) -> str:
    if isinstance(value, str) and value.strip().lower() == "utm":
        return "utm"
    try:
        return read_crs(value)
    except UnfitError as error:
        raise UnfitError(f"{error.advice}, or utm", error.found, hint=error.hint) from None


def _resolution(value: object) -> tuple[Spacing, Spacing] | Literal["auto"]:
    if isinstance(value, str) and value == "auto":
        return "auto"
    if not isinstance(value, list | tuple):
        size = _spacing(value)
        return size, size
    sides = exactly("height", "width")(value)
    assert isinstance(sides, list | tuple)  # noqa: S101 - for the type checker
    height, width = (_spacing(side, at=(k,)) for k, side in enumerate(sides))
    if (height.unit == "deg") != (width.unit == "deg"):
        raise UnfitError("expected both in degrees, or both in metres", show(f"{height}, {width}"))
    return height, width


def _spacing(value: object, *, at: tuple[int, ...] = ()) -> Spacing:
    try:
        size = Spacing.parse(value)
    except UnfitError as error:
        advice = error.advice if at else f"{_BOTH}; {error.advice}"
        raise UnfitError(advice, error.found, hint=error.hint, at=at) from None
    if not size.value:
        raise UnfitError("expected pixels with a size", show(value), at=at)
    return size


def _written(value: object) -> Any:
    return [str(side) for side in value] if isinstance(value, tuple) else value


def _as_list(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _snap(value: object) -> Literal[True] | tuple[float, float]:
    if value is True:
        return True
    if not isinstance(value, list | tuple):
        raise UnfitError("expected true, or the corner [x, y] of a pixel", show(value))
    x, y = (read_number(side) for side in exactly("x", "y")(value))  # type: ignore[attr-defined]  # a list or a tuple
    return x, y


_one_size = Spacing.json_schema()
GridCrs = Annotated[
    str,
    PlainValidator(_grid_crs),
    WithJsonSchema({"type": "string", "examples": ["EPSG:32633", "utm"]}),
]
Resolution = Annotated[
    tuple[Spacing, Spacing] | Literal["auto"],
    PlainValidator(_resolution),
    PlainSerializer(_written),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "auto"},
                _one_size,
                {"type": "array", "items": _one_size, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]
Snap = Annotated[
    Literal[True] | tuple[float, float],
    PlainValidator(_snap),
    PlainSerializer(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": True},
                {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]


class GridChoice(Section):
    """The grid that products are made on; what is not said stays as the scene has it."""

    crs: GridCrs | None = None
    """CRS of the products: a code, WKT, or utm for the zone of the area (without one, of the
    scene)."""
    resolution: Resolution = "auto"
    """Size of a pixel: one like 10 m for both sides, or [height, width]; auto is the finest
    band's. Metres are those of the CRS; where it counts in degrees, 1 deg stands for 111 320 m."""
    snap: Snap = True
    """Pixel edges lie at multiples of the resolution, so that neighbouring scenes share them; or
    at whole pixels from the corner [x, y], in units of the CRS."""
    like: FilePath | None = None
    """Raster file whose grid is taken as it is, instead of all the others."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        said = {"crs": self.crs is not None, "resolution": self.resolution != "auto",
                "snap": self.snap is not True}  # fmt: skip
        others = [key for key, given in said.items() if given]
        if self.like is not None and others:
            raise UnfitError("a file has its own", at=(others[0],))
        if self.like is None and not self.model_fields_set:
            raise UnfitError("expected crs, resolution, snap or like", "none of them")
        return self
