"""Class codes, what they stand for, and how they are drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass

from geoseg.errors import ModelError

_COLOR = re.compile(r"#[0-9a-f]{6}\Z")


@dataclass(frozen=True, slots=True)
class LandClass:
    """One entry of a legend: the code in the raster, its name, its colour ``#rrggbb``."""

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 254:
            raise ModelError(f"class {self.name!r}: code {self.value} is not within 0..254")
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
