"""What a scene is before any pixel is read: bands, where they lie, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window

Units = Literal["reflectance", "dn"]
Resampling = Literal["auto", "nearest", "bilinear", "cubic", "average"]
"""How numbers come onto another grid. ``"auto"``: bilinear; average where pixels of the new grid
are at least twice as long as those of the file, along both sides."""


@dataclass(frozen=True, slots=True)
class Band:
    """One band of one file, and how its numbers become physical values.

    ``value = number * scale + offset`` in the scene's ``units``. ``grid`` is the file's own grid,
    which may be coarser than the scene's.
    """

    uri: str
    index: int
    grid: GeoBox
    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    resampling: Resampling = "auto"


@dataclass(frozen=True, slots=True)
class Mask:
    """A band that says which pixels to use; always resampled by nearest neighbour.

    ``kind``: ``"values"`` hides pixels whose number is in ``values`` (SCL, Fmask classes);
    ``"bits"`` hides those with any bit of ``values`` set (QA_PIXEL bit numbers);
    ``"alpha"`` hides pixels where the number is 0 (alpha bands, internal mask bands, udm).
    ``dilate`` grows what is hidden, in pixels of the scene's grid. ``index`` 0 is the dataset
    mask of the file (internal or sidecar mask band).
    """

    uri: str
    index: int
    grid: GeoBox
    kind: Literal["values", "bits", "alpha"]
    values: tuple[int, ...] = ()
    dilate: int = 0


Rule = Literal["median", "best_pixel", "max_ndvi", "latest", "best_quality", "probability"]
"""How pixels of several scenes become one; see :mod:`geoseg.io.composite`."""


@dataclass(frozen=True, slots=True)
class Combined:
    """Scenes on one grid that become one, pixel by pixel.

    Attributes:
        rule: What counts where several of them are valid.
        scenes: Oldest first; what depends on order goes by this one.
        predicted: Whether the model sees each of them, and what it says is combined.
        least: Clear observations that a pixel needs to be valid.
        windows: Where on the grid each of them may have valid pixels.
    """

    rule: Rule
    scenes: tuple[Scene, ...]
    predicted: bool = False
    least: int = 1
    windows: tuple[Window, ...] = ()

    @property
    def times(self) -> tuple[datetime, datetime] | None:
        """When the first and the last were taken; None where that is not known of all."""
        known = [scene.acquired for scene in self.scenes if scene.acquired is not None]
        return (min(known), max(known)) if len(known) == len(self.scenes) else None


@dataclass(frozen=True, slots=True)
class Scene:
    """One acquisition: named bands and masks on one grid.

    ``bands`` are called by common name (blue, green, red, rededge071, nir, nir08, swir16,
    swir22, ...). ``grid`` is what products are made on. ``units`` is what ``scale`` and
    ``offset`` of the bands lead to; None where nobody knows. ``area`` is a WKB polygon in the
    grid's CRS outside of which pixels are not valid.

    Where several scenes are ``combined`` into one, bands say what comes out of them, and have no
    file; ``acquired`` is when their period begins.
    """

    id: str
    bands: Mapping[str, Band]
    grid: GeoBox
    masks: tuple[Mask, ...] = ()
    acquired: datetime | None = None
    units: Units | None = None
    area: bytes | None = None
    combined: Combined | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", MappingProxyType(dict(self.bands)))

    def __reduce__(self) -> tuple[object, ...]:
        # A MappingProxyType cannot be pickled.
        fields = (self.id, dict(self.bands), self.grid, self.masks, self.acquired)
        return type(self), (*fields, self.units, self.area, self.combined)

    def select(self, names: Sequence[str]) -> tuple[Band, ...]:
        """The bands called ``names``, in that order.

        Raises:
            SceneError: One of them is missing; the message lists what there is.
        """
        missing = [name for name in names if name not in self.bands]
        if missing:
            raise SceneError(
                f"scene {self.id}: no band {', '.join(missing)}; it has {', '.join(self.bands)}"
            )
        return tuple(self.bands[name] for name in names)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every file that is read, once, in order."""
        if self.combined is not None:
            every = (uri for scene in self.combined.scenes for uri in scene.sources)
            return tuple(dict.fromkeys(every))
        uris = [band.uri for band in self.bands.values()] + [mask.uri for mask in self.masks]
        return tuple(dict.fromkeys(uris))


def natural_colors(bands: Sequence[str]) -> tuple[str, str, str]:
    """Red, green and blue where there are such bands, else the first three (or the one there is).

    Near infrared stands in for red where that is missing: water dark, plants red.
    """
    if {"red", "green", "blue"} <= set(bands):
        return "red", "green", "blue"
    if {"nir", "red", "green"} <= set(bands):
        return "nir", "red", "green"
    three = (*bands, bands[-1], bands[-1])[:3]
    return three[0], three[1], three[2]
