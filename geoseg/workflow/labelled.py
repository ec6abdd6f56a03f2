"""The part of a training workflow that says which scenes are labelled, and by what."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema

from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import FilePath, Slug, Text, text_like
from geoseg.workflow.inputs import AreaOfInterest, Input
from geoseg.workflow.section import TAG, Section
from geoseg.workflow.units import Length

IGNORE = "ignore"
"""What a label is called that is not to be learnt from."""

FIELDS = ("scene", "stem")
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")


def _share(value: object) -> float:
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        number = float(match[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise UnfitError("expected a share like '20 %' or 0.2", show(value))
    if not 0 <= number <= 1:
        raise UnfitError("expected a share between 0 and 100 %", show(value))
    return number


def _ground_length(value: object) -> Length:
    length = Length.parse(value)
    if length.unit == "px" or not length.value:
        raise UnfitError("expected a length on the ground like '10 m'", show(value))
    return length


def _distance(value: object) -> Length:
    length = Length.parse(value)
    if not length.value:
        raise UnfitError("expected a length above 0", show(value))
    return length


def _pixels(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,6}\s*px\s*", value):
        value = int(value.strip()[:-2])
    if isinstance(value, bool) or not isinstance(value, int) or not 32 <= value <= 4096:
        raise UnfitError("expected 32 to 4096 pixels, like 96 or '96 px'", show(value))
    return value


def _label_path(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        hint = "put quotes around a path with '{'" if isinstance(value, dict) else ""
        raise UnfitError("expected a path", show(value), hint=hint)
    bare = value
    for field in FIELDS:
        bare = bare.replace(f"{{{field}}}", "")
    for field in re.findall(r"\{[^{}]*\}?|\}", bare):
        raise UnfitError("expected a path; in braces {scene} and {stem} are known", show(field))
    return value


_to_text = PlainSerializer(str, return_type=str)
Share = Annotated[
    float,
    PlainValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$"},
            ],
            "examples": ["20 %", 0.2],
        }
    ),
]
GroundLength = Annotated[
    Length, PlainValidator(_ground_length), _to_text, WithJsonSchema(Length.json_schema())
]
Distance = Annotated[
    Length, PlainValidator(_distance), _to_text, WithJsonSchema(Length.json_schema())
]
Pixels = Annotated[
    int,
    PlainValidator(_pixels),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 32, "maximum": 4096},
                {"type": "string", "pattern": r"^\s*[0-9]{1,6}\s*px\s*$"},
            ]
        }
    ),
]
Semver = Annotated[
    str,
    PlainValidator(text_like(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", "a version like 1.0.0")),
    WithJsonSchema({"type": "string", "examples": ["1.0.0"]}),
]
Color = Annotated[
    str,
    PlainValidator(text_like(r"#[0-9a-f]{6}", "a colour like '#1a5bab'")),
    WithJsonSchema({"type": "string", "pattern": "^#[0-9a-f]{6}$"}),
]
LabelPath = Annotated[
    str,
    PlainValidator(_label_path),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["labels/{stem}.tif"]}),
]
Plain = str | int | float | bool
T = TypeVar("T")
Listed = Annotated[tuple[T, ...], Field(strict=False)]
"""A list, as YAML has it."""


class Labels(Section):
    """Where the truth is: a raster of codes, or polygons or points with names or codes."""

    path: LabelPath
    """The file; ``{scene}`` and ``{stem}`` (of the scene's first file) are filled in. Relative to
    the folder that geoseg is started in."""
    band: Annotated[int, Field(ge=1)] = 1
    """Band of a raster."""
    layer: Text | None = None
    """Layer of a vector file that has several."""
    column: Text | None = None
    """Column of a vector file that has names or codes."""
    where: dict[str, Plain] | None = None
    """Which features of a vector file count: columns, and what they must be (or hold, where they
    are lists)."""
    classes: dict[str, Text] | None = None
    """Which class each name or code is; ``ignore`` is not learnt from, what is not listed neither.
    Without it labels are called (or numbered) like the classes of the legend."""
    outside: Text | None = None
    """Class of what lies outside of all polygons; unknown without it."""
    strict: bool = False
    """Refuse labels that are not listed, instead of ignoring and counting them."""
    missing: Literal["refuse", "skip"] = "refuse"
    """What is done with scenes that have no such file."""
    trim: bool = False
    """Cut a label raster that is larger than its scene, where neither says where it lies."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.classes is not None and not self.classes:
            raise UnfitError("expected at least one class", at=("classes",))
        return self


class Groups(Section):
    """A table of the scenes, a row for each."""

    file: FilePath
    """CSV file."""
    scene: Text
    """Column that has the scene's name, or its file's stem."""
    group: Text | None = None
    """Column of what scenes have in common: they are never split."""
    where: dict[str, Plain | Listed[Plain]] | None = None
    """Which scenes to use: columns, and what they must be (one of a list)."""


def _one_or_list(value: Any) -> str:
    return TAG + ("list" if isinstance(value, list | tuple) else "one")


def _check_labels(value: object) -> object:
    if not isinstance(value, list | tuple | dict | Labels):
        raise UnfitError("expected keys like path and classes, or a list of such", show(value))
    return value


class LabelledData(Section):
    """A set of labelled scenes."""

    name: Slug
    """What it is called in reports."""
    input: Input
    """Which scenes, as in workflows that map."""
    area: AreaOfInterest | None = None
    """The part of the scenes that is used; all of it without."""
    labels: Annotated[
        Annotated[Labels, Tag(TAG + "one")] | Annotated[Listed[Labels], Tag(TAG + "list")],
        Discriminator(_one_or_list),
        BeforeValidator(_check_labels),
    ] = ()
    """Where the truth is; of several the first that knows a pixel. A synthetic sample has its
    own."""
    groups: Groups | None = None
    """Which scenes share ground, and which are used."""
    use: Literal["auto", "train", "validation", "test"] = "auto"
    """auto lets the split decide."""
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Share of the chips that are drawn from this set, in proportion to those of the others."""
    license: Text | None = None
    """Licence of images and labels, for the model's card."""
    attribution: Text | None = None
    """Whom to name, for the model's card."""

    @model_validator(mode="after")
    def _has_labels(self) -> Self:
        if not self.labels and self.input.kind != "sample":
            raise UnfitError("required", at=("labels",))
        return self

    @property
    def layers(self) -> tuple[Labels, ...]:
        """The labels as a list; empty for a sample with its own."""
        return (self.labels,) if isinstance(self.labels, Labels) else self.labels


class Unlabelled(Section):
    """A set of scenes without labels."""

    input: Input
    """Which scenes, as in workflows that map."""
    area: AreaOfInterest | None = None
    """The part of the scenes that is used; all of it without."""
