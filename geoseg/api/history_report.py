"""The report of all that workflows have done in a folder: runs, areas over time, the latest maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from geoseg.api.report_facts import mapped_pixels
from geoseg.api.run_project import project_path
from geoseg.api.scene_report import RECORD, REPORT, grid_of, occurring, read_record, upright
from geoseg.api.series_report import kind_of
from geoseg.errors import GeosegError, InputError
from geoseg.io.atomic import write_bytes
from geoseg.io.decimate import decimated_raster
from geoseg.io.report_chart import Chart, lines_chart
from geoseg.io.report_page import (
    HistoryPart,
    HistoryReport,
    HistoryScene,
    Page,
    Table,
    Thumb,
    history_page,
)
from geoseg.io.report_pictures import class_map
from geoseg.io.report_place import place_of
from geoseg.io.report_words import NOTHING, count, hectares, percent, several
from geoseg.legend import LandClass
from geoseg.run.clock import Clock
from geoseg.run.noted import PastRun, Work
from geoseg.run.work_ledger import WorkLedger, ledger_path, workflows_in

HISTORY: Final = "history.html"
"""What the page is called where a scene's own report lies in the same folder."""

_MOST_SCENES, _MOST_RUNS, _THUMBS = 400, 100, 8
_THUMB_SIDE = 180
_AREAS = (
    "Counted from pixels, with the errors of each map. What clouds hide or no scene covers has no "
    "class: compare shares of what was seen, and only days on which most was seen."
)
_STATES = {
    "running": "a run is under way",
    "good": "the last run ended well",
    "partial": "the last run ended with failed scenes or blocks",
    "failed": "the last run failed",
    "stopped": "the last run was stopped",
    "lost": "the last run's process ended without a word",
}


@dataclass(frozen=True, slots=True)
class _Mapped:
    """A scene that was mapped, and what its record says; None where that is gone."""

    work: Work
    folder: Path
    record: dict[str, Any] | None


def history_path(root: Path) -> Path:
    """Where the page of a folder lies."""
    return root / (HISTORY if (root / RECORD).exists() else REPORT)


def has_history(root: Path) -> bool:
    """Whether a workflow has noted anything in a folder."""
    return ledger_path(root).exists()


def write_history(root: Path) -> Path:
    """Make the page of all that the ledger in ``root`` knows; the same ledger, the same page.

    Raises:
        ProductError: The ledger is damaged, or the page cannot be written.
    """
    parts = [_part(root, name) for name in workflows_in(root)]
    names = ", ".join(part.name for part in parts)
    report = HistoryReport(
        title=f"History of {names}", lead=_lead(parts), parts=parts, others=list(_others(root))
    )
    path = history_path(root)
    write_bytes(path, history_page(report))
    return path


def _lead(parts: Sequence[HistoryPart]) -> str:
    days = sorted(s.date for p in parts for s in p.scenes if s.date != NOTHING)
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "no scene with a date yet"


def _others(root: Path) -> Iterator[Page]:
    """What was made of all scenes together: the project, and pages of alerts, water, land use."""
    project = project_path(root)
    if project.exists():
        yield Page("All scenes as a QGIS project", quote(project.name))
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        what = kind_of(folder) if (folder / REPORT).exists() else None
        if what is not None:
            yield Page(what, quote(f"{folder.name}/{REPORT}"))


def _part(root: Path, name: str) -> HistoryPart:
    with WorkLedger(root, name, Clock.at()) as ledger:
        runs, failed = ledger.runs(), ledger.works("scene", "failed")
        done = ledger.works("scene")
        removed, waiting = len(ledger.works("scene", "removed")), len(ledger.notices())
    shown = [_mapped(root, work) for work in done[-_MOST_SCENES:]]
    classes = _classes(shown)
    good = [run.began[:10] for run in runs if run.state == "good"]
    last = runs[-1] if runs else None
    more = len(done) - len(shown)
    return HistoryPart(
        name=name,
        state="no run yet" if last is None else f"{_STATES[last.state].capitalize()}.",
        bad=last is not None and last.state in ("partial", "failed", "lost"),
        warnings=[last.text] if last is not None and last.text else [],
        figures=[
            (count(len(done)), "scenes mapped"),
            (count(len(failed)), "scenes failed"),
            (count(removed), "removed to make room"),
            (count(len(runs)), "runs"),
            (good[-1] if good else NOTHING, "last good run"),
            (count(waiting), "notices wait"),
        ],
        thumbs=list(_thumbs(root, shown)),
        key=[(c.name, c.color) for c in classes],
        chart=_chart(shown, classes),
        area_warning=_AREAS,
        classes=[c.name for c in classes],
        scenes=[_scene(root, one, classes) for one in reversed(shown)],
        more_scenes=f"{more:,} earlier scenes are not shown." if more > 0 else "",
        tables=_tables(runs, failed),
    )


