"""Catalogs of scenes: search one, show what an item has, check it, build one from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
from pydantic import ValidationError

from geoseg.errors import CatalogError, GeosegError, InputError, SceneError
from geoseg.grid import GeoBox
from geoseg.io.archive import Archive, archive_names, find_archive, load_archive
from geoseg.io.area import AreaRef, lonlat_bounds
from geoseg.io.asset_address import asset_href
from geoseg.io.atomic import write_bytes
from geoseg.io.contact_sheet import CELL, Thumbnail, write_sheet
from geoseg.io.decimate import decimated_pixels
from geoseg.io.names import MASK_NAMES
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef
from geoseg.io.scene_files import scenes_below
from geoseg.io.stac import StacSource
from geoseg.io.stac_build import build_item, write_catalog
from geoseg.io.stac_check import item_problems
from geoseg.io.stac_item import asset_facts, item_scene, offered_bands
from geoseg.io.stac_query import StacQuery, Time
from geoseg.scene import natural_colors
from geoseg.workflow.faults import UnfitError
from geoseg.workflow.inputs import TimeRange, expand_time


@dataclass(frozen=True, slots=True)
class Built:
    """A catalog that was written: its root, its picture, and scenes that could not be read."""

    catalog: Path
    scenes: int
    quicklook: Path | None
    problems: tuple[str, ...]


def search(catalog: str, query: StacQuery) -> list[pystac.Item]:
    """The items of a catalog (path, address or name) that match, by date and id.

    Raises:
        CatalogError: It cannot be read, or nothing in it matches.
    """
    return _source(catalog, query).items()


def row(item: pystac.Item) -> dict[str, Any]:
    """An item in a few plain values."""
    properties = item.properties
    time = properties.get("datetime") or properties.get("start_datetime")
    return {
        "id": item.id,
        "collection": item.collection_id,
        "datetime": time,
        "cloud_cover": properties.get("eo:cloud_cover"),
        "platform": properties.get("platform"),
        "bbox": item.bbox,
        "href": item.get_self_href(),
    }


def save_items(path: Path, items: Sequence[pystac.Item]) -> None:
    """Write items as an item collection, which is a catalog, too.

    Raises:
        ProductError: It cannot be written.
    """
    features = [item.to_dict(transform_hrefs=False) for item in items]
    content = {"type": "FeatureCollection", "features": features}
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def show_archives(name: str | None = None) -> list[dict[str, Any]]:
    """What is known of public archives: all, or one.

    Raises:
        CatalogError: There is none of that name.
    """
    names = archive_names() if name is None else (name,)
    return [_archive(load_archive(each)) for each in names]


def show(catalog: str, query: StacQuery) -> list[dict[str, Any]]:
    """What models would read of the items that match; opens files only for what is not said.

    Raises:
        CatalogError: It cannot be read, or nothing in it matches.
    """
    archive = find_archive(catalog)
    return [_shown(item, archive, catalog) for item in search(catalog, query)]


def check(catalog: str, query: StacQuery, *, files: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Each item's id with what is wrong with it; ``files``: open every raster, too.

    Raises:
        CatalogError: The catalog cannot be read, or nothing in it matches.
    """
    archive = find_archive(catalog)
    items = search(catalog, query)
    if archive is not None and files:
        archive.check_access([item.collection_id or "" for item in items])
    for item in items:
        yield item.id, list(item_problems(item, archive, files=files, catalog=catalog))


def build(
    folder: Path, output: Path | None = None, *, title: str = "", quicklook: bool = True
) -> Built:
    """Write a static catalog of all scenes below a folder, and one picture of them.

    Args:
        folder: SAFE products, files by band, or any rasters.
        output: Folder of the catalog; the folder itself where it is None.
        title: Of the catalog; its folder's name without it.
        quicklook: Whether to draw ``quicklook.png`` beside it.

    Raises:
        CatalogError: There is no scene.
        ProductError: The catalog cannot be written.
    """
    place = folder if output is None else output
    made = [build_item(scene) for scene in scenes_below(folder)]
    items = [one.item for one in made if one.item is not None]
    problems = tuple(f"{one.id}: {one.problem}" for one in made if one.problem is not None)
    if not items:
        raise CatalogError(f"{folder}: none of {len(made)} scenes can be read; {problems[0]}")
    name = folder.resolve().name
    path = write_catalog(place, items, name=name, title=title or name)
    picture = None
    if quicklook:
        picture = place / "quicklook.png"
        write_sheet(picture, [_thumbnail(item) for item in items], title=title or name)
    return Built(path, len(items), picture, problems)


def make_query(
    *,
    collections: Sequence[str] = (),
    ids: Sequence[str] = (),
    time: str = "",
    max_cloud: float | None = None,
    area: str = "",
    max_items: int | None = None,
) -> StacQuery:
    """A query as people write it.

    Args:
        collections: Ids of collections.
        ids: Ids of items.
        time: ``2024-06-01/2024-06-30``, one date, or ``14d`` (the last 14 days).
        max_cloud: Percent.
        area: ``west,south,east,north`` in degrees, or a vector file.
        max_items: More matches than this are an error.

    Raises:
        InputError: The time or the area is not understood.
    """
    return StacQuery(tuple(collections), tuple(ids), _time(time), max_cloud, _bbox(area), max_items)


