"""How plans, results and findings are printed for people, on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import TYPE_CHECKING, Any

from rich.console import Console

from geoseg.io.staging import address
from geoseg.run.pace import clock_text

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geoseg.api.doctor import Finding
    from geoseg.api.planning import RunPlan
    from geoseg.api.results import RunResult
    from geoseg.models.base import ModelCard
    from geoseg.scene import Scene


def _console() -> Console:
    # Long paths must stay whole: they are copied from here.
    return Console(soft_wrap=True, highlight=False)


def show_result(result: RunResult) -> None:
    """Where the products are, by scene."""
    console = _console()
    for scene in result.scenes:
        if scene.error is not None:
            console.print(f"{scene.scene}: failed: {scene.error}", markup=False)
            continue
        news = "" if scene.fresh else " (up to date)"
        if scene.failed_blocks:
            news = f" ({scene.failed_blocks} blocks failed and are nodata; run again to retry them)"
        console.print(f"{scene.scene}{news}", markup=False)
        for role, path in scene.addresses.items():
            console.print(f"  {role:<12} {path}", markup=False)


def result_json(result: RunResult) -> dict[str, Any]:
    """What came of a run as plain values."""
    return {
        "workflow": result.name,
        "exit_code": result.exit_code,
        "scenes": [
            {
                "scene": scene.scene,
                "directory": address(scene.directory),
                "products": scene.addresses,
                "fresh": scene.fresh,
                "error": scene.error,
                "failed_blocks": scene.failed_blocks,
            }
            for scene in result.scenes
        ],
        "warnings": list(result.warnings),
    }


def plan_json(plan: RunPlan) -> dict[str, Any]:
    """A plan as plain values."""
    scenes = []
    for task in plan.tasks:
        p = task.plan
        scenes.append(
            {
                "scene": p.scene.id,
                "directory": address(task.directory),
                "shape": p.shape,
                **_grid_json(p.scene.grid),
                "combined": _combined_json(p.scene),
                "blocks": len(p.blocks),
                "block": p.block,
                "skipped_blocks": p.skipped,
                "chips": p.chips,
                "size": p.lattice.size,
                "margin": p.lattice.margin,
                "seams": p.seams,
                "exact": p.exact,
                "predictions_per_pixel": round(p.predictions_per_pixel, 3),
                "passes": round(p.passes, 3),
                "layers": p.layers,
                "refine_halo": None if p.refinement is None else p.refinement.halo,
                "bytes_read": p.bytes_read,
                "bytes_written": p.bytes_written,
                "memory_per_worker": p.memory_per_worker,
                "memory_at_most": p.memory_at_most,
                "engine": None if task.engine is None else str(task.engine.runtime),
                "engine_why": None if task.engine is None else task.engine.why,
            }
        )
    return {
        "workflow": plan.workflow.name,
        "model": f"{plan.committee.card.name} {plan.committee.card.version}",
        "answers": plan.committee.answers,
        "workers": plan.resources.workers,
        "lanes": plan.resources.lanes,
        "memory_allowed": plan.resources.memory,
        "scenes": scenes,
        "warnings": list(plan.warnings),
    }


def _combined_json(scene: Scene) -> dict[str, Any] | None:
    """Which scenes one is made of, and how; None where it is one acquisition."""
    combined = scene.combined
    if combined is None:
        return None
    return {
        "rule": combined.rule,
        "after_the_model": combined.predicted,
        "min_observations": combined.least,
        "scenes": [one.id for one in combined.scenes],
    }


def _grid_json(grid: GeoBox) -> dict[str, Any]:
    """CRS and size of the pixels ``(height, width)``, in its units."""
    a, crs = grid.affine, grid.crs
    unit = None if crs is None else "deg" if crs.geographic else crs.units[0]
    return {
        "crs": None if crs is None else str(crs),
        "pixel": [hypot(a.b, a.e), hypot(a.a, a.d)],
        "unit": unit,
    }


def show_plan(plan: RunPlan) -> None:
    """A plan in a few lines for each scene."""
    console, values = _console(), plan_json(plan)
    allowed = values["memory_allowed"]
    scenes, workers = len(values["scenes"]), values["workers"]
    head = (
        f"{values['workflow']}: {scenes} scene{'s' * (scenes != 1)}, model {values['model']}, "
        f"{workers} worker{'s' * (workers != 1)} with {values['lanes']} blocks each in hand"
    )
    lines = [head]
    for s in values["scenes"]:
        lines += _scene_lines(s, allowed)
    lines += [f"warning: {warning}" for warning in plan.warnings]
    console.print("\n".join(lines), markup=False)


def _scene_lines(s: dict[str, Any], allowed: int | None) -> list[str]:
    blocks = f"{s['blocks']} blocks of {s['block']} px"
    skipped = f"({s['skipped_blocks']} skipped, outside the area or the scene)"
    crs = s["crs"] if s["crs"] is None or len(s["crs"]) < 20 else "its CRS"  # not all of a WKT
    height, width = s["pixel"]
    pixel = f"of {height:.6g} x {width:.6g} {s['unit']} in {crs}"
    chips = f"{s['chips']} chips of {s['size']} px, margin {s['margin']}"
    passes = "" if s["passes"] == 1 else f", each {s['passes']:g} times (models, views, scales)"
    halo = f"  refined with {s['refine_halo']} px around each block"
    volume = f"reads {s['bytes_read'] / 1e6:,.0f} MB, writes {s['bytes_written'] / 1e6:,.0f} MB"
    granted = "" if allowed is None else f" ({allowed / 1e9:.1f} GB allowed)"
    seams = f"seams ({s['seams']}) depend on the tiling; run.json will tell the seam index"
    return [
        f"{s['scene']} -> {s['directory']}",
        *([] if s["combined"] is None else [_combined_line(s["combined"])]),
        f"  {s['shape'][0]} x {s['shape'][1]} pixels in {blocks} {skipped}",
        f"  pixels {pixel}",
        f"  {chips}: {s['predictions_per_pixel']:.2f} predictions per pixel{passes}",
        f"  {volume} before compression; {_memory_text(s)}{granted}",
        f"  {'the map equals the model run on the whole scene' if s['exact'] else seams}",
        *([] if s["refine_halo"] is None else [halo]),
    ]


def _memory_text(s: dict[str, Any]) -> str:
    """What a worker takes, by which engine, and what another that may be taken would."""
    needs, most = (s[key] / 1e9 for key in ("memory_per_worker", "memory_at_most"))
    if s["engine"] is None:
        return f"at most {most:.1f} GB per worker (a trial chooses the engine)"
    other = "" if most - needs < 0.05 else f"; at most {most:.1f} GB by another"
    return f"{needs:.1f} GB per worker by {s['engine']}{other}"


def _combined_line(combined: dict[str, Any]) -> str:
    scenes, shown = combined["scenes"], 4
    more = "" if len(scenes) <= shown else f" and {len(scenes) - shown} more"
    when = "after" if combined["after_the_model"] else "before"
    return (
        f"  {len(scenes)} scenes combined by {combined['rule']} {when} the model: "
        f"{', '.join(scenes[:shown])}{more}"
    )


_RUN_WORDS = {
    "made": "made",
    "there": "up to date",
    "failed": "failed",
    "waiting": "waiting",
}


def show_runs(runs: Sequence[dict[str, Any]]) -> None:
    """A line for each run of many scenes, and one for each scene that is under way."""
    console = _console()
    for r in runs:
        done = r["made"] + r["there"] + r["failed"]
        line = f"{r['workflow']}: {r['state']}, {done}/{r['scenes']} scenes"
        told = [f"{r[what]} {word}" for what, word in _RUN_WORDS.items() if r[what]]
        line += f" ({', '.join(told)})" if told else ""
        line += f", {r['done_blocks']}/{r['blocks']} blocks"
        if r["state"] == "running" and r["blocks_per_second"]:
            line += f", {r['blocks_per_second']:.3g}/s, {clock_text(r['seconds_left'])} left"
        console.print(f"{line} (updated {r['updated']}) {r['text']}", markup=False)
        for s in r["in_flight"] if r["state"] == "running" else ():
            stage = f"{s['stage']} {s['done_blocks']}/{s['blocks']}" if s["stage"] else "begins"
            console.print(f"  {s['scene']}: {stage}", markup=False)
        if r["failures"]:
            console.print(f"  failed: {', '.join(r['failures'])}", markup=False)


def show_states(states: Sequence[dict[str, Any]]) -> None:
    """One line for each output."""
    console = _console()
    for s in states:
        done = f"{s['stage']} {s['done_blocks']}/{s['blocks']} blocks" if s["stage"] else ""
        console.print(
            f"{s['output']}: {s['state']} {done} (updated {s['updated']}) {s['text']}",
            markup=False,
        )


def show_models(cards: Sequence[ModelCard]) -> None:
    """A few lines for each model; names stay whole, as they are copied from here."""
    lines = []
    for c in cards:
        pixels = "of any size" if c.gsd is None else f"of {c.gsd[0]:g} to {c.gsd[1]:g} m"
        sees = "without limit" if c.reach is None else f"{c.reach} px far"
        lines += [
            f"{c.name} {c.version}: {c.about.get('title', 'no title')}",
            f"  bands    {', '.join(c.bands)}",
            f"  classes  {', '.join(c.legend.names)}",
            f"  pixels   {pixels}; sees {sees}",
        ]
    _console().print("\n".join(lines) or "no models; see geoseg doctor", markup=False)


def show_health(findings: Sequence[Finding]) -> None:
    """One line for each finding, with what would mend it; what can be done without is no BAD."""
    console = _console()
    for f in findings:
        mend = "" if f.ok else f" -> {f.mend}"
        mark = "ok " if f.ok else "BAD" if f.needed else "-- "
        console.print(f"{mark} {f.what}: {f.found}{mend}", markup=False)
