"""Change between two maps, or between two scenes of a workflow: one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.changes.maps import MapPair, pair_maps
from geoseg.api.changes.products import ChangeProducts
from geoseg.api.changes.run import compare
from geoseg.api.changes.shift import map_shift
from geoseg.api.finished import is_finished
from geoseg.api.holding import held_products
from geoseg.api.machine import blocks_of, room_beside
from geoseg.api.places import check_folder
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.results import SceneResult
from geoseg.api.stored import edited, folder_of, map_here
from geoseg.errors import PlanError
from geoseg.io.atomic import remove_leftovers
from geoseg.io.dated_map import DatedMap, find_map
from geoseg.io.staging import address, local_folder
from geoseg.ops.change import ChangeRule
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.resources import give_back_arrays
from geoseg.scene import Scene
from geoseg.workflow.change import Change, change_of

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of a comparison.

    Attributes:
        products: Paths by role; the STAC item is last.
        record: What run.json says: areas by class and transition, the shift, what was left out.
        warnings: What the user should look at.
        fresh: False where all of it was there already, made from the same.
    """

    products: dict[str, Path]
    record: dict[str, Any]
    warnings: tuple[str, ...] = ()
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of two maps beside what their files say; see :func:`find_map`."""

    before_date: datetime | None = None
    after_date: datetime | None = None
    before_confidence: Path | None = None
    after_confidence: Path | None = None


def change(
    before: AnyPath,
    after: AnyPath,
    out: AnyPath,
    *,
    known: Known | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Changed:
    """What changed between two maps of classes, written to a folder.

    Maps may be on different grids (the later one is read by nearest pixels), and of different
    legends (classes of the same name are the same). A pixel without a class on either date is not
    compared. Nothing depends on blocks or workers.

    Args:
        before: The earlier map: a folder of products, or a raster of class codes.
        after: The later map.
        out: Folder of the products.
        known: Dates and confidences that the files do not bring.
        workers: Worker processes; without it threads of this one, which begin sooner.
        reporter: Told of progress; nobody is, without it.
        settings: As in the section ``change`` of workflows: ``from_=["Trees"]``, ``to``,
            ``min_confidence=60``, ``min_area="0.5 ha"``, ``edges="erode"``...

    Raises:
        InputError: Maps or settings do not fit; nothing was written.
        LockedError: Another comparison writes to ``out``.
    """
    about = known or Known()
    one = find_map(Path(before), when=about.before_date, confidence=about.before_confidence)
    two = find_map(Path(after), when=about.after_date, confidence=about.after_confidence)
    wanted = change_of(settings)
    teller = reporter or Silent()
    made = change_between(one, two, Path(out), wanted, workers=workers, reporter=teller, force=True)
    teller.done(f"{out}: {made.record['changed_ha']:,.2f} ha of change")
    return made


def change_between(
    before: DatedMap,
    after: DatedMap,
    out: Path,
    wanted: Change,
    *,
    workers: int | None,
    reporter: Reporter,
    force: bool,
) -> Changed:
    """As :func:`change`, for maps that were found; what is finished is not done again by itself.

    Raises:
        InputError: Maps and settings do not fit; nothing was written.
        LockedError: Another comparison writes to ``out``.
    """
    check_folder(out, what="change")
    rule = ChangeRule(wanted.edges, wanted.edge_width, wanted.min_confidence)
    pair = pair_maps(before, after, wanted, reporter=reporter)
    products = _products(pair, wanted, out)
    if not force and _is_there(products):
        reporter.message(f"change {pair.title}: up to date")
        return Changed(products.paths(), {}, fresh=False)
    give_back_arrays()
    with ExitStack() as stack:
        stack.callback(_remove_empty, out)
        stack.enter_context(held_products(out))
        remove_leftovers(out)
        room = stack.enter_context(room_beside(out / "change.tif"))
        machine = stack.enter_context(
            blocks_of(products.fingerprint, pair.grid, room, workers, reporter)
        )
        shift = map_shift(pair, reporter=reporter)
        warnings = _warnings(pair, shift.warning(wanted.max_shift))
        for warning in warnings:
            reporter.warning(warning)
        compared = compare(
            pair, rule, machine, min_area=wanted.min_area, by_origin=wanted.patches == "from"
        )
        told = {"shift": shift.record(), "warnings": list(warnings)}
        record = products.write(compared, machine, told)
    return Changed(products.paths(), record, warnings)


def _is_there(products: ChangeProducts) -> bool:
    paths = products.paths()
    with edited([paths["run"], paths["item"]]):
        return is_finished(paths, products.fingerprint)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # only goes where it is empty


def _warnings(pair: MapPair, shift: str | None) -> tuple[str, ...]:
    found = [] if shift is None else [shift]
    if not pair.aligned:
        found.append(
            "the maps lie on different grids: nearest pixels are compared, which moves edges of "
            "classes by up to half a pixel"
        )
    return tuple(found)


def _products(pair: MapPair, wanted: Change, out: Path) -> ChangeProducts:
    inputs = fingerprint.inputs(pair.sources)
    settings = {
        "change": wanted.model_dump(mode="json", exclude={"before", "after", "directory"}),
        "dates": [pair.before.when, pair.after.when],
        "grid": repr(pair.grid),
    }
    parts = fingerprint.parts(sources=inputs, model={}, settings=settings)
    return ChangeProducts(out, pair, wanted, inputs, parts, fingerprint.digest(parts))


def check(plan: RunPlan) -> None:
    """Refuse a workflow whose section ``change`` cannot be done, before its scenes are mapped.

    Raises:
        PlanError: It is not clear which two scenes are meant.
    """
    wanted = plan.workflow.change
    if wanted is not None:
        before, after = (_chosen(plan, wanted, side) for side in ("before", "after"))
        if before == after:
            name = before if isinstance(before, Path) else f"scene {before.plan.scene.id}"
            raise PlanError(f"change.after: is {name}, as is change.before; say two of them")


def follow(plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter) -> None:
    """Compare the two scenes that the workflow's section ``change`` names, once they are mapped.

    Raises:
        InputError: They do not fit together.
    """
    wanted = plan.workflow.change
    if wanted is None:
        return
    failed = {result.scene for result in results if result.error is not None}
    found = []
    for side in ("before", "after"):
        chosen = _chosen(plan, wanted, side)
        if isinstance(chosen, Path):
            found.append(find_map(chosen))
            continue
        scene = chosen.plan.scene
        if scene.id in failed:
            reporter.warning(f"change: scene {scene.id} failed, nothing is compared")
            return
        found.append(find_map(map_here(chosen.directory), when=_moment(scene)))
    before, after = found
    out = _directory(plan, wanted, before, after)
    made = change_between(before, after, out, wanted, workers=None, reporter=reporter, force=False)
    if made.fresh:
        reporter.message(f"{address(out)}: {made.record['changed_ha']:,.2f} ha of change")


def _chosen(plan: RunPlan, wanted: Change, side: str) -> SceneTask | Path:
    """The scene or the map that is called so."""
    name, tasks = getattr(wanted, side), plan.tasks
    if name is None:
        if len(tasks) != 2:
            listed = ", ".join(task.plan.scene.id for task in tasks)
            raise PlanError(
                f"change: the workflow has {len(tasks)} scenes ({listed}); say which two with "
                f"change.before and change.after: by date, name or folder"
            )
        ordered = sorted(tasks, key=_known_moment)
        return ordered[0 if side == "before" else 1]
    for task in tasks:
        if name == task.plan.scene.id:
            return task
    days = [task for task in tasks if _day(task) == name]
    if len(days) > 1:
        listed = ", ".join(task.plan.scene.id for task in days)
        raise PlanError(f"change.{side}: several scenes are of {name} ({listed}); name one")
    if days:
        return days[0]
    if Path(name).exists():
        return Path(name)
    known = ", ".join(f"{task.plan.scene.id} ({_day(task) or 'no date'})" for task in tasks)
    raise PlanError(f"change.{side}: {name!r} is no scene, date or folder; the scenes are {known}")


def _known_moment(task: SceneTask) -> datetime:
    when = _moment(task.plan.scene)
    if when is None:
        raise PlanError(
            f"change: scene {task.plan.scene.id} has no date; say which is earlier with "
            f"change.before and change.after"
        )
    return when


def _moment(scene: Scene) -> datetime | None:
    when = scene.acquired
    return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)


def _day(task: SceneTask) -> str | None:
    when = task.plan.scene.acquired
    return None if when is None else when.date().isoformat()


def _directory(plan: RunPlan, wanted: Change, before: DatedMap, after: DatedMap) -> Path:
    """Where the products go: what is said, or a folder of its own beside those of the scenes."""
    if wanted.directory is not None:
        return folder_of(wanted.directory)
    days = [m.when.date().isoformat() if m.when else m.id for m in (before, after)]
    workflow = plan.workflow
    parts = Path(workflow.output.directory.replace("{name}", workflow.name)).parts
    fixed = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
    folder = Path(*parts[:fixed], "change", "_".join(days))
    return local_folder(folder) if parts[0] == "s3:" else folder
