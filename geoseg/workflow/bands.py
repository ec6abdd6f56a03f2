"""What a workflow says of bands: where they are, what their numbers mean, what is masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from geoseg.workflow.faults import UnfitError, choices, show
from geoseg.workflow.fields import (
    BandName,
    BandNames,
    Dilation,
    Distinct,
    Nodata,
    Number,
    OrElse,
    Scale,
    ScenePath,
    Some,
    Text,
)
from geoseg.workflow.section import TAG, Section
from geoseg.workflow.units import Length

Resampling = Literal["auto", "bilinear", "cubic", "nearest", "average"]
Units = Literal["reflectance", "dn"]
_WITH_SHADOWS = ("scl", "qa_pixel", "fmask", "udm2")
_BANDS: Mapping[str, Mapping[int, str]] = {
    "udm2": {
        1: "clear",
        2: "snow",
        3: "shadow",
        4: "light haze",
        5: "heavy haze",
        6: "cloud",
        8: "unusable",
    },
    "classi": {1: "opaque cloud", 2: "cirrus", 3: "snow"},
}


class Mask(Section):
    """Which pixels of a scene are hidden from the model."""

    method: Literal["scl", "qa_pixel", "fmask", "udm2", "classi", "alpha", "values", "bits", "none"]
    """What the mask band holds: Sentinel-2 scene classes, Landsat QA bits, Fmask bits, PlanetScope
    udm2 bands, bands of MSK_CLASSI (in Sentinel-2 SAFE folders), an alpha channel (0 is hidden),
    any values, or any bits."""
    path: ScenePath | None = None
    """File of the mask band, where the scene's own files do not have it."""
    index: Annotated[int, Field(ge=0)] | None = None
    """Band number of the mask in its file, counted from 1; 0 is the file's internal mask."""
    values: Distinct[Annotated[int, Field(ge=0, le=2**32 - 1)]] | None = None
    """Values (bit numbers; of udm2 and classi band numbers) that are hidden; without it the usual
    ones of the method."""
    shadow: bool = True
    """Hide shadows of clouds too, where the method tells them."""
    dilate: Dilation = Length(0.0, "px")
    """How far around hidden pixels is hidden too."""

    @model_validator(mode="after")
    def _values_suit_method(self) -> Self:
        if self.method in ("values", "bits") and not self.values:
            raise UnfitError(f"required where method is {self.method}", at=("values",))
        if self.method in ("alpha", "none") and self.values is not None:
            raise UnfitError(f"method {self.method} uses no values", at=("values",))
        self._check_bands_of_method()
        if not self.shadow and (self.values is not None or self.method not in _WITH_SHADOWS):
            advice = f"only used with {choices(_WITH_SHADOWS)}, and without 'values'"
            raise UnfitError(advice, "false", at=("shadow",))
        if self.method in ("bits", "qa_pixel") and max(self.values or (0,)) > 31:
            raise UnfitError("expected bit numbers from 0 to 31", at=("values",))
        return self

    def _check_bands_of_method(self) -> None:
        """Where each band is a mask of its own, ``values`` are bands."""
        bands = _BANDS.get(self.method)
        if bands is None:
            return
        if self.index is not None:
            advice = f"method {self.method} uses several bands; say which with 'values'"
            raise UnfitError(advice, str(self.index), at=("index",))
        strange = [value for value in self.values or () if value not in bands]
        if strange:
            advice = f"expected bands of {self.method}: {_of(bands)}"
            raise UnfitError(advice, str(strange[0]), at=("values",))


def _of(bands: Mapping[int, str]) -> str:
    return ", ".join(f"{number} ({name})" for number, name in bands.items())


class StacMask(Mask):
    """Which pixels of a catalogued scene are hidden from the model."""

    asset: Text | None = None
    """Asset that holds the mask band; without it the usual one of the method."""


class BandSource(Section):
    """Where one band is found, and how its numbers become physical values."""

    path: ScenePath | None = None
    """File of this band; ``{scene}`` stands for the scene's name."""
    index: Annotated[int, Field(ge=1)] | None = None
    """Band number in the file, counted from 1."""
    scale: Scale | None = None
    """Factor to physical units; before the input's, before the file's own."""
    offset: Number | None = None
    """Added after scaling."""
    nodata: Nodata | None = None
    """Number of pixels without data."""
    resampling: Resampling | None = None
    """How this band is brought onto the scene's grid."""


class Numbers(Section):
    """What the stored numbers of all bands mean."""

    scale: Scale | None = None
    """Factor from stored numbers to physical units; without it the file's own, or 1."""
    offset: Number | None = None
    """Added after scaling; without it the file's own, or 0."""
    units: Units | None = None
    """What scale and offset lead to: reflectance (0 to 1), or dn (digital numbers as stored)."""
    nodata: Nodata | None = None
    """Number of pixels without data; without it the file's own."""
    resampling: Resampling = "auto"
    """How bands of another grid are brought onto the scene's; auto is bilinear, and average where
    pixels become at least twice as long. Masks are never interpolated."""


def expand_band(value: object) -> object:
    """The long way to write a band source: ``3`` is ``{index: 3}``, text is ``{path: text}``."""
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"index": value}
    return value


def _check_band(value: object) -> object:
    if not isinstance(value, dict | BandSource):
        raise UnfitError(
            "expected a band number, a file, or keys like index and scale", show(value)
        )
    return value


def _check_bands(value: object) -> object:
    if not isinstance(value, list | tuple | dict) or not value:
        advice = "expected a list of band names in file order, or band names with their sources"
        raise UnfitError(advice, show(value) if value != {} else "no bands")
    return value


def _list_or_keys(value: object) -> str:
    return TAG + ("keys" if isinstance(value, dict) else "list")


_Source = Annotated[
    BandSource,
    BeforeValidator(_check_band),
    BeforeValidator(expand_band),
    OrElse({"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1}),
]
FileBands = Annotated[
    Annotated[Some[BandName], Tag(TAG + "list")]
    | Annotated[dict[BandName, _Source], BandNames, Tag(TAG + "keys")],
    Discriminator(_list_or_keys),
    BeforeValidator(_check_bands),
]
AssetBands = Annotated[
    Annotated[Some[BandName], Tag(TAG + "list")]
    | Annotated[dict[BandName, Text], BandNames, Tag(TAG + "keys")],
    Discriminator(_list_or_keys),
    BeforeValidator(_check_bands),
]
