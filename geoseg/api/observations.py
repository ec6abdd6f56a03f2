"""The raster of how often each pixel was seen, where scenes were combined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.api.combining import combined_record
from geoseg.api.jobs import WorkFolder
from geoseg.io.cog import write_count_cog
from geoseg.io.product_item import ItemAsset, count_asset
from geoseg.scene import Scene
from geoseg.steps.segment import OBSERVATIONS


def observation_paths(scene: Scene, folder: Path) -> dict[str, Path]:
    """The file, by its role; empty where a scene is one acquisition."""
    return {} if scene.combined is None else {OBSERVATIONS: folder / f"{OBSERVATIONS}.tif"}


def write_observations(
    scene: Scene, work: WorkFolder, folder: Path, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write it; returns what ``run.json`` says of the scenes; nothing of a single one."""
    if scene.combined is None:
        return {}
    record = combined_record(scene.combined)
    for path in observation_paths(scene, folder).values():
        counts = write_count_cog(
            work.raster(OBSERVATIONS), scene.grid, path, "clear observations", tags=tags
        )
        seen = np.arange(counts.size) > 0
        pixels = int(counts[seen].sum())
        total = int((counts * np.arange(counts.size)).sum())
        record["observations"] = {
            "pixels": pixels,
            "mean": round(total / pixels, 4) if pixels else None,
            "most": int(np.flatnonzero(counts)[-1]) if counts.any() else 0,
        }
    return {"combined": record}


def observation_assets(scene: Scene, folder: Path) -> dict[str, ItemAsset]:
    """It as an asset of a STAC item."""
    return {
        role: count_asset(path, scene.grid, OBSERVATIONS, "Clear observations")
        for role, path in observation_paths(scene, folder).items()
    }
