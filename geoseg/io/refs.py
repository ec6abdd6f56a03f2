"""What an analyst may say about the bands and masks of an input; None leaves it to the files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from typing import Literal

from geoseg.grid import GeoBox
from geoseg.io.grids import pixel_sides
from geoseg.scene import Mask, Resampling, Units

MaskMethod = Literal[
    "scl", "qa_pixel", "fmask", "udm2", "classi", "alpha", "values", "bits", "none"
]
Nodata = float | Literal["none"] | None
"""A number, ``"none"`` (every number is data), or None (what the file says)."""

HIDDEN: dict[str, tuple[int, ...]] = {
    # Sentinel-2 scene classification: nodata, saturated, shadow, clouds, cirrus.
    "scl": (0, 1, 3, 8, 9, 10),
    # Landsat Collection 2 bits: fill, dilated cloud, cloud, cloud shadow.
    "qa_pixel": (0, 1, 3, 4),
    # HLS bits: cloud, next to cloud, cloud shadow.
    "fmask": (1, 2, 3),
    # PlanetScope udm2, bands: clear (which hides where it is 0).
    "udm2": (1,),
    # Sentinel-2 MSK_CLASSI, bands: opaque clouds, cirrus.
    "classi": (1, 2),
}

SHADOWS = {"scl": 3, "qa_pixel": 4, "fmask": 3}
"""Which of the hidden values are shadows of clouds."""

BUT_SHADOWS = {"udm2": (2, 4, 5, 6, 8)}
"""What hides instead, where shadows are not to: snow, haze, clouds and what is unusable."""

BAND_METHODS = {"udm2": 8, "classi": 3}
"""Methods whose masks have a band for each thing that may hide, and how many bands that is."""

_CLEAR = 1  # band of udm2 that says what is good; the others say what is not
_ANY_BIT = tuple(range(8))


@dataclass(frozen=True, slots=True)
class BandRef:
    """Where a band is: ``path`` is a file pattern, or the key of a STAC asset."""

    path: str | None = None
    index: int = 1
    scale: float | None = None
    offset: float | None = None
    nodata: Nodata = None
    resampling: Resampling | None = None


@dataclass(frozen=True, slots=True)
class MaskRef:
    """A mask, by method. ``values`` are what hides: numbers, bit numbers, or band numbers.

    ``path`` is a file pattern, or the key of a STAC asset; None looks for a band or an asset
    that is called like the method. ``index`` is the band in that file, or in the scene's own
    file where ``path`` is None; 0 is the file's internal mask. Alpha bands and internal masks
    of the bands' files are used by themselves, unless the method is ``"none"``.
    """

    method: MaskMethod
    path: str | None = None
    index: int | None = None
    values: tuple[int, ...] | None = None
    dilate: float = 0
    dilate_unit: Literal["px", "m"] = "px"
    shadow: bool = True

    @property
    def hides(self) -> tuple[int, ...]:
        """What hides: ``values``, or the usual ones of the method, with shadows or without."""
        if self.values is not None:
            return self.values
        if not self.shadow and self.method in BUT_SHADOWS:
            return BUT_SHADOWS[self.method]
        without = None if self.shadow else SHADOWS.get(self.method)
        return tuple(value for value in HIDDEN.get(self.method, ()) if value != without)

    @property
    def kind(self) -> Literal["values", "bits", "alpha"]:
        """How numbers hide."""
        if self.method == "alpha":
            return "alpha"
        return "values" if self.method in {"scl", "values"} else "bits"

    def masks(self, uri: str, index: int, grid: GeoBox, scene: GeoBox) -> tuple[Mask, ...]:
        """This mask, found in band ``index`` of ``uri`` with ``grid``, for a scene's grid.

        Where bands are what hides, ``index`` does not matter and each band is a mask.
        """
        far = self.pixels(scene)
        if self.method not in BAND_METHODS:
            return (Mask(uri, index, grid, self.kind, self.hides, far),)
        return tuple(
            Mask(uri, band, grid, "alpha", (), far)
            if self.method == "udm2" and band == _CLEAR
            else Mask(uri, band, grid, "bits", _ANY_BIT, far)
            for band in self.hides
        )

    def pixels(self, scene: GeoBox) -> int:
        """The dilation in pixels of ``scene``, rounded up."""
        size = 1.0 if self.dilate_unit == "px" else min(pixel_sides(scene))
        return ceil(self.dilate / size - 1e-6)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What holds for all bands of an input, whatever its files or its catalog say."""

    scale: float | None = None
    offset: float | None = None
    nodata: Nodata = None
    units: Units | None = None
    resampling: Resampling = "auto"
    crs: str | None = None

    def band(self, ref: BandRef) -> BandRef:
        """``ref`` with its gaps filled from here."""
        own = self.units == "dn"  # numbers as stored: the file's own scale does not matter
        return replace(
            ref,
            scale=_first(ref.scale, self.scale, 1.0 if own else None),
            offset=_first(ref.offset, self.offset, 0.0 if own else None),
            nodata=self.nodata if ref.nodata is None else ref.nodata,
            resampling=ref.resampling or self.resampling,
        )


def _first(*candidates: float | None) -> float | None:
    return next((c for c in candidates if c is not None), None)


def in_utc(when: datetime) -> datetime:
    """``when`` with a time zone; without one it is taken to be UTC."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
