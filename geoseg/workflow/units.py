"""Lengths, areas, sizes and durations as analysts write them: a number and a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self

from geoseg.workflow.faults import UnfitError, show

_QUANTITY = re.compile(
    r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*([^\W\d_]+[²2]?)\s*", re.IGNORECASE
)
_DECIMAL_COMMA = re.compile(r"\s*[0-9]+,[0-9]+\s*[^\W\d_]+[²2]?\s*")
# Ceilings forgive the last bits of a division: 0.3 m of 0.1 m pixels are 3 pixels, not 4.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number and its unit; ``str()`` gives back what ``parse`` reads.

    ``_UNITS`` maps each unit to its worth in the base unit, in order of size. Pixels have none:
    they wait for a grid.
    """

    value: float
    unit: str

    _WHAT: ClassVar[str] = "a quantity"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ()
    _UNITS: ClassVar[Mapping[str, float]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        if self.unit not in self._UNITS:
            raise UnfitError(self._expected(), show(str(self)))
        if not (self.value >= 0 and math.isfinite(self.value * self._UNITS[self.unit])):
            raise UnfitError(f"{self._expected()}, neither negative nor endless", show(str(self)))

    def __str__(self) -> str:
        whole = self.value.is_integer() and self.value < 1e15
        return f"{int(self.value) if whole else self.value!r} {self.unit}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a number with a unit, with or without a blank between; 0 needs no unit.

        Raises:
            UnfitError: It is something else, or its unit measures something else.
        """
        if isinstance(text, cls):
            return text
        if isinstance(text, int | float) and not isinstance(text, bool):
            return cls._from_number(text)
        match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
        if not match or not isinstance(text, str):
            comma = isinstance(text, str) and _DECIMAL_COMMA.fullmatch(text)
            hint = "write a decimal point, not a comma" if comma else ""
            raise UnfitError(cls._expected(), show(text), hint=hint)
        number, exponent, unit = match.groups()
        spelling = {name.casefold(): name for name in cls._UNITS}
        name = spelling.get(unit.casefold().replace("²", "2"))
        if name is None:
            raise UnfitError(cls._expected(), show(text))
        return cls(float(number + (exponent or "")), name)

    @classmethod
    def _from_number(cls, number: float) -> Self:
        if number == 0:
            return cls(0.0, next(iter(cls._UNITS)))
        unit = cls._EXAMPLES[0].split()[1]
        raise UnfitError(cls._expected(), f"{show(number)} without a unit", hint=f"add ' {unit}'")

    @classmethod
    def _expected(cls) -> str:
        examples = " or ".join(f"'{example}'" for example in cls._EXAMPLES)
        return f"expected {cls._WHAT} like {examples} (units: {', '.join(cls._UNITS)})"

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """What an editor checks."""
        units = "|".join(_any_case(unit) for unit in cls._UNITS)
        number = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
        return {
            "anyOf": [
                {"type": "string", "pattern": rf"^\s*{number}\s*({units})\s*$"},
                {"const": 0},
            ],
            "examples": list(cls._EXAMPLES),
        }


def _any_case(unit: str) -> str:
    letters = "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in unit)
    return letters.replace("2", "[2²]")


@dataclass(frozen=True, slots=True)
class Length(_Quantity):
    """A distance on the ground, or in pixels."""

    _WHAT: ClassVar[str] = "a length"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("10 m", "16 px")
    _UNITS: ClassVar[Mapping[str, float]] = {"px": 1, "cm": 0.01, "m": 1, "km": 1000}

    def pixels(self, pixel_size: float) -> int:
        """Pixels of ``pixel_size`` metres that it takes to span this length, rounded up."""
        if self.unit == "px":
            return math.ceil(self.value - _SLACK)
        return math.ceil(self.metres(pixel_size) / pixel_size * (1 - _SLACK))

    def metres(self, pixel_size: float) -> float:
        """This length in metres, where pixels measure ``pixel_size`` metres."""
        return self.value * (pixel_size if self.unit == "px" else self._UNITS[self.unit])


@dataclass(frozen=True, slots=True)
class Spacing(_Quantity):
    """The size of a pixel in metres or in degrees."""

    _WHAT: ClassVar[str] = "a pixel's size"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("10 m", "0.0001 deg")
    _UNITS: ClassVar[Mapping[str, float]] = {"cm": 0.01, "m": 1, "km": 1000, "deg": 1}

    @property
    def number(self) -> float:
        """Metres, or degrees where that is the unit."""
        return self.value * self._UNITS[self.unit]


@dataclass(frozen=True, slots=True)
class Area(_Quantity):
    """A surface on the ground, or a number of pixels."""

    _WHAT: ClassVar[str] = "an area"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("400 m2", "0.25 ha")
    _UNITS: ClassVar[Mapping[str, float]] = {"px": 1, "m2": 1, "ha": 1e4, "km2": 1e6}

    def square_metres(self, pixel_area: float) -> float:
        """This area in square metres, where a pixel covers ``pixel_area`` square metres."""
        return self.value * (pixel_area if self.unit == "px" else self._UNITS[self.unit])

    def pixels(self, pixel_area: float) -> int:
        """The least number of pixels of ``pixel_area`` square metres that is no smaller."""
        if self.unit == "px":
            return math.ceil(self.value - _SLACK)
        return math.ceil(self.square_metres(pixel_area) / pixel_area * (1 - _SLACK))


@dataclass(frozen=True, slots=True)
class Size(_Quantity):
    """An amount of memory."""

    _WHAT: ClassVar[str] = "a size"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("2 GB", "512 MiB")
    _UNITS: ClassVar[Mapping[str, float]] = {
        "B": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
        "TiB": 2**40,
    }

    @property
    def bytes(self) -> int:
        """Whole bytes, rounded down."""
        return int(self.value * self._UNITS[self.unit])


@dataclass(frozen=True, slots=True)
class Duration(_Quantity):
    """A span of time."""

    _WHAT: ClassVar[str] = "a duration"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("14 d", "36 h")
    _UNITS: ClassVar[Mapping[str, float]] = {
        "s": 1,
        "min": 60,
        "h": 3600,
        "d": 86400,
        "w": 7 * 86400,
    }

    def __post_init__(self) -> None:
        # Super without arguments does not work in a dataclass with slots.
        _Quantity.__post_init__(self)
        if self.value * self._UNITS[self.unit] >= timedelta.max.total_seconds():
            raise UnfitError(f"{self._expected()} of less than 2.7 million years", show(str(self)))

    @property
    def timedelta(self) -> timedelta:
        """For arithmetic with dates."""
        return timedelta(seconds=self.value * self._UNITS[self.unit])


@dataclass(frozen=True, slots=True)
class Keep(_Quantity):
    """How long something is kept: a span of time, or a number of runs."""

    _WHAT: ClassVar[str] = "how long to keep products"
    _EXAMPLES: ClassVar[tuple[str, ...]] = ("90 d", "10 runs")
    _UNITS: ClassVar[Mapping[str, float]] = {
        "h": 3600, "d": 86400, "w": 7 * 86400, "run": 1, "runs": 1,
    }  # fmt: skip

    @property
    def runs(self) -> int | None:
        """How many runs; None where it is a span of time."""
        return int(self.value) if self.unit in ("run", "runs") else None

    @property
    def timedelta(self) -> timedelta:
        """The span of time."""
        return timedelta(seconds=self.value * self._UNITS[self.unit])