def _time(text: str) -> Time | None:
    if not text:
        return None
    try:
        said = {"last": text} if text[-1] in "hdwmy" else expand_time(text)
        span = TimeRange.model_validate(said)
    except (UnfitError, ValidationError) as error:
        advice = "write it like 2024-06-01/2024-06-30, 2024-06-01/.. or 14d"
        raise InputError(f"time {text}: not understood; {advice}") from error
    if span.last is not None:
        now = datetime.now(UTC)
        return now - span.last.timedelta, now
    return span.start, span.end


def _bbox(text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 4:
        return lonlat_bounds(AreaRef(file=text))
    try:
        west, south, east, north = (float(part) for part in parts)
    except ValueError as error:
        raise InputError(f"area {text}: expected west,south,east,north in degrees") from error
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise InputError(f"area {text}: expected west,south,east,north in degrees, south < north")
    return west, south, east, north


def _source(catalog: str, query: StacQuery) -> StacSource:
    return StacSource(
        catalog,
        collections=query.collections,
        ids=query.ids,
        time=query.time,
        max_cloud=query.max_cloud,
        bbox=query.bbox,
        max_items=query.max_items,
    )


def _archive(archive: Archive) -> dict[str, Any]:
    return {
        "name": archive.name,
        "title": archive.title,
        "url": archive.url,
        "about": archive.about,
        "needs": [list(names) for names in archive.needs],
        "settings": dict(archive.settings),
        "note": archive.note,
        "collections": {
            key: {
                "title": collection.title,
                "bands": list(collection.bands),
                "mask": None if collection.mask is None else collection.mask.method,
            }
            for key, collection in archive.collections.items()
        },
    }


def _shown(item: pystac.Item, archive: Archive | None, catalog: str) -> dict[str, Any]:
    offered = offered_bands(item, archive)
    bands = [name for name in offered if name not in MASK_NAMES]
    masks = {n: place for n, place in offered.items() if n in MASK_NAMES}
    told: dict[str, Any] = row(item) | {"masks": {n: key for n, (key, _) in masks.items()}}
    used = None if archive is None else archive.mask(item.collection_id)
    told["mask"] = None if used is None else used.method
    try:
        scene = item_scene(item, bands, archive=archive, catalog=catalog)
    except SceneError as error:
        hrefs = {n: asset_href(item, key, archive) for n, (key, _) in offered.items()}
        return told | {"problem": str(error), "bands": {n: {"href": h} for n, h in hrefs.items()}}
    grid = scene.grid
    return told | {
        "units": scene.units,
        "crs": None if grid.crs is None else str(grid.crs),
        "shape": [int(n) for n in grid.shape],
        "transform": [float(v) for v in tuple(grid.affine)[:6]],
        "bands": {
            name: {
                "href": band.uri,
                "index": band.index,
                "dtype": band.dtype,
                "scale": band.scale,
                "offset": band.offset,
                "nodata": band.nodata,
                "pixel": abs(float(band.grid.affine.a)),
                "unit": _unit(band.grid),
            }
            for name, band in scene.bands.items()
        },
    }


def _unit(grid: GeoBox) -> str:
    """What coordinates are counted in."""
    if grid.crs is None:
        return "px"
    return (
        "deg" if grid.crs.geographic else {"metre": "m"}.get(grid.crs.units[0], grid.crs.units[0])
    )


def _thumbnail(item: Mapping[str, Any]) -> Thumbnail:
    """A small picture of a scene; one that cannot be drawn says why."""
    properties = item["properties"]
    cloud = properties.get("eo:cloud_cover")
    date = (properties["datetime"] or "no date")[:10]
    note = date + ("" if cloud is None else f", {cloud:.0f} % clouds")
    full = pystac.Item.from_dict(dict(item))
    bands = [name for name in offered_bands(full) if name not in MASK_NAMES]
    places = {} if bands else _first_bands(full)
    colors = natural_colors(bands or list(places))
    try:
        scene = item_scene(full, list(dict.fromkeys(colors)), bands=places or ())
        pixels = ScenePixels(scene)
        try:
            values, valid = decimated_pixels(pixels, colors, CELL)
        finally:
            pixels.close()
    except GeosegError as error:
        return Thumbnail(item["id"], str(error))
    if scene.grid.affine.e > 0:  # rows that count northwards
        values, valid = values[:, ::-1], valid[::-1]
    return Thumbnail(item["id"], note, values, valid)


def _first_bands(item: pystac.Item) -> dict[str, BandRef]:
    """Up to three bands of the first asset, where none of them has a common name."""
    key = next(iter(item.assets))
    count = min(3, asset_facts(item, key).count)
    return {f"band{index}": BandRef(key, index) for index in range(1, count + 1)}
