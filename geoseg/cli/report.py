"""The command that makes the page of a run again."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.options import AsJson, Silent, print_json
from geoseg.errors import InputError


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder of products, or one that a workflow writes to.", show_default=False
        ),
    ],
    areas: Annotated[
        Path | None,
        typer.Option(
            help="What 'geoseg evaluate areas --output' wrote: areas with intervals.",
            show_default=False,
        ),
    ] = None,
    dask: Annotated[
        bool,
        typer.Option(
            "--dask",
            help="Draw Dask's page of how busy workers were in the last run, and nothing else.",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Make report.html of a folder of products, or of all that a workflow has done in it.

    A run makes it by itself; this makes it again, from what lies in the folder alone.
    """
    if dask and areas is not None:
        raise InputError("report: --areas is for report.html, which --dask does not make")
    if dask:
        from geoseg.api.dask_files import draw_page

        made = [draw_page(folder)]
    else:
        from geoseg.api.reporting import make_reports

        made = make_reports(folder, areas=areas)
    if as_json:
        print_json([str(path) for path in made])
        return
    for path in () if quiet else made:
        typer.echo(str(path))
