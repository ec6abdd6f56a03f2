"""How numbers, sizes, times and settings are written in reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "\N{EN DASH}"
"""What stands where there is no number."""


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return NOTHING if value is None else f"{round(value):,}"


def several(number: int, one: str) -> str:
    """So many of what is called ``one``, and more with an s at its end."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def percent(share: float | None) -> str:
    """A share as percent; one that is there is never told as nothing."""
    if share is None:
        return NOTHING
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def hectares(value: float | None, *, unit: bool = False) -> str:
    """An area, to three digits or so."""
    if value is None:
        return NOTHING
    digits = 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 1 else 4
    return f"{value:,.{digits}f}{' ha' if unit else ''}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number to so many digits."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def metres(value: float) -> str:
    """A length as one would say it."""
    if value >= 1000:
        return f"{value / 1000:,.0f} km" if value >= 1e5 else f"{value / 1000:.3g} km"
    return f"{value:.3g} m" if value >= 1 else f"{100 * value:.3g} cm"


def size(number: float | None) -> str:
    """Bytes in the largest unit that they fill."""
    if number is None:
        return NOTHING
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if number >= 10**power:
            return f"{number / 10**power:,.1f} {unit}"
    return f"{number:.0f} bytes"


def span(seconds: float | None) -> str:
    """A time as one would say it."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def as_yaml(value: Any, depth: int = 0) -> str:
    """Settings as people write them, without what is empty."""
    pad = "  " * depth
    if isinstance(value, Mapping):
        lines = []
        for key, below in value.items():
            if below is None or below in ([], {}):
                continue
            nested = isinstance(below, Mapping) or (
                isinstance(below, list) and any(isinstance(b, Mapping) for b in below)
            )
            lines.append(f"{pad}{key}:\n{as_yaml(below, depth + 1)}" if nested
                         else f"{pad}{key}: {as_yaml(below)}")  # fmt: skip
        return "\n".join(lines)
    if isinstance(value, list) and any(isinstance(b, Mapping) for b in value):
        return "\n".join(f"{pad}- {as_yaml(b, depth + 1).lstrip()}" for b in value)
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
