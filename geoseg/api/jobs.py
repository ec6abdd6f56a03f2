"""The jobs that workers open: small descriptions of which model, files and stores they need."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from geoseg.grid import GeoBox
from geoseg.io.reader import ScenePixels
from geoseg.io.zarr_store import ZarrRaster
from geoseg.models.registry import ModelPackage, Precision, open_segmenter
from geoseg.plan import ScenePlan
from geoseg.run.base import BlockWork
from geoseg.steps.segment import SegmentBlocks, Tiling


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Where the blocks of one scene are kept until its products are made."""

    root: Path

    @property
    def rasters(self) -> Path:
        """Zarr group with the arrays ``classes`` and ``confidence``."""
        return self.root / "work.zarr"

    @property
    def classes(self) -> ZarrRaster:
        """Class codes."""
        return ZarrRaster(self.rasters, "classes")

    @property
    def confidence(self) -> ZarrRaster:
        """Confidence in percent."""
        return ZarrRaster(self.rasters, "confidence")

    @property
    def arcs(self) -> Path:
        """Folder of traced blocks."""
        return self.root / "arcs"

    def ledger(self, stage: str) -> Path:
        """What is done of one stage."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root / f"{stage}.jsonl"

    def remove(self) -> None:
        """Forget all blocks; the status file and the lock stay."""
        for folder in (self.rasters, self.arcs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (*self.root.glob("*.jsonl"), *self.root.glob("*.arrow")):
            file.unlink()


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """Classes and confidence of every block of a scene. Implements :class:`run.base.Job`."""

    key: str
    plan: ScenePlan
    package: ModelPackage
    folder: WorkFolder
    device: str
    precision: Precision
    model_threads: int

    def open(self) -> BlockWork:
        """Load the model and open the files; happens once on each worker."""
        segmenter = open_segmenter(
            # One thread for a chip, and as many chips at once: the bits of a map must not depend
            # on how cores are shared out among workers.
            self.package,
            device=self.device,
            precision=self.precision,
            threads=1,
        )
        tiling = Tiling(self.plan.lattice, self.plan.seams, self.plan.weights, self.plan.batch)
        return SegmentBlocks(
            ScenePixels(self.plan.scene),
            segmenter,
            self.folder.classes,
            self.folder.confidence,
            tiling,
            model_threads=self.model_threads,
        )


@dataclass(frozen=True, slots=True)
class TraceJob:
    """The boundary arcs of every block of a class raster. Implements :class:`run.base.Job`."""

    key: str
    grid: GeoBox
    folder: WorkFolder
    nodata: int

    def open(self) -> BlockWork:
        """Open the stores; compiling the kernels is done by the first worker that needs them."""
        # Imported here, as numba would cost the segment stage a second on every worker.
        from geoseg.steps.vectorize import TraceBlock  # noqa: PLC0415

        return TraceBlock(
            self.folder.classes,
            self.grid,
            self.folder.arcs,
            confidence=self.folder.confidence,
            nodata=self.nodata,
        )
