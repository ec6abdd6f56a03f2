"""Scenes sorted into periods of the calendar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from geoseg.errors import SceneError
from geoseg.scene import Scene

Period = Literal["all", "month", "quarter", "year"] | timedelta
"""A span of whole days is counted from the first of January of each year, as MODIS and HLS
composites are: the last one of a year is shorter."""


_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PeriodScenes:
    """Scenes of one period, oldest first.

    ``name`` is how the period is written (``2024-06``, ``2024-Q2``); ``start`` is its first
    moment, or that of the first scene where all scenes are meant.
    """

    name: str
    start: datetime | None
    scenes: tuple[Scene, ...]


def by_period(scenes: Sequence[Scene], period: Period, *, dated: bool) -> list[PeriodScenes]:
    """Scenes by the period that they were acquired in, in UTC; earliest first.

    Args:
        scenes: In any order.
        period: How long it is.
        dated: Whether dates matter even where the period does not.

    Raises:
        SceneError: A scene has no date, and dates matter.
    """
    undated = [scene.id for scene in scenes if scene.acquired is None]
    if undated and (dated or period != "all"):
        raise SceneError(
            f"scene {undated[0]}: has no date, by which scenes are sorted; give it one in its file "
            f"name (20240615) or as ACQUISITIONDATETIME, or combine all scenes by a method that "
            f"asks for no date"
        )
    found: defaultdict[tuple[str, datetime | None], list[Scene]] = defaultdict(list)
    for scene in sorted(scenes, key=_order):
        found[_period_of(scene, period)].append(scene)
    if period != "all":
        return [PeriodScenes(name, start, tuple(of)) for (name, start), of in sorted(found.items())]
    ((_, every),) = found.items()
    times = [scene.acquired for scene in every]
    known = [time for time in times if time is not None]
    if undated or not known:
        return [PeriodScenes("all", None, tuple(every))]
    first, last = known[0], known[-1]
    name = f"{first:%Y%m%d}-{last:%Y%m%d}" if first.date() != last.date() else f"{first:%Y%m%d}"
    return [PeriodScenes(name, first, tuple(every))]


def _order(scene: Scene) -> tuple[bool, datetime, str]:
    """Oldest first; those of the same moment by name, never by how they were listed."""
    return scene.acquired is not None, _utc(scene.acquired or _NEVER), scene.id


def _period_of(scene: Scene, period: Period) -> tuple[str, datetime | None]:
    if period == "all" or scene.acquired is None:
        return "all", None
    return period_at(scene.acquired, period)


def period_at(
    when: datetime, period: Literal["month", "quarter", "year"] | timedelta
) -> tuple[str, datetime]:
    """Name and first moment of the period that ``when`` is in."""
    when = _utc(when)
    day = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if isinstance(period, timedelta):
        count = (day - day.replace(month=1, day=1)) // period
        start = day.replace(month=1, day=1) + count * period
        return f"{start:%Y-%m-%d}-{period.days}d", start
    if period == "month":
        return f"{day:%Y-%m}", day.replace(day=1)
    if period == "quarter":
        quarter = (day.month - 1) // 3
        return f"{day.year}-Q{quarter + 1}", day.replace(month=3 * quarter + 1, day=1)
    return f"{day.year}", day.replace(month=1, day=1)


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