def _mapped(root: Path, work: Work) -> _Mapped:
    folder = root / (work.place or ".")
    try:
        record = read_record(folder)
    except InputError:
        record = None
    if record is not None and record.get("scene") != work.name:
        record = None  # another scene's products have replaced them
    return _Mapped(work, folder, record)


def _classes(shown: Sequence[_Mapped]) -> list[LandClass]:
    """The classes that occur in any of the maps, with the colours of the latest one."""
    found: dict[str, LandClass] = {}
    for one in reversed(shown):
        if one.record is None or all(
            r["name"] in found for r in one.record["classes"] if r["pixels"]
        ):
            continue
        try:
            found |= {
                c.name: found.get(c.name, c)
                for c in occurring(one.folder / "classes.tif", one.record)
            }
        except GeosegError:
            continue  # a raster that went away has no colours to tell
    order = {r["name"]: r["code"] for one in shown if one.record for r in one.record["classes"]}
    return sorted(found.values(), key=lambda c: order.get(c.name, 0))


def _thumbs(root: Path, shown: Sequence[_Mapped]) -> Iterator[Thumb]:
    """The latest maps, the newest first."""
    there = [one for one in reversed(shown) if one.record is not None][:_THUMBS]
    for one in there:
        raster = one.folder / "classes.tif"
        try:
            codes = upright(decimated_raster(raster, _THUMB_SIDE)[0], place_of(grid_of(raster)))
            picture = class_map(codes, occurring(raster, one.record or {}))
        except GeosegError:
            continue
        name = (one.work.date or one.work.name)[:10] if one.work.date else one.work.name
        yield Thumb(name, _href(root, one) or "", picture)


def _href(root: Path, one: _Mapped) -> str | None:
    """The scene's own report, or else its folder; relative to ``root``."""
    if one.record is None:
        return None
    place = one.work.place or "."
    page = f"{place}/{REPORT}" if (root / place / REPORT).exists() else f"{place}/"
    return quote(page)


def _chart(shown: Sequence[_Mapped], classes: Sequence[LandClass]) -> Chart | None:
    dated = [one for one in shown if one.record is not None and one.work.date]
    days = [date.fromisoformat((one.work.date or "")[:10]) for one in dated]
    shares = {c.name: [100 * _share(one, c.name) for one in dated] for c in classes}
    return lines_chart(days, shares, {c.name: c.color for c in classes}, "% of what was seen")


def _area(one: _Mapped, name: str) -> float:
    rows = (one.record or {}).get("classes", [])
    return sum(float(row["area_ha"]) for row in rows if row["name"] == name)


def _share(one: _Mapped, name: str) -> float:
    """Of what was seen: clouds make areas smaller, and shares not."""
    whole = sum(float(row["area_ha"]) for row in (one.record or {}).get("classes", []))
    return _area(one, name) / whole if whole else 0.0


def _scene(root: Path, one: _Mapped, classes: Sequence[LandClass]) -> HistoryScene:
    record, sure = one.record, (one.record or {}).get("confidence_mean")
    holes = one.work.facts.get("failed_blocks")
    notes = ["products went away"] if record is None else []
    notes += [f"{several(holes, 'block')} failed"] if holes else []
    return HistoryScene(
        date=(one.work.date or NOTHING)[:10],
        name=one.work.name,
        href=_href(root, one),
        note=", ".join(notes),
        areas=[NOTHING if record is None else hectares(_area(one, c.name)) for c in classes],
        seen=_seen(record),
        confidence=NOTHING if sure is None else f"{sure:.1f} %",
    )


def _seen(record: Mapping[str, Any] | None) -> str:
    return NOTHING if record is None else percent(mapped_pixels(record) / max(1, record["pixels"]))


def _tables(runs: Sequence[PastRun], failed: Sequence[Work]) -> list[Table]:
    tables = []
    if failed:
        lost = [(work.name, (work.date or NOTHING)[:10], work.text) for work in failed]
        tables.append(Table("Scenes that failed", ("Scene", "Date", "Why"), lost, words=True))
    rows = [
        (
            run.began[:16].replace("T", " "),
            run.state,
            ", ".join(f"{what}: {n}" for what, n in run.counts.items()) or NOTHING,
            run.text or NOTHING,
        )
        for run in reversed(runs[-_MOST_RUNS:])
    ]
    more = len(runs) - len(rows)
    note = f"{more:,} earlier runs are in the ledger." if more > 0 else ""
    head = ("Began (UTC)", "State", "Scenes", "What was said")
    return [*tables, Table("Runs, the latest first", head, rows, note, words=True)]
