"""From finished blocks to what the analyst opens; the STAC item comes last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.accounts import (
    Account,
    model_record,
    tiling_record,
    timing,
)
from geoseg.api.combining import date_text
from geoseg.api.finished import is_finished
from geoseg.api.holes import WHOLE, Holes
from geoseg.api.jobs import WorkFolder
from geoseg.api.layers import LayerRasters, scene_layers, shown_of
from geoseg.api.observations import (
    observation_assets,
    observation_layers,
    observation_paths,
    write_observations,
)
from geoseg.api.outlining import SUFFIX_OF, Outlining, areas_record, outlining
from geoseg.api.pictures import draw_quicklook, polygon_layers, small_scene
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.polygons import Stored, store_polygons, write_polygons
from geoseg.api.provenance import of_map
from geoseg.api.scene_report import REPORT, write_scene_report
from geoseg.api.stages import MadeFrom
from geoseg.api.zarr_maps import NAME as ZARR_NAME
from geoseg.api.zarr_maps import write_zarr_maps, zarr_asset
from geoseg.io.atomic import remove_file, write_bytes
from geoseg.io.cog import write_class_cog
from geoseg.io.columns import attributes
from geoseg.io.decimate import SmallScene
from geoseg.io.product_item import ItemAsset, Processing, class_asset, write_item
from geoseg.io.provenance import Provenance
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import class_style, write_class_qml
from geoseg.io.quicklook import stretch_limits
from geoseg.io.rat import write_rat
from geoseg.io.staging import store_place
from geoseg.legend import LandClass, Legend
from geoseg.run.loop import Summary
from geoseg.scene import Scene, natural_colors

POLYGONS = {
    "geopackage": "gpkg",
    "geoparquet": "geoparquet",
    "flatgeobuf": "flatgeobuf",
    "pmtiles": "pmtiles",
}
"""Roles of products, and the formats that they are asked for as."""

_PICTURES = {"project", "quicklook"}
_TITLES = {
    "geoparquet": ("Polygons (GeoParquet)", ("data",)),
    "geopackage": ("Polygons (GeoPackage, styled)", ("data",)),
    "flatgeobuf": ("Polygons (FlatGeobuf)", ("data",)),
    "pmtiles": ("Polygons (PMTiles, for maps in browsers)", ("visual",)),
    "project": ("QGIS project", ("metadata",)),
    "quicklook": ("Quicklook", ("thumbnail",)),
}


@dataclass(frozen=True, slots=True)
class Products:
    """The products of one scene: where they are, whether they are finished, how they are made."""

    run: RunPlan
    task: SceneTask
    made_from: MadeFrom
    fingerprint: str
    holes: Holes = WHOLE

    def with_holes(self, holes: Holes) -> Products:
        """The same, of a map that lacks blocks: never taken for finished."""
        return replace(self, fingerprint=holes.marked(self.fingerprint), holes=holes)

    def paths(self) -> dict[str, Path]:
        """By role, in the order in which they are made; the item is last."""
        output, folder = self.run.workflow.output, self.task.directory
        formats = () if output.vector is None else output.vector.formats
        wanted = {
            "classes": ("classes.tif", True),
            **{layer: (path.name, True) for layer, path in self._layers.paths(folder).items()},
            **{
                role: (path.name, True)
                for role, path in observation_paths(self._scene, folder).items()
            },
            **{
                role: (f"polygons{SUFFIX_OF[name]}", name in formats)
                for role, name in POLYGONS.items()
            },
            "zarr": (ZARR_NAME, output.raster.zarr),
            "project": ("project.qgz", output.project),
            "quicklook": ("quicklook.png", output.quicklook),
            "report": (REPORT, output.report),
            "run": ("run.json", True),
            "item": ("item.json", True),
        }
        return {role: folder / name for role, (name, made) in wanted.items() if made}

    @property
    def outlining(self) -> Outlining | None:
        """How polygons are made; None where none are wanted."""
        vector = self.run.workflow.output.vector
        if vector is None:
            return None
        return outlining(vector, self._legend, self._scene.grid, title=self._title)

    def finished(self) -> bool:
        """Whether all of them are there, made from the same inputs, model, settings and code.

        But for the report, which is made of the others: see :meth:`tell`.
        """
        paths = {role: path for role, path in self.paths().items() if role != "report"}
        return is_finished(paths, self.fingerprint)

    def tell(self) -> None:
        """Make the report, where one is wanted and not there yet."""
        path = self.paths().get("report")
        if path is not None and not path.exists() and store_place(path) is None:
            write_scene_report(path.parent)

    def begin(self) -> None:
        """Take back an item of an earlier run: it must not vouch for a mixture of old and new."""
        remove_file(self.paths()["item"])

    def rasters(
        self, work: WorkFolder, part: str
    ) -> tuple[dict[str, float | None], dict[str, Any]]:
        """Write ``classes``, or all ``layers``: the means of these, and how often pixels were seen."""
        paths = self.paths()
        if part == "classes":
            self._write_classes(work, paths["classes"])
            return {}, {}
        means = self._layers.write(work, self.task.directory, self._tags)
        seen = write_observations(self._scene, work, self.task.directory, self._tags)
        if "zarr" in paths:
            layers = self._layers
            write_zarr_maps(paths["zarr"], work, layers, self._scene, self._provenance)
        return means, seen

    @property
    def _scene(self) -> Scene:
        return self.task.plan.scene

    @property
    def _legend(self) -> Legend:
        return self.task.plan.card.legend

    @property
    def _layers(self) -> LayerRasters:
        raster = self.run.workflow.output.raster
        combined = self._scene.combined
        least = 1 if combined is None else combined.least
        return LayerRasters(raster, self._scene.grid, self._legend, least)

    @property
    def _classes(self) -> Sequence[LandClass]:
        vector = self.run.workflow.output.vector
        return self._legend.select(() if vector is None else vector.classes)

    @property
    def _provenance(self) -> Provenance:
        """What every product says of where it comes from; the same in every run of the same."""
        return of_map(
            self.run,
            self._scene,
            self.made_from.inputs,
            of=self.fingerprint,
            engine=self.made_from.engine.part,
            holes=self.holes,
        )

    @property
    def _tags(self) -> dict[str, str]:
        scene, tags = self._scene, self._provenance.tags()
        if scene.acquired is not None and scene.combined is None:
            tags["ACQUISITIONDATETIME"] = scene.acquired.isoformat()
        if self.holes:
            tags["GEOSEG_FAILED_BLOCKS"] = json.dumps(self.holes.windows())
        return tags

    @property
    def _title(self) -> str:
        when = date_text(self._scene)
        return f"{self.run.workflow.name}: {self._scene.id}{when and f', {when}'}"

    def _write_classes(self, work: WorkFolder, path: Path) -> None:
        grid, legend = self._scene.grid, self._legend
        counts = write_class_cog(work.classes, grid, legend, path, tags=self._tags)
        write_rat(path, legend, counts=[int(n) for n in counts])
        write_class_qml(path.with_suffix(".qml"), legend, shown=shown_of(self._scene))

    def shaped(self, polygons: Stored, moved: Mapping[str, Any] | None) -> dict[str, Any]:
        """What became of areas: in small regions that were reassigned, and in outlines."""
        return {"balance": moved, "areas": areas_record(polygons.written, self._legend)}

    def polygons(self, work: WorkFolder, moved: Mapping[str, Any] | None) -> Stored | None:
        """Write them in all formats; None where nobody asked."""
        made, scene, paths = self.outlining, self._scene, self.paths()
        if made is None:
            return None
        stored = store_polygons(
            work.root / "polygons.arrow",
            work.arcs,
            scene.grid,
            self.task.plan.block,
            legend=self._legend,
            wanted=made.wanted,
            extra={"date": date_text(scene), "scene": scene.id},
        )
        settings = self.run.workflow.canonical()["output"]["vector"]
        told = {"settings": settings, **self.shaped(stored, moved)}
        for role in POLYGONS:
            if role in paths:
                write_polygons(
                    stored,
                    paths[role],
                    grid=scene.grid,
                    classes=self._classes,
                    tags={**self._provenance.document(), "polygons": told},
                    title=self._title,
                    themes=made.themes,
                )
        return stored

    def small_scene(self) -> SmallScene | None:
        """The scene in its usual colours, where pictures are asked for."""
        if not _PICTURES & self.paths().keys():
            return None
        patience = self.run.workflow.run.block_timeout.timedelta.total_seconds()
        colors = natural_colors(self.task.plan.card.bands)
        forgiving = bool(self.holes)
        return small_scene(self._scene, colors, patience=patience, forgiving=forgiving)

    def pictures(
        self,
        account: Account,
        polygons: Stored | None,
        seen: Mapping[str, Any],
        small: SmallScene,
    ) -> None:
        """Quicklook and project; both show the scene itself in its usual colours."""
        scene, card, paths = self._scene, self.task.plan.card, self.paths()
        colors = natural_colors(card.bands)
        if "project" in paths:
            layers = self._map_layers(paths, colors, stretch_limits(*small), seen)
            if polygons is not None and self.outlining is not None and "geopackage" in paths:
                themes, fields = self.outlining.themes, attributes(polygons.schema)
                path = paths["geopackage"]
                drawn = polygon_layers(path, themes, self._classes, fields, scene.grid)
                layers = [*drawn, *layers]
            write_project(paths["project"], layers, grid=scene.grid, title=self._title)
        if "quicklook" in paths:
            note = f"model {card.name} {card.version}; areas are counted from pixels"
            draw_quicklook(
                paths["quicklook"],
                small,
                paths["classes"],
                self._legend,
                polygons,
                grid=scene.grid,
                areas=account.areas,
                words=(self._title, note),
            )

    def _map_layers(
        self,
        paths: Mapping[str, Path],
        colors: Sequence[str],
        limits: Sequence[tuple[float, float]],
        seen: Mapping[str, Any],
    ) -> list[ProjectLayer]:
        classes = class_style(self._legend)
        layers = [ProjectLayer("Classes", str(paths["classes"]), classes, group="Maps")]
        layers += self._layers.project_layers(self.task.directory)
        layers += observation_layers(self._scene, self.task.directory, seen)
        layers = [replace(layer, shown=shown_of(self._scene)) for layer in layers]
        return [*layers, *scene_layers(self._scene, colors, limits)]

    def record(
        self,
        account: Account,
        polygons: Stored | None,
        summaries: Mapping[str, Summary],
        moved: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """What ``run.json`` says of the scene, as far as its blocks and polygons tell."""
        plan = self.task.plan
        return {
            "geoseg": fingerprint.software()["geoseg"],
            "fingerprint": self.fingerprint,
            "workflow": self.run.workflow.canonical(),
            "scene": plan.scene.id,
            "acquired": plan.scene.acquired,
            "inputs": self.made_from.inputs,
            "model": model_record(plan.card, self.run.committee),
            "hashes": dict(self.made_from.parts),
            "software": fingerprint.software(),
            "tiling": tiling_record(plan),
            "pixels": plan.shape[0] * plan.shape[1],
            "valid_pixels": account.valid,
            "blocks": account.blocks,
            "skipped_blocks": plan.skipped,
            "failed_blocks": self.holes.records(),
            "chips": account.chips,
            "skipped_chips": account.skipped_chips,
            "thin_chips": account.thin_chips,
            "dropped_pixels": account.dropped,
            "classes": account.classes(self._legend),
            "areas_note": "areas are counted from pixels: biased by the map's errors",
            "confidence_mean": account.confidence,
            "seam_index": account.seam_index,
            "refined_pixels": account.changed,
            "polygons": None
            if polygons is None
            else {
                "count": polygons.kept,
                "left_out": polygons.dropped,
                "left_out_ha": round(polygons.dropped_area_m2 / 1e4, 4),
                **self.shaped(polygons, moved),
            },
            "seconds": timing(summaries),
        }

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write run.json, the report, and, last, the item.

        Raises:
            ProductError: A file of the scene is not as it was, or nothing can be written.
        """
        paths = self.paths()
        write_bytes(paths["run"], (json.dumps(record, indent=2, default=str) + "\n").encode())
        if "report" in paths:
            write_scene_report(self.task.directory, running=True)
        fingerprint.check_states(self.made_from.files)  # pictures show the scene itself
        self._write_item(paths)

    def _write_item(self, paths: Mapping[str, Path]) -> None:
        scene, card = self._scene, self.task.plan.card
        assets = {"classes": class_asset(paths["classes"], scene.grid, self._legend)}
        assets |= self._layers.assets(self.task.directory)
        assets |= observation_assets(scene, self.task.directory)
        assets |= {"zarr": zarr_asset(paths["zarr"])} if "zarr" in paths else {}
        for role, (title, roles) in _TITLES.items():
            if role in paths:
                assets[role] = ItemAsset(paths[role], title, roles)
        write_item(
            paths["item"],
            item_id=f"{self.run.workflow.name}-{scene.id}",
            grid=scene.grid,
            assets=assets,
            acquired=scene.acquired if scene.combined is None else scene.combined.times,
            processing=Processing(
                fingerprint.software(),
                f"Segmented with {card.name} {card.version}",
                {"geoseg:failed_blocks": self.holes.windows()} if self.holes else {},
                version=self.fingerprint,
            ),
            sources=scene.sources,
        )
