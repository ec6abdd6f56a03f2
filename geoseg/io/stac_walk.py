"""All items of a catalog that only lies there: catalogs, collections, item collections, items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pystac
from pystac.errors import STACError, STACTypeError

from geoseg.errors import CatalogError
from geoseg.io.stac_http import PatientIO, is_http

_DEEPEST = 64


def walk(content: dict[str, Any], href: str, io: PatientIO, *, named: str) -> Iterator[pystac.Item]:
    """The items of what was read from ``href``, in the order of its links.

    Args:
        content: A catalog, a collection, an item or an item collection.
        href: Where it was read from.
        io: Reads the rest.
        named: What it is called in errors.

    Raises:
        CatalogError: It is no STAC, or one of its links leads nowhere.
    """
    try:
        if content.get("type") == "FeatureCollection":
            yield from _pages(content, href, io)
            return
        thing = io.stac_object_from_dict(content, href=href)
        if isinstance(thing, pystac.Catalog):
            # Part of a catalog may be there without its root.
            thing.set_root(thing)
        yield from _descend(thing, set(), 0)
    except (STACError, STACTypeError, KeyError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error.__cause__, CatalogError):
            raise error.__cause__ from error
        raise CatalogError(f"{named}: not a STAC catalog ({flaw(error)})") from error


def flaw(error: Exception) -> str:
    """What pystac stumbled over."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, AttributeError | TypeError):
        return "one of its keys holds something of another kind than STAC says"
    return str(error)


def _pages(content: dict[str, Any], href: str, io: PatientIO) -> Iterator[pystac.Item]:
    """Items of an item collection, and of the pages that follow where a server gave it."""
    seen = {href}
    while True:
        for feature in content.get("features", []):
            item = pystac.Item.from_dict(feature)
            if item.get_self_href() is None:
                item.set_self_href(href)
            yield item
        following = next((k for k in content.get("links", []) if k.get("rel") == "next"), None)
        if following is None or not is_http(href):
            return
        if following.get("method", "GET").upper() != "GET":
            raise CatalogError(
                f"{href}: is one page of a search that goes on by POST; give the API's own address"
            )
        href = str(following["href"])
        if href in seen:
            raise CatalogError(f"{href}: its pages go round in a circle")
        seen.add(href)
        content = io.read_json(href)


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
