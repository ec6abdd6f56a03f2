"""The jobs that workers open: small descriptions of which model, files and stores they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.api.sources import CodeSource
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.atomic import checksum, detach, remove_file
from geoseg.io.bucket import Place, folders
from geoseg.io.opening import open_pixels
from geoseg.io.zarr_store import ZarrRaster, create_rasters
from geoseg.models.base import Segmenter, whole_batch
from geoseg.models.committee import Committee
from geoseg.models.engines import Runtime, check_versions
from geoseg.models.shared import SHARED, Borrowed
from geoseg.ops.layers import NO_PERCENT
from geoseg.plan import ScenePlan
from geoseg.run.base import BlockWork, Report
from geoseg.steps.refine import RefineBlock
from geoseg.steps.segment import OBSERVATIONS, SegmentBlocks, Tiling, plane_names

Proof = Callable[[Window], object]
"""Gives what the report of a block calls ``crc``, from what is stored of it now; raises where it
is damaged or missing."""


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Where the blocks of one scene are kept until its products are made.

    What depends on other things lies in other places: a worker whose run was killed, and that has
    not noticed yet, must not write into what a later run makes of other settings.

    Attributes:
        root: The state folder of an output, on this machine: ledgers, status.
        final: Names the array of the codes that products are made of: the model's own, or those
            that were refined.
        key: Stands for all that stored pixels depend on.
        shapes: Stands for all that traced blocks depend on.
        away: Where the blocks themselves are, for all workers; without, in ``root``.
    """

    root: Path
    final: str = "classes"
    key: str = "0"
    shapes: str = "0"
    away: Place | None = None

    @property
    def blocks(self) -> Place:
        """Above all blocks."""
        return self.root if self.away is None else self.away

    @property
    def rasters(self) -> Place:
        """Zarr group: ``classes``, ``confidence``, refined ones, layers and ``observations``."""
        return self.blocks / f"work-{self.key}.zarr"

    @property
    def classes(self) -> ZarrRaster:
        """Class codes as products show them."""
        return self.raster(self.final)

    @property
    def confidence(self) -> ZarrRaster:
        """Confidence in percent."""
        return self.raster("confidence")

    def raster(self, name: str) -> ZarrRaster:
        """One array."""
        return ZarrRaster(self.rasters, name)

    @property
    def arcs(self) -> Place:
        """Folder of traced blocks."""
        return self.blocks / f"arcs-{self.shapes}"

    @property
    def networks(self) -> Place | None:
        """Where workers find networks of this scene alone; None where they see ``root``."""
        return None if self.away is None else self.away / "networks"

    @property
    def unit(self) -> Place:
        """Folder of the minimum mapping unit."""
        return self.blocks / f"unit-{self.shapes}"

    def ledger(self, stage: str) -> Path:
        """What is done of one stage."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root / f"{stage}.jsonl"

    def ledgers(self) -> list[Path]:
        """Those of all stages that there are."""
        return sorted(self.root.glob("*.jsonl"))

    def remove(self) -> None:
        """Forget all blocks; the status file and the lock stay."""
        from geoseg.run.ledger import remove_ledger  # noqa: PLC0415 (workers have no ledgers)

        for file in self.ledgers():
            remove_ledger(file)  # before the blocks: what no ledger speaks of is never used
        for file in self.root.glob("*.arrow"):
            remove_file(file)
        self.tidy(keep=False)
        if isinstance(self.away, Path):
            with suppress(OSError):
                self.away.rmdir()

    def tidy(self, *, keep: bool = True) -> None:
        """Remove the blocks of other work than this, and this one's unless ``keep``."""
        kept = {self.rasters, self.arcs, self.unit, self.networks} if keep else set()
        mine = ("work*.zarr", "arcs*", "unit*", "networks")
        for folder in folders(self.blocks):
            ours = any(fnmatch(folder.name, what) for what in mine)
            if ours and folder not in kept:
                detach(folder)


def fills(plan: ScenePlan, work: WorkFolder) -> dict[str, int]:
    """The rasters of a scene's blocks, and what stands in each where nothing was mapped."""
    legend = plan.card.legend
    values = dict.fromkeys(("classes", work.final), legend.nodata)
    percents = "confidence", *plane_names(plan.layers, legend.values)
    values |= dict.fromkeys(percents, NO_PERCENT)
    if plan.observations or plan.scene.combined is not None:
        values[OBSERVATIONS] = 0
    return values


