"""The parts of a workflow that make one map of many scenes: before the model, or after it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from geoseg.workflow.faults import UnfitError, closest, show
from geoseg.workflow.section import Section
from geoseg.workflow.units import Duration

_CALENDAR = ("all", "month", "quarter", "year")
_DAY = 86400.0
_LONGEST_DAYS = 366


def _period(value: object) -> str | Duration:
    if isinstance(value, str) and value in _CALENDAR:
        return value
    advice = f"expected {', '.join(_CALENDAR)}, or whole days like '16d'"
    try:
        span = Duration.parse(value)
    except UnfitError:
        guess = closest(value, _CALENDAR) if isinstance(value, str) else None
        hint = f"did you mean '{guess}'?" if guess else ""
        raise UnfitError(advice, show(value), hint=hint) from None
    days = span.timedelta.total_seconds() / _DAY
    if not (days.is_integer() and 1 <= days <= _LONGEST_DAYS):
        raise UnfitError(f"{advice}, at most {_LONGEST_DAYS}", show(value))
    return span


PeriodLength = Annotated[
    Literal["all", "month", "quarter", "year"] | Duration,
    PlainValidator(_period),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"enum": list(_CALENDAR)}, Duration.json_schema()]}),
]


class Composite(Section):
    """Scenes of a period are combined pixel by pixel, and the model sees what comes out."""

    method: Literal["median", "best_pixel", "max_ndvi", "latest"] = "median"
    """What is taken of the clear observations of a pixel: the median of each band, or all bands of
    one of them: the one farthest from clouds and closest to the median, the greenest, or the most
    recent."""
    period: PeriodLength = "all"
    """Scenes that go together: all of them, those of a month, quarter or year, or of so many days,
    counted from the first of January of each year. Each period makes products of its own."""
    min_observations: Annotated[int, Field(ge=1, le=255)] = 1
    """Clear observations that a pixel needs; with fewer it has no data."""


class Mosaic(Section):
    """The model sees each scene, and one map is made of what it says."""

    rule: Literal["best_quality", "latest", "probability"] = "best_quality"
    """Which scene counts where several have data: the one farthest from clouds and from its edge,
    the most recent; or all of them, by their probabilities weighted by that distance, which
    leaves no line along the edges of scenes."""


def expand_composite(value: object) -> object:
    """The long way to write ``composite: median``."""
    return {"method": value} if isinstance(value, str) else value


def expand_mosaic(value: object) -> object:
    """The long way to write ``mosaic: probability``."""
    return {"rule": value} if isinstance(value, str) else value


def named(section: type[Section], key: str) -> dict[str, Any]:
    """JSON Schema of the short way to write a section: the value of its first key."""
    return {"enum": section.model_json_schema()["properties"][key]["enum"]}
