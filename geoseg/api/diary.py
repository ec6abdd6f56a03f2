"""What a run tells the ledger: what it found to do and why, what came of it, and how it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.combining import date_text
from geoseg.api.holding import STATE
from geoseg.api.holes import WHOLE, Holes
from geoseg.api.notices import deliver
from geoseg.api.planning import SceneTask
from geoseg.api.publishing import check_root, output_root, publish
from geoseg.api.results import SceneResult, Told
from geoseg.api.stages import MadeFrom
from geoseg.errors import GeosegError, LockedError, PlanError, ProductError
from geoseg.io.staging import products_of, store_place
from geoseg.models.engines import Runtime
from geoseg.models.registry import ModelPackage
from geoseg.redaction import without_secrets
from geoseg.run.clock import Clock
from geoseg.run.noted import RunState
from geoseg.run.reasons import Reason, flat
from geoseg.run.reporter import Reporter
from geoseg.run.stored_ledger import StoredLedger
from geoseg.run.work_ledger import NAME as LEDGER
from geoseg.run.work_ledger import WorkLedger
from geoseg.workflow import Workflow
from geoseg.workflow.monitor import Notify

SCENE = "scene"
_PRODUCTS = ("raster", "vector", "quicklook", "project")


def ledger_of(workflow: Workflow, now: datetime | None = None) -> WorkLedger:
    """The ledger beside the outputs of a workflow; close it after use.

    For all that is done once for each scene, pair of dates, or year.
    """
    return _ledger(workflow, Clock.at(now))


def _ledger(workflow: Workflow, clock: Clock) -> WorkLedger:
    """In the store where nights go on with it from any machine, else of this machine."""
    root = output_root(workflow)
    place = None if workflow.monitor is None else store_place(products_of(root))
    if place is None:
        return WorkLedger(root, workflow.name, clock)
    return StoredLedger(root, workflow.name, clock, place / STATE / LEDGER)


class Diary:
    """One run's side of the ledger. Begins a run in it when there is something to do."""

    def __init__(
        self,
        workflow: Workflow,
        ledger: WorkLedger,
        reporter: Reporter,
        members: Sequence[ModelPackage] = (),
    ) -> None:
        self.workflow, self.ledger, self.reporter = workflow, ledger, reporter
        self.members = members
        self.warnings: list[str] = []
        self._begun = False

    def check(self, tasks: Sequence[SceneTask]) -> None:
        """Refuse to write over the products of other scenes or workflows.

        Only where runs go on night after night: else a new scene in the place of the old one is
        what was asked for.

        Raises:
            InputError: Somebody else's products lie where ours would go.
        """
        if self.workflow.monitor is None:
            return
        check_root(self.root, self.workflow.name)
        there = {work.place: work.name for work in self.ledger.works(SCENE)}
        for task in tasks:
            other = there.get(self._place(task.directory), task.plan.scene.id)
            if other != task.plan.scene.id:
                raise PlanError(
                    f"output.directory: {task.directory} has the products of scene {other}, those "
                    f"of {task.plan.scene.id} would replace them; add {{scene}} to it"
                )

    @property
    def root(self) -> Path:
        """The folder above all products; what stands for it, where it is in a store."""
        return products_of(self.ledger.root)

    def held(self) -> None:
        """The outputs are held: what others have noted before counts."""
        self.ledger.refresh()

    def begin(self, *, locked: bool = True) -> None:
        """Note that a run begins; may be called again.

        ``locked``: the outputs are held.
        """
        if self._begun:
            return
        for run in self.ledger.begin(alone=locked and self.workflow.monitor is not None):
            text = f"run of {run.began}: {run.text}"
            self.reporter.warning(text)
            self.ledger.tell("failure", f"run {run.id} {run.began}", text)
        self._begun = True
        self.ledger.keep()

    def removed(self, task: SceneTask) -> bool:
        """Whether the scene's products were removed to make room, and shall stay away."""
        work = self.ledger.work(SCENE, task.plan.scene.id)
        return work is not None and work.state == "removed"

    def why(
        self, task: SceneTask, made_from: MadeFrom, *, finished: bool, force: bool
    ) -> Reason | None:
        """Why a scene must be mapped; None where its products are ``finished``, unless forced."""
        if finished:
            return Reason("forced", "as was asked for (--force)") if force else None
        scene = task.plan.scene.id
        reason = self.ledger.need(
            SCENE, scene, self._parts(made_from), about=self._about(made_from)
        )
        work = self.ledger.work(SCENE, scene)
        if reason is None and work is not None and work.facts.get("failed_blocks"):
            return Reason("failed", f"{work.facts['failed_blocks']} blocks failed before")
        return reason or Reason("missing", "products are missing or damaged")

    def made(
        self,
        task: SceneTask,
        made_from: MadeFrom,
        record: Mapping[str, Any] | None,
        holes: Holes = WHOLE,
    ) -> None:
        """Note that a scene's products are there: made now, or found (``record`` is None then)."""
        scene, parts, about = task.plan.scene, self._parts(made_from), self._about(made_from)
        if record is None and self._is_noted(scene.id, parts):
            return  # that was noted, too
        self.begin()
        if record is None:
            record = json.loads((task.directory / "run.json").read_text("utf-8"))
        areas = {one["name"]: one["area_ha"] for one in record["classes"] if one["area_ha"]}
        when = None if scene.acquired is None else scene.acquired.isoformat(timespec="seconds")
        place = self._place(task.directory)
        with self.ledger.transaction():
            for other in self.ledger.works(SCENE, "done", "failed", "removed", place=place):
                if other.name != scene.id:
                    self.ledger.forget(SCENE, other.name)  # its products were replaced by these
            self.ledger.note(
                SCENE, scene.id, parts, about=about, date=when, place=place,
                facts={
                    "fingerprint": holes.marked(made_from.products),
                    "failed_blocks": len(holes.failed),
                },
            )  # fmt: skip
            shares = ", ".join(f"{name} {area:,.1f} ha" for name, area in areas.items())
            text = f"scene {scene.id} ({date_text(scene) or 'no date'}) mapped: {shares}"
            told = {"scene": scene.id, "date": when, "areas_ha": areas}
            mark = holes.marked(made_from.products)[:16]
            self.ledger.tell("products", f"{scene.id} {mark}", text, told)
            if holes:
                text = f"scene {scene.id}: {holes}; first: {holes.failed[0].error}"
                self.ledger.tell("failure", self._once(scene.id, text), text, {"scene": scene.id})
        self.ledger.keep(more=True)

    def failed(self, task: SceneTask, error: GeosegError) -> None:
        """Note that a scene failed; the same failure is told once, however many nights it lasts."""
        with self._as_well_as_it_goes():
            self._note_failed(task, str(error))

    def _note_failed(self, task: SceneTask, text: str) -> None:
        scene = task.plan.scene
        when = None if scene.acquired is None else scene.acquired.isoformat(timespec="seconds")
        before = self.ledger.work(SCENE, scene.id)
        stands = before is not None and before.state == "done"
        self.begin()
        with self.ledger.transaction():
            # Products of an earlier run stay what they are, until there are new ones.
            if not (stands and (task.directory / "item.json").exists()):
                self.ledger.note(
                    SCENE, scene.id, {}, state="failed", date=when,
                    place=self._place(task.directory), text=text,
                )  # fmt: skip
            told = f"scene {scene.id} failed: {text}"
            self.ledger.tell("failure", self._once(scene.id, text), told, {"scene": scene.id})
        self.ledger.keep(more=True)

    def tell(self, told: Sequence[Told]) -> None:
        """Put what the sections of the workflow found among what is to be told."""
        if told:
            self.begin()
        for one in told:
            self.ledger.tell(*one)

    def finish(self, results: Sequence[SceneResult]) -> None:
        """Write what stands above all scenes, and note how the run went."""
        self.begin()
        if self.workflow.monitor is not None:
            publish(self.ledger, self.root, title=self.workflow.description)
        counts = {
            "made": sum(one.fresh and one.error is None for one in results),
            "there": sum(not one.fresh for one in results),
            "failed": sum(one.error is not None for one in results),
        }
        holed = sum(bool(one.failed_blocks) for one in results)
        if holed:
            counts["with holes"] = holed
        self.ledger.end("partial" if counts["failed"] or holed else "good", counts)
        self.ledger.keep()
        if len(results) > 1 or self.workflow.monitor is not None:
            self._show_all()
            self._tell_history()

    def broken(self, error: BaseException) -> None:
        """Note that the run ended by an error."""
        if not (self._begun or self.ledger.exists) or isinstance(error, LockedError):
            return  # nothing is written where nothing was
        state: RunState = "failed" if isinstance(error, Exception) else "stopped"
        with self._as_well_as_it_goes():
            self.begin(locked=False)
            self.ledger.end(state, {}, text=str(error))
            if state == "failed":
                told = f"the run failed: {error}"
                self.ledger.tell("failure", self._once("run", str(error)), told)
            self.ledger.keep()
            if self.workflow.monitor is not None:
                self._tell_history()

    def _show_all(self) -> None:
        """Make the QGIS project of all scenes anew."""
        if self.workflow.output.project:
            from geoseg.api.run_project import write_run_project  # noqa: PLC0415 (when all is done)

            with self._as_well_as_it_goes():
                write_run_project(self.ledger.root)

    def _tell_history(self) -> None:
        """Make the page of all runs anew; it stands beside products, and reads them."""
        output = self.workflow.output
        if output.report and not output.directory.startswith("s3://"):
            from geoseg.api.history_report import write_history  # noqa: PLC0415 (when all is done)

            with self._as_well_as_it_goes():
                write_history(self.ledger.root)

    def deliver(self) -> None:
        """Tell what is to be told; never fails."""
        with self._as_well_as_it_goes():
            if self.ledger.exists:
                self.warnings += deliver(self.ledger, self.workflow.notify, self.reporter)
                self.ledger.keep()

    @contextmanager
    def _as_well_as_it_goes(self) -> Iterator[None]:
        """On a full disk a failure cannot be noted: what is told is why the run failed, not that.

        Nor is it where another night has begun in the same store.
        """
        try:
            yield
        except (ProductError, LockedError) as error:
            self.reporter.warning(f"not noted: {error}")

    def _once(self, what: str, text: str) -> str:
        """The key of a failure: the same every night until there was a good one."""
        good = self.ledger.runs("good")
        since = good[-1].began if good else "the beginning"
        return f"{what} {fingerprint.digest(text)[:16]} since {since}"

    def _place(self, directory: Path) -> str:
        return Path(os.path.relpath(directory, self.root)).as_posix()

    def _is_noted(self, scene: str, parts: Mapping[str, str]) -> bool:
        work = self.ledger.work(SCENE, scene)
        return work is not None and work.state == "done" and dict(work.parts) == dict(parts)

    def _parts(self, made_from: MadeFrom) -> dict[str, str]:
        keys = self.workflow.results_key_fields()
        products = fingerprint.digest([keys["refine"], keys["products"]])
        return {**made_from.parts, "products": products}

    def _about(self, made_from: MadeFrom) -> dict[str, dict[str, str]]:
        """What each part is called. Settings from the environment stay ``${NAME}``."""
        settings = self.workflow.canonical()
        keys = self.workflow.results_key_fields()["segment"]
        segment = {
            key: _only(settings[key], keys[key]) for key in keys if settings[key] is not None
        }
        output = {key: settings["output"][key] for key in _PRODUCTS}
        models: dict[str, str] = {}
        for member in self.members:
            card = member.card
            models |= {card.name: card.version, f"{card.name} weights": (card.sha256 or "")[:8]}
        if made_from.engine.runtime != Runtime():
            models["engine"] = str(made_from.engine.runtime)
        return {
            "inputs": {_named(one["href"]): _content(one) for one in made_from.inputs},
            "model": models,
            "settings": flat(segment),
            "code": fingerprint.software(),
            "products": flat({"name": self.workflow.name, "output": output}
                             | {"postprocess": settings["postprocess"]}),
        }  # fmt: skip


