"""The command that checks plots of land against loss of forest."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.api.plots import CutOff, PlotsChecked

_SHOWN = 20  # plots that are worth a line each


def plots(
    plots: Annotated[
        Path,
        typer.Argument(
            help="Outlines, or points with an area: any vector file.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="Folder of the tables and reports.", show_default=False)
    ],
    loss: Annotated[
        list[Path],
        typer.Option(
            help="Alerts (folder, or GFW encoding), change (folder) or years of loss. May be "
            "repeated.",
            show_default=False,
        ),
    ],
    forest: Annotated[
        str, typer.Option(metavar="FILE[:CLASS]", help="Forest at the cut-off: a map of classes.")
    ] = "",
    cut_off: Annotated[
        str, typer.Option(help="Loss after that day counts; 'none': all. Else as the preset says.")
    ] = "",
    preset: Annotated[str, typer.Option(help="eudr, radd or gfw.")] = "eudr",
    loss_encoding: Annotated[
        list[str] | None,
        typer.Option(
            help="How a layer shows loss: gfw, lossyear, year, days, FROM/TO. One for all, or one "
            "for each --loss.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[str, typer.Option(help="Layer of PLOTS.")] = "",
    id_column: Annotated[str, typer.Option("--id", help="Column of the names of plots.")] = "",
    area_column: Annotated[
        str, typer.Option("--area", help="Column of hectares, for plots that are points.")
    ] = "",
    swap: Annotated[bool, typer.Option("--swap", help="PLOTS has latitudes first.")] = False,
    maps: Annotated[int, typer.Option(help="Plots that the report has maps of.", min=0)] = 60,
    workers: Annotated[int | None, typer.Option(help="Threads; else one a core.", min=1)] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Check plots of land against loss of forest since a cut-off.

    Tells for each plot how much was lost, when, what shows it and how much of a risk that is.
    """
    from geoseg.api.plots import PlotOptions, check_plots

    options = PlotOptions(
        preset=preset,
        cut_off=_cut_off(cut_off),
        encodings=tuple(loss_encoding or ("auto",)),
        layer=layer or None,
        id_column=id_column or None,
        area_column=area_column or None,
        swap=swap,
        maps=maps,
    )
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        found = check_plots(
            plots, out, loss=loss, forest=forest or None, options=options, workers=workers,
            reporter=teller,
        )  # fmt: skip
    finally:
        teller.close()
    if as_json:
        print_json({"risks": found.risks, "warnings": found.warnings, "plots": found.rows})
    else:
        _show(found)


def _cut_off(text: str) -> CutOff:
    from datetime import date

    if not text:
        return "preset"
    if text.casefold() == "none":
        return "none"
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--cut-off: {text!r} is no day like 2020-12-31, nor none") from None


def _show(found: PlotsChecked) -> None:
    typer.echo(", ".join(f"{words}: {n}" for words, n in found.risks.items()))
    rows = sorted(found.rows, key=lambda row: -(row.get("loss_ha") or 0.0))
    for row in rows[:_SHOWN]:
        lost = f"{row.get('loss_ha') or 0.0:>12,.4f} ha" if "loss_ha" in row else f"{'-':>15}"
        when = f"  {row['loss_first']} to {row['loss_last']}" if row.get("loss_first") else ""
        typer.echo(f"{row['risk']:>14} {lost}  {row['plot_id']}{when}")
    if len(rows) > _SHOWN:
        typer.echo(f"and {len(rows) - _SHOWN} other plots")
    typer.echo(f"report: {found.products['html']}")
