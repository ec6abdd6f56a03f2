"""From the finished map of a scene to the arcs of its polygons."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.jobs import StoredCodes, StoredPercents, TraceJob, WorkFolder
from geoseg.api.minimum import UnitJob, balance_record, reassign
from geoseg.api.outlining import Outlining
from geoseg.api.sources import CodeSource
from geoseg.api.stages import Stage
from geoseg.grid import Window, blocks
from geoseg.plan import ScenePlan
from geoseg.run.loop import Summary

Do = Callable[[Stage], Summary]


@dataclass(frozen=True, slots=True)
class Tracing:
    """The stages that follow once the map is finished.

    Attributes:
        plan: Of the scene.
        work: Where its blocks are.
        outlining: What is asked of polygons.
        parts: What the map depends on, and the products.
    """

    plan: ScenePlan
    work: WorkFolder
    outlining: Outlining
    parts: dict[str, str]

    def run(self, do: Do, summaries: MutableMapping[str, Summary]) -> dict[str, Any] | None:
        """Give small regions to their neighbours, and trace; notes what came of each stage.

        Returns:
            What moved from class to class; None where nothing was asked to.
        """
        codes, moved = self._reassigned(do, summaries)
        job = TraceJob(f"trace-{self._key}", self.plan.scene.grid, self.work, codes)
        # Also the blocks outside of the area: a block owns the edges of its neighbours.
        summaries["trace"] = do(Stage("trace", job, self._windows, self._parts))
        return moved

    @property
    def _windows(self) -> tuple[Window, ...]:
        return tuple(blocks(self.plan.shape, self.plan.block))

    @property
    def _key(self) -> str:
        # With the folder: another run on the same cluster may map the same scene.
        return f"{self.plan.scene.id}-{fingerprint.digest([self._parts, str(self.work.root)])[:12]}"

    @property
    def _parts(self) -> dict[str, str]:
        return {**self.parts, "minimum unit": fingerprint.digest(repr(self.outlining.unit))}

    def _reassigned(
        self, do: Do, summaries: MutableMapping[str, Summary]
    ) -> tuple[CodeSource, dict[str, Any] | None]:
        unit, legend, grid = self.outlining.unit, self.plan.card.legend, self.plan.scene.grid
        codes = StoredCodes(self.work, legend.nodata)
        if unit is None:
            return codes, None
        percent = StoredPercents(self.work, legend.values) if unit.by == "probability" else None
        job = UnitJob(
            f"unit-{self._key}", "survey", codes, grid, self.work.unit, unit, 0, self.plan.block,
            percent,
        )  # fmt: skip

        def run(job: UnitJob, name: str) -> None:
            summaries[name] = do(Stage(name.replace(" ", "-"), job, self._windows, self._parts))

        rewritten, balance = reassign(run, job, self._windows)
        return rewritten, balance_record(balance, legend, grid)
