"""What an analyst may say about the bands and masks of an input; None leaves it to the files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from typing import Literal

from geoseg.grid import GeoBox
from geoseg.io.grids import pixel_sides
from geoseg.scene import Mask, Resampling, Units

MaskMethod = Literal["scl", "qa_pixel", "fmask", "alpha", "values", "bits", "none"]
Nodata = float | Literal["none"] | None
"""A number, ``"none"`` (every number is data), or None (what the file says)."""

HIDDEN: dict[str, tuple[int, ...]] = {
    # Sentinel-2 scene classification: nodata, saturated, shadow, clouds, cirrus.
    "scl": (0, 1, 3, 8, 9, 10),
    # Landsat Collection 2 bits: fill, dilated cloud, cloud, cloud shadow.
    "qa_pixel": (0, 1, 3, 4),
    # HLS bits: cloud, next to cloud, cloud shadow.
    "fmask": (1, 2, 3),
}


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
    """A mask, by method. ``values`` are what hides: numbers, or bit numbers.

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

    @property
    def kind(self) -> Literal["values", "bits", "alpha"]:
        """How numbers hide."""
        if self.method == "alpha":
            return "alpha"
        return "values" if self.method in {"scl", "values"} else "bits"

    def mask(self, uri: str, index: int, grid: GeoBox, scene: GeoBox) -> Mask:
        """This mask, found in band ``index`` of ``uri`` with ``grid``, for a scene's grid."""
        values = HIDDEN.get(self.method, ()) if self.values is None else self.values
        return Mask(uri, index, grid, self.kind, values, self.pixels(scene))

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
