"""Why something is done, or done again, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Why = Literal["new", "changed", "failed", "missing", "forced"]
About = Mapping[str, Mapping[str, str]]
"""What people call each part: names with their versions, keys with their values."""

_MOST = 3
"""Differences of one part that are told; the others are counted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why work is done; ``str()`` is what the user reads.

    Attributes:
        why: ``new``; ``changed``: a part differs from when it was done; ``failed`` at its last
            try; ``missing``: what it made is gone or damaged; ``forced``.
        changed: The parts that differ.
        text: In words.
    """

    why: Why
    text: str
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def changed(
    before: Mapping[str, str], now: Mapping[str, str], about_before: About, about_now: About
) -> Reason | None:
    """What differs between two sets of parts (hashes by name); None where nothing does."""
    names = [name for name in (*now, *before) if before.get(name) != now.get(name)]
    names = list(dict.fromkeys(names))
    if not names:
        return None
    told = []
    for name in names:
        news = _differences(about_before.get(name, {}), about_now.get(name, {}))
        told.append(f"{name} changed{f' ({news})' if news else ''}")
    return Reason("changed", ", ".join(told), tuple(names))


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    news = []
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if new is None:
            news.append(f"{key} {old} is gone")
        elif old is None:
            news.append(f"{key} {new} is new")
        else:
            news.append(f"{key} {old} -> {new}")
    more = f" and {len(news) - _MOST} more" if len(news) > _MOST else ""
    return ", ".join(news[:_MOST]) + more


def flat(value: Any, key: str = "") -> dict[str, str]:
    """Nested keys and values as one level, ``output.vector.min_area: '1 ha'``."""
    if isinstance(value, Mapping):
        below = [flat(part, f"{key}.{name}" if key else str(name)) for name, part in value.items()]
        return {name: text for part in below for name, text in part.items()}
    return {key: str(value)}
