"""What a workflow wants to know of water: its history, lakes, floods."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Self

from pydantic import Field, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from geoseg.ops.months import Month, Span
from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import Distinct, FilePath, MinArea, Text
from geoseg.workflow.section import Section
from geoseg.workflow.units import Area

_SPAN = re.compile(r"(\d{4})(?:-(\d{2}))?(?:\.\.(\d{4})(?:-(\d{2}))?)?\Z")


def _span(value: object) -> str:
    read_span(value)
    return str(value)


def read_span(value: object) -> Span:
    """Months from a text like ``2019``, ``2019..2020`` or ``2019-05..2020-04``.

    Raises:
        UnfitError: It is something else.
    """
    advice = "expected years or months, like 2019, 2019..2020 or 2019-05..2020-04"
    found = _SPAN.match(str(value).strip()) if isinstance(value, str | int) else None
    if found is None:
        raise UnfitError(advice, show(value))
    year, month, end_year, end_month = found.groups()
    first = Month(int(year), int(month or 1))
    last = Month(int(end_year or year), int(end_month or (month if not end_year else None) or 12))
    if not (1 <= first.month <= 12 and 1 <= last.month <= 12 and first <= last):
        raise UnfitError(advice, show(value))
    return Span(first, last)


Months = Annotated[
    str,
    PlainValidator(_span),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["2019..2020", "2019-05..2020-04"]}),
]


def _day(value: object) -> str:
    text = value.isoformat() if isinstance(value, date) else str(value)
    if text in ("last", "all", "none"):
        return text
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UnfitError(
            "expected last, all, none, or a day like 2024-05-31", show(value)
        ) from None


Day = Annotated[
    str, PlainValidator(_day), WithJsonSchema({"type": "string", "examples": ["2024-05-31"]})
]
Share = Annotated[int, Field(ge=1, le=100)]


class Water(Section):
    """How the products of water are made."""

    classes: Distinct[Text] = ()
    """Names of the classes that are water; those with 'water' in their names without it."""
    lakes: FilePath | None = None
    """A file of polygons of lakes and reservoirs whose areas are wanted; without it they are
    found, by where there is water often."""
    lake_name: Text | None = None
    """The column of that file with their names."""
    find_lakes: bool = True
    """Look for lakes where no file names them."""
    min_lake: MinArea = Area(1, "ha")
    """The smallest lake that is looked for."""
    lake_from: Share = 10
    """Occurrence from which on a pixel belongs to a lake that is looked for, in percent."""
    permanent: FilePath | None = None
    """A raster of permanent water, of classes or of occurrence in percent; the run's own history
    without it."""
    permanent_from: Share = 75
    """Occurrence from which on water is permanent, in percent."""
    flood: Distinct[Day] = ("last",)
    """Dates whose extent is compared with permanent water: last, all, none, or days."""
    first: Months | None = None
    """The first of the two spans that transitions are between; half of the years without."""
    last: Months | None = None
    """The last of the two spans."""
    season_year: Annotated[int, Field(ge=1, le=9998)] | None = None
    """The year whose months with water are counted; the last one without."""
    permanent_months: Share = 100
    """Share of the observed months of a span with water where it is permanent, in percent; JRC's
    is 100."""
    dry_months: Annotated[int, Field(ge=0, le=99)] = 0
    """Share of the observed months of a span with water that is still land, in percent; JRC's
    is 0."""
    least_observed: Share = 10
    """Share of a lake that must be seen for an estimate of its area, in percent."""

    @model_validator(mode="after")
    def _spans_in_order(self) -> Self:
        if (self.first is None) != (self.last is None):
            missing = "first" if self.first is None else "last"
            raise UnfitError("expected both spans, or none of them", at=(missing,))
        if (
            self.first is not None
            and self.last is not None
            and read_span(self.first).last >= read_span(self.last).first
        ):
            raise UnfitError("expected months after those of 'first'", self.last, at=("last",))
        if self.dry_months >= self.permanent_months:
            raise UnfitError(
                "expected less than permanent_months", str(self.dry_months), at=("dry_months",)
            )
        return self


class WaterOfRun(Water):
    """Products of water that are made after the scenes are mapped, of all maps there are."""

    directory: FilePath
    """Folder of the products."""
    maps: Distinct[FilePath] = ()
    """Patterns of further maps, those of earlier runs: 'products/*'."""
