"""Which engine computes a scene: as asked, as before, or the fastest of a trial on real chips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.holding import STATE
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.errors import ModelError, RemoteError, SceneError
from geoseg.io.atomic import write_bytes
from geoseg.io.opening import open_pixels
from geoseg.models.base import Batch
from geoseg.models.converted import cache_folder, code
from geoseg.models.engine_trial import REFERENCE, Trial, allowance, fastest, share, try_engines
from geoseg.models.engines import (
    ENGINES,
    PRECISIONS,
    Runtime,
    is_installed,
    processor,
    version_of,
)
from geoseg.run.reporter import Reporter
from geoseg.steps.real_chips import real_chips
from geoseg.steps.segment import Tiling

FEWEST, MOST = 2, 8
"""How many chips engines are tried on; the first also warms them up."""

ENOUGH = 2_500_000
"""Pixels that a trial need not exceed: it should take seconds."""

WORTH = 20_000_000
"""Pixels to predict from which a choice is worth a trial; smaller scenes take torch in fp32."""

FILE = "engine.json"
"""In the state folder of an output: what began it, and goes on with it."""


class EngineRefusedError(ModelError):
    """The engine that was asked for cannot, or does not give the map that torch gives."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine of a scene, and why.

    Attributes:
        runtime: What computes, on every worker.
        why: In a few words.
        trials: What the trial came to, where there was one; torch in fp32 first.
        least: Share of pixels that had to agree.
    """

    runtime: Runtime = REFERENCE
    why: str = "as asked"
    trials: tuple[Trial, ...] = ()
    least: float | None = None

    @property
    def part(self) -> dict[str, Any]:
        """What of it the results depend on."""
        return {"runtime": str(self.runtime), "versions": self.runtime.versions}

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        found = asdict(self)
        return found | {"versions": self.runtime.versions}

    @property
    def told(self) -> str:
        """What the log says of it."""
        trials = f" ({'; '.join(map(str, self.trials))})" if self.trials else ""
        return f"{self.runtime}, {self.why}{trials}"

    @classmethod
    def read(cls, record: Mapping[str, Any], why: str) -> Chosen:
        """The way back of ``record``."""
        trials = (t | {"runtime": Runtime(**t["runtime"])} for t in record["trials"])
        return cls(
            Runtime(**record["runtime"]), why, tuple(Trial(**t) for t in trials), record["least"]
        )


class Engines:
    """Chooses for the scenes of one run; tries at most once.

    Args:
        plan: All that is done.
        reporter: Told of the choice.
        force: Do not look at what an earlier run has chosen.
    """

    def __init__(self, plan: RunPlan, reporter: Reporter, *, force: bool = False) -> None:
        self._plan, self._reporter, self._force = plan, reporter, force
        self._choice = plan.workflow.model
        self._members = [member.card for member in plan.committee.members]
        self._made: Chosen | None = None
        self._small = False

    def of(self, task: SceneTask) -> Chosen:
        """What computes a scene: what began it, else what this run has chosen.

        Raises:
            EngineRefusedError: What was asked for cannot, or agrees too little.
        """
        fixed = self._fixed()
        if fixed is not None:
            return Chosen(fixed)
        kept = None if self._force else _read(self._file(task), self._wish, "as before")
        if kept is not None:
            return kept
        if self._choice.engine == "auto" and _pixels(task) < WORTH:
            small = Chosen(why="too small to gain by another")
            if not self._small:
                self._reporter.message(f"scene {task.plan.scene.id}: engine: {small.told}")
            self._small = True
            return small
        if self._made is None:
            self._made = self._cached(task)
            self._reporter.message(f"engine: {self._made.told}")
        return self._made

    def keep(self, task: SceneTask, chosen: Chosen) -> None:
        """Note what a scene is begun with, so that no map mixes engines."""
        if self._fixed() is None:
            _write(self._file(task), self._wish, chosen)

    def _fixed(self) -> Runtime | None:
        """What needs no trial: torch in fp32, and whatever only a GPU can show."""
        engine, precision = self._choice.engine, self._choice.precision
        if engine == "torch" and precision == "fp32":
            return Runtime()
        if precision == "fp16" or self._choice.device == "cuda":
            return Runtime(
                "torch" if engine == "auto" else engine,
                "fp32" if precision == "auto" else precision,
            )  # fmt: skip
        return None

    @property
    def _wish(self) -> str:
        choice = self._choice
        asked = [choice.engine, choice.precision, choice.device, self._least]
        views = [choice.tta, [str(scale) for scale in choice.scales]]
        return fingerprint.digest([[repr(card) for card in self._members], asked, views])

    @property
    def _least(self) -> float:
        return allowance(self._members, self._choice.agreement)

    @property
    def _candidates(self) -> list[Runtime]:
        engine, precision = self._choice.engine, self._choice.precision
        engines = [e for e in ENGINES if is_installed(e)] if engine == "auto" else [engine]
        # What only GPUs compute in is never tried.
        return [
            Runtime(name, kind)
            for name in engines
            for kind in PRECISIONS[name]
            if kind == precision or (precision == "auto" and kind != "fp16")
        ]

    def _file(self, task: SceneTask) -> Path:
        return task.directory / STATE / FILE

    def _cached(self, task: SceneTask) -> Chosen:
        """What a trial on a CPU like this has come to, for this model and these versions."""
        shape = task.plan.lattice.chip_shape(task.plan.shape)
        versions = {name: version_of(name) for name in ENGINES}
        key = fingerprint.digest([self._wish, shape, processor(), versions, code()])
        file = cache_folder() / "trials" / f"{key[:32]}.json"
        found = _read(file, key, "as tried before on this CPU")
        if found is None:
            found = self._tried(task)
            if found.trials:
                _write(file, key, found)
        return found

    def _tried(self, task: SceneTask) -> Chosen:
        candidates = self._candidates
        chips = _chips(task)
        if chips is None:
            scene = task.plan.scene.id
            if self._choice.engine == "auto" or candidates[0] == REFERENCE:
                return Chosen(why=f"no chip of scene {scene} could be read to try others")
            self._reporter.warning(
                f"scene {scene}: no chip could be read to compare {candidates[0]} with torch on"
            )
            return Chosen(candidates[0], "as asked")
        self._reporter.message(
            f"trying {', '.join(map(str, candidates))} on {len(chips[1])} chips of scene "
            f"{task.plan.scene.id}"
        )
        committee, device = self._plan.committee, self._choice.device
        trials = try_engines(committee, candidates, *chips, device=device)
        return self._judged(trials, candidates)

    def _judged(self, trials: tuple[Trial, ...], candidates: list[Runtime]) -> Chosen:
        least = self._least
        if self._choice.engine == "auto":
            return Chosen(fastest(trials, least).runtime, "the fastest that agrees", trials, least)
        mine = [trial for trial in trials if trial.runtime in candidates]
        good = [trial for trial in mine if trial.agrees(least)]
        if not good:
            raise _refused(mine, least)
        best = min(good, key=lambda trial: trial.seconds or 0.0)
        return Chosen(best.runtime, "as asked, and it agrees", trials, least)


def _refused(trials: list[Trial], least: float) -> EngineRefusedError:
    """Why none of those that were asked for will do."""
    told = "; ".join(map(str, trials))
    seen = [trial.agreement for trial in trials if trial.agreement is not None]
    if not seen:
        return EngineRefusedError(f"model.engine: {told}")
    lower = np.floor(max(seen) * 1000) / 1000
    return EngineRefusedError(
        f"model.engine: {told} with torch fp32 on chips of the scene, less than the "
        f"{share(least)} that are asked for; take engine: torch, or allow it with "
        f"model.agreement: {lower:g}"
    )


def _pixels(task: SceneTask) -> float:
    """How many the networks will see, at most."""
    plan = task.plan
    return plan.chips * prod(plan.lattice.chip_shape(plan.shape)) * plan.passes


def _chips(task: SceneTask) -> tuple[Batch, NDArray[np.bool_]] | None:
    """Real chips; None where there are none, or where workers will say what is wrong with files."""
    plan = task.plan
    count = round(ENOUGH / (prod(plan.lattice.chip_shape(plan.shape)) * plan.passes))
    count = min(max(count, FEWEST), MOST)
    with closing(open_pixels(plan.scene)) as pixels:
        try:
            return real_chips(
                pixels, plan.card.bands, plan.blocks, Tiling(plan.lattice), count=count
            )
        except (SceneError, RemoteError):
            return None


def _read(file: Path, key: str, why: str) -> Chosen | None:
    """What was written for the same ``key``; what cannot be read was not."""
    try:
        record = json.loads(file.read_text("utf-8"))
        return Chosen.read(record, why) if record["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, key: str, chosen: Chosen) -> None:
    record = {"key": key} | chosen.record
    write_bytes(file, (json.dumps(record, indent=2) + "\n").encode())