@contextmanager
def diary_of(
    workflow: Workflow, clock: Clock, reporter: Reporter, members: Sequence[ModelPackage] = ()
) -> Iterator[Diary]:
    """The diary of a run; where it ends by an error, that is noted. Last, notices are delivered."""
    with _ledger(workflow, clock) as ledger:
        diary = Diary(workflow, ledger, reporter, members)
        try:
            yield diary
        except BaseException as error:
            diary.broken(error)
            if isinstance(error, Exception):
                diary.deliver()
            raise
        diary.deliver()


def say_what_lacks(notify: Notify | None, reporter: Reporter) -> None:
    """Warn of variables that would be needed to tell somebody something."""
    if notify is None:
        return
    names = [notify.webhook_env]
    if notify.email is not None:
        names += [notify.email.server_env, notify.email.to_env, notify.email.from_env]
    lacking = [name for name in names if name is not None and not os.environ.get(name)]
    if lacking:
        reporter.warning(f"notify: {', '.join(lacking)} not set in the environment")


def _only(settings: Any, keys: Any) -> Any:
    """Of settings, those that change results."""
    if not (isinstance(settings, dict) and isinstance(keys, dict)):
        return settings
    return {name: value for name, value in settings.items() if name in keys}


def _named(href: str) -> str:
    return without_secrets(href).rpartition("/")[2] or without_secrets(href)


def _content(source: Mapping[str, Any]) -> str:
    """What tells one content of a file from another, in short."""
    found = source.get("sha256") or source.get("sha256_of_samples")
    return str(found)[:8] if found else without_secrets(str(source["href"]))
