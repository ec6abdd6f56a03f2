"""Where the file of a STAC asset is, and whether its catalog may point there."""

from __future__ import annotations

from pathlib import PurePosixPath

import pystac

from geoseg.errors import SceneError
from geoseg.io.archive import Archive
from geoseg.io.stac_http import is_http
from geoseg.io.trust import objection


def asset_href(
    item: pystac.Item, key: str, archive: Archive | None = None, *, catalog: str | None = None
) -> str:
    """What to open for an asset.

    ``catalog`` is where the item was found, as the user wrote it; None: the user wrote the item.

    Raises:
        SceneError: Its address is relative, and nothing says to what; or a catalog points to where
            it may not, see :func:`geoseg.io.trust.objection`.
    """
    asset = item.assets[key]
    href = (asset.get_absolute_href() or asset.href).removeprefix("file://")
    if "://" not in href and not PurePosixPath(href).is_absolute():
        raise SceneError(
            f"scene {item.id}: asset {key} is at {href}, and nothing says where the item itself is"
        )
    if catalog is not None:
        asked = catalog if archive is None else archive.url
        fetched = "://" in asked or is_http(item.get_self_href() or "")
        why = objection(href, asked=asked, local=not fetched)
        if why is not None:
            raise SceneError(f"scene {item.id}: asset {key} is at {href[:200]}, {why}")
    return href if archive is None else archive.address(href, item.collection_id)
