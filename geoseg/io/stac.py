"""Scenes in static STAC catalogs: files or URLs, catalogs, collections, item collections, items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pystac
from pystac.errors import STACError, STACTypeError
from pystac.stac_io import DefaultStacIO

from geoseg.errors import CatalogError
from geoseg.io.refs import BandRef, MaskRef, Overrides, in_utc
from geoseg.io.stac_item import item_scene
from geoseg.scene import Scene

_TIMEOUT = 60
_ATTEMPTS = 3
_DEEPEST = 64

Time = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class StacSource:
    """Items of a static catalog, each a scene.

    Attributes:
        catalog: Path or URL of a catalog, a collection, an item or an item collection.
        collections: Ids of collections to take; empty: all.
        ids: Ids of items to take; empty: all.
        time: First and last instant, inclusive; None: open.
        max_cloud: Items with a higher ``eo:cloud_cover`` are left out; those that do not say it
            are taken.
        bbox: West, south, east, north in degrees; items that do not touch it are left out.
        bands: Common names that may be used, or each with its asset (``BandRef.path`` is the key);
            empty: as the items say.
        mask: Which pixels are hidden; ``MaskRef.path`` is the key of an asset.
        overrides: What holds for all bands, whatever the items say.
    """

    catalog: str
    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    time: Time | None = None
    max_cloud: float | None = None
    bbox: tuple[float, float, float, float] | None = None
    bands: tuple[str, ...] | Mapping[str, BandRef] = ()
    mask: MaskRef | None = None
    overrides: Overrides = field(default_factory=Overrides)

    def scenes(self, wanted: Sequence[str]) -> list[Scene]:
        """The scenes, with the bands called ``wanted`` and their masks, by date and id.

        Reads metadata only, and headers of files whose metadata do not say all.

        Raises:
            CatalogError: The catalog cannot be read, or nothing in it matches.
            SceneError: An item lacks a band, or its files cannot be used.
        """
        items = self.items()
        scenes = [
            item_scene(item, wanted, bands=self.bands, mask=self.mask, overrides=self.overrides)
            for item in items
        ]
        tally = Counter(scene.id for scene in scenes)
        return [
            scene if tally[scene.id] == 1 else replace(scene, id=f"{item.collection_id}_{scene.id}")
            for item, scene in zip(items, scenes, strict=True)
        ]

    def items(self) -> list[pystac.Item]:
        """The items that match, by date and id.

        Raises:
            CatalogError: The catalog cannot be read, or nothing in it matches.
        """
        dropped: Counter[str] = Counter()
        found: dict[tuple[str | None, str], pystac.Item] = {}
        seen: Counter[str] = Counter()
        for item in _walk(self.catalog):
            seen[item.collection_id or "(no collection)"] += 1
            reason = self._reason_to_drop(item)
            if reason is None:
                found.setdefault((item.collection_id, item.id), item)
            else:
                dropped[reason] += 1
        if not found:
            raise CatalogError(self._nothing(seen, dropped))
        return sorted(found.values(), key=lambda item: (_moments(item)[0] or _NEVER, item.id))

    def _reason_to_drop(self, item: pystac.Item) -> str | None:
        """Which filter an item fails first."""
        if self.collections and item.collection_id not in self.collections:
            return f"collections [{', '.join(self.collections)}]"
        if self.ids and item.id not in self.ids:
            return f"ids [{', '.join(self.ids[:3])}{', ...' if len(self.ids) > 3 else ''}]"
        if self.time is not None and not _during(item, self.time):
            first, last = (f"{t:%Y-%m-%d}" if t else ".." for t in self.time)
            return f"time {first}/{last}"
        cloud = item.properties.get("eo:cloud_cover")
        if self.max_cloud is not None and cloud is not None and float(cloud) > self.max_cloud:
            return f"max_cloud {self.max_cloud:g}"
        if self.bbox is not None and not _touches(item.bbox, self.bbox):
            return "area"
        return None

    def _nothing(self, seen: Counter[str], dropped: Counter[str]) -> str:
        if not seen:
            return f"{self.catalog}: has no items"
        reasons = ", ".join(f"{count} by {reason}" for reason, count in dropped.items())
        has = ", ".join(list(seen)[:5]) + (", ..." if len(seen) > 5 else "")
        return (
            f"{self.catalog}: none of {seen.total()} items matches; left out: {reasons}; "
            f"the catalog has items of: {has}"
        )


_NEVER = datetime.max.replace(tzinfo=UTC)


def _moments(item: pystac.Item) -> Time:
    """First and last instant of an item."""
    common = item.common_metadata
    start = common.start_datetime or item.datetime
    end = common.end_datetime or item.datetime
    return (in_utc(start) if start else None), (in_utc(end) if end else None)


def _during(item: pystac.Item, time: Time) -> bool:
    start, end = _moments(item)
    if start is None or end is None:
        return False
    first, last = (None if t is None else in_utc(t) for t in time)
    return (first is None or end >= first) and (last is None or start <= last)


def _touches(box: Sequence[float] | None, wanted: tuple[float, float, float, float]) -> bool:
    """Whether an item's bbox (2D or 3D, perhaps across the date line) meets ``wanted``."""
    if box is None or len(box) not in (4, 6):
        return True
    half = len(box) // 2
    west, south, east, north = box[0], box[1], box[half], box[half + 1]
    if south > wanted[3] or north < wanted[1]:
        return False
    if west > east:
        return wanted[2] >= west or wanted[0] <= east
    return west <= wanted[2] and east >= wanted[0]


