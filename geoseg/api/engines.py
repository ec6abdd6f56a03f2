"""Which engine computes a scene: as asked, as before, or the fastest of a trial on real chips."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.api import fingerprint
from geoseg.api.candidates import fitting
from geoseg.api.chosen import (
    SMALL,
    Chosen,
    EngineRefusedError,
    read_chosen,
    refused,
    write_chosen,
)
from geoseg.api.holding import STATE
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.trial_chips import COMPARED, some, trial_chips, trial_lattice
from geoseg.errors import ModelError
from geoseg.models.base import Segmenter
from geoseg.models.committee import Committee
from geoseg.models.converted import cache_folder, code
from geoseg.models.engine_trial import REFERENCE, Opening, Trial, allowance, fastest, try_engines
from geoseg.models.engines import (
    ENGINES,
    Engine,
    Runtime,
    processor,
    version_of,
)
from geoseg.models.quantizing import beside, intact, keep_beside, kept_beside, quantized
from geoseg.plan import ScenePlan
from geoseg.run.ledger_segments import keep_state
from geoseg.run.reporter import Reporter

if TYPE_CHECKING:
    from geoseg.api.trial_away import Away

FEWEST, MOST = 2, 8
"""How many chips engines are tried on; the first also warms them up."""

ENOUGH = 1_200_000
"""Pixels that a trial need not exceed: it should take seconds."""

CALIBRATING, EACH = 10, 5
"""Chips that ranges for int8 are taken from; each fifth is kept out, to judge what came of it."""

WORTH = 5_000_000
"""Pixels to predict from which a choice is worth a trial; smaller scenes take torch in fp32. A trial
takes about 3 s, once for a model on a CPU; an engine that is three times as fast saves that
in 9 million pixels."""

TRIED = "as tried before on this CPU"

FILE = "engine.json"
"""In the state folder of an output: what began it, and goes on with it."""

INT8 = Runtime("openvino", "int8")


class Engines:
    """Chooses for the scenes of one run; tries at most once, and compares on every scene.

    Args:
        plan: All that is done.
        reporter: Told of the choice.
        force: Do not look at what an earlier run has chosen.
        away: Workers elsewhere, one of which is asked; None: they are on this machine.
        here: This is such a worker, asked by itself.
        made: What it has chosen for an earlier scene.
        unable: Engines and precisions that its like lack.
    """

    def __init__(
        self,
        plan: RunPlan,
        reporter: Reporter,
        *,
        force: bool = False,
        away: Away | None = None,
        here: bool = False,
        made: Chosen | None = None,
        unable: frozenset[Runtime] = frozenset(),
    ) -> None:
        self._plan, self._reporter, self._force = plan, reporter, force
        self._choice = plan.workflow.model
        self._members = [member.card for member in plan.committee.members]
        self._made, self._unable = made, unable
        # Int8 is made of a scene once, where its networks are to be found by all.
        self._away = None if self._choice.numbers == "int8" else away
        self._nobody = plan.workflow.cluster.kind != "local" and away is None and not here
        self._engine, self._numbers = self._asked()

    def of(self, task: SceneTask) -> Chosen:
        """What computes a scene: what began it, else what this run has chosen.

        Raises:
            EngineRefusedError: What was asked for cannot, or agrees too little, on the first scene
                that is looked at. Later ones take torch in fp32 instead, and it is said.
        """
        found = self._settled(task)
        if found is not None:
            return found
        if self._auto and self._gpus_away():
            return Chosen(self._untried("torch"), "workers have a GPU")
        first = self._made is None
        try:
            return self.chosen(task)[0]
        except EngineRefusedError as error:
            if first:
                raise
            self._reporter.warning(f"scene {task.plan.scene.id}: torch fp32 instead: {error}")
            return Chosen(why=f"instead of what does not agree here: {error}")

    def known(self, task: SceneTask) -> Chosen | None:
        """What :meth:`of` is to come to, where nothing needs to be asked, tried or compared for it."""
        found = self._settled(task)
        if found is not None:
            return found
        only, *others = self._fits
        if not (self._auto or others):
            return Chosen(only)
        if not self._plan.workflow.cluster.here:
            return None  # a trial there is on other processors
        return read_chosen(*self._trial_file(task), TRIED)

    def _settled(self, task: SceneTask) -> Chosen | None:
        """What is asked for and needs no look, what began the map, or that none is worth a trial."""
        fixed = self._fixed()
        if fixed is not None:
            return Chosen(fixed)
        kept = None if self._force else self._kept(task)
        if kept is not None:
            return kept
        return Chosen(why=SMALL) if self._auto and _pixels(task.plan) < WORTH else None

    def planned(self, task: SceneTask, chosen: Chosen, *, ask: bool) -> SceneTask:
        """``task`` with the memory that it takes now; ``ask`` workers elsewhere for their GPUs."""
        torch = chosen.runtime.engine.startswith("torch")
        gpu = ask and torch and self._choice.device == "auto" and self._gpus_away()
        return self._plan.computed_by(task, chosen, gpu=gpu)

    def will_measure(self, task: SceneTask) -> bool:
        """Whether the choice for a scene takes times, which whatever runs beside would change."""
        if self._fixed() is not None or self._numbers == "int8" or self._made is not None:
            return False
        if self._away is not None:
            return False  # what is measured is another machine
        if self._auto and _pixels(task.plan) < WORTH:
            return False
        if not self._force and self._kept(task) is not None:
            return False
        file, key = self._trial_file(task)
        return read_chosen(file, key, "") is None

    def keep(self, task: SceneTask, chosen: Chosen) -> None:
        """Note what a scene is begun with, so that no map mixes engines."""
        if self._fixed() is not None or chosen.why == SMALL:
            return
        folder = task.directory / STATE
        if chosen.networks:
            keep_beside(folder, chosen.networks)
        write_chosen(folder / FILE, self._wish, chosen)
        keep_state(folder, [*(beside(folder, sha).name for sha in chosen.networks), FILE])

    def committee(self, task: SceneTask, chosen: Chosen) -> Committee:
        """The models as ``chosen`` computes them."""
        whole = self._plan.committee
        if not chosen.networks:
            return whole
        folder = task.directory / STATE
        pairs = zip(whole.members, chosen.networks, strict=True)
        return replace(whole, members=tuple(kept_beside(folder, m, sha) for m, sha in pairs))

    def _asked(self) -> tuple[Engine | str, str]:
        """Engine and precision; what runs where nobody can be asked, no trial can choose for."""
        engine, numbers = self._choice.engine, self._choice.numbers
        if numbers == "int8":
            return "openvino", numbers
        if engine == "auto" and (
            self._nobody or numbers == "fp16" or self._choice.device == "cuda"
        ):
            return "torch", "fp32" if numbers == "auto" else numbers
        return engine, numbers

    @property
    def _auto(self) -> bool:
        return self._engine == "auto"

    def _gpus_away(self) -> bool:
        """Whether workers elsewhere compute on GPUs, of which nothing is tried."""
        return self._away is not None and self._choice.device != "cpu" and self._away.gpus()

    def _fixed(self) -> Runtime | None:
        """What needs no trial: torch in fp32, and whatever only a GPU can show."""
        if self._engine == "torch" and self._numbers == "fp32":
            return Runtime()
        if self._numbers == "fp16" or self._choice.device == "cuda":
            return self._untried(self._engine)
        return None

    def _untried(self, engine: str) -> Runtime:
        """An engine in the precision that is asked for; in fp32 where that is left to a trial."""
        numbers = "fp32" if self._numbers == "auto" else self._numbers
        return Runtime(engine, numbers)  # type: ignore[arg-type]  # "auto" is none of both

    @property
    def _wish(self) -> str:
        choice = self._choice
        asked = [self._engine, self._numbers, choice.device, self._least]
        views = [choice.tta, [str(scale) for scale in choice.scales]]
        return fingerprint.digest([[repr(card) for card in self._members], asked, views])

    @property
    def _least(self) -> float:
        return allowance(self._members, self._choice.agreement)

    @property
    def _candidates(self) -> list[Runtime]:
        """What is tried, the likeliest to be fast first."""
        # What is asked for and lacks somewhere is refused there, by name.
        return [one for one in self._fits if one not in self._unable] or self._fits

    @property
    def _fits(self) -> list[Runtime]:
        """The same of this machine, whatever others lack."""
        return fitting(self._engine, self._numbers)

    def _kept(self, task: SceneTask) -> Chosen | None:
        """What a map was begun with, if that is still there."""
        folder = task.directory / STATE
        found = read_chosen(folder / FILE, self._wish, "as before")
        if found is None or all(intact(beside(folder, sha), sha) for sha in found.networks):
            return found
        return None

    def chosen(self, task: SceneTask) -> tuple[Chosen, Chosen]:
        """What a trial or a comparison comes to: for a scene, and for those that follow.

        Raises:
            EngineRefusedError: What was asked for cannot, or agrees too little.
        """
        if self._numbers == "int8":
            self._made = self._quantized(task)
            self._reporter.message(f"scene {task.plan.scene.id}: engine: {self._made.told}")
            return self._made, self._made
        if self._made is not None and self._made.runtime.precision == "fp32":
            return self._made, self._made
        if self._away is not None:
            answer = self._away.choose(task, self._made, force=self._force)
            self._made = answer.run
            return answer.scene, answer.run
        if self._made is not None:
            return self._compared(task, self._made), self._made
        made, here = self._cached(task)
        self._reporter.message(f"engine: {made.told}")
        found = made if here else self._compared(task, made)
        self._made = made
        return found, made

    def _cached(self, task: SceneTask) -> tuple[Chosen, bool]:
        """What a trial on a CPU like this has come to, for this model and these versions.

        And whether it was on this scene, just now.
        """
        file, key = self._trial_file(task)
        found = read_chosen(file, key, TRIED)
        if found is not None:
            return found, False
        found = self._tried(task)
        if found.trials:
            with suppress(OSError):  # a worker may have no place of its own; it tries again then
                write_chosen(file, key, found)
        return found, True

    def _trial_file(self, task: SceneTask) -> tuple[Path, str]:
        """Where the outcome of such a trial is kept, and what it must be of."""
        plan = task.plan
        shape = trial_lattice(plan).chip_shape(plan.shape)
        versions = {name: version_of(name) for name in ENGINES}
        # What this machine would not try either makes no other trial.
        lacks = [str(one) for one in self._fits if one in self._unable]
        key = fingerprint.digest(
            [self._wish, shape, processor(), versions, code(), *([lacks] if lacks else [])]
        )
        return cache_folder() / "trials" / f"{key[:32]}.json", key

    def _tried(self, task: SceneTask) -> Chosen:
        candidates, scene = self._candidates, task.plan.scene.id
        if self._auto and all(one == REFERENCE for one in candidates):
            return Chosen(why="no other is installed")
        chips = trial_chips(task.plan, self._count(task.plan))
        if chips is None:
            # What cannot be compared should at least be as exact as it gets.
            taken = next((one for one in candidates if one.precision == "fp32"), candidates[0])
            if self._auto or taken == REFERENCE:
                return Chosen(why=f"no chip of scene {scene} could be read to try others")
            self._reporter.warning(
                f"scene {scene}: no chip could be read to compare {taken} with torch on"
            )
            return Chosen(taken, "as asked")
        named = ", ".join(str(one) for one in candidates if one != REFERENCE)
        self._reporter.message(f"trying {named} on {len(chips[1])} chips of scene {scene}")
        least = self._least
        trials = try_engines(self._opening(), candidates, *chips, least=least)
        return self._judged(trials, candidates, least)

    def _judged(self, trials: tuple[Trial, ...], candidates: list[Runtime], least: float) -> Chosen:
        if self._auto:
            return Chosen(fastest(trials, least).runtime, "the fastest that agrees", trials, least)
        mine = [trial for trial in trials if trial.runtime in candidates]
        good = [trial for trial in mine if trial.agrees(least)]
        if not good:
            raise refused(mine, least)
        best = min(good, key=lambda trial: trial.seconds or 0.0)
        return Chosen(best.runtime, "as asked, and it agrees", trials, least)

    def _compared(self, task: SceneTask, made: Chosen) -> Chosen:
        """The same choice for another scene than that of its trial, where it agrees there, too.

        Of the same engine's fp32 nothing is to be feared, as it has the same network and was
        compared with torch; so that is the reference, and torch need not be loaded.
        """
        runtime, least = made.runtime, self._least
        if runtime.precision == "fp32":
            return made
        chips = trial_chips(task.plan, FEWEST, COMPARED)
        if chips is None:
            return made
        reference = Runtime(runtime.engine)
        *_, here = try_engines(self._opening(), [runtime], *chips, reference=reference)
        scene = task.plan.scene.id
        if here.agrees(least):
            self._reporter.message(f"scene {scene}: {here}")
            return replace(made, here=here)
        if not self._auto:
            raise refused([here], least)
        self._reporter.warning(f"scene {scene}: torch fp32 instead: {here}")
        return Chosen(REFERENCE, "another does not agree here", made.trials, least, here)

    def _quantized(self, task: SceneTask) -> Chosen:
        """This scene's own networks in int8, which agree on chips that they were not made with."""
        scene, least = task.plan.scene.id, self._least
        found = trial_chips(task.plan, CALIBRATING)
        if found is None:
            raise EngineRefusedError(
                f"model.precision: scene {scene}: no chip could be read to calibrate int8 on; "
                f"take precision: bf16"
            )
        chips, counted = found
        count = len(counted)
        self._reporter.message(f"calibrating int8 on {count} chips of scene {scene}")
        judged = np.arange(count) % EACH == EACH - 1 if count >= EACH else np.ones(count, np.bool_)
        seen = ~judged if count >= EACH else judged
        bands, whole = task.plan.card.bands, self._plan.committee
        try:
            made = [quantized(one, some(chips, seen), bands) for one in whole.members]
        except ModelError as error:
            raise EngineRefusedError(f"model.precision: {error}") from error
        opening = self._opening(replace(whole, members=tuple(made)))
        trials = try_engines(opening, [INT8], some(chips, judged), counted[judged])
        if not trials[-1].agrees(least):
            raise refused(trials[1:], least)
        networks = tuple(one.card.sha256 or "" for one in made)
        return Chosen(INT8, "as asked, and it agrees", trials, least, networks=networks)

    def _opening(self, coarse: Committee | None = None) -> Opening:
        """Opens the models; those in int8 are others."""

        def opened(runtime: Runtime) -> Segmenter:
            whole = self._plan.committee if runtime != INT8 or coarse is None else coarse
            return whole.open(
                device=self._choice.device,
                precision=runtime.precision,
                threads=1,
                engine=runtime.engine,
            )

        return opened

    def _count(self, plan: ScenePlan) -> int:
        count = round(ENOUGH / (prod(trial_lattice(plan).chip_shape(plan.shape)) * plan.passes))
        return min(max(count, FEWEST), MOST)


def _pixels(plan: ScenePlan) -> float:
    """How many the networks will see, at most."""
    return plan.chips * prod(plan.lattice.chip_shape(plan.shape)) * plan.passes
