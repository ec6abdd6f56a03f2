"""Make room: products that are older than a workflow wants to keep are removed, and noted so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from geoseg.api.diary import SCENE
from geoseg.api.history_report import history_path, write_history
from geoseg.api.holding import STATE, held
from geoseg.api.publishing import COLLECTION, output_root, publish
from geoseg.api.run_project import project_path, write_run_project
from geoseg.api.scene_report import REPORT
from geoseg.errors import InputError, LockedError
from geoseg.run.clock import Clock
from geoseg.run.noted import Work
from geoseg.run.reporter import Reporter
from geoseg.run.work_ledger import NAME as LEDGER
from geoseg.run.work_ledger import WorkLedger, ledger_path, workflows_in
from geoseg.workflow import load
from geoseg.workflow.monitor import keep_of
from geoseg.workflow.units import Keep

_SIDECARS = (".aux.xml", ".qml", ".ovr", ".msk")


@dataclass(frozen=True, slots=True)
class Cleared:
    """Products of one scene that went, or would go; ``locked`` says why they did not."""

    workflow: str
    scene: str
    date: str | None
    directory: Path
    bytes: int
    locked: str | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """A workflow's products below a folder, and how long they are kept."""

    root: Path
    workflow: str
    keep: Keep | None
    title: str | None = None


def clean(
    target: Path,
    reporter: Reporter,
    *,
    keep: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> list[Cleared]:
    """Remove products that are no longer kept; the newest always stay.

    Only files that the products' own items name are removed, with what lies beside them by the
    same name, and folders that are empty then. The ledger remembers what was there: it is not
    mapped again.

    Args:
        target: A workflow with ``monitor.keep``, or a folder that workflows write to.
        reporter: Told of what stays as it is in use.
        keep: Instead of what the workflow says, like ``90 d`` or ``10 runs``.
        dry_run: Only say what would go.
        now: What ages count from; the time of this machine without it.

    Raises:
        InputError: Nothing says how long to keep, or no workflow has run there.
    """
    wish = None if keep is None else keep_of(keep)
    cleared: list[Cleared] = []
    for one in _targets(target):
        kept = wish or one.keep
        if kept is None:
            raise InputError(
                f"{target}: nothing says how long products of {one.workflow} are kept; set "
                f"monitor.keep in the workflow, or say --keep '90 d'"
            )
        with WorkLedger(one.root, one.workflow, Clock.at(now)) as ledger:
            cleared += _clean(ledger, kept, one.title, reporter, dry_run=dry_run)
    return cleared


def _targets(target: Path) -> list[_Target]:
    if target.is_dir():
        if not ledger_path(target).exists():
            raise InputError(f"{target}: no workflow has run here ({ledger_path(target)} missing)")
        return [_Target(target.absolute(), name, None) for name in workflows_in(target)]
    workflow = load(target)
    keep = None if workflow.monitor is None else workflow.monitor.keep
    if workflow.output.directory.startswith("s3://"):
        raise InputError(
            f"{target}: its products are in a store, which removes old ones itself: give the bucket "
            f"a rule that lets objects expire (a lifecycle configuration)"
        )
    return [_Target(output_root(workflow), workflow.name, keep, workflow.description)]


def _clean(
    ledger: WorkLedger, keep: Keep, title: str | None, reporter: Reporter, *, dry_run: bool
) -> list[Cleared]:
    old = _outlived(ledger, keep)
    # What an interrupted clean left lying.
    left = [work for work in ledger.works(SCENE, "removed") if _files(_folder(ledger, work))]
    cleared = [_clear(ledger, work, dry_run=dry_run) for work in (*left, *old)]
    for one in cleared:
        if one.locked is not None:
            reporter.warning(f"{one.directory}: stays, as it is in use: {one.locked}")
    if cleared and not dry_run and (ledger.root / COLLECTION).exists():
        publish(ledger, ledger.root, title=title)
    if cleared and not dry_run and project_path(ledger.root).exists():
        write_run_project(ledger.root)
    if cleared and not dry_run and history_path(ledger.root).exists():
        write_history(ledger.root)  # its links lead to what is there
    return cleared


def _outlived(ledger: WorkLedger, keep: Keep) -> list[Work]:
    """Works that are not kept any longer; never those of the latest date.

    Those that failed go like the others: they are not tried again, and their blocks take room.
    """
    works = ledger.works(SCENE)
    latest = max((_day(work) for work in works), default="")
    mortal = [work for work in ledger.works(SCENE, "done", "failed") if _day(work) < latest]
    if keep.runs is not None:
        makers = sorted({work.run or 0 for work in works})[-keep.runs :]
        return [work for work in mortal if makers and (work.run or 0) < makers[0]]
    limit = ledger.clock.began - keep.timedelta
    return [w for w in mortal if datetime.fromisoformat(w.date or w.noted) < limit]


def _day(work: Work) -> str:
    """The scene's date; where nobody knows it, when it was mapped."""
    return (work.date or work.noted)[:10]


def _folder(ledger: WorkLedger, work: Work) -> Path:
    return Path(os.path.normpath(ledger.root / (work.place or ".")))


def _clear(ledger: WorkLedger, work: Work, *, dry_run: bool) -> Cleared:
    folder = _folder(ledger, work)
    files = _files(folder)
    size = sum(file.stat().st_size for file in files if file.is_file())
    cleared = Cleared(ledger.workflow, work.name, work.date, folder, size)
    if dry_run:
        return cleared
    try:
        with held(folder):
            # Noted first: what is half removed must not be mapped again.
            ledger.note(
                SCENE, work.name, work.parts, state="removed", date=work.date, place=work.place,
                facts=work.facts,
            )  # fmt: skip
            _remove(folder, files)
    except LockedError as error:
        return Cleared(ledger.workflow, work.name, work.date, folder, 0, locked=str(error))
    for empty in (folder, *folder.parents):
        if empty == ledger.root or not empty.is_relative_to(ledger.root):
            break
        with suppress(OSError):
            empty.rmdir()  # only goes where it is empty
    return cleared


def _files(folder: Path) -> list[Path]:
    """What a scene's products are, by their item, which comes last: it tells what is left to do."""
    item = folder / "item.json"
    try:
        hrefs = [asset["href"] for asset in json.loads(item.read_bytes())["assets"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    found = [Path(os.path.normpath(folder / href)) for href in hrefs]
    found = [path for path in found if path.is_relative_to(folder)]
    found += [Path(f"{path}{suffix}") for path in found for suffix in _SIDECARS]
    found += [path.with_suffix(".qml") for path in found]
    told = (folder / REPORT, folder / "run.json")  # which no item has, as they tell times
    found = [path for path in (*found, *told) if path.exists() and path != item]
    return [*dict.fromkeys(found), item]


def _remove(folder: Path, files: Sequence[Path]) -> None:
    for path in files:
        _remove_one(path)
    for path in (folder / STATE).iterdir():
        # The lock in it is ours and goes by itself; the ledger is of all scenes.
        if not path.name.startswith((".", LEDGER)):
            _remove_one(path)


def _remove_one(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
