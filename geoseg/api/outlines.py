"""Polygons of any class raster, traced block by block on threads or worker processes."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.machine import BLOCK, Machine, blocks_of, room_beside
from geoseg.api.minimum import UnitJob, balance_record, reassign
from geoseg.api.outlining import Outlining, areas_record, outlining
from geoseg.api.places import check_folder
from geoseg.api.polygons import Passing, write_polygons
from geoseg.api.sources import CodeSource
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_raster import NO_CLASS, ClassRaster, read_legend, unnamed
from geoseg.io.environment import is_remote
from geoseg.io.patterns import stem
from geoseg.io.percent_raster import PercentRaster
from geoseg.io.provenance import Provenance
from geoseg.io.vector import SUFFIXES
from geoseg.legend import LEGENDS, Legend
from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.metric import measure_grid
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.resources import give_back_arrays
from geoseg.steps.polygons import Polygons
from geoseg.workflow.vector import Vector


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
        PercentRaster(beside.confidence, grid)  # refused before anything is begun
    check_out(out, raster)
    teller = reporter or Silent()
    give_back_arrays()
    source = RasterCodes(_whole(raster), None if known is None else known.nodata)
    with ExitStack() as stack:
        room = stack.enter_context(room_beside(out))
        machine = stack.enter_context(blocks_of(_whole(raster), grid, room, workers, teller))
        codes, moved = _reassigned(source, percent, plan, machine, names)
        traced = stack.enter_context(closing(machine.trace(codes, beside.confidence)))
        polygons = Polygons(traced, grid, measure_grid(grid), legend=names, wanted=plan.wanted)
        told: dict[str, Any] = {"balance": moved}
        tags = {**_provenance(raster, vector).document(), "polygons": told}

        def note_areas() -> None:
            # Known after the last polygon, before formats write what they say of themselves.
            told["areas"] = areas_record(polygons.written, names)

        passing = stack.enter_context(closing(Passing(polygons, source=traced, at_end=note_areas)))
        write_polygons(
            passing, out, grid=grid, classes=chosen, tags=tags, title=stem(raster),
            themes=plan.themes, styled="present",
        )  # fmt: skip
    left = f", {polygons.dropped} smaller ones left out" if polygons.dropped else ""
    teller.done(f"{out}: {polygons.kept} polygons{left}")
    return Outlined(polygons.kept, polygons.dropped, {"settings": tags["settings"], **told})


def _provenance(raster: str, vector: Vector) -> Provenance:
    """By the name of the raster alone: the bytes must not depend on where it lies."""
    (known,) = fingerprint.inputs([raster])
    name = Path(raster.partition("?")[0] if is_remote(raster) else raster).name
    settings = vector.model_dump(mode="json", exclude={"formats"})
    return Provenance("polygons", [{**known, "href": name}], settings, fingerprint.software())


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
    machine: Machine,
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


def _whole(raster: str) -> str:
    """The same from any folder."""
    return raster if is_remote(raster) else str(Path(raster).resolve())


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
