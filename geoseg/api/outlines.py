"""Polygons of any class raster, traced block by block on threads or worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.minimum import UnitJob, balance_record, reassign
from geoseg.api.outlining import Outlining, areas_record, outlining
from geoseg.api.places import check_folder
from geoseg.api.polygons import Passing, write_polygons
from geoseg.api.sources import CodeSource
from geoseg.errors import BlockError, InputError, ProductError, SceneError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.arcs import load_all_arcs
from geoseg.io.class_raster import NO_CLASS, ClassRaster, read_legend, unnamed
from geoseg.io.environment import is_remote
from geoseg.io.patterns import stem
from geoseg.io.percent_raster import PercentRaster
from geoseg.io.vector import SUFFIXES
from geoseg.legend import LEGENDS, Legend
from geoseg.ops.arcs import BlockArcs
from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.metric import measure_grid
from geoseg.run.base import BlockWork, Executor, Job
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.resources import give_back_arrays
from geoseg.run.threads import each_block
from geoseg.steps.polygons import Polygons
from geoseg.steps.vectorize import TraceBlock, Tracer
from geoseg.workflow.vector import Vector

BLOCK = 1024


@dataclass(frozen=True, slots=True)
class RasterCodes:
    """The class codes of a raster file. Implements :class:`api.minimum.CodeSource`."""

    raster: str
    without: int | None
    nodata: int | None = NO_CLASS

    def open(self) -> ClassRaster:
        """Open the file; ``without`` is its nodata where it does not say."""
        return ClassRaster(self.raster, nodata=self.without)


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


@dataclass(frozen=True, slots=True)
class Beside:
    """Rasters on the grid of the class raster, and its legend where it does not say.

    Attributes:
        legend: Name of a known legend.
        confidence: How sure the classes are, in percent.
        probabilities: Of each class in percent, a band each.
    """

    legend: str | None = None
    confidence: Path | None = None
    probabilities: Path | None = None


@dataclass(frozen=True, slots=True)
class PercentBands:
    """The probabilities of classes in a file. Implements :class:`api.minimum.PercentSource`."""

    path: Path
    grid: GeoBox
    codes: tuple[int, ...]

    def open(self) -> _Layers:
        """Open the file."""
        return _Layers(PercentRaster(self.path, self.grid))


@dataclass(frozen=True, slots=True)
class _Layers:
    percents: PercentRaster

    def read(self, window: Window) -> NDArray[np.uint8]:
        found = self.percents.read_all(window)
        found[found == NO_PERCENT] = 0
        return found


@dataclass(frozen=True, slots=True)
class Outlined:
    """What came of a raster: polygons written, and what became of the small ones.

    Attributes:
        polygons: How many were written.
        dropped: How many were left out.
        record: What the file says of how it was made: the balance of areas where small regions
            went to their neighbours, and what outlines lost or won by being simplified.
    """

    polygons: int
    dropped: int
    record: dict[str, Any]


def outline(
    raster: str,
    out: Path,
    *,
    beside: Beside,
    vector: Vector,
    workers: int | None,
    reporter: Reporter | None,
) -> Outlined:
    """See :func:`geoseg.api.vectorize`."""
    known = None if beside.legend is None else known_legend(beside.legend)
    grid = ClassRaster(raster).grid
    names = _named(raster, known)
    for key, spoken in vector.class_names().items():
        check_classes(raster, names, spoken, key)
    chosen = names.select(vector.classes)
    plan = outlining(vector, names, grid, title=stem(raster))
    percent = _percent_bands(vector, beside, grid, names)
    if beside.confidence is not None:
        PercentRaster(beside.confidence, grid)
    check_out(out, raster)
    teller = reporter or Silent()
    give_back_arrays()
    source = RasterCodes(_whole(raster), None if known is None else known.nodata)
    with ExitStack() as stack:
        room = stack.enter_context(_room(out))
        machine = stack.enter_context(_machine(raster, grid, room, workers, teller))
        codes, moved = _reassigned(source, percent, plan, machine, names)
        traced = stack.enter_context(closing(machine.trace(codes, beside.confidence)))
        polygons = Polygons(traced, grid, measure_grid(grid), legend=names, wanted=plan.wanted)
        tags: dict[str, Any] = {
            "raster": Path(raster.partition("?")[0] if is_remote(raster) else raster).name,
            "software": fingerprint.software(),
            "polygons": {"settings": vector.model_dump(mode="json"), "balance": moved},
        }

        def note_areas() -> None:
            # Known after the last polygon, before formats write what they say of themselves.
            tags["polygons"]["areas"] = areas_record(polygons.written, names)

        passing = stack.enter_context(closing(Passing(polygons, at_end=note_areas)))
        write_polygons(
            passing,
            out,
            grid=grid,
            classes=chosen,
            tags=tags,
            title=stem(raster),
            themes=plan.themes,
            styled="present",
        )
    left = f", {polygons.dropped} smaller ones left out" if polygons.dropped else ""
    teller.done(f"{out}: {polygons.kept} polygons{left}")
    return Outlined(polygons.kept, polygons.dropped, tags["polygons"])


def _percent_bands(
    vector: Vector, beside: Beside, grid: GeoBox, names: Legend
) -> PercentBands | None:
    """Which band has the probabilities of which class: by names, or in the order of codes."""
    if vector.merge_by != "probability":
        return None
    if beside.probabilities is None:
        raise InputError("merge_by: probability needs a raster of probabilities, a band each class")
    found = PercentRaster(beside.probabilities, grid).names
    known = {c.name.casefold(): c.value for c in names.classes}
    codes = [known.get((name or "").casefold()) for name in found]
    if None in codes:
        band = codes.index(None)
        raise InputError(
            f"{beside.probabilities}: band {band + 1} is called {found[band] or 'nothing'!r}, which "
            f"is no class; name each band as its class"
        )
    return PercentBands(
        beside.probabilities.resolve(), grid, tuple(c for c in codes if c is not None)
    )


def _reassigned(
    source: RasterCodes,
    percent: PercentBands | None,
    plan: Outlining,
    machine: _Machine,
    names: Legend,
) -> tuple[CodeSource, dict[str, Any] | None]:
    """The codes to outline, and the balance where small regions went to their neighbours."""
    if plan.unit is None:
        return source, None
    job = UnitJob(
        f"unit-{machine.digest}", "survey", source, machine.grid, machine.room / "unit",
        plan.unit, 0, BLOCK, percent,
    )  # fmt: skip
    codes, balance = reassign(machine.run, job, machine.windows)
    return codes, balance_record(balance, names, machine.grid)


class _Machine(Protocol):
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

    def run(self, job: Job, name: str) -> None:
        """Do a job for all blocks."""

    def trace(self, codes: CodeSource, confidence: Path | None) -> Generator[BlockArcs, None, None]:
        """The arcs of all blocks, in order."""


@contextmanager
def _machine(
    raster: str, grid: GeoBox, room: Path, workers: int | None, reporter: Reporter
) -> Iterator[_Machine]:
    digest = fingerprint.digest([_whole(raster), str(room)])[:12]
    windows = tuple(blocks((int(grid.shape[0]), int(grid.shape[1])), BLOCK))
    if workers is None:
        reporter.started(scenes=1, blocks=len(windows), dashboard=None)
        yield _Threads(room, grid, digest, windows, reporter)
        return
    from geoseg.run.cluster import ClusterSpec, connect  # noqa: PLC0415 (distributed)
    from geoseg.run.on_dask import OnDask  # noqa: PLC0415 (distributed)

    with connect(ClusterSpec(workers=workers), blocks=len(windows)) as cluster:
        reporter.started(scenes=1, blocks=len(windows), dashboard=cluster.dashboard_link)
        yield _Processes(room, grid, digest, windows, reporter, OnDask(cluster.client))


@dataclass(frozen=True, slots=True)
class _Threads:
    """Blocks on threads of this process, joined as they come: quickest to begin."""

    room: Path
    grid: GeoBox
    digest: str
    windows: tuple[Window, ...]
    reporter: Reporter

    def run(self, job: Job, name: str) -> None:
        work = job.open()
        with closing(work):
            for _ in each_block(work, self.windows, name=name, reporter=self.reporter):
                pass

    def trace(self, codes: CodeSource, confidence: Path | None) -> Generator[BlockArcs, None, None]:
        percent = None if confidence is None else PercentRaster(confidence, self.grid).read
        trace = Tracer(codes.open().read, measure_grid(self.grid), codes.nodata, percent)
        yield from each_block(trace, self.windows, name="trace", reporter=self.reporter)


@dataclass(frozen=True, slots=True)
class _Processes:
    """Blocks on worker processes; their arcs lie on disk until they are joined."""

    room: Path
    grid: GeoBox
    digest: str
    windows: tuple[Window, ...]
    reporter: Reporter
    executor: Executor

    def run(self, job: Job, name: str) -> None:
        with Ledger.open(self.room / f"{job.key}.jsonl", job.key, {}) as done:
            try:
                run_blocks(self.executor, job, self.windows, done, self.reporter, name=name)
            except BlockError as error:
                if error.wrong_input:  # nothing was written: the same to users as on threads
                    raise SceneError(error.wrong_input) from error
                raise

    def trace(self, codes: CodeSource, confidence: Path | None) -> Generator[BlockArcs, None, None]:
        arcs = self.room / "arcs"
        percent = None if confidence is None else confidence.resolve()
        job = OutlineJob(f"outline-{self.digest}", codes, self.grid, arcs, percent)
        self.run(job, "trace")
        shape = int(self.grid.shape[0]), int(self.grid.shape[1])
        yield from load_all_arcs(arcs, self.windows, shape)


def _whole(raster: str) -> str:
    """The same from any folder."""
    return raster if is_remote(raster) else str(Path(raster).resolve())


@contextmanager
def _room(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that goes away in the end, with an empty one for arcs in it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".part")
    except OSError as error:
        raise ProductError(f"{out}: cannot write here: {error.strerror}") from error
    with room as folder:
        (Path(folder) / "arcs").mkdir()
        yield Path(folder)


def check_out(out: Path, raster: str | None = None) -> None:
    """Refuse names that polygons cannot be written to.

    Raises:
        InputError: It has no known suffix, is a folder or the raster, or lies where none may.
    """
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: write to a file that ends in {' or '.join(SUFFIXES)}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name a file")
    local = raster is not None and not is_remote(raster)
    if local and out.exists() and out.samefile(str(raster)):
        raise InputError(f"{out}: is the raster itself; name another file")
    check_folder(out.parent, what=str(out))


def known_legend(name: str) -> Legend:
    """The legend of that name.

    Raises:
        InputError: There is none.
    """
    if name not in LEGENDS:
        raise InputError(
            f"legend {name!r}: there is none of that name; known: {', '.join(LEGENDS)}"
        )
    return LEGENDS[name]


def _named(raster: str, known: Legend | None) -> Legend:
    """All codes with their names: those of ``known`` first, then what the raster says."""
    own = read_legend(raster)
    if known is None:
        return own
    names = {name.casefold() for name in known.names}
    others = [
        replace(c, name=f"{c.name} ({c.value})") if c.name.casefold() in names else c
        for c in own.classes
        if c.value not in known.values
    ]
    return Legend(known.name, (*known.classes, *others), NO_CLASS)


def check_classes(raster: str, legend: Legend, names: tuple[str, ...], key: str) -> None:
    """Refuse classes that there are not; the codes that nobody named are not worth a list.

    Raises:
        InputError: ``raster`` has no class of one of ``names``, which ``key`` asks for.
    """
    known = {name.casefold() for name in legend.names}
    for name in names:
        if name.casefold() not in known:
            named = [c.name for c in legend.classes if c.name != unnamed(c.value)]
            hint = f"its classes are {', '.join(named)}" if named else "it names none"
            raise InputError(
                f"{key}: {raster} has no class {name!r}; {hint}; "
                f"code 7 without a name is called {unnamed(7)!r}"
            )
