"""What a workflow wants of polygons: which, how small, how smooth, and into which files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypedDict

from pydantic import Field, PlainSerializer, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from geoseg.errors import InputError
from geoseg.workflow.deforestation import PRESETS as DEFORESTATION
from geoseg.workflow.faults import UnfitError, closest, show
from geoseg.workflow.fields import Distinct, OrElse, Some, Text, one_of
from geoseg.workflow.section import Section
from geoseg.workflow.settings import section_of
from geoseg.workflow.units import Area, Length

OTHERS = "others"
"""The key of all classes that are not named."""

PRESETS: Mapping[str, Area] = {
    "corine": Area(25, "ha"),  # CORINE Land Cover, technical guidelines: 25 ha
    **{name: DEFORESTATION[name].min_area for name in ("eudr", "radd")},
}
FORMATS = ("gpkg", "geoparquet", "flatgeobuf", "pmtiles")
_LONGEST_NAME = 64


def area_or_preset(value: object, at: tuple[str, ...] = ()) -> Area:
    """An area, or what one of :data:`PRESETS` stands for.

    Raises:
        UnfitError: It is neither.
    """
    if isinstance(value, str) and value.strip().casefold() in PRESETS:
        return PRESETS[value.strip().casefold()]
    try:
        return Area.parse(value)
    except UnfitError as error:
        guess = closest(value, PRESETS) if isinstance(value, str) and value.isalpha() else None
        hint = f"did you mean '{guess}'?" if guess else error.hint
        advice = f"{error.advice}, or a preset ({', '.join(PRESETS)})"
        raise UnfitError(advice, error.found, hint=hint, at=at) from None


def smallest_area(value: object) -> Area:
    """The area of the smallest polygon: a number and a unit, or a preset.

    Raises:
        InputError: It is something else.
    """
    try:
        return area_or_preset(value)
    except UnfitError as error:
        raise InputError(f"min_area: {error}") from None


def _hole_area(value: object, at: tuple[str, ...] = ()) -> Area:
    try:
        return Area.parse(value)
    except UnfitError as error:
        raise UnfitError(error.advice, error.found, hint=error.hint, at=at) from None


def _by_class(read: Callable[..., Area]) -> Callable[[object], dict[str, Area]]:
    """A reader of one area for all classes, or of one for each."""

    def check(value: object) -> dict[str, Area]:
        if not isinstance(value, dict):
            return {OTHERS: read(value)}
        return {name: read(area, (name,)) for name, area in value.items()}

    return check


def _as_texts(areas: Mapping[str, Area]) -> dict[str, str]:
    return {name: str(area) for name, area in areas.items()}


def _tolerance(value: object) -> Length | Area | None:
    """A length, an area, or nothing at all."""
    if value is None or value is False or value == 0:
        return None
    if isinstance(value, Length | Area):
        return value if value.value else None
    for kind in (Length, Area):
        try:
            read = kind.parse(value)
        except UnfitError:
            continue
        return read if read.value else None
    raise UnfitError(
        "expected a tolerance like '8 m' or '1 px' (Douglas-Peucker), or an area like '200 m2' "
        "(Visvalingam)",
        show(value),
    )


def _within(value: object) -> Length:
    length = Length.parse(value)
    if length.value == 0:
        raise UnfitError("expected a length above 0", show(str(length)))
    return length


def _themes(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        raise UnfitError("expected layers and their classes, like {water: [water]}", show(value))
    layers: dict[str, tuple[str, ...]] = {}
    for name, classes in value.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > _LONGEST_NAME:
            raise UnfitError("expected a layer's name of letters, digits and '_'", show(name))
        if name.casefold() in {known.casefold() for known in layers}:
            raise UnfitError("expected each layer only once", show(name), at=(name,))
        listed = isinstance(classes, list | tuple)
        if not listed or not all(isinstance(one, str) and one for one in classes):
            raise UnfitError("expected a list of classes", show(classes), at=(name,))
        layers[name] = tuple(classes)
    return layers


_AREAS = {
    "anyOf": [
        {"enum": list(PRESETS)},
        Area.json_schema(),
        {
            "type": "object",
            "additionalProperties": {"anyOf": [{"enum": list(PRESETS)}, Area.json_schema()]},
        },
    ],
    "examples": ["0.5 ha", "eudr", {"water": "400 m2", "others": "0.25 ha"}],
}
_HOLES = {
    "anyOf": [
        Area.json_schema(),
        {"type": "object", "additionalProperties": Area.json_schema()},
    ],
    "examples": ["0.1 ha", {"water": "0.1 ha"}],
}
_TOLERANCES = {
    "anyOf": [Length.json_schema(), Area.json_schema(), {"type": "null"}],
    "examples": ["8 m", "200 m2"],
}
_LAYERS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
    "examples": [{"land_use": [], "water": ["Water"]}],
}

MinAreas = Annotated[
    dict[str, Area],
    PlainValidator(_by_class(area_or_preset)),
    PlainSerializer(_as_texts),
    WithJsonSchema(_AREAS),
]
HoleAreas = Annotated[
    dict[str, Area],
    PlainValidator(_by_class(_hole_area)),
    PlainSerializer(_as_texts),
    WithJsonSchema(_HOLES),
]
Tolerance = Annotated[
    Length | Area | None,
    PlainValidator(_tolerance),
    PlainSerializer(lambda value: None if value is None else str(value)),
    WithJsonSchema(_TOLERANCES),
]
Within = Annotated[
    Length, PlainValidator(_within), PlainSerializer(str), WithJsonSchema(Length.json_schema())
]
Themes = Annotated[
    dict[str, tuple[str, ...]],
    PlainValidator(_themes),
    PlainSerializer(lambda layers: {name: list(classes) for name, classes in layers.items()}),
    WithJsonSchema(_LAYERS),
]


class Vector(Section):
    """Polygons."""

    classes: Distinct[Text] = ()
    """Names of the classes to outline; all without it."""
    min_area: MinAreas = Field(default_factory=dict)
    """The smallest polygon: an area for all classes, one for each, or a preset (corine 25 ha,
    eudr 0.5 ha, radd 0.2 ha)."""
    small: Literal["merge", "drop"] = "merge"
    """What becomes of smaller ones: merge gives them to a neighbour, so that areas add up; drop
    leaves them out."""
    merge_by: Literal["border", "probability"] = "border"
    """Which neighbour: the class with the longest shared border, or with the best mean
    probability."""
    fill_holes: HoleAreas = Field(default_factory=dict)
    """Holes up to this area belong to the class around them: an area for all classes to outline,
    or one for each."""
    simplify: Tolerance = None
    """How far an outline may move (8 m; Douglas-Peucker), or the smallest corner that stays
    (200 m2; Visvalingam). Neighbours keep their common edges."""
    smooth: Literal["corners", "chaikin"] | None = None
    """Round outlines off: chaikin everywhere, corners leaves long straight edges and their right
    angles alone."""
    square: Distinct[Text] = ()
    """Names of classes whose free-standing outlines get right angles, like buildings."""
    square_within: Within = Length(1.5, "px")
    """How far their walls may move."""
    layers: Themes | None = None
    """Layers of the GeoPackage and their classes (none listed: all of them); without it one layer,
    land_use."""
    connectivity: Annotated[Literal[4, 8], one_of(4, 8)] = 4
    """Whether pixels that only touch at a corner belong together (8) or not (4)."""
    formats: Some[Literal["gpkg", "geoparquet", "flatgeobuf", "pmtiles"]] = ("gpkg", "geoparquet")
    """File formats."""

    @model_validator(mode="after")
    def _one_kind_of_areas(self) -> Self:
        small = self.min_area if self.small == "merge" else {}
        areas = [area for area in (*small.values(), *self.fill_holes.values()) if area.value]
        if len({area.unit == "px" for area in areas}) > 1:
            raise UnfitError(
                "expected all areas in px, or all on the ground, as in 'min_area'",
                " and ".join(str(area) for area in areas),
                at=("fill_holes" if self.fill_holes else "min_area",),
            )
        return self

    @property
    def reassigns(self) -> bool:
        """Whether pixels change their class before they are outlined."""
        least = self.small == "merge" and any(area.value for area in self.min_area.values())
        return least or any(area.value for area in self.fill_holes.values())

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """All names of classes that are spoken of, by key."""
        layers = self.layers or {}
        return {
            "classes": self.classes,
            "min_area": named(self.min_area),
            "fill_holes": named(self.fill_holes),
            "square": self.square,
            **{f"layers.{name}": classes for name, classes in layers.items()},
        }


class VectorSettings(TypedDict, total=False):
    """The keys of :class:`Vector` as they are written; see there."""

    classes: Sequence[str]
    min_area: str | Mapping[str, str]
    small: Literal["merge", "drop"]
    merge_by: Literal["border", "probability"]
    fill_holes: str | Mapping[str, str]
    simplify: str | None
    smooth: Literal["corners", "chaikin"] | None
    square: Sequence[str]
    square_within: str
    layers: Mapping[str, Sequence[str]] | None
    connectivity: Literal[4, 8]


def expand_vector(value: object) -> object:
    """The long way to write ``true`` (all polygons) or ``false`` (none)."""
    if value is True:
        return {}
    return None if value is False else value


OptionalVector = Annotated[
    Vector | None,
    PlainSerializer(lambda vector: False if vector is None else vector),
    OrElse({"type": "boolean"}),
]


def area_of(areas: Mapping[str, Area], name: str) -> Area:
    """What holds for a class: its own, or that of the others."""
    return areas.get(name, areas.get(OTHERS, Area(0.0, "m2")))


def named(areas: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that have one of their own."""
    return tuple(name for name in areas if name != OTHERS)


def vector_of(settings: VectorSettings) -> Vector:
    """Settings that stand in no file, as they are written on a command line.

    Raises:
        InputError: The first of them that does not fit.
    """
    return section_of(Vector, settings)
