"""The command that makes maps of years from maps of dates, with areas and land accounts."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Maps, Quiet, print_json, reporter
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.api.land_use import LandUseResult


class By(StrEnum):
    """Periods."""

    year = "year"
    quarter = "quarter"
    month = "month"


class Rule(StrEnum):
    """How a period is decided."""

    median = "median"
    hmm = "hmm"


Change = Annotated[
    list[str] | None,
    typer.Option(
        "--change",
        metavar="A>B=P",
        help="Probability of a change, 0 for what cannot be; * is all others (hmm): "
        "'Built area>*=0'. May be repeated.",
        show_default=False,
    ),
]


def land_use(
    paths: Maps,
    by: Annotated[By, typer.Option(help="Periods that get a map each.")] = By.year,
    rule: Annotated[Rule, typer.Option(help="Each period by itself, or all together.")] = (
        Rule.median
    ),
    zones: Annotated[
        Path | None, typer.Option(help="Polygons to count areas in.", show_default=False)
    ] = None,
    zone_name: Annotated[str, typer.Option(help="Column of their names.", show_default=False)] = "",
    stay: Annotated[float, typer.Option(help="Probability that a class stays (hmm).")] = 0.9,
    change: Change = None,
    trust: Annotated[float, typer.Option(help="How far a period is believed (hmm).")] = 0.95,
    independence: Annotated[
        float, typer.Option(help="How much each further date of a period counts (hmm).")
    ] = 0.5,
    fill: Annotated[bool, typer.Option(help="Fill what a period did not see (hmm).")] = True,
    assumed: Annotated[
        int, typer.Option(help="Confidence of maps that say none, in percent.", min=1, max=100)
    ] = 70,
    legend: Annotated[
        str,
        typer.Option(
            help="Classes of maps that name none: a known legend, or '1=Crops,2=Forest'.",
            show_default=False,
        ),
    ] = "",
    like: Annotated[
        Path | None, typer.Option(help="A raster whose grid is used.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a map for each year from maps of dates, with areas by class and land accounts."""
    from geoseg.api.land_use import land_use as make_land_use
    from geoseg.cli.series import split_paths

    maps, out = split_paths(paths)
    settings: dict[str, Any] = {
        "by": by.value,
        "rule": rule.value,
        "zones": None if zones is None else str(zones),
        "zone_name": zone_name or None,
        "stay": stay,
        "changes": _changes(change or []),
        "trust": trust,
        "independence": independence,
        "fill": fill,
        "assumed": assumed,
        "legend": legend or None,
    }
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = make_land_use(maps, out, like=like, reporter=teller, **settings)
    finally:
        teller.close()
    if as_json:
        print_json(_record(result))
    else:
        _show(result)


def _changes(texts: list[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        change, equals, number = text.rpartition("=")
        try:
            found[change.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"--change {text!r}: expected A>B=P, like 'Built area>Trees=0'")
    return found


def _record(result: LandUseResult) -> dict[str, Any]:
    return {
        "directory": result.directory,
        "periods": result.periods,
        "products": dict(result.products),
        "areas": result.areas.to_pylist(),
        "accounts": result.accounts.to_pylist(),
        "changed_ha": {"single_periods": result.changed_ha[0], "rule": result.changed_ha[1]},
        "filled_ha": result.filled_ha,
    }


def _show(result: LandUseResult) -> None:
    periods = result.periods
    typer.echo(f"{result.directory}: maps of {len(periods)} periods, {periods[0]} to {periods[-1]}")
    before, after = result.changed_ha
    typer.echo(f"changes between periods: {before:,.1f} ha by single periods, {after:,.1f} ha here")
    if result.filled_ha:
        typer.echo(f"not seen, and filled: {result.filled_ha:,.1f} ha, summed over periods")
    last = [row for row in result.accounts.to_pylist() if row["to_period"] == periods[-1]]
    rows = [row for row in last if row["from_period"] == periods[0]]
    for row in rows if len({row["zone"] for row in rows}) == 1 else []:
        typer.echo(
            f"{row['class_name']}: {row['opening_ha']:,.1f} + {row['additions_ha']:,.1f} "
            f"- {row['reductions_ha']:,.1f} = {row['closing_ha']:,.1f} ha"
        )
