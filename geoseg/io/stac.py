"""Scenes in STAC catalogs: static ones, APIs, tables of items, and public archives by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pystac

from geoseg.errors import CatalogError, NothingFoundError
from geoseg.io.archive import Archive, find_archive
from geoseg.io.refs import BandRef, MaskRef, Overrides
from geoseg.io.stac_api import api_root, is_api, search
from geoseg.io.stac_http import PatientIO
from geoseg.io.stac_item import item_scene
from geoseg.io.stac_parquet import is_parquet, parquet_items
from geoseg.io.stac_query import StacQuery, Time, by_time
from geoseg.io.stac_walk import walk
from geoseg.scene import Scene


@dataclass(frozen=True, slots=True)
class StacSource:
    """Items of a catalog, each a scene.

    Attributes:
        catalog: Path or URL of a catalog, a collection, an item, an item collection, a STAC API or
            a stac-geoparquet table; or the name of a public archive.
        collections: Ids of collections to take; empty: all.
        ids: Ids of items to take; empty: all.
        time: First and last instant, inclusive; None: open.
        max_cloud: Items with a higher ``eo:cloud_cover`` are left out; those that do not say it
            are taken.
        bbox: West, south, east, north in degrees; items that do not touch it are left out.
        bands: Common names that may be used, or each with its asset (``BandRef.path`` is the key);
            empty: as the items say.
        mask: Which pixels are hidden; ``MaskRef.path`` is the key of an asset; None: as the archive
            is used to, where it is one.
        overrides: What holds for all bands, whatever the items say.
        max_items: More matches than this are an error; None: 1000 where a server searches.
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
    max_items: int | None = None

    @property
    def query(self) -> StacQuery:
        """What is wanted of the catalog."""
        return StacQuery(
            self.collections, self.ids, self.time, self.max_cloud, self.bbox, self.max_items
        )

    def scenes(self, wanted: Sequence[str]) -> list[Scene]:
        """The scenes, with the bands called ``wanted`` and their masks, by date and id.

        Reads metadata only, and headers of files whose metadata do not say all.

        Raises:
            CatalogError: The catalog cannot be read, or nothing in it matches.
            SceneError: An item lacks a band, or its files cannot be used.
        """
        archive = find_archive(self.catalog)
        items = self.items()
        if archive is not None:
            archive.check_access([item.collection_id or "" for item in items])
        scenes = [self._scene(item, wanted, archive) for item in items]
        tally = Counter(scene.id for scene in scenes)
        return [
            scene if tally[scene.id] == 1 else replace(scene, id=f"{item.collection_id}_{scene.id}")
            for item, scene in zip(items, scenes, strict=True)
        ]

    def _scene(self, item: pystac.Item, wanted: Sequence[str], archive: Archive | None) -> Scene:
        mask = self.mask
        if archive is not None and mask is None:
            mask = archive.mask(item.collection_id)
        return item_scene(
            item,
            wanted,
            bands=self.bands,
            mask=mask,
            overrides=self.overrides,
            archive=archive,
            catalog=self.catalog,
        )

    def items(self) -> list[pystac.Item]:
        """The items that match, by date and id.

        Raises:
            CatalogError: The catalog cannot be read, or nothing in it matches.
        """
        query, dropped, seen = self.query, Counter[str](), Counter[str]()
        found: dict[tuple[str | None, str], pystac.Item] = {}
        for item in read_items(self.catalog, query):
            seen[item.collection_id or "(no collection)"] += 1
            reason = query.reason_to_drop(item)
            if reason is None:
                found.setdefault((item.collection_id, item.id), item)
            else:
                dropped[reason] += 1
        if not found:
            raise NothingFoundError(self._nothing(seen, dropped))
        if self.max_items is not None and len(found) > self.max_items:
            raise CatalogError(
                f"{self.catalog}: {len(found)} items match, input.max_items is {self.max_items}; "
                f"narrow the area or the time, or raise it"
            )
        return sorted(found.values(), key=by_time)

    def _nothing(self, seen: Counter[str], dropped: Counter[str]) -> str:
        if not seen:
            return f"{self.catalog}: has no items"
        reasons = ", ".join(f"{count} by {reason}" for reason, count in dropped.items())
        has = ", ".join(list(seen)[:5]) + (", ..." if len(seen) > 5 else "")
        return (
            f"{self.catalog}: none of {seen.total()} items matches; left out: {reasons}; "
            f"the catalog has items of: {has}"
        )


def read_items(catalog: str, query: StacQuery) -> Iterator[pystac.Item]:
    """Items of any catalog; a server or a table has filtered them, a static catalog has not.

    Raises:
        CatalogError: It cannot be read, or its server finds nothing.
    """
    archive = find_archive(catalog)
    io = PatientIO(catalog if archive is None else archive.url)
    if is_parquet(catalog):
        # A table says nothing where all of it is filtered out: then it is read to know why.
        found = parquet_items(catalog, query, io)
        first = next(found, None)
        yield from parquet_items(catalog, StacQuery(), io) if first is None else (first, *found)
        return
    href = catalog if archive is None else archive.url
    if "://" not in href:
        href = Path(href).expanduser().absolute().as_posix()
    content = io.read_json(href)
    root = api_root(content)
    if root is not None and "id" in content:
        query = replace(query, collections=query.collections or (str(content["id"]),))
        content = io.read_json(root)
    if is_api(content):
        yield from search(content, query, io, named=catalog)
    else:
        yield from walk(content, href, io, named=catalog)
