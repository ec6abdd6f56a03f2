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
from geoseg.io.qgis_project import ProjectLayer
from geoseg.io.qml import count_style, write_count_qml
from geoseg.scene import Scene
from geoseg.steps.segment import OBSERVATIONS


def observation_paths(scene: Scene, folder: Path) -> dict[str, Path]:
    """The file, by its role; empty where a scene is one acquisition."""
    return {} if scene.combined is None else {OBSERVATIONS: folder / f"{OBSERVATIONS}.tif"}


def write_observations(
    scene: Scene, work: WorkFolder, folder: Path, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write it and its style; returns what ``run.json`` says of the scenes.

    That is nothing of a single one.
    """
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
        write_count_qml(path.with_suffix(".qml"), record["observations"]["most"])
    return {"combined": record}


def observation_assets(scene: Scene, folder: Path) -> dict[str, ItemAsset]:
    """It as an asset of a STAC item."""
    return {
        role: count_asset(path, scene.grid, OBSERVATIONS, "Clear observations")
        for role, path in observation_paths(scene, folder).items()
    }


def observation_layers(scene: Scene, folder: Path, seen: Mapping[str, Any]) -> list[ProjectLayer]:
    """It as a layer of a QGIS project, switched off; ``seen`` is what was told as it was written."""
    return [
        ProjectLayer(
            "Clear observations",
            str(path),
            count_style(seen["combined"]["observations"]["most"]),
            group="Maps",
            checked=False,
        )
        for path in observation_paths(scene, folder).values()
    ]
