"""What a workflow says of change between two maps: which, from what to what, what is too little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema

from geoseg.errors import InputError
from geoseg.workflow.faults import UnfitError
from geoseg.workflow.fields import Distinct, FilePath, Some, Text
from geoseg.workflow.section import Section
from geoseg.workflow.units import Area
from geoseg.workflow.vector import PRESETS, Tolerance, area_or_preset

LeastArea = Annotated[
    Area,
    PlainValidator(area_or_preset),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"enum": list(PRESETS)}, Area.json_schema()]}),
]


class Change(Section):
    """What changed between two dates."""

    before: Text | None = None
    """The earlier map: a folder of products, a raster of classes, or the date (2020-12-31) or name
    of one of the workflow's scenes. Without both, the workflow must have two scenes."""
    after: Text | None = None
    """The later map, likewise."""
    directory: FilePath | None = None
    """Folder of the products; without it, one called after both dates below the folder 'change'
    beside those of the scenes."""
    grid: Literal["before", "after"] = "before"
    """Whose pixels are compared; those of the other map are its nearest ones."""
    from_: Distinct[Text] = Field(default=(), alias="from")
    """Classes whose changes are asked for, by name; all without it."""
    to: Distinct[Text] = ()
    """Classes that they must have become; any without it."""
    names: dict[Text, Text] = Field(default_factory=dict)
    """Classes of the later map that the earlier one calls otherwise: {Forest: Trees}."""
    ignore: Distinct[Text] = ()
    """Classes, by name or code, that count as not seen: clouds, for example."""
    background: Text | None = None
    """The class of pixels that have none, for maps that show a single class and are nodata
    elsewhere; without it they were not seen."""
    min_confidence: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent that both maps must be sure of a pixel for it to be a change."""
    min_area: LeastArea = Area(0.0, "m2")
    """The smallest patch of change: an area, or a preset (corine 25 ha, eudr 0.5 ha, radd 0.2 ha)."""
    patches: Literal["from", "transition"] = "from"
    """What a patch is: all neighbouring pixels that were one class before, whatever they became, or
    only those of one transition."""
    forest_mask: Text | None = None
    """Only look where this raster shows forest, as at a cut-off date: a file, or file:class,class;
    without classes all that is not 0."""
    edges: Literal["weigh", "erode", "keep"] = "weigh"
    """Changes along edges of classes: weigh leaves out those that a displacement explains as well,
    erode those that are not some pixels deep, keep leaves out none."""
    edge_width: Annotated[int, Field(ge=1, le=8)] = 1
    """How far from where it is shown an edge may be, in pixels."""
    max_shift: Annotated[float, Field(gt=0, le=8)] = 0.3
    """Warn if the maps seem to lie more pixels than that apart."""
    simplify: Tolerance = None
    """How far outlines of polygons may move (8 m), or the smallest corner that stays (200 m2)."""
    formats: Some[Literal["gpkg", "geoparquet", "flatgeobuf", "pmtiles"]] = ("gpkg", "geoparquet")
    """File formats of polygons."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.before is None) != (self.after is None):
            missing = "before" if self.before is None else "after"
            raise UnfitError("expected both of before and after, or none", at=(missing,))
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # "from" is no name that Python has.
        return {key.rstrip("_"): value for key, value in handler(self).items()}


def change_of(settings: Mapping[str, Any]) -> Change:
    """The section from keys and values that were not in a file; ``from_`` is ``from``.

    Raises:
        InputError: A key is unknown, or a value does not fit; says which.
    """
    try:
        return Change.model_validate({key.rstrip("_"): v for key, v in settings.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = f"unknown; known are {', '.join(k.rstrip('_') for k in Change.model_fields)}"
        raise InputError(f"{key}: {said}") from None
