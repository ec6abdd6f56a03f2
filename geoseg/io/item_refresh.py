"""The STAC item beside products says again what they are, after one of them got another look."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.product_item import classes_field
from geoseg.legend import Legend

_SHA2_256: Final = "1220"  # multihash: the code of SHA-256 and its length in bytes
_CLASSES: Final = "classification:classes"


def refresh_item(path: Path, changed: Collection[Path], legends: Mapping[Path, Legend]) -> bool:
    """Bring sizes, checksums and classes of an item's assets up to date.

    Args:
        path: The item.
        changed: Files that were written, resolved.
        legends: Those of rasters among them, where an asset names classes.

    Returns:
        Whether the item was changed; one that cannot be read, or speaks of none of these files, is
        left alone.

    Raises:
        ProductError: A file or the item cannot be read or written.
    """
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
        assets = dict(content["assets"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    for asset in assets.values():
        file = _file(path, asset)
        if file is None or file not in changed:
            continue
        asset.update(_sums(file, asset))
        if file in legends:
            _name_classes(asset, legends[file])
    made = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if made == text:
        return False
    write_bytes(path, made.encode())
    return True


def _file(item: Path, asset: Any) -> Path | None:
    href = asset.get("href") if isinstance(asset, dict) else None
    return (item.parent / href).resolve() if isinstance(href, str) else None


def _sums(file: Path, asset: Mapping[str, Any]) -> dict[str, Any]:
    """Size and checksum, where the asset says them."""
    try:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        size = file.stat().st_size
    except OSError as error:
        raise ProductError(f"{file}: cannot be read again: {error.strerror}") from error
    told = {"file:size": size, "file:checksum": _SHA2_256 + digest}
    return {key: value for key, value in told.items() if key in asset}


def _name_classes(asset: dict[str, Any], legend: Legend) -> None:
    for part in (asset, *asset.get("bands", [])):
        if _CLASSES in part:
            part[_CLASSES] = classes_field(legend)
