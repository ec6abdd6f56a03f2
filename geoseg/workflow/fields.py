"""The types of values in a workflow: how each is read, written back, and shown to editors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
)
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema

from geoseg.workflow.faults import UnfitError, choices, show
from geoseg.workflow.template import parse_template
from geoseg.workflow.units import Area, Duration, Length, Size

T = TypeVar("T")
_SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_NEARLY_IN_STORE = re.compile("s3(?::/*|//+)", re.IGNORECASE)
_IN_STORE = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/]+)+/?"
_BAND = r"[A-Za-z][A-Za-z0-9_]*"
_PIXELS = re.compile(r"\s*([0-9]{1,9})\s*px\s*", re.IGNORECASE)
_WKT = (
    "PROJCRS|PROJCS|GEOGCRS|GEOGCS|GEODCRS|GEOCCS|COMPOUNDCRS|COMPD_CS|BOUNDCRS|ENGCRS|LOCAL_CS"
    "|DERIVEDPROJCRS"
)
_CRS = re.compile(rf"[A-Z]+:[A-Z0-9]+|(?:{_WKT})\s*\[.*|\+proj=.*", re.DOTALL | re.IGNORECASE)


class OrElse:
    """Tells editors that a value may also be written in another, shorter way."""

    def __init__(self, *shorter: JsonSchemaValue) -> None:
        self._shorter = shorter

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Called by pydantic."""
        return {"anyOf": [*self._shorter, handler(schema)]}


class Also:
    """Tells editors of rules that pydantic itself does not, or not in all its versions."""

    def __init__(self, **rules: Any) -> None:
        self._rules = rules

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Called by pydantic."""
        return {**handler(schema), **self._rules}


def text_like(pattern: str, what: str) -> Callable[[object], str]:
    """A check that a value is text and fits ``pattern``, which ``what`` describes."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise UnfitError(f"expected {what}", show(value))
        return value

    return check


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UnfitError("expected each only once", f"{show(value)} again", at=(index,))
    return values


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    # Not pydantic's min_length: that counts only entries that are right.
    if not values:
        raise UnfitError("expected at least one entry", show(values))
    return values


def _path(value: object) -> str:
    if isinstance(value, dict):
        # What {scene}/map means in YAML is not what people mean by it.
        raise UnfitError("expected a path", show(value), hint="put quotes around a path with '{'")
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UnfitError("expected a path", show(value))
    return value


def _scene_path(value: object) -> str:
    path = _path(value)
    if path.startswith("file:"):
        hint = "write it without 'file:', from its first single '/' on"
        raise UnfitError("expected a path, or the address of a server", show(path), hint=hint)
    for field in re.findall(r"\{[^{}]*\}?|\}", path.replace("{scene}", "")):
        raise UnfitError("expected a path; in braces only {scene} is known", show(field))
    return path


def _directory(value: object) -> str:
    path = _path(value)
    if "://" in path or path.startswith("/vsi"):
        raise UnfitError("expected a folder of this machine, or one that is mounted", show(path))
    for _ in parse_template(path):
        pass
    return path


def _output(value: object) -> str:
    path = _path(value)
    if not path.startswith("s3://"):
        almost = _NEARLY_IN_STORE.match(path)
        if almost:
            meant = f"did you mean 's3://{path[almost.end() :]}'?"
            raise UnfitError("expected a folder, or s3://bucket/folder", show(path), hint=meant)
        return _directory(path)
    if not re.fullmatch(_IN_STORE, path):
        raise UnfitError(
            "expected s3://bucket/folder",
            show(path),
            hint="a bucket has 3 to 63 small letters, digits, dots and hyphens; keys belong in the "
            "environment",
        )
    for _ in parse_template(path):
        pass
    return path


def _work(value: object) -> str:
    path = _output(value)
    if "{" in path:
        raise UnfitError("expected a path without braces", show(path))
    return path


def read_number(value: object) -> float:
    """A finite number.

    Raises:
        UnfitError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not _fits(value):
        raise UnfitError("expected a number", show(value))
    return float(value)


def _fits(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _scale(value: object) -> float:
    number = read_number(value)
    if number == 0:
        raise UnfitError("expected a number other than 0", "0")
    return number


def _nodata(value: object) -> float:
    special = isinstance(value, float) and not math.isfinite(value)
    if special or (isinstance(value, str) and value.casefold() in ("nan", "inf", "-inf")):
        return float(value)  # type: ignore[arg-type] # a float or a text that float() reads
    return read_number(value)


def one_of(*allowed: int) -> BeforeValidator:
    """A check that a value is one of few numbers; pydantic's own takes true for 1."""

    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise UnfitError(f"expected {choices([str(n) for n in allowed])}", show(value))
        return value

    return BeforeValidator(check)


def _port(value: object) -> bool | int:
    if not isinstance(value, int) or not 0 <= value <= 65535:
        raise UnfitError("expected true, false or a port number", show(value))
    return value


def exactly(*names: str) -> Callable[[object], object]:
    """A check that a list has one number for each of ``names``."""

    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != len(names):
            count = f" of {len(value)}" if isinstance(value, list | tuple) and value else ""
            raise UnfitError(f"expected [{', '.join(names)}]", show(value) + count)
        return value

    return check


