"""``geoseg plan``: what a run would do, and how long it would take."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.options import AsJson, Settings, WorkflowFile, print_json

_ON_PAPER = "With --simulate"


def plan(
    workflow: WorkflowFile,
    settings: Settings = None,
    as_json: AsJson = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Go through the run on paper: how long it takes.")
    ] = False,
    measured: Annotated[
        Path | None,
        typer.Option(
            help="Output folder of a finished run that says what tasks take, or the folder above "
            "those of many scenes; without it, a few blocks are tried.",
            rich_help_panel=_ON_PAPER,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes.", rich_help_panel=_ON_PAPER, show_default=False),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            help="Workers with a GPU each.", rich_help_panel=_ON_PAPER, show_default=False
        ),
    ] = None,
    gpu_speed: Annotated[
        float | None,
        typer.Option(
            help="Mpx a second through the model on one GPU.",
            rich_help_panel=_ON_PAPER,
            show_default=False,
        ),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(
            help="Cores that each worker has of its own; without it, all share this machine's "
            "(8 beside a GPU).",
            rich_help_panel=_ON_PAPER,
            show_default=False,
        ),
    ] = None,
    latency: Annotated[
        float, typer.Option(help="Milliseconds that a server takes.", rich_help_panel=_ON_PAPER)
    ] = 0.0,
    failures: Annotated[
        float, typer.Option(help="Share of tries that fail, 0 to 1.", rich_help_panel=_ON_PAPER)
    ] = 0.0,
    scenes: Annotated[
        int | None,
        typer.Option(
            help="So many scenes like the first.", rich_help_panel=_ON_PAPER, show_default=False
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            help="Runs side by side that share scenes and workers.", rich_help_panel=_ON_PAPER
        ),
    ] = 1,
) -> None:
    """Say what a run would do: scenes, blocks, chips, bytes and memory. Reads no pixel.

    With --simulate also how long it would take and what would hold it up: then a few blocks are
    read and predicted, unless --measured says what that takes.
    """
    if not simulate:
        asked = (measured, workers, gpus, gpu_speed, cores, scenes)
        if any(value is not None for value in asked) or latency or failures or runs != 1:
            raise typer.BadParameter("these options say what to simulate; add --simulate")
        _plan(workflow, settings, as_json)
        return
    from geoseg.api import simulate as simulate_run
    from geoseg.api.simulating import Wanted
    from geoseg.cli.show_simulation import show_simulation

    wanted = Wanted(
        workers, gpus, gpu_speed, cores, latency / 1000, failures, scenes, runs
    )  # fmt: skip
    found = simulate_run(workflow, wanted, overrides=settings or [], measured=measured)
    if as_json:
        print_json(found.as_json())
    else:
        show_simulation(found)


def _plan(workflow: Path, settings: list[str] | None, as_json: bool) -> None:
    from geoseg.api import plan as plan_workflow
    from geoseg.cli.show import plan_json, show_plan

    planned = plan_workflow(workflow, overrides=settings or [])
    if as_json:
        print_json(plan_json(planned))
    else:
        show_plan(planned)
