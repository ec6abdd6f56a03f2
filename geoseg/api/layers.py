"""The rasters beside classes: which there are, how they are written, shown and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.api.jobs import WorkFolder
from geoseg.grid import GeoBox
from geoseg.io.cog import write_percent_cog, write_quality_cog
from geoseg.io.environment import gdal_path
from geoseg.io.headers import stored_scales
from geoseg.io.product_item import ItemAsset, percent_asset, quality_asset
from geoseg.io.qgis_project import ProjectLayer
from geoseg.io.qml import (
    confidence_style,
    image_style,
    quality_style,
    write_confidence_qml,
    write_quality_qml,
)
from geoseg.io.qml_time import Shown, shown_on
from geoseg.legend import Legend
from geoseg.ops.layers import LAYERS, Layer
from geoseg.ops.validity import FARTHEST
from geoseg.redaction import without_secrets
from geoseg.scene import Band, Scene
from geoseg.steps.segment import OBSERVATIONS, plane_names
from geoseg.workflow.schema import Raster

QUALITY: Final = "quality"
"""Observations, and the distance to what was not seen."""

SHOWN_SCENES: Final = 12
"""More scenes than that make a project slow to open."""

_DOUBTS: Final[frozenset[Layer]] = frozenset({"entropy", "disagreement"})
"""Layers in which a high number means that the model is not sure."""


@dataclass(frozen=True, slots=True)
class LayerRasters:
    """The rasters that a workflow asks for beside classes, in one folder: percents, and quality.

    ``least`` is how often a pixel must have been seen to be valid.
    """

    raster: Raster
    grid: GeoBox
    legend: Legend
    least: int = 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Which percents are asked for."""
        return tuple(layer for layer in LAYERS if getattr(self.raster, layer))

    def paths(self, folder: Path) -> dict[str, Path]:
        """Their files, by layer."""
        quality = [QUALITY] if self.raster.quality else []
        return {layer: folder / f"{layer}.tif" for layer in (*self.layers, *quality)}

    def write(
        self, work: WorkFolder, folder: Path, tags: Mapping[str, str]
    ) -> dict[str, float | None]:
        """Write them and their styles; returns the mean of each percent but the probabilities."""
        means: dict[str, float | None] = {}
        paths = self.paths(folder)
        for layer in self.layers:
            path = paths[layer]
            stores = [work.raster(name) for name in self._planes(layer)]
            counts = write_percent_cog(stores, self.grid, path, self._bands(layer), tags=tags)
            # Of many bands QGIS shows the first in the ramp, the others on demand.
            write_confidence_qml(path.with_suffix(".qml"), doubt=layer in _DOUBTS)
            if layer != "probabilities":
                means[layer] = _mean(counts)
        if QUALITY in paths:
            seen = work.raster(OBSERVATIONS)
            write_quality_cog(seen, self.grid, paths[QUALITY], tags=tags, least=self.least)
            write_quality_qml(paths[QUALITY].with_suffix(".qml"), FARTHEST)
        return means

    def project_layers(self, folder: Path) -> list[ProjectLayer]:
        """Them as layers of a QGIS project, all switched off."""
        return [
            ProjectLayer(
                layer.capitalize(),
                str(path),
                quality_style(FARTHEST)
                if layer == QUALITY
                else confidence_style(doubt=layer in _DOUBTS),
                group="Maps",
                checked=False,
            )
            for layer, path in self.paths(folder).items()
        ]

    def assets(self, folder: Path) -> dict[str, ItemAsset]:
        """Them as assets of a STAC item."""
        return {
            layer: quality_asset(path, self.grid)
            if layer == QUALITY
            else percent_asset(path, self.grid, self._bands(layer), layer.capitalize(), layer)
            for layer, path in self.paths(folder).items()
        }

    def _planes(self, layer: str) -> list[str]:
        return plane_names([layer], self.legend.values)

    def _bands(self, layer: str) -> list[str]:
        return list(self.legend.names) if layer == "probabilities" else [layer]


def scene_layers(
    scene: Scene, colors: Sequence[str], limits: Sequence[tuple[float, float]]
) -> list[ProjectLayer]:
    """The scene itself in a QGIS project; of one that is combined the latest scenes, latest on top.

    Scenes whose bands lie in several files are left out: QGIS draws one file a layer.

    Args:
        scene: What is mapped.
        colors: Bands to be seen as red, green and blue.
        limits: What is darkest and brightest of each, in physical values.
    """
    if scene.combined is None:
        found = [("Scene", scene)]
    else:
        found = [(one.id, one) for one in reversed(scene.combined.scenes)]
    drawn = [(name, one) for name, one in found if _in_one_open_file(one.select(colors))]
    return [
        _scene_layer(name, one, colors, limits, "Scene" if scene is one else "Scenes")
        for name, one in drawn[:SHOWN_SCENES]
    ]


def shown_of(scene: Scene) -> Shown | None:
    """When the time slider of QGIS shows what was made of a scene: the days that it is of."""
    if scene.combined is None:
        return shown_on(scene.acquired)
    times = scene.combined.times
    return None if times is None else shown_on(times[0], times[1] + timedelta(days=1))


def _in_one_open_file(bands: Sequence[Band]) -> bool:
    """Whether a project may name their file: it never holds the secrets of an address.

    Nobody could read it without.
    """
    uris = {band.uri for band in bands}
    return len(uris) == 1 and all(without_secrets(uri) == uri for uri in uris)


def _scene_layer(
    name: str,
    scene: Scene,
    colors: Sequence[str],
    limits: Sequence[tuple[float, float]],
    group: str,
) -> ProjectLayer:
    bands, shown = scene.select(colors), shown_of(scene)
    red, green, blue = (band.index for band in bands)
    style = image_style((red, green, blue), as_qgis_reads(bands, limits))
    path = gdal_path(bands[0].uri, copies=False)
    return ProjectLayer(name, path, style, group=group, grid=bands[0].grid, shown=shown)


def _mean(counts: NDArray[np.int64]) -> float | None:
    """The mean percent of what is not nodata."""
    known = counts[:101]
    pixels = int(known.sum())
    return round(float((known * np.arange(101)).sum()) / pixels, 4) if pixels else None


def as_qgis_reads(
    bands: Sequence[Band], limits: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Physical limits in the numbers of QGIS, which applies what the file says of its scale.

    That may be nothing, where the scale is known from a workflow or a catalog.
    """
    stored, found = stored_scales(bands[0].uri), []
    for band, pair in zip(bands, limits, strict=True):
        scale, offset = stored[band.index - 1]
        low, high = ((v - band.offset) / band.scale * scale + offset for v in pair)
        found.append((low, high))
    return found
