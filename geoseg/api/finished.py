"""Whether a folder of products is finished, and made from what it would be made from now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from geoseg.io.staging import sizes


def is_finished(paths: Mapping[str, Path], fingerprint: str) -> bool:
    """Whether all of ``paths`` are there as the item says, made from the same as ``fingerprint``.

    Args:
        paths: By role; ``run`` is the record, ``item`` the STAC item, which is written last.
        fingerprint: Of inputs, model, settings and code.
    """
    try:
        record = json.loads(paths["run"].read_text("utf-8"))
        item = json.loads(paths["item"].read_text("utf-8"))
        folder = paths["item"].parent
        told = {
            (folder / asset["href"]).resolve(): asset.get("file:size")
            for asset in item["assets"].values()
        }
        there = {path.resolve(): size for path, size in sizes(paths.values()).items()}
        return bool(record["fingerprint"] == fingerprint) and all(
            size is None or there.get(path, size) == size for path, size in told.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
