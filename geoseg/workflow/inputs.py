"""The part of a workflow that says which scenes are meant: files, a STAC catalog or a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from geoseg.workflow.bands import AssetBands, BandSource, FileBands, Mask, Numbers, StacMask
from geoseg.workflow.faults import UnfitError, choices, closest, show
from geoseg.workflow.fields import (
    Crs,
    Distinct,
    FilePath,
    Moment,
    Number,
    OrElse,
    ScenePath,
    Some,
    Span,
    Text,
    exactly,
    one_of,
    parse_moment,
)
from geoseg.workflow.section import TAG, Section

_Paths = Annotated[
    Some[ScenePath],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    OrElse({"type": "string", "minLength": 1}),
]


class FilesInput(Numbers):
    """Scenes in files."""

    kind: Literal["files"]
    """Scenes are raster files, Sentinel-2 SAFE folders, or Landsat folders."""
    path: _Paths | None = None
    """Files, with ``*`` and ``?`` as wildcards; or a folder, of which each raster is a scene (files
    that are called alike but for a band are one), and each SAFE or Landsat folder. ``{scene}`` is a
    wildcard too, and names the scene. Relative to the folder that geoseg is started in."""
    bands: FileBands | None = None
    """Common names in file order; or each name with its band number, its file, or both. Without
    it the files' own band descriptions count."""
    mask: Mask | None = None
    """Which pixels are hidden from the model."""
    crs: Crs | None = None
    """CRS of files that have none."""
    date: Moment | None = None
    """When the scenes were acquired, where the files do not say; UTC unless it has an offset."""

    @model_validator(mode="after")
    def _has_files(self) -> Self:
        sources = self.band_sources() or {}
        if self.path is None and not (sources and all(s.path for s in sources.values())):
            raise UnfitError("required, unless every band has a path of its own", at=("path",))
        return self

    def band_sources(self) -> dict[str, BandSource] | None:
        """Where each band is found; None where the files themselves say it."""
        if self.bands is None or isinstance(self.bands, dict):
            return self.bands
        return {name: BandSource(index=i) for i, name in enumerate(self.bands, start=1)}


class TimeRange(Section):
    """From when to when; open on sides that are not given."""

    start: Moment | None = None
    """First instant, inclusive."""
    end: Moment | None = None
    """Last instant, inclusive; a date alone is meant up to its end."""
    last: Span | None = None
    """Up to now, beginning this long ago."""

    @model_validator(mode="before")
    @classmethod
    def _whole_last_day(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("end"), str):
            return value
        try:
            return {**value, "end": parse_moment(value["end"], end=True)}
        except UnfitError as error:
            raise UnfitError(error.advice, error.found, at=("end",)) from None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.last is not None and (self.start or self.end):
            raise UnfitError("expected either 'last', or 'start' and 'end'")
        if self.last is None and self.start is None and self.end is None:
            raise UnfitError("expected 'start', 'end', or 'last'")
        if self.start and self.end and self.start > self.end:
            raise UnfitError("'end' is before 'start'", at=("end",))
        return self


def expand_time(value: object) -> object:
    """The long way to write ``2024-01-01/2024-02-01``, ``2024-01-01/..`` or one date."""
    if not isinstance(value, str):
        return value
    start, slash, end = (part.strip() for part in value.partition("/"))
    sides = {"start": start, "end": end if slash else start}
    given: dict[str, object] = {k: v for k, v in sides.items() if v not in ("", "..")}
    try:
        return {key: parse_moment(text, end=key == "end") for key, text in given.items()}
    except UnfitError:
        advice = "expected a time like 2024-06-01/2024-06-30, {start, end} or {last: 14d}"
        raise UnfitError(advice, show(value)) from None


class StacInput(Numbers):
    """Scenes in a STAC catalog."""

    kind: Literal["stac"]
    """Scenes are items of a STAC catalog."""
    catalog: FilePath
    """Path or URL of a catalog, a collection, an item collection, a STAC API or a stac-geoparquet
    table; or the name of a public archive: copernicus, earth-search, hls, landsat,
    planetary-computer."""
    collections: Distinct[Text] = ()
    """Ids of collections to take; all without it."""
    ids: Distinct[Text] = ()
    """Ids of items to take; all without it."""
    time: Annotated[TimeRange, BeforeValidator(expand_time), OrElse({"type": "string"})] | None = (
        None
    )
    """When the scenes were acquired: ``2024-06-01/2024-06-30``, ``{start, end}`` or
    ``{last: 14d}``."""
    max_cloud: Annotated[float, Field(ge=0, le=100)] | None = None
    """Scenes with more clouds than this percentage are left out."""
    max_items: Annotated[int, Field(ge=1)] | None = None
    """More matches than this are refused: an area or a time may be missing. Without it 1000 where
    a server searches."""
    bands: AssetBands | None = None
    """Common names to look for, or each name with the key of its asset."""
    mask: StacMask | None = None
    """Which pixels are hidden from the model; without it those that a public archive's own mask
    hides, and none in other catalogs (``method: none`` hides none)."""

    def band_assets(self) -> dict[str, str | None] | None:
        """Asset key of each band, None where its common name decides; None: whatever there is."""
        if self.bands is None or isinstance(self.bands, dict):
            return dict(self.bands) if self.bands is not None else None
        return dict.fromkeys(self.bands)


