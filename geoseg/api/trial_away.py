"""Engines tried where they will compute: on a worker of a cluster that is not this machine.

There each trial is a process of its own, which ends with all that it has loaded: a worker's memory
is planned for the engine that is chosen, not for all that were tried.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.api.chosen import Chosen, EngineRefusedError
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.errors import BlockError, GeosegError
from geoseg.grid import Window
from geoseg.models.engines import ENGINES, PRECISIONS, Runtime, has_bf16, is_installed
from geoseg.run.base import Executor, Failed, Stop
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.resources import visible_gpus

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.api.crew import Crew

T = TypeVar("T")

SECONDS = 600.0
"""Longest time that a trial may take; it should take some."""

FIRST = -1
"""Before the first scene: blocks of others that wait for a worker let a trial pass."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a worker needs to know to choose for a scene. Picklable.

    Attributes:
        plan: Of the run, with this scene alone.
        made: What was chosen for an earlier scene of the run.
        unable: Engines and precisions that not all workers have.
        force: Do not look at what an earlier run has chosen.
    """

    plan: RunPlan
    made: Chosen | None = None
    unable: frozenset[Runtime] = frozenset()
    force: bool = False

    @property
    def task(self) -> SceneTask:
        """The scene."""
        return self.plan.tasks[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was chosen for the scene and for the run, and what is to be told of it."""

    scene: Chosen
    run: Chosen
    messages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChoosingJob:
    """The choice of an engine as the one block of a job. Implements :class:`geoseg.run.base.Job`."""

    key: str
    ask: Ask

    def open(self) -> ChoosingJob:
        """There is nothing to open."""
        return self

    def __call__(self, block: Window) -> dict[str, Any]:  # noqa: ARG002 (there is one)
        """Choose; an error of ours is an answer, as trying again would not help."""
        try:
            return {"found": in_another_process(self.ask)}
        except GeosegError as error:
            return {"raised": error}

    def close(self) -> None:
        """There is nothing to let go of."""


class Away:
    """The workers of a run, asked what they can and which engine is to be taken.

    Args:
        crew: They.
        plan: Of the run.
        reporter: Told what they tell.
    """

    def __init__(self, crew: Crew, plan: RunPlan, reporter: Reporter) -> None:
        self._crew, self._plan, self._reporter = crew, plan, reporter
        self._unable: frozenset[Runtime] | None = None
        self._gpus: bool | None = None

    def gpus(self) -> bool:
        """Whether a worker offers a GPU, or sees one that torch would take; asked once in a run."""
        if self._gpus is None:
            connected = self._crew.connect().result()
            self._gpus = connected.gpus or any(_ask_all(connected.client, _sees_gpu).values())
        return self._gpus

    def choose(self, task: SceneTask, made: Chosen | None, *, force: bool) -> Answer:
        """What one of them chooses for a scene.

        Raises:
            EngineRefusedError: What was asked for cannot, or agrees too little.
            BlockError: No worker has answered.
        """
        executor = self._crew.executor(FIRST, blocks=False)
        if self._unable is None:
            client = self._crew.connect().result().client
            self._unable = unable(_ask_all(client, able).values(), able())
        alone = replace(self._plan, tasks=(task,), warnings=())
        job = ChoosingJob(f"choose-{task.plan.scene.id}", Ask(alone, made, self._unable, force))
        answer = _answered(executor, job)
        for text in answer.messages:
            self._reporter.message(text)
        for text in answer.warnings:
            self._reporter.warning(text)
        return answer


Abilities = Mapping[Runtime, Mapping[str, str]]
"""What computes on a machine, with the versions of its packages."""


def able() -> dict[Runtime, dict[str, str]]:
    """Engines and precisions of this machine's processor."""
    bf16 = has_bf16()
    every = (Runtime(name, kind) for name in ENGINES for kind in PRECISIONS[name])
    return {
        one: {} if one.engine.startswith("torch") else one.versions
        for one in every
        if is_installed(one.engine) and (bf16 or one.precision != "bf16")
    }


