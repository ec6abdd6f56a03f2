"""The commands for workflows that run night after night: status, clean, schedule."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.options import AsJson, LogJson, Silent, WorkflowFile, print_json, reporter

Target = Annotated[
    Path, typer.Argument(help="A workflow, an output folder, or one above.", show_default=False)
]


class Every(StrEnum):
    """How often a workflow runs."""

    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    mon = "mon"
    tue = "tue"
    wed = "wed"
    thu = "thu"
    fri = "fri"
    sat = "sat"
    sun = "sun"


class Kind(StrEnum):
    """What starts it."""

    systemd = "systemd"
    cron = "cron"


def status(
    target: Target,
    max_age: Annotated[
        str,
        typer.Option(help="Fail where the last good run is older: '8 d'.", show_default=False),
    ] = "",
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell of silence, as the workflow says.")
    ] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Say how far a run is, how it ended, and when there was a good one; from any terminal.

    Of a run of many scenes: how many are done, which are under way, how fast it goes.

    Exits with 1 where the last good run is older than --max-age, or than monitor.max_age.
    """
    from geoseg.api.health import check_health
    from geoseg.api.states import find_runs, find_states
    from geoseg.cli.show import show_runs, show_states
    from geoseg.errors import InputError
    from geoseg.workflow.monitor import span_of

    teller = reporter(log_json=False, quiet=quiet)
    try:
        health = check_health(
            target, max_age=span_of(max_age) if max_age else None, tell=notify, reporter=teller
        )
    finally:
        teller.close()
    folder = target if target.is_dir() else Path(health[0].root)
    runs = find_runs(folder)
    try:
        states = find_states(folder)
    except InputError:
        if target.is_dir() and not health and not max_age and not runs:
            raise
        states = []
    if not target.is_dir():  # hundreds of finished nights say nothing
        states = [state for state in states if state["state"] != "done"]
    if as_json:
        found = [{**asdict(one), "silent": one.silent} for one in health]
        print_json({"outputs": states, "workflows": found, "runs": runs})
    elif not quiet:
        show_runs(runs)
        told = {"done"} if runs else set()  # nor do hundreds of scenes
        told |= {run["state"] for run in runs} & {"running"}  # which are told of already
        show_states([state for state in states if state["state"] not in told])
        for one in health:
            typer.echo(str(one))
    raise typer.Exit(1 if any(one.silent for one in health) or (max_age and not health) else 0)


def clean(
    target: Target,
    keep: Annotated[
        str,
        typer.Option(help="Instead of monitor.keep: '90 d' or '10 runs'.", show_default=False),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Silent = False,
) -> None:
    """Remove products that are no longer kept; the newest always stay, and so do other files."""
    from geoseg.api.cleaning import clean as clean_products

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        cleared = clean_products(target, teller, keep=keep or None, dry_run=dry_run)
    finally:
        teller.close()
    if as_json:
        print_json([asdict(one) for one in cleared])
        return
    if quiet:
        return
    went = [one for one in cleared if one.locked is None]
    verb = "would be removed" if dry_run else "removed"
    for one in went:
        typer.echo(f"{one.directory}: {verb} ({one.bytes / 1e6:,.1f} MB, scene {one.scene})")
    total = sum(one.bytes for one in went) / 1e6
    typer.echo(f"{len(went)} scenes {verb}, {total:,.1f} MB")


def schedule(
    workflow: WorkflowFile,
    every: Annotated[Every, typer.Option(help="How often.")] = Every.day,
    at: Annotated[str, typer.Option(help="Time of day, of this machine.")] = "03:30",
    kind: Annotated[Kind, typer.Option(help="What starts it.")] = Kind.systemd,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where it is started; where you are without it.", show_default=False),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install it for this user, do not only print.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take out what was installed.")] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Print what makes a workflow run night after night: systemd timers or cron lines."""
    from geoseg.api import scheduling
    from geoseg.errors import InputError

    if install and remove:
        raise InputError("--install and --remove: only one of them can be meant")
    planned = scheduling.plan_schedule(workflow, every=every.value, at=at, directory=directory)
    if install or remove:
        put = scheduling.install_cron if kind is Kind.cron else scheduling.install_systemd
        done = put(planned, remove=remove)
        if as_json:
            print_json({"done": done})
        elif not quiet:
            typer.echo("\n".join(done))
        return
    folder = scheduling.unit_folder()
    units = scheduling.systemd_units(planned) if kind is Kind.systemd else {}
    if as_json:
        lines = [] if units else scheduling.cron_lines(planned).splitlines()
        print_json({"units": {str(folder / name): units[name] for name in units}, "cron": lines})
    elif not units:
        typer.echo(scheduling.cron_lines(planned), nl=False)
    for name, text in () if as_json else units.items():
        typer.echo(f"# {folder / name}\n{text}")
