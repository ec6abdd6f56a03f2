"""A workflow as frozen sections: every key, what it means, and what it is when left out."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from geoseg.workflow.alerts import Alerts
from geoseg.workflow.change import Change
from geoseg.workflow.cluster import Cluster, expand_cluster
from geoseg.workflow.composite import (
    Composite,
    Mosaic,
    expand_composite,
    expand_mosaic,
    named,
)
from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import (
    AutoPixels,
    OrElse,
    OutputTemplate,
    SomeAutoPixels,
    Span,
    WorkPlace,
)
from geoseg.workflow.grid import GridChoice
from geoseg.workflow.inputs import AreaOfProducts, Input
from geoseg.workflow.land_use import LandUseOfRun
from geoseg.workflow.model import ModelChoice, expand_model
from geoseg.workflow.monitor import Notify, OptionalMonitor
from geoseg.workflow.postprocess import Step, check_order
from geoseg.workflow.section import Section
from geoseg.workflow.template import expand_directory
from geoseg.workflow.units import Duration
from geoseg.workflow.vector import OptionalVector, Vector, expand_vector
from geoseg.workflow.water import WaterOfRun
from geoseg.workflow.whole import Whole


class Tiling(Section):
    """How scenes are cut for the model and for the cluster."""

    size: SomeAutoPixels = "auto"
    """Side of a chip, what the model sees at once, in pixels; auto asks the model's card."""
    margin: AutoPixels = "auto"
    """Pixels at each side of a chip that a neighbour decides; auto asks the model's card."""
    seams: Literal["crop", "blend"] = "crop"
    """crop takes each pixel from one chip; blend mixes overlapping chips, and takes longer."""
    weights: Literal["hann", "gaussian", "mean"] | None = None
    """How chips are weighted where seams are blended; hann if it is not said."""
    block: SomeAutoPixels = "auto"
    """Side of a block, one task of the cluster, in pixels. Does not change the result."""
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a chip's pixels that must be valid; what chips with fewer decide becomes nodata."""

    @model_validator(mode="before")
    @classmethod
    def _blend_by_hann(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("seams") != "blend":
            return value
        return {**value, "weights": "hann"} if value.get("weights") is None else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size != "auto" and self.margin != "auto" and self.size <= 2 * self.margin:
            advice = "nothing is left of a chip: expected less than half of 'size'"
            raise UnfitError(advice, f"{self.margin} px", at=("margin",))
        if self.weights is not None and self.seams != "blend":
            raise UnfitError("only used with seams: blend", at=("weights",))
        return self


class Raster(Section):
    """What is written beside the map of classes."""

    confidence: bool = True
    """Write how sure the model is of each pixel, in percent: the probability of its class."""
    entropy: bool = False
    """Write how spread the probabilities are over all classes, in percent of the most."""
    margin: bool = False
    """Write by how many percent the likeliest class leads the second."""
    disagreement: bool = False
    """Write how much models or views differ, in percent of the most; needs several of them."""
    probabilities: bool = False
    """Write the probability of each class, in percent, one band each."""
    quality: bool = False
    """Write how many clear observations each pixel has, and how far it is from one without, in
    pixels up to 64."""
    zarr: bool = False
    """Write classes and layers as one Zarr, maps.zarr, too, for xarray."""


class Output(Section):
    """Products and their folder."""

    directory: OutputTemplate
    """Folder of the products. {scene}, {date:%Y-%m-%d}, {name} (of the workflow) and {stem} (of
    the scene's file) are filled in. Relative to the folder that geoseg is started in. Or a place
    in a store that speaks S3: s3://bucket/maps/{scene}."""
    raster: Raster = Raster()
    """Raster products."""
    vector: Annotated[OptionalVector, BeforeValidator(expand_vector)] = Vector()
    """Polygons; false for none."""
    quicklook: bool = True
    """Write a PNG of scene, map and polygons."""
    report: bool = True
    """Write a page that tells of map, areas, confidence, times and inputs; needs no network."""
    project: bool = True
    """Write a QGIS project."""
    keep_work: bool = False
    """Keep intermediate files."""


def _some_time(value: Duration) -> Duration:
    if value.timedelta.total_seconds() < 1:
        raise UnfitError("expected a second at least, like '30 min' or '3 h'", show(str(value)))
    return value


LONG_RUN = 60.0
"""Seconds of a run from which drawing Dask's report is less than 3 % of it
(benchmarks/dask_report.py)."""


class RunRules(Section):
    """How a run goes on after a failure."""

    on_error: Literal["stop", "skip_block", "skip_scene"] = "stop"
    """Stop at the first block that fails; or skip_block, leave a hole in the map, which is nodata
    and listed, and go on; or skip_scene, go on with the next scene. What failed is tried again by
    the next run."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a failed block is tried again."""
    block_timeout: Annotated[Span, AfterValidator(_some_time)] = Duration(3, "h")
    """A block that takes longer has failed: what it reads hangs."""
    work: WorkPlace | None = None
    """Where blocks are kept until the products are made: a folder that all workers see under the
    same name, or s3://bucket/folder. Beside the products without."""
    scenes_at_once: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)] = "auto"
    """Scenes that are under way at once: auto takes so many that no worker waits for the next one;
    1 does one after the other. Products are the same."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Of two runs that share a cluster the blocks of the one with the higher number go first."""
    performance_report: Literal["auto"] | bool = "auto"
    """Draw Dask's report of how workers were used at the end of a run, as
    .geoseg/log/performance.html in the output, or in the folder above those of all scenes; auto does
    on clusters elsewhere, and on this machine where a run took so long that drawing it is less than
    3 % of that: 60 s. Of all other runs lies beside it what it is drawn from, and geoseg report
    --dask draws it; false keeps neither."""