def unable(workers: Iterable[Abilities], client: Abilities) -> frozenset[Runtime]:
    """What some worker lacks, or has in another version than the client, who writes it down.

    The client itself need not have the processor for it. Of torch the builds differ; a check before
    the run has compared them.
    """
    said = list(workers)
    every = [Runtime(name, kind) for name in ENGINES for kind in PRECISIONS[name]]

    def fits(runtime: Runtime) -> bool:
        versions = {} if runtime.engine.startswith("torch") else runtime.versions
        here = Runtime(runtime.engine) in client
        return here and all(one.get(runtime) == versions for one in said)

    return frozenset(runtime for runtime in every if not fits(runtime))


def in_another_process(ask: Ask) -> Answer:
    """Choose on this machine, in a process that ends with it.

    Raises:
        EngineRefusedError: As :class:`geoseg.api.engines.Engines` does.
    """
    with tempfile.TemporaryDirectory(prefix="geoseg-trial-") as room:
        asked, answered = Path(room, "ask"), Path(room, "answer")
        asked.write_bytes(pickle.dumps(ask))
        command = [sys.executable, "-m", __name__, str(asked), str(answered)]
        # What this process imports, the other one finds, too.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        try:
            done = subprocess.run(
                command,
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _instead(ask, f"a trial took more than {SECONDS:g} s")
        if done.returncode or not answered.is_file():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return _instead(ask, f"a trial ended with {done.returncode} {' '.join(last)}".rstrip())
        # From a folder that only this user may enter.
        found: Answer | GeosegError = pickle.loads(answered.read_bytes())  # noqa: S301 (see above)
    if isinstance(found, GeosegError):
        raise found
    return found


def _instead(ask: Ask, why: str) -> Answer:
    """Torch in fp32, where the choice was ours; what was asked for is refused.

    Raises:
        EngineRefusedError: It was.
    """
    if ask.plan.workflow.model.engine != "auto":
        raise EngineRefusedError(f"model.engine: {why}")
    chosen = Chosen(why=why)
    return Answer(chosen, chosen, warnings=(f"engine: torch fp32: {why}",))


@dataclass
class _Notes(Silent):
    """Keeps what is told."""

    messages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def _choose(asked: Path, answered: Path) -> None:
    """The process of a trial."""
    from geoseg.api.engines import Engines  # noqa: PLC0415 (workers, who start it, do without)

    ask: Ask = pickle.loads(asked.read_bytes())  # noqa: S301 (of the worker that has started this)
    notes = _Notes()
    engines = Engines(ask.plan, notes, force=ask.force, made=ask.made, unable=ask.unable, here=True)
    try:
        scene, run = engines.chosen(ask.task)
        found: Answer | GeosegError = Answer(
            scene, run, tuple(notes.messages), tuple(notes.warnings)
        )
    except GeosegError as error:
        found = error
    partial = answered.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(found))
    partial.replace(answered)


def _answered(executor: Executor, job: ChoosingJob) -> Answer:
    with closing(executor.run(job, [Window(0, 0, 1, 1)], stop=Stop())) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                raise BlockError(f"model.engine: no worker could try engines: {outcome.error}")
            if "raised" in outcome.report:
                raise outcome.report["raised"]
            answer: Answer = outcome.report["found"]
            return answer
    raise BlockError("model.engine: no worker has answered")


def _ask_all(client: Client, what: Callable[[], T]) -> dict[str, T]:
    """What each worker answers; those that went meanwhile say nothing."""
    answers: dict[str, T] = client.run(what, on_error="ignore")
    return answers


def _sees_gpu() -> bool:
    return bool(visible_gpus())


if __name__ == "__main__":
    # What is answered must be of the module that others know, which this is not.
    from geoseg.api.trial_away import _choose as choose

    choose(Path(sys.argv[1]), Path(sys.argv[2]))
