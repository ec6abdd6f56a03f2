"""Polygons of any class raster, traced block by block on worker processes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from geoseg.api import fingerprint
from geoseg.api.polygons import store_polygons, write_polygons
from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, blocks
from geoseg.io.class_raster import ClassRaster, read_legend
from geoseg.legend import LEGENDS, Legend
from geoseg.models.registry import check_classes
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

        return TraceBlock(ClassRaster(self.raster), self.grid, self.folder, nodata=self.nodata)


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
    source = ClassRaster(raster)
    names = _legend(raster, legend)
    check_classes(names, classes, what="classes")
    wanted = _wanted(source.grid, names, classes, min_area, connectivity)
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: write to a file that ends in {' or '.join(SUFFIXES)}")
    teller, shape = reporter or Silent(), (int(source.grid.shape[0]), int(source.grid.shape[1]))
    windows = tuple(blocks(shape, BLOCK))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".part")
    except OSError as error:
        raise ProductError(f"{out}: cannot write here: {error.strerror}") from error
    with room as folder:
        work = Path(folder)
        arcs = work / "arcs"
        arcs.mkdir()
        key = fingerprint.digest([str(raster.resolve()), str(work)])[:12]
        job = OutlineJob(f"outline-{key}", raster.resolve(), source.grid, arcs, source.nodata)
        with (
            connect(ClusterSpec(workers=workers), blocks=len(windows)) as cluster,
            Ledger.open(work / "trace.jsonl", key, {}) as ledger,
        ):
            teller.started(scenes=1, blocks=len(windows), dashboard=cluster.dashboard_link)
            run_blocks(OnDask(cluster.client), job, windows, ledger, teller, name="trace")
        stored = store_polygons(
            work / "polygons.arrow",
            arcs,
            source.grid,
            BLOCK,
            legend=names,
            wanted=wanted,
            extra={},
        )
        tags = {"raster": raster.name, "software": fingerprint.software()}
        write_polygons(
            stored, out, grid=source.grid, classes=names.select(classes), tags=tags,
            title=raster.stem,
        )  # fmt: skip
    teller.done(f"{out}: {stored.kept} polygons, {stored.dropped} smaller ones left out")
    return stored.kept


def _legend(raster: Path, name: str | None) -> Legend:
    if name is None:
        return read_legend(raster)
    if name not in LEGENDS:
        raise InputError(
            f"legend {name!r}: there is none of that name; known: {', '.join(LEGENDS)}"
        )
    return LEGENDS[name]


def _wanted(
    grid: GeoBox,
    legend: Legend,
    classes: tuple[str, ...],
    min_area: str | None,
    connectivity: int,
) -> Wanted:
    try:
        area = Area.parse(min_area) if min_area is not None else Area(0.0, "m2")
    except ValueError as error:
        raise InputError(f"min_area: {error}") from error
    if connectivity not in (4, 8):
        raise InputError(f"connectivity: found {connectivity}, expected 4 or 8")
    pixel = abs(grid.resolution.x * grid.resolution.y)
    codes = tuple(c.value for c in legend.select(classes)) if classes else ()
    return Wanted(codes, area.square_metres(pixel), 4 if connectivity == 4 else 8)
