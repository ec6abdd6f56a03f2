"""Time in QGIS: when a layer is shown by the temporal controller, and what a project's slider runs over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

_TICK: Final = timedelta(seconds=1)
_STEPS: Final = ((360, "y"), (28, "mon"), (7, "wk"))
"""Fewest days between two layers, and what QGIS calls the step of the slider that suits them."""

_FIELDS: Final = (("start", "end"), ("date_from", "date_to"), ("loss_after", "loss_last"))
"""Attributes with the first and the last day of a polygon, most telling first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """When a layer is there: from ``start`` until just before ``end``; both in UTC."""

    start: datetime
    end: datetime

    @property
    def last(self) -> datetime:
        """Its last second: QGIS counts both ends of a range as within it."""
        return self.end - _TICK


def shown_on(when: date | datetime | None, until: date | datetime | None = None) -> Shown | None:
    """All of a day, or from a day until another one begins; None where no day is known.

    Args:
        when: A day, or a moment of it.
        until: The day that it is not shown any more; the next one without it.
    """
    if when is None:
        return None
    start = _midnight(when)
    end = start + timedelta(days=1) if until is None else _midnight(until)
    return Shown(start, max(end, start + timedelta(days=1)))


def one_after_other(days: Sequence[date | datetime]) -> list[Shown]:
    """Each of ``days`` (ascending) until the next one, the last one for a day."""
    starts = [_midnight(day) for day in days]
    laters = [next((s for s in starts[i:] if s > start), None) for i, start in enumerate(starts)]
    return [
        found
        for start, later in zip(starts, laters, strict=True)
        if (found := shown_on(start, later)) is not None
    ]


def fixed_range(shown: Shown) -> ET.Element:
    """When a raster is shown."""
    element = ET.Element("temporal", enabled="1", mode="0", source="0", fetchMode="0")
    _range(ET.SubElement(element, "fixedRange"), shown)
    return element


def range_in(qml: Path) -> Shown | None:
    """When a style file says that its raster is shown; None where it says nothing."""
    try:
        element = ET.parse(qml).getroot().find("temporal[@enabled='1']/fixedRange")  # noqa: S314 (beside our products)
        if element is None:
            return None
        start, end = (datetime.fromisoformat(element.findtext(tag, "")) for tag in ("start", "end"))
    except (OSError, ET.ParseError, ValueError):
        return None
    if start.tzinfo is None or end.tzinfo is None:
        return None
    return Shown(start, end + _TICK)


def times_of(fields: Collection[str]) -> tuple[str, str] | None:
    """Attributes that say when polygons are shown: those of first and last day, or one of a day."""
    both = next((pair for pair in _FIELDS if set(pair) <= set(fields)), None)
    return both or (("date", "date") if "date" in fields else None)


def field_range(start: str, end: str) -> ET.Element:
    """When polygons are shown: by two attributes with dates, or by one of a day or of two.

    Attributes may hold texts, and one alone ``2024-06-01`` or ``2024-06-01/2024-06-30``. What has
    no date is always shown.
    """
    common = {"enabled": "1", "durationUnit": "d", "fixedDuration": "0", "accumulate": "0"}
    if (start, end) == _FIELDS[0]:  # dates, which QGIS leaves to the file's own index
        said = {"mode": "2", "startField": start, "endField": end, "limitMode": "1"}
        return ET.Element("temporal", {**common, **said})
    sides = (("left", start, "1000-01-01"), ("right", end, "9999-12-31"))
    first, last = (
        f"coalesce(to_datetime({side}({_column(name)}, 10)), to_datetime('{never}'))"
        for side, name, never in sides
    )
    said = {"mode": "4", "startExpression": first, "endExpression": last, "limitMode": "1"}
    return ET.Element("temporal", {**common, **said})


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def time_settings(shown: Sequence[Shown]) -> ET.Element | None:
    """What a project's slider runs over, and by which step; None where no layer has a time."""
    if not shown:
        return None
    unit = step_of(shown)
    settings = {"timeStep": "1", "timeStepUnit": unit, "frameRate": "1"}
    element = ET.Element("ProjectTimeSettings", settings, cumulativeTemporalRange="0")
    whole = Shown(min(s.start for s in shown), max(s.end for s in shown))
    _range(ET.SubElement(element, "TemporalRange"), whole)
    return element


def step_of(shown: Sequence[Shown]) -> str:
    """The step of the slider: as long as the shortest time between two layers, or a day."""
    starts = sorted({one.start for one in shown})
    least = min((b - a for a, b in pairwise(starts)), default=timedelta(days=1))
    return next((unit for days, unit in _STEPS if least >= timedelta(days=days)), "d")


def _midnight(when: date | datetime) -> datetime:
    if isinstance(when, datetime):
        when = (when.astimezone(UTC) if when.tzinfo else when).date()
    return datetime.combine(when, time(), UTC)


def _range(parent: ET.Element, shown: Shown) -> None:
    for tag, moment in (("start", shown.start), ("end", shown.last)):
        ET.SubElement(parent, tag).text = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
