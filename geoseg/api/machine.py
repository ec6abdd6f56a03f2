"""What runs the blocks of one raster: threads of this process, or worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geoseg.api import fingerprint
from geoseg.api.sources import CodeSource
from geoseg.errors import BlockError, SceneError, StoppedError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.arcs import load_all_arcs
from geoseg.io.atomic import remove_abandoned, room_in
from geoseg.io.percent_raster import PercentRaster
from geoseg.ops.arcs import BlockArcs
from geoseg.ops.metric import measure_grid
from geoseg.run.base import BlockWork, Executor, Job, Report
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.reporter import Reporter
from geoseg.run.threads import Closable, each_block
from geoseg.steps.vectorize import TraceBlock, Tracer

BLOCK = 1024
"""Rows and columns of a block; no result depends on it."""


@dataclass(frozen=True, slots=True)
class OutlineJob:
    """The boundary arcs of every block of class codes. Implements :class:`run.base.Job`."""

    key: str
    source: CodeSource
    grid: GeoBox
    folder: Path
    confidence: Path | None = None

    def open(self) -> BlockWork:
        """Open the rasters."""
        percent = None if self.confidence is None else PercentRaster(self.confidence, self.grid)
        codes, nodata = self.source.open(), self.source.nodata
        return TraceBlock(codes, self.grid, self.folder, confidence=percent, nodata=nodata)


class Machine(Protocol):
    """What runs the blocks of a raster."""

    @property
    def room(self) -> Path:
        """A folder that all workers can write to."""

    @property
    def grid(self) -> GeoBox:
        """Of the raster."""

    @property
    def digest(self) -> str:
        """Of the raster and the folder."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """All blocks in row-major order."""

    def run(self, job: Job, name: str) -> list[Report]:
        """Do a job for all blocks; what each says of itself, in any order."""

    def trace(self, codes: CodeSource, confidence: Path | None) -> Closable[BlockArcs]:
        """The arcs of all blocks, in order."""


@contextmanager
def blocks_of(
    name: str, grid: GeoBox, room: Path, workers: int | None, reporter: Reporter
) -> Iterator[Machine]:
    """What runs the blocks of a raster on ``grid``.

    Args:
        name: Of the work, e.g. where the raster lies: workers keep apart what has different names.
        grid: Of the raster.
        room: A folder that all workers can write to.
        workers: Processes; threads of this one if None.
        reporter: Told of progress.
    """
    digest = fingerprint.digest([name, str(room)])[:12]
    windows = tuple(blocks((int(grid.shape[0]), int(grid.shape[1])), BLOCK))
    if workers is None:
        reporter.started(scenes=1, blocks=len(windows), dashboard=None)
        yield _Threads(room, grid, digest, windows, reporter)
        return
    from geoseg.run.cluster import ClusterSpec, connect  # noqa: PLC0415 (distributed)
    from geoseg.run.on_dask import OnDask  # noqa: PLC0415 (distributed)
    from geoseg.run.patience import LONGEST  # noqa: PLC0415 (only here)

    with connect(ClusterSpec(workers=workers), blocks=len(windows)) as cluster:
        reporter.started(scenes=1, blocks=len(windows), dashboard=cluster.dashboard_link)
        executor = OnDask(cluster.client, timeout=LONGEST)
        yield _Processes(room, grid, digest, windows, reporter, executor)


@dataclass(frozen=True, slots=True)
class _Threads:
    """Blocks on threads of this process, joined as they come: quickest to begin."""

    room: Path
    grid: GeoBox
    digest: str
    windows: tuple[Window, ...]
    reporter: Reporter

    def run(self, job: Job, name: str) -> list[Report]:
        work = job.open()
        with closing(work):
            return list(each_block(work, self.windows, name=name, reporter=self.reporter))

    def trace(self, codes: CodeSource, confidence: Path | None) -> Closable[BlockArcs]:
        percent = None if confidence is None else PercentRaster(confidence, self.grid).read
        trace = Tracer(codes.open().read, measure_grid(self.grid), codes.nodata, percent)
        return each_block(trace, self.windows, name="trace", reporter=self.reporter)


@dataclass(frozen=True, slots=True)
class _Processes:
    """Blocks on worker processes; their arcs lie on disk until they are joined."""

    room: Path
    grid: GeoBox
    digest: str
    windows: tuple[Window, ...]
    reporter: Reporter
    executor: Executor

    def run(self, job: Job, name: str) -> list[Report]:
        with Ledger.open(self.room / f"{job.key}.jsonl", job.key, {}) as ledger:
            try:
                run_blocks(self.executor, job, self.windows, ledger, self.reporter, name=name)
            except BlockError as error:
                if error.wrong_input:  # nothing was written: the same to users as on threads
                    raise SceneError(error.wrong_input) from error
                raise
            except StoppedError as stopped:  # the room goes, so nothing is there to go on from
                said = str(stopped).partition(";")[0]
                raise StoppedError(said, exit_code=stopped.exit_code) from stopped
            return [done.report for done in ledger.reports()]

    def trace(self, codes: CodeSource, confidence: Path | None) -> Closable[BlockArcs]:
        arcs = self.room / "arcs"
        percent = None if confidence is None else confidence.resolve()
        job = OutlineJob(f"outline-{self.digest}", codes, self.grid, arcs, percent)
        self.run(job, "trace")
        shape = int(self.grid.shape[0]), int(self.grid.shape[1])
        return Closable(load_all_arcs(arcs, self.windows, shape))


@contextmanager
def room_beside(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that goes away in the end, with an empty one for arcs in it.

    Raises:
        ProductError: Nothing can be written there.
    """
    remove_abandoned(out.parent, out.name)
    with room_in(out.parent, out.name) as folder:
        (folder / "arcs").mkdir()
        yield folder
