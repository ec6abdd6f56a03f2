"""Bring what a STAC item says of one of its files up to date, once the file has changed on purpose."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from geoseg.io.atomic import write_bytes

_SHA2_256 = "1220"  # multihash: the code of SHA-256 and its length in bytes


def refresh_item(product: Path) -> bool:
    """Note size and checksum of a product in the ``item.json`` beside it, if that lists it.

    Returns:
        Whether the item has changed.

    Raises:
        ProductError: The item cannot be written.
    """
    path = product.parent / "item.json"
    try:
        item = json.loads(path.read_bytes())
        assets = [
            asset
            for asset in item["assets"].values()
            if "file:size" in asset and (path.parent / asset["href"]).resolve() == product.resolve()
        ]
        size = product.stat().st_size
        with product.open("rb") as file:
            digest = _SHA2_256 + hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # none, or none of ours: nothing in it that could be wrong now
    told = {"file:size": size, "file:checksum": digest}
    if not assets or all(asset | told == asset for asset in assets):
        return False
    for asset in assets:
        asset.update(told)
    write_bytes(path, (json.dumps(item, indent=2, ensure_ascii=False) + "\n").encode())
    return True
