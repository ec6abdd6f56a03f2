"""The map of a scene and the layers beside it as one Zarr."""

from __future__ import annotations

from pathlib import Path

from geoseg.api.jobs import WorkFolder
from geoseg.api.layers import LayerRasters
from geoseg.io.product_item import ItemAsset
from geoseg.io.provenance import Provenance
from geoseg.io.zarr_product import ZarrLayer, class_attributes, percent_attributes, write_zarr
from geoseg.legend import Legend
from geoseg.ops.layers import LAYERS
from geoseg.scene import Scene
from geoseg.steps.segment import OBSERVATIONS, plane_names

NAME = "maps.zarr"


def write_zarr_maps(
    path: Path, work: WorkFolder, layers: LayerRasters, scene: Scene, origin: Provenance
) -> None:
    """Write what lies in ``work`` as arrays named ``classes``, ``confidence``...

    Raises:
        ProductError: It cannot be written.
    """
    legend = layers.legend
    arrays = [ZarrLayer("classes", work.classes, class_attributes(legend))]
    for layer in (one for one in LAYERS if one in layers.layers):
        for name, title in _planes(layer, legend):
            # Names of CF have letters, digits and underscores.
            told = percent_attributes(title)
            arrays.append(ZarrLayer(name.replace("-", "_"), work.raster(name), told))
    if layers.raster.quality or scene.combined is not None:
        told = {"long_name": "clear observations", "units": "1"}
        arrays.append(ZarrLayer(OBSERVATIONS, work.raster(OBSERVATIONS), told))
    write_zarr(
        path,
        arrays,
        grid=scene.grid,
        title=f"{origin.about['workflow']}: {scene.id}",
        origin=origin.document(),
        acquired=None if scene.combined is not None else scene.acquired,
    )


def _planes(layer: str, legend: Legend) -> list[tuple[str, str]]:
    """Arrays of a layer, with what each shows."""
    names = plane_names([layer], legend.values)
    shows = [f"probability of {n}" for n in legend.names] if len(names) > 1 else [layer]
    return list(zip(names, shows, strict=True))


def zarr_asset(path: Path) -> ItemAsset:
    """It as an asset of a STAC item."""
    return ItemAsset(path, "Classes and layers (Zarr, CF conventions)", ("data",))