_SEGMENTING = (
    "geoseg", "input", "area", "grid", "composite", "mosaic", "model", "tiling",
)  # fmt: skip
"""Sections that decide classes and layers."""

_SELECTING = ("directory", "time", "max_cloud", "max_items", "ids")
"""Keys of the input that say which scenes, and change nothing about any of them."""


class Workflow(Whole):
    """A geoseg workflow: which scenes, which model, which products."""

    input: Input
    """Which scenes."""
    area: AreaOfProducts | None = None
    """The part of the scenes that is wanted; all of it without."""
    grid: GridChoice | None = None
    """CRS and pixels of the products; the scene's own without."""
    composite: (
        Annotated[Composite, BeforeValidator(expand_composite), OrElse(named(Composite, "method"))]
        | None
    ) = None
    """Combines all scenes of a period into one before the model sees it; a name is its method."""
    mosaic: (
        Annotated[Mosaic, BeforeValidator(expand_mosaic), OrElse(named(Mosaic, "rule"))] | None
    ) = None
    """Makes one map of all scenes, by what the model says of each; a name is its rule."""
    model: Annotated[
        ModelChoice, BeforeValidator(expand_model), OrElse({"type": "string", "minLength": 1})
    ]
    """Name of the model, or its path, or keys and values."""
    tiling: Tiling = Tiling()
    """How scenes are cut."""
    postprocess: Annotated[tuple[Step, ...], Field(strict=False), AfterValidator(check_order)] = ()
    """What is done to the map of classes before it is written, one step after the other."""
    output: Output
    """What is made, and where it goes."""
    change: Change | None = None
    """What changed between two of the scenes, once they are mapped."""
    alerts: Alerts | None = None
    """Alerts of forest loss, date by date, kept from run to run."""
    cluster: Annotated[
        Cluster, BeforeValidator(expand_cluster), OrElse({"const": "local"}, {"type": "string"})
    ] = Cluster()
    """Where the work is done: local, the address of a scheduler, or keys and values."""
    run: RunRules = RunRules()
    """What happens when something fails."""
    water: WaterOfRun | None = None
    """Products of water from all maps there are; none without it."""
    land_use: LandUseOfRun | None = None
    """Maps of periods and land accounts from all maps there are; none without it."""
    monitor: OptionalMonitor = None
    """Runs again and again: what is kept of it, and how old the last good run may be; true for a
    collection and latest.json beside the products."""
    notify: Notify | None = None
    """Who is told of alerts, failures and silence."""

    @model_validator(mode="after")
    def _several_to_disagree(self) -> Self:
        if self.output.raster.disagreement and self.model.answers < 2:
            raise UnfitError(
                "needs several answers: set model.tta, model.scales or model.ensemble",
                "true",
                at=("output", "raster", "disagreement"),
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_combine(self) -> Self:
        for key in ("composite", "mosaic"):
            if getattr(self, key) is not None and self.input.kind == "sample":
                raise UnfitError("a sample is a single scene", at=(key,))
        if self.composite is not None and self.mosaic is not None:
            advice = "expected only one of composite (before the model) and mosaic (after it)"
            raise UnfitError(advice, at=("mosaic",))
        return self

    def results_key_fields(self) -> dict[str, Any]:
        """The settings that change results, by the stage that they change.

        ``"segment"`` is what decides classes and layers, ``"refine"`` what is done to them,
        ``"products"`` what is made of them. The cluster, the rules of the run, blocks and batches change nothing and are left
        out. Values from the environment are in it: hash it, never write it.
        """
        return _of_results(self.model_dump(mode="json"), self.name)

    def results_settings(self) -> dict[str, Any]:
        """The same as :meth:`canonical` has them, safe to write and to log."""
        return _of_results(self.canonical(), self.name)

    def results_key(self) -> str:
        """SHA-256 of :meth:`results_key_fields`, as hex: the same for the same results."""
        text = json.dumps(self.results_key_fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def directory(self, *, scene: str, date: datetime | None, stem: str) -> str:
        """Where the products of a scene go; see :func:`expand_directory`."""
        template = self.output.directory
        return expand_directory(template, scene=scene, date=date, name=self.name, stem=stem)


def _of_results(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """What of all settings changes results; whole sections may be text from the environment."""

    def without(section: str, *keys: str) -> Any:
        found = settings[section]
        if not isinstance(found, dict):
            return found
        return {key: value for key, value in found.items() if key not in keys}

    # Which engine was chosen counts, not how.
    cut = {
        "input": without("input", *_SELECTING),
        "model": without("model", "batch", "allow_code", "engine", "precision", "agreement"),
        "tiling": without("tiling", "block"),
    }
    output = settings["output"]
    wanted = ("raster", "vector", "quicklook", "project")
    made = {key: output[key] for key in wanted} if isinstance(output, dict) else {"output": output}
    return {
        "segment": {key: cut.get(key, settings[key]) for key in _SEGMENTING},
        "refine": settings["postprocess"],
        "products": {"name": name, **made},
    }