def _pixels(value: object) -> int:
    if isinstance(value, str) and (match := _PIXELS.fullmatch(value)):
        return int(match[1])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise UnfitError("expected a number of pixels like 512 or '512 px'", show(value))
    return value


def _pixels_or_auto(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    try:
        return _pixels(value)
    except UnfitError as error:
        raise UnfitError(f"{error.advice}, or auto", error.found) from None


def _some_pixels_or_auto(value: object) -> int | Literal["auto"]:
    pixels = _pixels_or_auto(value)
    if pixels == 0:
        raise UnfitError("expected at least 1 pixel", "0")
    return pixels


def _length_or_pixels(value: object) -> Length:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return Length(float(value), "px")
    return Length.parse(value)


def read_crs(value: object) -> str:
    """A CRS by code, WKT or PROJ string.

    Raises:
        UnfitError: It is something else; whether a code exists is only known where it is used.
    """
    if isinstance(value, str) and _CRS.fullmatch(value.strip()):
        return value.strip()
    digits = show(value).strip("'")
    hint = f"write EPSG:{digits}" if digits.isdecimal() else ""
    raise UnfitError("expected a CRS like EPSG:32629, or WKT", show(value), hint=hint)


def parse_moment(value: object, *, end: bool = False) -> datetime:
    """An ISO date or time as UTC; a date alone is its first instant, or with ``end`` its last.

    Raises:
        UnfitError: It is something else.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        raise UnfitError(_MOMENT, show(value))
    try:
        moment = datetime.fromisoformat(value.strip())
        if end and len(value.strip()) <= len("2024-06-01"):
            moment = datetime.combine(moment.date(), time.max)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnfitError(_MOMENT, show(value)) from None


_MOMENT = "expected a date like 2024-06-01 or 2024-06-01T10:30:00Z"


def _schema(kind: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


def _unfinite_as_text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _as_text(value: object) -> str:
    return str(value)


_to_text = PlainSerializer(_as_text, return_type=str)
_pixel_schemas: Sequence[JsonSchemaValue] = (
    {"type": "integer", "minimum": 0},
    {"type": "string", "pattern": r"^\s*[0-9]{1,9}\s*[pP][xX]\s*$"},
)

Distinct = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_distinct)]
Some = Annotated[Distinct[T], AfterValidator(_some), Also(minItems=1)]
"""A list with at least one entry, none given twice."""

Slug = Annotated[
    str,
    PlainValidator(text_like(_SLUG, "a name of letters, digits, '.', '_' and '-'")),
    _schema("string", pattern=f"^{_SLUG}$", examples=["water-weekly"]),
]
Text = Annotated[str, Field(min_length=1)]
FilePath = Annotated[str, PlainValidator(_path), _schema("string", minLength=1)]
ScenePath = Annotated[
    str,
    PlainValidator(_scene_path),
    _schema("string", minLength=1, examples=["scenes/*.tif", "scenes/{scene}/B04.jp2"]),
]
_TEMPLATES = ["products/{scene}", "products/{date:%Y-%m-%d}"]
OutputTemplate = Annotated[
    str,
    PlainValidator(_output),
    _schema("string", minLength=1, examples=[*_TEMPLATES, "s3://bucket/maps/{scene}"]),
]
WorkPlace = Annotated[
    str,
    PlainValidator(_work),
    _schema("string", minLength=1, examples=["/scratch/geoseg", "s3://bucket/work"]),
]
DirectoryTemplate = Annotated[
    str,
    PlainValidator(_directory),
    _schema("string", minLength=1, examples=_TEMPLATES),
]
BandName = Annotated[
    str,
    PlainValidator(text_like(_BAND, "a common band name like red, nir or swir16")),
    _schema("string", pattern=f"^{_BAND}$", examples=["red", "nir", "swir16"]),
]
BandNames = Also(propertyNames={"pattern": f"^{_BAND}$"}, minProperties=1)
Number = Annotated[float, PlainValidator(read_number), _schema("number")]
Scale = Annotated[float, PlainValidator(_scale), _schema("number", examples=[0.0001])]
Nodata = Annotated[
    float,
    PlainValidator(_nodata),
    PlainSerializer(_unfinite_as_text),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}),
]
Crs = Annotated[str, PlainValidator(read_crs), _schema("string", examples=["EPSG:32629"])]
Moment = Annotated[
    datetime,
    PlainValidator(parse_moment),
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
    _schema("string", examples=["2024-06-01", "2024-06-01T10:30:00Z"]),
]
AutoPixels = Annotated[
    int | Literal["auto"],
    PlainValidator(_pixels_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_pixel_schemas]}),
]
SomeAutoPixels = Annotated[
    int | Literal["auto"],
    PlainValidator(_some_pixels_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_pixel_schemas]}),
]
Dilation = Annotated[
    Length,
    PlainValidator(_length_or_pixels),
    _to_text,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, Length.json_schema()]}),
]
MinArea = Annotated[Area, PlainValidator(Area.parse), _to_text, WithJsonSchema(Area.json_schema())]
Memory = Annotated[Size, PlainValidator(Size.parse), _to_text, WithJsonSchema(Size.json_schema())]
Span = Annotated[
    Duration, PlainValidator(Duration.parse), _to_text, WithJsonSchema(Duration.json_schema())
]
Dashboard = Annotated[
    bool | int,
    PlainValidator(_port),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 65535}]}
    ),
]
