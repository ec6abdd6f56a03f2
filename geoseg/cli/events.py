"""The command that reads events of runs: geoseg events."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, print_json

if TYPE_CHECKING:
    from geoseg.api.events import EventSummary


def events(
    target: Annotated[
        Path, typer.Argument(help="A workflow, an output folder, or one above.", show_default=False)
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print events as they come, until the run ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what runs took, block by block: stages, lanes, workers, failures; from any terminal.

    Read from .geoseg/log/events.jsonl, which runs write. With --follow the events of one output.
    """
    from geoseg.api.events import find_logs, summarise, words

    folder = _folder(target)
    logs = find_logs(folder)
    if not follow:
        found = [summarise(log) for log in logs]
        if as_json:
            print_json([one.as_json() for one in found])
        else:
            for one in found:
                _show(one)
        return
    for event in _coming(_one(logs, folder)):
        typer.echo(json.dumps(event) if as_json else words(event))


def _one(logs: list[Path], target: Path) -> Path:
    """The log to follow: that of all scenes, where there is one."""
    from geoseg.errors import InputError

    above = [log for log in logs if log.parents[1] == target]
    if len(logs) > 1 and not above:
        raise InputError(
            f"{target}: {len(logs)} outputs have events; --follow takes one of them, like "
            f"{logs[0].parents[1]}"
        )
    return above[0] if above else logs[0]


def _coming(log: Path) -> Iterator[dict[str, Any]]:
    """Events of the run that is under way, or was the last one, until it, or its scene, ends."""
    from geoseg.api.events import summarise
    from geoseg.run.event_log import follow_events

    run, of_scene = summarise(log).run, False
    begun = False
    for event in follow_events(log):
        begun = begun or event.get("run") == run
        if not begun:
            continue
        yield event
        of_scene = of_scene or "stage" in event
        if event["event"] == "run_ended" or (of_scene and event["event"] == "scene_ended"):
            return


def _folder(target: Path) -> Path:
    if target.is_dir() or not target.exists():
        return target
    from geoseg.api.publishing import output_root
    from geoseg.workflow import load

    return output_root(load(target))


def _show(one: EventSummary) -> None:
    took = "" if one.seconds is None else f" after {one.seconds:,.1f} s"
    typer.echo(f"{one.log}: run {one.run} of {one.began}, {one.state}{took}")
    for stage in one.stages:
        told = [f"{stage.done} blocks"]
        told += [f"{n} {what}" for what in ("failed", "resumed", "retries")
                 if (n := getattr(stage, what))]  # fmt: skip
        told += [] if stage.wall is None else [f"{stage.wall:,.1f} s"]
        if stage.typical is not None and stage.slowest is not None:
            told.append(f"a block {stage.typical:.3g} s, at most {stage.longest:.3g} s")
            told.append(f"slowest at row {stage.slowest[0]}, column {stage.slowest[1]}")
        told += [f"{lane} {seconds:.3g} s" for lane, seconds in stage.lanes.items()]
        typer.echo(f"  {stage.stage}: {', '.join(told)}")
    for worker in one.workers:
        idle = "" if worker.idle is None else f", {worker.idle:.1%} without one"
        typer.echo(f"  {worker.worker}: {worker.blocks} blocks{idle}")
    for text in one.failures:
        typer.echo(f"  failed: {text}")
    if one.warnings:
        typer.echo(f"  {one.warnings} warnings")
    if one.lost:
        typer.echo(f"  {one.lost} events could not be written")