def make_stores(plan: ScenePlan, work: WorkFolder, committee: Committee | None = None) -> None:
    """The arrays of a scene, empty or as an interrupted run left them; and its own networks."""
    if committee is not None and work.networks is not None:
        from geoseg.api.networks import send_networks  # noqa: PLC0415 (few runs have any)

        send_networks(committee, work.root, work.networks)
    create_rasters(work.rasters, plan.scene.grid, fills(plan, work), block=plan.block)


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """Classes and confidence of every block of a scene. Implements :class:`run.base.Job`."""

    key: str
    plan: ScenePlan
    committee: Committee
    folder: WorkFolder
    device: str
    runtime: Runtime
    model_threads: int
    versions: Mapping[str, str]

    def open(self) -> BlockWork:
        """Load the model and open the files; happens once on each worker."""
        check_versions(self.runtime, self.versions)
        if self.folder.networks is not None and self.runtime.precision == "int8":
            from geoseg.api.networks import networks_here  # noqa: PLC0415 (few runs have any)

            here = networks_here(self.committee, self.folder.networks)
            return replace(self, committee=here).begun()
        return self.begun()

    def begun(self) -> BlockWork:
        """The same, of models that lie here."""
        lent = SHARED.borrow(self._model, self._opened, threads=self.model_threads)
        try:
            return _Lent(self._work(lent), lent)
        except BaseException:
            lent.give_back()
            raise

    @property
    def _model(self) -> str:
        """Stands for the opened model: scenes that have the same share it."""
        files = [member.weights for member in self.committee.members]
        states = [file.stat() for file in files if file is not None and file.exists()]
        seen = [(state.st_size, state.st_mtime_ns, state.st_ino) for state in states]
        return repr((self.committee, self.device, self.runtime, self.model_threads, seen))

    def _opened(self) -> Segmenter:
        return self.committee.open(
            # One thread for a chip, and as many chips at once: the bits of a map must not depend
            # on how cores are shared out among workers.
            device=self.device,
            precision=self.runtime.precision,
            threads=1,
            engine=self.runtime.engine,
            callers=self.model_threads,
        )

    def _work(self, lent: Borrowed) -> BlockWork:
        plan, segmenter, threads = self.plan, lent.segmenter, lent.pool
        chip = plan.lattice.chip_shape(full_window(plan.scene.grid).shape)
        batch = whole_batch(segmenter, plan.batch, chip)
        tiling = Tiling(plan.lattice, plan.seams, plan.weights, batch, plan.layers, plan.min_valid)
        combined = plan.scene.combined
        layers = {name: self.folder.raster(name) for name in self._layers}
        stores = self.folder.raster("classes"), self.folder.confidence
        if combined is None or not combined.predicted:
            pixels = open_pixels(plan.scene)
            return SegmentBlocks(
                pixels, segmenter, *stores, tiling, layers=layers, model_threads=threads
            )
        # Imported here, as numba costs a second, which most scenes do not need.
        from geoseg.io.composite import CombinedPixels  # noqa: PLC0415 (numba)
        from geoseg.steps.mosaic import MosaicBlocks  # noqa: PLC0415 (numba)

        several = CombinedPixels(plan.scene)
        return MosaicBlocks(
            several, combined.rule, segmenter, stores, tiling, layers=layers, model_threads=threads
        )

    def proof(self) -> Proof:
        """Checksums of the stores, by name."""
        names = ("classes", "confidence", *self._layers)
        stores = {name: self.folder.raster(name) for name in names}
        return lambda block: {name: store.checksum(block) for name, store in stores.items()}

    @property
    def _layers(self) -> list[str]:
        """The stores beside classes and confidence."""
        plan = self.plan
        counted = plan.scene.combined is not None or plan.observations
        kept = (*plan.layers, OBSERVATIONS) if counted else plan.layers
        return plane_names(kept, plan.card.legend.values)


@dataclass(frozen=True, slots=True)
class _Lent:
    """Work on a scene with a model that others may use, too."""

    work: BlockWork
    model: Borrowed

    def __call__(self, block: Window) -> Report:
        return self.work(block)

    def close(self) -> None:
        self.work.close()
        self.model.give_back()


@dataclass(frozen=True, slots=True)
class RefineJob:
    """Every block of a segmented scene, refined. Implements :class:`run.base.Job`."""

    key: str
    plan: ScenePlan
    folder: WorkFolder

    def open(self) -> BlockWork:
        """Open the stores, and the scene where a step looks at it."""
        plan = self.plan
        assert plan.refinement is not None, "there is nothing to refine"  # noqa: S101 (the stage is only made where there is)
        guide = plan.refinement.guide
        names = plane_names(["probabilities"] if guide else [], plan.card.legend.values)
        return RefineBlock(
            self.folder.raster("classes"),
            self.folder.classes,
            plan.scene.grid,
            plan.card,
            plan.refinement.steps,
            tuple(self.folder.raster(name) for name in names),
            open_pixels(plan.scene) if guide else None,
            guide,
        )

    def proof(self) -> Proof:
        """Checksum of the store."""
        store = self.folder.classes
        return lambda block: {"refined": store.checksum(block)}


@dataclass(frozen=True, slots=True)
class StoredCodes:
    """The finished map of a scene. Implements :class:`api.minimum.CodeSource`."""

    folder: WorkFolder
    nodata: int | None

    def open(self) -> ZarrRaster:
        """Open the store."""
        return self.folder.classes


@dataclass(frozen=True, slots=True)
class StoredPercents:
    """The probabilities of a scene. Implements :class:`api.minimum.PercentSource`."""

    folder: WorkFolder
    codes: tuple[int, ...]

    def open(self) -> _Percents:
        """Open the stores."""
        names = plane_names(["probabilities"], self.codes)
        return _Percents(tuple(self.folder.raster(name) for name in names))


@dataclass(frozen=True, slots=True)
class _Percents:
    stores: tuple[ZarrRaster, ...]

    def read(self, window: Window) -> NDArray[np.uint8]:
        percents = np.stack([np.asarray(s.read(window), np.uint8) for s in self.stores])
        percents[percents == NO_PERCENT] = 0
        return percents


@dataclass(frozen=True, slots=True)
class TraceJob:
    """The boundary arcs of every block of a class raster. Implements :class:`run.base.Job`."""

    key: str
    grid: GeoBox
    folder: WorkFolder
    source: CodeSource

    def open(self) -> BlockWork:
        """Open the stores; compiling the kernels is done by the first worker that needs them."""
        # Imported here, as numba would cost the segment stage a second on every worker.
        from geoseg.steps.vectorize import TraceBlock  # noqa: PLC0415 (see above)

        return TraceBlock(
            self.source.open(),
            self.grid,
            self.folder.arcs,
            confidence=self.folder.confidence,
            nodata=self.source.nodata,
        )

    def proof(self) -> Proof:
        """Checksum of the file of arcs."""
        from geoseg.io.arcs import arcs_path  # noqa: PLC0415 (numba)

        folder = self.folder.arcs
        return lambda block: checksum(arcs_path(folder, block))
