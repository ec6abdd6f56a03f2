"""Class codes, what they stand for, and how they are drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from geoseg.errors import ModelError

_COLOR = re.compile(r"#[0-9a-f]{6}\Z")


@dataclass(frozen=True, slots=True)
class LandClass:
    """One entry of a legend: the code in the raster, its name, its colour ``#rrggbb``."""

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 255:
            raise ModelError(f"class {self.name!r}: code {self.value} is not within 0..255")
        if not _COLOR.match(self.color):
            raise ModelError(f"class {self.name!r}: colour {self.color!r} is not like '#1a5bab'")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes that a raster may hold, in the order of a model's scores.

    ``nodata`` is the code of pixels without a class; it is no class itself.
    """

    name: str
    classes: tuple[LandClass, ...]
    nodata: int = 255

    def __post_init__(self) -> None:
        values, names = self.values, self.names
        if not values:
            raise ModelError(f"legend {self.name!r} has no classes")
        if len(set(values)) < len(values) or len(set(names)) < len(names):
            raise ModelError(f"legend {self.name!r} has a code or a name twice")
        if self.nodata in values:
            raise ModelError(f"legend {self.name!r}: nodata {self.nodata} is also a class")

    @property
    def values(self) -> tuple[int, ...]:
        """Codes in score order."""
        return tuple(c.value for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in score order."""
        return tuple(c.name for c in self.classes)

    def select(self, wanted: tuple[str, ...]) -> tuple[LandClass, ...]:
        """The classes called ``wanted`` (any case); all of them where ``wanted`` is empty."""
        by_name = {c.name.casefold(): c for c in self.classes}
        missing = [name for name in wanted if name.casefold() not in by_name]
        if missing:
            raise ModelError(
                f"legend {self.name!r} has no class {missing[0]!r}; it has {', '.join(self.names)}"
            )
        return tuple(by_name[name.casefold()] for name in wanted) or self.classes


def _legend(name: str, entries: str, nodata: int = 255) -> Legend:
    """Read lines of ``code colour name``."""
    rows = (line.split(maxsplit=2) for line in entries.strip().splitlines())
    classes = tuple(LandClass(int(code), label, color) for code, color, label in rows)
    return Legend(name, classes, nodata)


LANDCOVER: Final = _legend(
    "landcover",
    """
    1 #1a5bab Water
    2 #358221 Trees
    3 #a7d282 Grass and shrub
    4 #ffdb5c Crops
    5 #ed022a Built area
    6 #cfc2a8 Bare ground
    """,
)
"""What the synthetic scenes and the model that ships tell apart."""

_WATER = _legend("water", "0 #e8e4d8 Land\n1 #1a5bab Water")
_FOREST = _legend("forest", "0 #e6e2c3 Non-forest\n1 #358221 Forest")
# ESA WorldCover 2021 product user manual v2.0, table 2.
_WORLDCOVER = _legend(
    "worldcover",
    """
    10 #006400 Tree cover
    20 #ffbb22 Shrubland
    30 #ffff4c Grassland
    40 #f096ff Cropland
    50 #fa0000 Built-up
    60 #b4b4b4 Bare / sparse vegetation
    70 #f0f0f0 Snow and ice
    80 #0064c8 Permanent water bodies
    90 #0096a0 Herbaceous wetland
    95 #00cf75 Mangroves
    100 #fae6a0 Moss and lichen
    """,
    nodata=0,
)
# Brown et al. 2022, doi:10.1038/s41597-022-01307-4.
_DYNAMICWORLD = _legend(
    "dynamicworld",
    """
    0 #419bdf Water
    1 #397d49 Trees
    2 #88b053 Grass
    3 #7a87c6 Flooded vegetation
    4 #e49635 Crops
    5 #dfc35a Shrub and scrub
    6 #c4281b Built
    7 #a59b8f Bare
    8 #b39fe1 Snow and ice
    """,
)
# Esri / Impact Observatory 10 m annual land cover.
_ESRI = _legend(
    "esri",
    """
    1 #1a5bab Water
    2 #358221 Trees
    4 #87d19e Flooded vegetation
    5 #ffdb5c Crops
    7 #ed022a Built area
    8 #ede9e4 Bare ground
    9 #f2faff Snow / ice
    10 #c8c8c8 Clouds
    11 #c6ad8d Rangeland
    """,
    nodata=0,
)

LEGENDS: Final[Mapping[str, Legend]] = MappingProxyType(
    {
        legend.name: legend
        for legend in (LANDCOVER, _WATER, _FOREST, _WORLDCOVER, _DYNAMICWORLD, _ESRI)
    }
)
"""The legends that come with geoseg, by name."""