_Side = Annotated[int, Field(ge=1, le=1_000_000)]


class SampleInput(Section):
    """A synthetic scene that geoseg makes itself."""

    kind: Literal["sample"]
    """The scene is synthetic, Sentinel-2-like, with clouds and a true class map."""
    size: Annotated[
        tuple[_Side, _Side],
        Strict(strict=False),
        BeforeValidator(exactly("rows", "columns")),
        BeforeValidator(lambda value: (value, value) if isinstance(value, int) else value),
        OrElse({"type": "integer", "minimum": 1}),
    ] = (1024, 1024)
    """Rows and columns, or one number for both."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 7
    """The same seed gives the same scene."""
    date: Annotated[Literal[1, 2], one_of(1, 2)] = 1
    """First date, or the second with clearings and a flood."""
    directory: FilePath | None = None
    """Where the scene is kept; without it in the folder ``sample`` of the output directory."""


def _check_kind(value: object) -> object:
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict):
        raise UnfitError("expected keys and values, among them 'kind'", show(value))
    kind = value.get("kind")
    if kind is None and "kind" not in value:
        raise UnfitError(f"required: {choices(KINDS)}", at=("kind",))
    if kind not in KINDS:
        guess = closest(kind, KINDS) if isinstance(kind, str) else None
        hint = f"did you mean '{guess}'?" if guess else ""
        raise UnfitError(f"expected {choices(KINDS)}", show(kind), hint=hint, at=("kind",))
    return value


def _kind_tag(value: Any) -> str:
    return TAG + str(value["kind"] if isinstance(value, dict) else value.kind)


Input = Annotated[
    Annotated[FilesInput, Tag(TAG + "files")]
    | Annotated[StacInput, Tag(TAG + "stac")]
    | Annotated[SampleInput, Tag(TAG + "sample")],
    Discriminator(_kind_tag),
    BeforeValidator(_check_kind),
]
INPUTS: Mapping[str, type[Section]] = {
    TAG + "files": FilesInput,
    TAG + "stac": StacInput,
    TAG + "sample": SampleInput,
}
KINDS = tuple(tag.removeprefix(TAG) for tag in INPUTS)


class AreaOfInterest(Section):
    """The part of the scenes that is wanted: exactly one of file, bbox and wkt."""

    file: FilePath | None = None
    """Vector file whose polygons are the area."""
    layer: Text | None = None
    """Layer of the file; may be left out where only one has polygons."""
    bbox: (
        Annotated[
            tuple[Number, Number, Number, Number],
            Strict(strict=False),
            BeforeValidator(exactly("west", "south", "east", "north")),
        ]
        | None
    ) = None
    """West, south, east, north in degrees, or in the units of ``crs``; in degrees with west > east
    across the antimeridian."""
    wkt: Text | None = None
    """POLYGON or MULTIPOLYGON in longitude and latitude, or in ``crs``."""
    crs: Crs | None = None
    """CRS of bbox or wkt, if not longitude and latitude."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("file", "bbox", "wkt") if getattr(self, key) is not None]
        if len(given) != 1:
            raise UnfitError("expected exactly one of file, bbox and wkt", " and ".join(given))
        if self.layer is not None and self.file is None:
            raise UnfitError("belongs to 'file'", at=("layer",))
        if self.crs is not None and self.file is not None:
            raise UnfitError("a file has its own CRS", at=("crs",))
        if self.wkt is not None and not _is_polygon(self.wkt):
            raise UnfitError("expected POLYGON (...) or MULTIPOLYGON (...)", at=("wkt",))
        return self

    @model_validator(mode="after")
    def _box_is_a_box(self) -> Self:
        if self.bbox is None:
            return self
        west, south, east, north = self.bbox
        # Across the antimeridian; around most of the globe it would be a mistake.
        across = self.crs is None and west > east > west - 360 and east + 360 - west < 180
        if not ((west < east or across) and south < north):
            advice = "expected [west, south, east, north] with west < east and south < north"
            raise UnfitError(advice, _numbers(self.bbox), at=("bbox",))
        if self.crs is None and not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
            advice = "expected degrees (or say in 'crs' what they are)"
            raise UnfitError(advice, _numbers(self.bbox), at=("bbox",))
        return self


class AreaOfProducts(AreaOfInterest):
    """The part of the scenes that is wanted, and whether products end with it."""

    crop: bool = False
    """Cut products to the area's bounds, along the edges of pixels; else they reach over the whole
    scene, with nodata outside of the area."""


def _is_polygon(text: str) -> bool:
    return text.lstrip().upper().startswith(("POLYGON", "MULTIPOLYGON")) and "(" in text


def _numbers(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:.15g}' for value in values)}]"
