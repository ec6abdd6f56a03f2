"""The STAC collection of items that lie on disk: their extent, what they share, links to each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac

from geoseg.errors import ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.product_item import (
    ANY_TIME,
    EXTENSIONS,
    MEMBERSHIP,
    SHORT,
    VERSION,
    file_facts,
    href_from,
    json_bytes,
    relative_href,
)

_SUMMED = ("proj:code", "processing:level")
_OF_ONE_FILE = ("href", "file:size", "file:checksum")


def write_collection(
    path: str | Path, *, collection_id: str, title: str, description: str, items: Sequence[Path]
) -> None:
    """Write the collection of items that lie on disk; its extent is theirs.

    Raises:
        ProductError: There is no item, one cannot be read, or the collection cannot be written.
    """
    path = Path(path)
    read = [_read_item(Path(item)) for item in items]
    if not read:
        raise ProductError(f"{path}: a collection needs at least one item")
    collection = pystac.Collection(
        id=collection_id,
        title=title,
        description=description,
        license="other",
        extent=pystac.Extent(_spatial(read), _temporal(read)),
        stac_extensions=[*_shared_extensions(read), VERSION],
        summaries=pystac.Summaries(_summaries(read)),
        extra_fields={"version": _version(read), "item_assets": _item_assets(read)},
    )
    collection.add_link(pystac.Link("root", relative_href(path.name), pystac.MediaType.JSON))
    for item, content in zip(items, read, strict=True):
        href, kind = href_from(path, str(item)), pystac.MediaType.GEOJSON
        link = pystac.Link("item", href, kind, content["id"], extra_fields=file_facts(item))
        collection.add_link(link)
    data = json_bytes(collection.to_dict(include_self_link=False, transform_hrefs=False))
    if not path.exists() or path.read_bytes() != data:  # a mirror has nothing to copy then
        write_bytes(path, data)


def join_collection(path: str | Path, collection_id: str, collection: Path) -> None:
    """Make the item at ``path`` one of a collection, where it is not yet.

    Raises:
        ProductError: The item cannot be read or written.
    """
    path = Path(path)
    content = _read_item(path)
    name = Path(os.path.relpath(collection.resolve(), path.parent.resolve())).as_posix()
    kept = [link for link in content.get("links", []) if link.get("rel") not in MEMBERSHIP]
    links = [
        {"rel": rel, "href": relative_href(name), "type": str(pystac.MediaType.JSON)}
        for rel in MEMBERSHIP
    ]
    joined = {**content, "links": [*kept, *links], "collection": collection_id}
    if joined != content:
        write_bytes(path, json_bytes(joined))


def _read_item(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ProductError(f"{path}: cannot be read as a STAC item: {error}") from error
    if not isinstance(content, dict) or not {"id", "bbox", "properties"} <= content.keys():
        raise ProductError(f"{path}: is no STAC item: it lacks an id, a bbox or properties")
    return content


def _spatial(items: Sequence[Mapping[str, Any]]) -> pystac.SpatialExtent:
    boxes = [item["bbox"] for item in items]
    west, south = min(b[0] for b in boxes), min(b[1] for b in boxes)
    east, north = max(b[2] for b in boxes), max(b[3] for b in boxes)
    if any(b[0] > b[2] for b in boxes) and len(boxes) > 1:
        west, east = -180.0, 180.0
    return pystac.SpatialExtent([[west, south, east, north]])


def _temporal(items: Sequence[Mapping[str, Any]]) -> pystac.TemporalExtent:
    starts, ends = zip(*(_interval(item["properties"]) for item in items), strict=True)
    return pystac.TemporalExtent(
        [
            [
                None if None in starts else min(starts),
                None if None in ends else max(ends),
            ]
        ]
    )


def _interval(properties: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    moment = properties.get("datetime")
    start = moment or properties["start_datetime"]
    end = moment or properties["end_datetime"]
    if (start, end) == ANY_TIME:
        return None, None
    return datetime.fromisoformat(start), datetime.fromisoformat(end)


def _shared_extensions(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [uri for uri in EXTENSIONS if all(uri in i.get("stac_extensions", ()) for i in items)]


def _version(items: Sequence[Mapping[str, Any]]) -> str:
    """Another one as soon as an item comes, goes, or is another version of itself."""
    told = sorted([item["id"], item["properties"].get("version", "")] for item in items)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:SHORT]


def _summaries(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all items together say of themselves: each value once, in the order of the items."""
    found: dict[str, list[Any]] = {}
    for item in items:
        for key in _SUMMED:
            value = item["properties"].get(key)
            if value is not None and value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: values for key, values in found.items() if values}


def _item_assets(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is the same of an asset in all items that have it, but for file and place."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        for name, asset in item.get("assets", {}).items():
            told = {key: value for key, value in asset.items() if key not in _OF_ONE_FILE}
            known = found.setdefault(name, told)
            found[name] = {k: v for k, v in known.items() if told.get(k) == v}
    return found
