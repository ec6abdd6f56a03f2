"""Which items of a catalog are wanted, whatever kind of catalog it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pystac

from geoseg.io.refs import in_utc

Time = tuple[datetime | None, datetime | None]
Box = tuple[float, float, float, float]

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StacQuery:
    """What items have to be.

    Attributes:
        collections: Ids of collections to take; empty: all.
        ids: Ids of items to take; empty: all.
        time: First and last instant, inclusive; None: open.
        max_cloud: Items with a higher ``eo:cloud_cover`` (percent) are left out; those that do
            not say it are taken.
        bbox: West, south, east, north in degrees (west > east crosses the antimeridian); items
            that do not touch it are left out.
        max_items: More matches than this are an error; None: 1000 where a server searches, any
            number else.
    """

    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    time: Time | None = None
    max_cloud: float | None = None
    bbox: Box | None = None
    max_items: int | None = None

    @property
    def filters(self) -> dict[str, str]:
        """Every filter that is set, as it is told to people."""
        listed = ", ".join(self.ids[:3]) + (", ..." if len(self.ids) > 3 else "")
        told = {"collections": f"collections [{', '.join(self.collections)}]"}
        told |= {"ids": f"ids [{listed}]", "bbox": "area"}
        if self.time is not None:
            first, last = (f"{t:%Y-%m-%d}" if t else ".." for t in self.time)
            told["time"] = f"time {first}/{last}"
        if self.max_cloud is not None:
            told["max_cloud"] = f"max_cloud {self.max_cloud:g}"
        return {k: text for k, text in told.items() if getattr(self, k) not in (None, ())}

    def without(self, name: str) -> StacQuery:
        """This query with one of its filters less."""
        nothing: dict[str, Any] = {name: () if name in ("collections", "ids") else None}
        return replace(self, **nothing)

    def reason_to_drop(self, item: pystac.Item) -> str | None:
        """Which filter an item fails first; None where it is wanted."""
        told = self.filters
        if self.collections and item.collection_id not in self.collections:
            return told["collections"]
        if self.ids and item.id not in self.ids:
            return told["ids"]
        if self.time is not None and not _during(item, self.time):
            return told["time"]
        cloud = item.properties.get("eo:cloud_cover")
        if self.max_cloud is not None and cloud is not None and float(cloud) > self.max_cloud:
            return told["max_cloud"]
        if self.bbox is not None and not _touches(item.bbox, self.bbox):
            return told["bbox"]
        return None


def moments(item: pystac.Item) -> Time:
    """First and last instant of an item."""
    common = item.common_metadata
    start = common.start_datetime or item.datetime
    end = common.end_datetime or item.datetime
    return (in_utc(start) if start else None), (in_utc(end) if end else None)


def by_time(item: pystac.Item) -> tuple[datetime, str]:
    """What sorts items: their first instant, then their id."""
    return moments(item)[0] or NEVER, item.id


def _during(item: pystac.Item, time: Time) -> bool:
    start, end = moments(item)
    if start is None or end is None:
        return False
    first, last = (None if t is None else in_utc(t) for t in time)
    return (first is None or end >= first) and (last is None or start <= last)


def boxes_touch(box: Sequence[float], wanted: Sequence[float], *, margin: float = 0.0) -> bool:
    """Whether two boxes (2D or 3D, in degrees) meet; both may cross the date line."""
    half, other = len(box) // 2, len(wanted) // 2
    west, south, east, north = box[0], box[1], box[half], box[half + 1]
    if south > wanted[other + 1] + margin or north < wanted[1] - margin:
        return False
    return any(
        w <= wanted_east + margin and e >= wanted_west - margin
        for w, e in _parts(west, east)
        for wanted_west, wanted_east in _parts(wanted[0], wanted[other])
    )


def _touches(box: Sequence[float] | None, wanted: Box) -> bool:
    """Whether an item's bbox meets ``wanted``; one without a usable bbox may."""
    return box is None or len(box) not in (4, 6) or boxes_touch(box, wanted)


def _parts(west: float, east: float) -> tuple[tuple[float, float], ...]:
    """A range of longitudes, cut where it crosses the date line."""
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))
