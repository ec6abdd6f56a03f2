"""Minimum mapping units of whole rasters: stage by stage, on whatever runs the blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from geoseg.api.sources import CodeSource, PercentSource
from geoseg.grid import GeoBox, Window
from geoseg.io.atomic import checksum
from geoseg.io.bucket import Place
from geoseg.io.mmu_files import CodeBlocks, codes_path, survey_path
from geoseg.legend import Legend
from geoseg.ops.metric import measure_grid
from geoseg.ops.mmu.balance import Balance
from geoseg.ops.mmu.rules import MinimumUnit
from geoseg.ops.regions import NODATA
from geoseg.run.base import BlockWork

Task = Literal["survey", "rewrite"]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a stage wrote, as the next one reads it. Implements :class:`CodeSource`."""

    folder: Place
    shape: tuple[int, int]
    block: int
    nodata: int | None = int(NODATA)

    def open(self) -> CodeBlocks:
        """Open the blocks."""
        return CodeBlocks(self.folder, self.shape, self.block)


@dataclass(frozen=True, slots=True)
class UnitJob:
    """One half of a stage: what is small, or the new classes. Implements :class:`run.base.Job`."""

    key: str
    task: Task
    source: CodeSource
    grid: GeoBox
    folder: Place
    unit: MinimumUnit
    stage: int
    block: int
    percent: PercentSource | None = None

    def open(self) -> BlockWork:
        """Open the raster."""
        from geoseg.steps.mmu import Probabilities, RewriteBlock, SurveyBlock  # noqa: PLC0415 (numba takes a second)

        percent = self.percent
        probabilities = None if percent is None else Probabilities(percent.open(), percent.codes)
        common: dict[str, Any] = {
            "classes": self.source.open(),
            "grid": self.grid,
            "folder": self.folder,
            "unit": self.unit,
            "stage": self.stage,
            "probabilities": probabilities,
            "nodata": self.source.nodata,
        }
        if self.task == "survey":
            return SurveyBlock(**common)
        return RewriteBlock(**common, out=self.written.open())

    def proof(self) -> Callable[[Window], object]:
        """Checksum of the file that a block leaves."""
        place = survey_path if self.task == "survey" else codes_path
        return lambda block: checksum(place(self.folder, block))

    @property
    def written(self) -> Rewritten:
        """Where the stage writes to."""
        shape = int(self.grid.shape[0]), int(self.grid.shape[1])
        return Rewritten(self.folder, shape, self.block)


def reassign(
    run: Callable[[UnitJob, str], object],
    job: UnitJob,
    windows: Sequence[Window],
) -> tuple[CodeSource, Balance]:
    """Give small regions to their neighbours, then fill the holes of one class after the other.

    Args:
        run: Does a job for all ``windows``, those that are done already excepted; the name is
            that of the stage.
        job: The first one: a survey in stage 0. Its folder gets one for each stage.
        windows: All blocks of the raster in row-major order.

    Returns:
        The new classes, and what moved from class to class.
    """
    source, unit, balance = job.source, job.unit, None
    stage = 0
    while stage == 0 or stage <= len(unit.fill_holes):
        folder = job.folder / f"stage-{stage}"
        folder.mkdir(parents=True, exist_ok=True)
        step = replace(job, source=source, folder=folder, unit=unit, stage=stage)
        name = "minimum unit" if stage == 0 else f"holes {stage}"
        found = _do_stage(run, step, windows, name)
        balance = found if balance is None else balance.then(found)
        if stage == 0:
            # Classes that do not occur have no holes, and each costs two passes.
            there = set(balance.after["code"][balance.after["pixels"] > 0].tolist())
            holes = {code: area for code, area in unit.fill_holes.items() if code in there}
            unit = replace(unit, fill_holes=holes)
        source = step.written
        stage += 1
    assert balance is not None  # noqa: S101 (there is one stage at least)
    return source, balance


def _do_stage(
    run: Callable[[UnitJob, str], object], step: UnitJob, windows: Sequence[Window], name: str
) -> Balance:
    from geoseg.steps.mmu import settle_blocks  # noqa: PLC0415 (numba takes a second)

    run(replace(step, key=f"{step.key}-survey-{step.stage}"), f"{name} survey")
    layers = () if step.percent is None else step.percent.codes
    balance = settle_blocks(
        step.folder, step.grid, windows, step.unit, stage=step.stage, layers=layers
    )
    rewrite = replace(step, key=f"{step.key}-rewrite-{step.stage}", task="rewrite")
    run(rewrite, f"{name} rewrite")
    return balance


def balance_record(balance: Balance, legend: Legend, grid: GeoBox) -> dict[str, Any]:
    """The balance as it is written to records: hectares and pixels by class, what moved where."""
    unit = measure_grid(grid).unit
    names = {c.value: c.name for c in legend.classes} | {int(NODATA): "no class"}

    def amount(row: Any) -> dict[str, Any]:
        return {"pixels": int(row["pixels"]), "ha": round(float(row["area"]) * unit / 1e4, 4)}

    before = {int(row["code"]): amount(row) for row in balance.before}
    after = {int(row["code"]): amount(row) for row in balance.after}
    none = {"pixels": 0, "ha": 0.0}
    return {
        "classes": [
            {
                "code": code,
                "name": names.get(code, f"Class {code}"),
                "before": before.get(code, none),
                "after": after.get(code, none),
            }
            for code in sorted(before.keys() | after.keys())
        ],
        "moved": [
            {
                "from": names.get(int(row["source"]), f"Class {row['source']}"),
                "to": names.get(int(row["target"]), f"Class {row['target']}"),
                **amount(row),
            }
            for row in balance.moved
        ],
        "reassigned_regions": balance.reassigned,
        "isolated_regions": balance.isolated,
        "filled_holes": balance.filled,
    }
