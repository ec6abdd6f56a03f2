"""Polygons of any class raster, traced block by block on worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.api import fingerprint
from geoseg.api.places import check_folder
from geoseg.api.polygons import store_polygons, wanted_polygons, write_polygons
from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, blocks
from geoseg.io.class_raster import NO_CLASS, ClassRaster, read_legend, unnamed
from geoseg.legend import LEGENDS, LandClass, Legend
from geoseg.run.base import BlockWork
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.on_dask import OnDask
from geoseg.run.reporter import Reporter, Silent
from geoseg.steps.polygons import Wanted
from geoseg.workflow.units import Area

BLOCK = 2048
SUFFIXES = (".gpkg", ".parquet")


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
        from geoseg.steps.vectorize import TraceBlock  # noqa: PLC0415 (numba takes a second)

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
    known = None if legend is None else _known(legend)
    grid = ClassRaster(raster).grid
    names = _named(raster, known)
    chosen = _chosen(raster, names, classes)
    wanted = _wanted(tuple(c.value for c in chosen) if classes else (), min_area, connectivity)
    _check_out(raster, out)
    teller = reporter or Silent()
    with _room(out) as work:
        job = OutlineJob(
            f"outline-{fingerprint.digest([str(raster.resolve()), str(work)])[:12]}",
            raster.resolve(),
            grid,
            work / "arcs",
            None if known is None else known.nodata,
        )
        _trace(job, work / "trace.jsonl", workers, teller)
        stored = store_polygons(
            work / "polygons.arrow", job.folder, grid, BLOCK, legend=names, wanted=wanted, extra={}
        )
        write_polygons(
            stored,
            out,
            grid=grid,
            classes=[c for c in chosen if c.value in stored.codes],
            tags={"raster": raster.name, "software": fingerprint.software()},
            title=raster.stem,
        )
    teller.done(f"{out}: {stored.kept} polygons, {stored.dropped} smaller ones left out")
    return stored.kept


def _trace(job: OutlineJob, ledger: Path, workers: int | None, reporter: Reporter) -> None:
    """Trace all blocks on worker processes."""
    windows = tuple(blocks((int(job.grid.shape[0]), int(job.grid.shape[1])), BLOCK))
    with (
        connect(ClusterSpec(workers=workers), blocks=len(windows)) as cluster,
        Ledger.open(ledger, job.key, {}) as done,
    ):
        reporter.started(scenes=1, blocks=len(windows), dashboard=cluster.dashboard_link)
        run_blocks(OnDask(cluster.client), job, windows, done, reporter, name="trace")


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


def _check_out(raster: Path, out: Path) -> None:
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: write to a file that ends in {' or '.join(SUFFIXES)}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name a file")
    if out.exists() and out.samefile(raster):
        raise InputError(f"{out}: is the raster itself; name another file")
    check_folder(out.parent, what=str(out))


def _known(name: str) -> Legend:
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


def _chosen(raster: Path, legend: Legend, names: tuple[str, ...]) -> tuple[LandClass, ...]:
    """The classes called ``names``; the codes that nobody has named are not worth a list."""
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


def _wanted(codes: tuple[int, ...], min_area: str | None, connectivity: int) -> Wanted:
    try:
        area = Area.parse(min_area) if min_area is not None else Area(0.0, "m2")
    except ValueError as error:
        raise InputError(f"min_area: {error}") from error
    if connectivity not in (4, 8):
        raise InputError(f"connectivity: found {connectivity}, expected 4 or 8")
    return wanted_polygons(codes, area, 4 if connectivity == 4 else 8)