class _PatientIO(DefaultStacIO):
    """Reads JSON from disk and from servers that may be slow; never a schema."""

    def read_text_from_href(self, href: str) -> str:
        """The text at ``href``.

        Raises:
            CatalogError: It is not there, or the server does not answer.
        """
        if not href.startswith(("http://", "https://")):
            try:
                return Path(href.removeprefix("file://")).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise CatalogError(f"{href}: cannot be read ({reason})") from error
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with urlopen(href, timeout=_TIMEOUT) as answer:  # noqa: S310 (http is checked above)
                    return str(answer.read().decode("utf-8"))
            except (URLError, TimeoutError, ConnectionError, UnicodeDecodeError) as error:
                # 4xx stays what it is, however often one asks.
                if attempt == _ATTEMPTS or 400 <= getattr(error, "code", 0) < 500:
                    raise CatalogError(f"{href}: cannot be read ({_reason(error)})") from error
        raise AssertionError("the last attempt returns or raises")


def _reason(error: Exception) -> str:
    """Why a server gave no text."""
    if isinstance(error, UnicodeDecodeError):
        return "not text"
    # Of an HTTPError the reason alone would lack its number.
    said = error.reason if type(error) is URLError else error
    return getattr(said, "strerror", None) or str(said)


def _flaw(error: Exception) -> str:
    """What pystac stumbled over."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, AttributeError | TypeError):
        return "one of its keys holds something of another kind than STAC says"
    return str(error)


def _walk(catalog: str) -> Iterator[pystac.Item]:
    """All items, in the order of the catalog's links.

    Raises:
        CatalogError: It is no STAC, or one of its links leads nowhere.
    """
    href = catalog if "://" in catalog else Path(catalog).expanduser().absolute().as_posix()
    io = _PatientIO()
    try:
        content = io.read_json(href)
        if not isinstance(content, dict):
            raise CatalogError(f"{catalog}: not a STAC catalog (it holds no keys and values)")
        if "conformsTo" in content:
            raise CatalogError(
                f"{catalog}: is the root of a STAC API; geoseg reads static catalogs: save the "
                f"result of a search as an item collection and give that"
            )
        if content.get("type") == "FeatureCollection":
            yield from _collected(content, href)
            return
        thing = io.stac_object_from_dict(content, href=href)
        if isinstance(thing, pystac.Catalog):
            # Part of a catalog may be there without its root.
            thing.set_root(thing)
        yield from _descend(thing, set(), 0)
    except (STACError, STACTypeError, KeyError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error.__cause__, CatalogError):
            raise error.__cause__ from error
        if isinstance(error, json.JSONDecodeError):
            where = f"line {error.lineno}, column {error.colno}: {error.msg}"
            raise CatalogError(f"{catalog}: not JSON ({where})") from error
        raise CatalogError(f"{catalog}: not a STAC catalog ({_flaw(error)})") from error


def _collected(content: dict[str, Any], href: str) -> Iterator[pystac.Item]:
    for feature in content.get("features", []):
        item = pystac.Item.from_dict(feature)
        if item.get_self_href() is None:
            item.set_self_href(href)
        yield item


def _descend(thing: pystac.STACObject, visited: set[str], depth: int) -> Iterator[pystac.Item]:
    """Items below ``thing``; links that lead back are not followed again."""
    if isinstance(thing, pystac.Item):
        yield thing
        return
    here = thing.get_self_href() or ""
    if not isinstance(thing, pystac.Catalog) or here in visited or depth > _DEEPEST:
        return
    visited.add(here)
    yield from thing.get_items()
    for child in thing.get_children():
        yield from _descend(child, visited, depth + 1)
