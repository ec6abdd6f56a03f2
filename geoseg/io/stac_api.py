"""Items that a STAC API finds: searched on the server, page by page.

Source: STAC API 1.0 (item search), its filter extension (CQL2 as JSON).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pystac
from pystac.errors import STACError, STACTypeError
from pystac_client.item_search import ItemSearch

from geoseg.errors import CatalogError, NothingFoundError
from geoseg.io.stac_http import PatientIO
from geoseg.io.stac_query import StacQuery
from geoseg.io.stac_walk import flaw

PAGE = 100
"""Items that are asked for at once."""
MOST = 1000
"""More matches than this, and somebody has forgotten the area or the time."""
_FEW = 8
_FILTER = re.compile(r".*item-search#filter(:.*)?$")
_CQL2 = re.compile(r".*cql2-json$")


def is_api(content: Mapping[str, Any]) -> bool:
    """Whether ``content`` is the landing page of an API."""
    return "conformsTo" in content


def api_root(content: Mapping[str, Any]) -> str | None:
    """Where the API is that a collection was read from; None where it is no API's."""
    links = {link.get("rel"): link.get("href") for link in content.get("links", [])}
    if content.get("type") != "Collection" or "items" not in links or "item" in links:
        return None
    return links.get("root")


def search(
    landing: Mapping[str, Any], query: StacQuery, io: PatientIO, *, named: str
) -> Iterator[pystac.Item]:
    """The items that the API of ``landing`` finds; what it cannot filter is left in.

    Args:
        landing: The API's landing page.
        query: What is wanted. Cloud cover is filtered by the server where it understands CQL2.
        io: Reads the answers.
        named: What the catalog is called in errors.

    Raises:
        CatalogError: The API cannot search, does not answer, answers something else, goes round
            in a circle, finds nothing or too much.
    """
    most = MOST if query.max_items is None else query.max_items
    count = 0
    seen: set[tuple[str | None, str]] = set()
    for page in _request(landing, query, io, named).pages_as_dicts():
        news = 0
        for item in _items(page, named):
            key = (item.collection_id, item.id)
            news += key not in seen
            if key not in seen and query.reason_to_drop(item) is None:
                count += 1
            seen.add(key)
            if count > most:
                raise CatalogError(
                    f"{named}: more than {most} items match; narrow the area, the time or the "
                    f"collections, or raise input.max_items"
                )
            yield item
        if not news:
            raise CatalogError(f"{named}: its pages go round in a circle after {len(seen)} items")
    if not seen:
        wrong = _unknown_collection(landing, query, io, named)
        if wrong is not None:
            raise CatalogError(wrong)
        raise NothingFoundError(_why_nothing(landing, query, io, named))


def collections(landing: Mapping[str, Any], io: PatientIO, *, named: str) -> dict[str, str]:
    """Title of every collection of the API, by id; all in one request, as far as it goes.

    Raises:
        CatalogError: The API does not tell them.
    """
    href = _link(landing, "data")
    if href is None:
        raise CatalogError(f"{named}: is a STAC API that does not list its collections")
    listed = io.read_json(href).get("collections", [])
    return {str(c.get("id")): str(c.get("title") or "") for c in listed if isinstance(c, dict)}


def _request(
    landing: Mapping[str, Any], query: StacQuery, io: PatientIO, named: str, *, page: int = PAGE
) -> ItemSearch:
    found = [link for link in landing.get("links", []) if link.get("rel") == "search"]
    if not found:
        raise CatalogError(
            f"{named}: is a STAC API that cannot search (no link 'search'); give it one of its "
            f"collections as an item collection"
        )
    posts = any(str(link.get("method", "")).upper() == "POST" for link in found)
    return ItemSearch(
        str(found[0]["href"]),
        method="POST" if posts else "GET",
        stac_io=io,
        limit=page,
        collections=list(query.collections) or None,
        ids=list(query.ids) or None,
        bbox=query.bbox,
        datetime=query.time,
        filter=_cloud(landing, query),
        filter_lang=None if _cloud(landing, query) is None else "cql2-json",
    )


def _cloud(landing: Mapping[str, Any], query: StacQuery) -> dict[str, Any] | None:
    """Cloud cover in CQL2, for servers that know it.

    Items that do not say it are to be taken, which the older query extension cannot express:
    where there is only that, items are filtered after they were found.
    """
    conforms = [str(uri) for uri in landing.get("conformsTo") or ()]
    knows = any(_FILTER.match(u) for u in conforms) and any(_CQL2.match(u) for u in conforms)
    if query.max_cloud is None or not knows:
        return None
    cloud = {"property": "eo:cloud_cover"}
    return {
        "op": "or",
        "args": [
            {"op": "<=", "args": [cloud, query.max_cloud]},
            {"op": "isNull", "args": [cloud]},
        ],
    }


def _items(page: Mapping[str, Any], named: str) -> Iterator[pystac.Item]:
    try:
        for feature in page["features"]:
            yield pystac.Item.from_dict(feature)
    except (STACError, STACTypeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise CatalogError(f"{named}: answers a search with no STAC items ({flaw(error)})") from (
            error
        )


def _why_nothing(landing: Mapping[str, Any], query: StacQuery, io: PatientIO, named: str) -> str:
    """What stands in the way: the first filter without which there would be something."""
    told = query.filters
    for name in ("max_cloud", "time", "bbox", "ids"):
        if name not in told:
            continue
        rest_of_it = _request(landing, query.without(name), io, named, page=1)
        if next(rest_of_it.pages_as_dicts(), None):
            rest = [text for key, text in told.items() if key != name]
            others = f" ({' and '.join(rest)} would be met)" if rest else ""
            return f"{named}: nothing matches {told[name]}{others}"
    return f"{named}: nothing matches {' and '.join(told.values()) or 'the search, it is empty'}"


def _unknown_collection(
    landing: Mapping[str, Any], query: StacQuery, io: PatientIO, named: str
) -> str | None:
    if not query.collections or _link(landing, "data") is None:
        return None
    there = collections(landing, io, named=named)
    for wanted in query.collections:
        if there and wanted not in there:
            near = difflib.get_close_matches(wanted, there, n=1)
            listed = ", ".join(list(there)[:_FEW]) + (", ..." if len(there) > _FEW else "")
            hint = f"did you mean '{near[0]}'? " if near else ""
            return f"{named}: no collection '{wanted}', {hint}it has {listed}"
    return None


def _link(content: Mapping[str, Any], rel: str) -> str | None:
    links = content.get("links", [])
    return next((str(link["href"]) for link in links if link.get("rel") == rel), None)
