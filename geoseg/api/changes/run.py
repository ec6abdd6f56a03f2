"""Two maps to pairs of classes, block by block, on whatever runs the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.api.changes.maps import MapPair, Mask
from geoseg.api.machine import BLOCK, Machine
from geoseg.grid import GeoBox, Window
from geoseg.io.dated_map import DatedMap
from geoseg.io.mmu_files import CodeBlocks
from geoseg.io.zarr_store import ZarrRaster
from geoseg.ops.change import ChangeRule
from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.metric import measure_grid
from geoseg.ops.regions import NODATA
from geoseg.ops.transitions import CommonClasses
from geoseg.run.base import BlockWork
from geoseg.steps.change import (
    CompareBlock,
    Patches,
    SettleBlock,
    add_reports,
    settle,
)
from geoseg.workflow.units import Area

SURE = "sure"
"""Array of the lower confidence of both maps."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of two maps, in files that go away with their folder.

    Attributes:
        pairs: Numbers of pairs of classes.
        sure: The lower confidence; None where nobody has said any.
        counts: Pixels and counts of area by what is counted and pair; see :mod:`steps.change`.
        unit: Square metres of a count.
    """

    pairs: CodeBlocks
    sure: ZarrRaster | None
    counts: dict[str, dict[int, tuple[int, int]]]
    unit: float

    def coded(self, table: NDArray[np.uint8]) -> CodedPairs:
        """The pairs as a raster of what ``table`` has for them."""
        return CodedPairs(self.pairs, table)


@dataclass(frozen=True, slots=True)
class CodedPairs:
    """Pairs as codes. Implements ``RasterReader`` and :class:`api.sources.CodeSource`.

    Attributes:
        pairs: The numbers.
        table: The code of pair ``k`` is entry ``k + 1``.
        only: Codes that polygons are made of; the others have no class there.
    """

    pairs: CodeBlocks
    table: NDArray[np.uint8]
    only: tuple[int, ...] = ()
    nodata: int | None = int(NODATA)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Codes of a window."""
        codes: NDArray[np.uint8] = self.table[self.pairs.read(window) + 1]
        return codes

    def open(self) -> _Some:
        """For tracing."""
        table = np.full(len(self.table), NODATA, np.int16)
        chosen = np.isin(self.table, self.only)
        table[chosen] = self.table[chosen]
        return _Some(self.pairs, table)


@dataclass(frozen=True, slots=True)
class _Some:
    pairs: CodeBlocks
    table: NDArray[np.int16]

    def read(self, window: Window) -> NDArray[np.int16]:
        codes: NDArray[np.int16] = self.table[self.pairs.read(window) + 1]
        return codes


@dataclass(frozen=True, slots=True)
class CompareJob:
    """Comparing of every block. Implements :class:`run.base.Job`."""

    key: str
    before: DatedMap
    after: DatedMap
    common: CommonClasses
    rule: ChangeRule
    grid: GeoBox
    room: Path
    mask: Mask | None
    patches: Patches | None
    sure: bool

    def open(self) -> BlockWork:
        """Open the maps."""
        return CompareBlock(
            self.before.on(self.grid),
            self.after.on(self.grid),
            self.common,
            self.rule,
            self.grid,
            self.pairs("pairs"),
            self.room / "patches",
            ZarrRaster(self.room / "work.zarr", SURE) if self.sure else None,
            None if self.mask is None else self.mask.open(self.grid),
            self.patches,
        )

    def pairs(self, name: str) -> CodeBlocks:
        """Where numbers of pairs lie."""
        return CodeBlocks(
            self.room / name, (int(self.grid.shape[0]), int(self.grid.shape[1])), BLOCK
        )


@dataclass(frozen=True, slots=True)
class SettleJob:
    """Letting go of small patches in every block. Implements :class:`run.base.Job`."""

    key: str
    compared: CompareJob
    patches: Patches

    def open(self) -> BlockWork:
        """Open the blocks."""
        job = self.compared
        return SettleBlock(
            job.pairs("pairs"),
            job.pairs("final"),
            job.common,
            self.patches,
            job.grid,
            job.room / "patches",
        )


def compare(
    pair: MapPair, rule: ChangeRule, machine: Machine, *, min_area: Area, by_origin: bool
) -> Compared:
    """Compare two maps, block by block.

    Args:
        pair: The maps.
        rule: When classes that differ are a change.
        machine: Runs the blocks; files go to its room.
        min_area: Patches of change below it are none.
        by_origin: Whether all that one class became is one patch, or each transition is.

    Raises:
        SceneError: A map cannot be read.
        BlockError: A block failed.
    """
    patches = _patches(pair, min_area, by_origin=by_origin)
    job = CompareJob(
        f"compare-{machine.digest}", pair.before, pair.after, pair.common, rule, pair.grid,
        machine.room, pair.mask, patches, pair.sure,
    )  # fmt: skip
    for name in ("pairs", "final", "patches"):
        (machine.room / name).mkdir()
    sure = None
    if pair.sure:
        store = machine.room / "work.zarr"
        sure = ZarrRaster.create(store, pair.grid, block=BLOCK, fill=NO_PERCENT, name=SURE)
    compared, settled, pairs = machine.run(job, "compare"), None, job.pairs("pairs")
    if patches is not None:
        shape = int(pair.grid.shape[0]), int(pair.grid.shape[1])
        settle(job.room / "patches", machine.windows, shape, patches)
        last = SettleJob(f"settle-{machine.digest}", job, patches)
        settled, pairs = machine.run(last, "small patches"), job.pairs("final")
    unit = measure_grid(pair.grid).unit
    return Compared(pairs, sure, add_reports(compared, settled), unit)


def _patches(pair: MapPair, min_area: Area, *, by_origin: bool) -> Patches | None:
    if not min_area.value:
        return None
    groups = pair.asked.group_table(by_origin=by_origin)
    if min_area.unit == "px":
        return Patches(groups, min_area.pixels(1.0), in_pixels=True)
    unit = measure_grid(pair.grid).unit
    # Patches of just that area stay: a hair's breadth for pixels that are not quite as large.
    counts = round(min_area.square_metres(1.0) / unit * (1 - 1e-9))
    return Patches(groups, counts, in_pixels=False)
