"""Polygons of any class raster, traced block by block on threads or worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.api import fingerprint
from geoseg.api.places import check_folder
from geoseg.api.polygons import Passing, wanted_polygons, write_polygons
from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.arcs import load_all_arcs
from geoseg.io.class_raster import NO_CLASS, ClassRaster, read_legend, unnamed, unnamed_class
from geoseg.io.vector import SUFFIXES
from geoseg.legend import LEGENDS, LandClass, Legend
from geoseg.ops.arcs import BlockArcs
from geoseg.ops.metric import measure_grid
from geoseg.run.base import BlockWork
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.polygons import Polygons, Wanted
from geoseg.steps.vectorize import TraceBlock, Tracer
from geoseg.workflow.units import Area

BLOCK = 1024


@dataclass(frozen=True, slots=True)
class OutlineJob:
    """The boundary arcs of every block of a raster file. Implements :class:`run.base.Job`."""

    key: str
    raster: Path
    grid: GeoBox
    folder: Path
    nodata: int | None

    def open(self) -> BlockWork:
        """Open the raster."""
        raster = ClassRaster(self.raster, nodata=self.nodata)
        return TraceBlock(raster, self.grid, self.folder, nodata=NO_CLASS)


def outline(
    raster: Path,
    out: Path,
    *,
    legend: str | None,
    classes: tuple[str, ...],
    min_area: str | None,
    connectivity: int,
    workers: int | None,
    reporter: Reporter | None,
) -> int:
    """See :func:`geoseg.api.vectorize`."""
    known = None if legend is None else known_legend(legend)
    grid = ClassRaster(raster).grid
    names = _named(raster, known)
    chosen = chosen_classes(raster, names, classes)
    wanted = parse_wanted(tuple(c.value for c in chosen) if classes else (), min_area, connectivity)
    check_out(out, raster)
    teller = reporter or Silent()
    source = _Source(raster.resolve(), grid, None if known is None else known.nodata)
    with _room(out) as room:
        traced = (
            _on_threads(source, teller)
            if workers is None
            else _on_processes(source, room, workers, teller)
        )
        polygons = Polygons(traced, grid, measure_grid(grid), legend=names, wanted=wanted)
        with closing(traced), closing(Passing(polygons)) as passing:
            write_polygons(
                passing,
                out,
                grid=grid,
                classes=chosen,
                tags={"raster": raster.name, "software": fingerprint.software()},
                title=raster.stem,
                styled="present",
            )
    teller.done(f"{out}: {polygons.kept} polygons, {polygons.dropped} smaller ones left out")
    return polygons.kept


@dataclass(frozen=True, slots=True)
class _Source:
    """Where class codes come from: the file, its grid, and nodata if the file does not say."""

    raster: Path
    grid: GeoBox
    nodata: int | None

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(blocks((int(self.grid.shape[0]), int(self.grid.shape[1])), BLOCK))


def _on_threads(source: _Source, reporter: Reporter) -> Generator[BlockArcs, None, None]:
    """Trace the blocks on threads of this process, while they are joined: quickest to begin."""
    windows = source.windows
    raster = ClassRaster(source.raster, nodata=source.nodata)
    trace = Tracer(raster.read, measure_grid(source.grid), NO_CLASS)
    reporter.started(scenes=1, blocks=len(windows), dashboard=None)
    yield from each_block(trace, windows, name="trace", reporter=reporter)


def _on_processes(
    source: _Source, room: Path, workers: int, reporter: Reporter
) -> Generator[BlockArcs, None, None]:
    """Trace all blocks on worker processes; their arcs lie on disk until they are joined."""
    from geoseg.run.cluster import ClusterSpec, connect  # noqa: PLC0415 (distributed)
    from geoseg.run.on_dask import OnDask  # noqa: PLC0415 (distributed)

    windows, arcs = source.windows, room / "arcs"
    digest = fingerprint.digest([str(source.raster), str(room)])[:12]
    job = OutlineJob(f"outline-{digest}", source.raster, source.grid, arcs, source.nodata)
    with (
        connect(ClusterSpec(workers=workers), blocks=len(windows)) as cluster,
        Ledger.open(room / "trace.jsonl", job.key, {}) as done,
    ):
        reporter.started(scenes=1, blocks=len(windows), dashboard=cluster.dashboard_link)
        run_blocks(OnDask(cluster.client), job, windows, done, reporter, name="trace")
    yield from load_all_arcs(arcs, windows, (int(source.grid.shape[0]), int(source.grid.shape[1])))


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


def check_out(out: Path, raster: Path | None = None) -> None:
    """Refuse names that polygons cannot be written to.

    Raises:
        InputError: It has no known suffix, is a folder or the raster, or lies where none may.
    """
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: write to a file that ends in {' or '.join(SUFFIXES)}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name a file")
    if raster is not None and out.exists() and out.samefile(raster):
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


def _named(raster: Path, known: Legend | None) -> Legend:
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


def all_classes(nodata: int | None) -> tuple[LandClass, ...]:
    """Every code but ``nodata``, as classes that nobody has named."""
    return tuple(unnamed_class(code) for code in range(256) if code != nodata)


def chosen_classes(
    raster: Path | str, legend: Legend, names: tuple[str, ...]
) -> tuple[LandClass, ...]:
    """The classes called ``names``; the codes that nobody has named are not worth a list.

    Raises:
        InputError: ``raster`` has no class of such a name.
    """
    known = {name.casefold() for name in legend.names}
    for name in names:
        if name.casefold() not in known:
            named = [c.name for c in legend.classes if c.name != unnamed(c.value)]
            hint = f"its classes are {', '.join(named)}" if named else "it names none"
            raise InputError(
                f"classes: {raster} has no class {name!r}; {hint}; "
                f"code 7 without a name is called {unnamed(7)!r}"
            )
    return legend.select(names)


def parse_wanted(codes: tuple[int, ...], min_area: str | None, connectivity: int) -> Wanted:
    """Which polygons are made.

    Raises:
        InputError: The area cannot be read, or the connectivity is neither 4 nor 8.
    """
    try:
        area = Area.parse(min_area) if min_area is not None else Area(0.0, "m2")
    except ValueError as error:
        raise InputError(f"min_area: {error}") from error
    if connectivity not in (4, 8):
        raise InputError(f"connectivity: found {connectivity}, expected 4 or 8")
    return wanted_polygons(codes, area, 4 if connectivity == 4 else 8)
