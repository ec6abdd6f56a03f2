"""The command that tells how two maps of one place differ, and why."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter

if TYPE_CHECKING:
    from geoseg.api.diff import Differing

_SHOWN = 20  # differences that are worth a line each


def diff(
    run_a: Annotated[
        Path, typer.Argument(help="A folder of products, or a raster.", show_default=False)
    ],
    run_b: Annotated[Path, typer.Argument(help="Another.", show_default=False)],
    out: Annotated[
        Path | None, typer.Argument(help="Folder for the layer and the table.", show_default=False)
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where they differ, as diff does.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; else threads of this one.", min=1)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Tell where, how much and why two maps of the same place differ.

    Why is told by what both runs wrote down of input, model, settings and code.
    """
    from geoseg.api.diff import diff as compare

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = compare(run_a, run_b, out, workers=workers, reporter=teller)
    finally:
        teller.close()
    if as_json:
        print_json(result.record)
    else:
        _show(result)
    raise typer.Exit(1 if exit_code and not result.same else 0)


def _show(result: Differing) -> None:
    record = result.record
    if result.same:
        typer.echo(f"the same in all {record['pixels']:,} pixels")
    else:
        typer.echo(
            f"{record['differing_pixels']:,} of {record['pixels']:,} pixels differ "
            f"({record['differing_percent']} %, {record['differing_ha']:,.2f} ha)"
        )
    if not record["same_grid"]:
        typer.echo("the maps lie on different grids: only what both cover was compared")
    rows = record["differences"]
    for row in rows[:_SHOWN]:
        typer.echo(f"{row['pixels']:>12,} px {row['ha']:>12,.2f} ha  {row['a']} → {row['b']}")
    if len(rows) > _SHOWN:
        typer.echo(f"and {len(rows) - _SHOWN} other pairs of classes")
    typer.echo(f"why: {result.reasons.sentence()}")
    for reason in result.reasons.reasons:
        typer.echo(f"  {reason}")
