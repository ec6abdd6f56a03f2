"""What an analyst opens of a comparison: rasters, polygons, tables, picture, project, item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.change_report import write_change_report
from geoseg.api.changes.maps import MapPair
from geoseg.api.changes.pictures import write_picture
from geoseg.api.changes.polygons import LAYER, ChangePolygons
from geoseg.api.changes.run import Compared
from geoseg.api.changes.tables import NOTE, matrix_csv, matrix_record, matrix_rows
from geoseg.api.machine import Machine
from geoseg.api.outlining import SUFFIX_OF, areas_record, outlining
from geoseg.api.polygons import Stored, keep_polygons, write_polygons
from geoseg.api.products import POLYGONS
from geoseg.io.atomic import remove_file, write_bytes
from geoseg.io.cog import write_class_cog, write_percent_cog
from geoseg.io.columns import attributes
from geoseg.io.product_item import ItemAsset, Processing, class_asset, percent_asset, write_item
from geoseg.io.provenance import Provenance
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import (
    class_style,
    confidence_style,
    polygon_style,
    write_class_qml,
    write_confidence_qml,
)
from geoseg.io.qml_labels import label_scale
from geoseg.io.qml_time import shown_on
from geoseg.io.rat import write_rat
from geoseg.io.vector import Theme
from geoseg.legend import LandClass, Legend
from geoseg.ops.metric import measure_grid
from geoseg.ops.transitions import MOST_TRANSITIONS, NO_CHANGE
from geoseg.steps.polygons import Polygons
from geoseg.workflow.change import Change
from geoseg.workflow.vector import Vector

CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class ChangeProducts:
    """The products of one comparison, in one folder."""

    folder: Path
    pair: MapPair
    wanted: Change
    inputs: list[dict[str, Any]]
    parts: Mapping[str, str]
    fingerprint: str

    def paths(self) -> dict[str, Path]:
        """By role, in the order in which they are made; the item is last."""
        names = {"change": "change.tif"}
        if self.pair.asked.watched:
            names["loss_gain"] = "loss_gain.tif"
        if self.pair.sure:
            names[CONFIDENCE] = "confidence.tif"
        names |= {
            role: f"polygons{SUFFIX_OF[name]}"
            for role, name in POLYGONS.items()
            if name in self.wanted.formats
        }
        names |= {
            "transitions": "transitions.csv",
            "matrix": "transitions.json",
            "project": "project.qgz",
            "quicklook": "quicklook.png",
            "run": "run.json",
            "item": "item.json",
        }
        return {role: self.folder / name for role, name in names.items()}

    def write(
        self, compared: Compared, machine: Machine, told: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make all of them; returns what run.json says. ``told`` is said there, too."""
        paths = self.paths()
        # An item that stands from an earlier run must not vouch for a mixture of old and new.
        remove_file(paths["item"])
        self._write_rasters(compared, paths)
        stored = self._write_polygons(compared, machine, paths)
        asked, unit = self.pair.asked, compared.unit
        rows = matrix_rows(compared.counts, asked, unit)
        matrix = matrix_record(compared.counts, asked, unit)
        write_bytes(paths["transitions"], matrix_csv(rows))
        write_bytes(paths["matrix"], _json(matrix))
        note = f"{self._rules()}; areas are counted from pixels"
        write_picture(paths["quicklook"], self.pair, compared, title=self._title, note=note)
        write_project(
            paths["project"],
            self._layers(paths, attributes(stored.schema)),
            grid=self.pair.grid,
            title=self._title,
            abstract=NOTE,
        )
        record = self._record(matrix, stored) | dict(told)
        write_bytes(paths["run"], _json(record))
        write_change_report(self.folder)
        self._write_item(paths)
        return record

    @property
    def _title(self) -> str:
        return f"Change {self.pair.title}"

    @property
    def _legend(self) -> Legend:
        return self.pair.asked.legend("change")

    @property
    def _transitions(self) -> list[LandClass]:
        return [c for c in self._legend.classes if NO_CHANGE < c.value <= MOST_TRANSITIONS]

    @property
    def _provenance(self) -> Provenance:
        """What every product says of where it comes from; the same in every run of the same."""
        pair = self.pair
        dates = dict(zip(("date_before", "date_after"), self._dates, strict=True))
        return Provenance(
            "change",
            self.inputs,
            self.wanted.model_dump(mode="json", exclude={"before", "after", "directory"}),
            fingerprint.software(),
            self.fingerprint,
            about={"before": pair.before.id, "after": pair.after.id, **dates},
        )

    @property
    def _tags(self) -> dict[str, str]:
        tags = self._provenance.tags()
        if self.pair.after.when is not None:
            tags["ACQUISITIONDATETIME"] = self.pair.after.when.isoformat()
        return tags

    def _write_rasters(self, compared: Compared, paths: Mapping[str, Path]) -> None:
        asked, grid = self.pair.asked, self.pair.grid
        layers = {"change": (asked.code_table(), self._legend)}
        if "loss_gain" in paths:
            layers["loss_gain"] = asked.loss_table(), asked.loss_legend()
        for role, (table, legend) in layers.items():
            counts = write_class_cog(
                compared.coded(table), grid, legend, paths[role], tags=self._tags
            )
            write_rat(paths[role], legend, counts=counts.tolist())
            write_class_qml(paths[role].with_suffix(".qml"), legend)
        if compared.sure is not None:
            path = paths[CONFIDENCE]
            write_percent_cog([compared.sure], grid, path, ["lower confidence"], tags=self._tags)
            write_confidence_qml(path.with_suffix(".qml"))

    def _write_polygons(
        self, compared: Compared, machine: Machine, paths: Mapping[str, Path]
    ) -> Stored:
        pair = self.pair
        vector = Vector.model_validate({"simplify": self.wanted.simplify})
        plan = outlining(vector, self._legend, pair.grid, title=self._title)
        codes = compared.coded(pair.asked.code_table())
        only = tuple(sorted(pair.asked.codes.values()))
        source = type(codes)(codes.pairs, codes.table, only)
        with closing(machine.trace(source, paths.get(CONFIDENCE))) as traced:
            polygons = Polygons(
                traced, pair.grid, measure_grid(pair.grid), legend=self._legend, wanted=plan.wanted
            )
            stream = ChangePolygons(polygons, pair.asked, self._dates)
            stored = keep_polygons(machine.room / "polygons.arrow", stream, extra={})
        tags: dict[str, object] = {
            **self._provenance.document(),
            "polygons": {"areas": areas_record(stored.written, self._legend)},
        }
        for role in POLYGONS:
            if role in paths:
                write_polygons(
                    stored,
                    paths[role],
                    grid=pair.grid,
                    classes=self._transitions,
                    tags=tags,
                    title=self._title,
                    themes=[Theme(LAYER, (), self._title)],
                    styled="present",
                )
        return stored

    @property
    def _dates(self) -> tuple[str | None, str | None]:
        one, two = self.pair.before.when, self.pair.after.when
        return _day(one), _day(two)

    def _rules(self) -> str:
        wanted, words = self.wanted, []
        if wanted.edges != "keep":
            verb = "weighed" if wanted.edges == "weigh" else "eroded"
            words.append(f"edges {verb} over {wanted.edge_width} px")
        if wanted.min_confidence:
            words.append(f"both at least {wanted.min_confidence} % sure")
        if wanted.min_area.value:
            words.append(f"patches from {wanted.min_area}")
        return ", ".join(words) or "everything that differs"

    def _layers(self, paths: Mapping[str, Path], fields: Sequence[str]) -> list[ProjectLayer]:
        pair, layers = self.pair, []
        if "geopackage" in paths:
            below = label_scale(pair.grid)
            style = polygon_style(self._transitions, fields, labels_below=below)
            layers.append(
                ProjectLayer("Change", str(paths["geopackage"]), style, LAYER, "Polygons")
            )
        if "loss_gain" in paths:
            style = class_style(pair.asked.loss_legend())
            layers.append(
                ProjectLayer(
                    "Loss and gain", str(paths["loss_gain"]), style, group="Change", checked=False
                )
            )
        change = class_style(self._legend)
        layers.append(
            ProjectLayer("Transitions", str(paths["change"]), change, group="Change", checked=False)
        )
        if CONFIDENCE in paths:
            style, path = confidence_style(), str(paths[CONFIDENCE])
            layers.append(
                ProjectLayer("Lower confidence", path, style, group="Change", checked=False)
            )
        until = None if pair.after.when is None else pair.after.when.date()
        for name, one, end in (("After", pair.after, None), ("Before", pair.before, until)):
            style, shown = class_style(one.legend), shown_on(one.when, end)
            layers.append(
                ProjectLayer(
                    name, str(one.classes), style, group="Maps", grid=one.grid, shown=shown
                )
            )
        return layers

    def _record(self, matrix: Mapping[str, Any], stored: Stored) -> dict[str, Any]:
        mask = self.pair.mask
        return {
            "geoseg": fingerprint.software()["geoseg"],
            "kind": "change",
            "fingerprint": self.fingerprint,
            "before": {"id": self.pair.before.id, "date": self._dates[0]},
            "after": {"id": self.pair.after.id, "date": self._dates[1]},
            "forest_mask": None
            if mask is None
            else {"id": mask.raster.id, "date": _day(mask.raster.when)},
            "inputs": self.inputs,
            "settings": self.wanted.model_dump(mode="json"),
            "hashes": dict(self.parts),
            "software": fingerprint.software(),
            "same_pixels": self.pair.aligned,
            **{key: value for key, value in matrix.items() if key.endswith("_ha")},
            "by_class": matrix["by_class"],
            "transitions": matrix["transitions"],
            "areas_note": NOTE,
            "confidence": "the lower one of both maps" if self.pair.sure else None,
            "polygons": {"count": stored.kept},
        }

    def _write_item(self, paths: Mapping[str, Path]) -> None:
        pair, grid = self.pair, self.pair.grid
        assets = {"change": class_asset(paths["change"], grid, self._legend)}
        if "loss_gain" in paths:
            legend = pair.asked.loss_legend()
            assets["loss_gain"] = class_asset(paths["loss_gain"], grid, legend)
        if CONFIDENCE in paths:
            bands = ["lower confidence"]
            assets[CONFIDENCE] = percent_asset(
                paths[CONFIDENCE], grid, bands, "Lower confidence of both maps", CONFIDENCE
            )
        for role, (title, roles) in _TITLES.items():
            if role in paths:
                assets[role] = ItemAsset(paths[role], title, roles)
        one, two = pair.before.when, pair.after.when
        write_item(
            paths["item"],
            item_id=f"change-{pair.before.id}-{pair.after.id}",
            grid=grid,
            assets=assets,
            acquired=None if one is None or two is None else (one, two),
            processing=Processing(
                fingerprint.software(), f"Compared; {self._rules()}", version=self.fingerprint
            ),
            sources=pair.sources,
        )


_TITLES = {
    "geopackage": ("Polygons of change (GeoPackage, styled)", ("data",)),
    "geoparquet": ("Polygons of change (GeoParquet)", ("data",)),
    "flatgeobuf": ("Polygons of change (FlatGeobuf)", ("data",)),
    "pmtiles": ("Polygons of change (PMTiles, for maps in browsers)", ("visual",)),
    "transitions": ("Transition matrix (table)", ("data",)),
    "matrix": ("Transition matrix", ("metadata",)),
    "project": ("QGIS project", ("metadata",)),
    "quicklook": ("Quicklook", ("thumbnail",)),
}


def _day(when: datetime | None) -> str | None:
    return None if when is None else when.date().isoformat()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n").encode()
