"""The command that says what maps of many dates tell of water."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Maps, Quiet, print_json, reporter

if TYPE_CHECKING:
    from geoseg.api.water import WaterResult

Flood = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DAY",
        help="Compare a day with permanent water: last (the default), all, none, or a date. "
        "May be repeated.",
        show_default=False,
    ),
]


def water(
    paths: Maps,
    water: Annotated[
        str, typer.Option(help="Names of the classes that are water: a,b.", show_default=False)
    ] = "",
    lakes: Annotated[
        Path | None,
        typer.Option(help="Polygons of lakes; else they are found.", show_default=False),
    ] = None,
    lake_name: Annotated[str, typer.Option(help="Column of their names.", show_default=False)] = "",
    find_lakes: Annotated[bool, typer.Option(help="Find lakes where no file has them.")] = True,
    min_lake: Annotated[str, typer.Option(help="The smallest lake that is looked for.")] = "1 ha",
    permanent: Annotated[
        Path | None,
        typer.Option(
            help="A raster of permanent water, of classes or of occurrence in percent.",
            show_default=False,
        ),
    ] = None,
    permanent_from: Annotated[
        int, typer.Option(help="Occurrence from which on water is permanent.", min=1, max=100)
    ] = 75,
    flood: Flood = None,
    first: Annotated[
        str, typer.Option(help="Transitions are from these months: 2019..2020.", show_default=False)
    ] = "",
    last: Annotated[str, typer.Option(help="To these: 2023-05..2024-04.", show_default=False)] = "",
    season_year: Annotated[
        int | None, typer.Option(help="Year of the seasonality; the last one without.", min=1)
    ] = None,
    permanent_months: Annotated[
        int, typer.Option(help="Percent of months with water where it is permanent.", max=100)
    ] = 100,
    dry_months: Annotated[
        int, typer.Option(help="Percent of months with water that is still land.", max=99)
    ] = 0,
    like: Annotated[
        Path | None, typer.Option(help="A raster whose grid is used.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what maps of many dates tell of water.

    How often there is water (occurrence), in how many months (seasonality), in how many years it
    came back (recurrence), what became of it (the transition classes of JRC's Global Surface
    Water), areas of lakes and reservoirs over time, and floods against permanent water.
    """
    from geoseg.api.water import water as make_water
    from geoseg.cli.series import split_paths

    maps, out = split_paths(paths)
    settings: dict[str, Any] = {
        "classes": [name.strip() for name in water.split(",") if name.strip()],
        "lakes": None if lakes is None else str(lakes),
        "lake_name": lake_name or None,
        "find_lakes": find_lakes,
        "min_lake": min_lake,
        "permanent": None if permanent is None else str(permanent),
        "permanent_from": permanent_from,
        "flood": flood or ["last"],
        "first": first or None,
        "last": last or None,
        "season_year": season_year,
        "permanent_months": permanent_months,
        "dry_months": dry_months,
    }
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = make_water(maps, out, like=like, reporter=teller, **settings)
    finally:
        teller.close()
    if as_json:
        print_json(_record(result))
    else:
        _show(result)


def _record(result: WaterResult) -> dict[str, Any]:
    return {
        "directory": result.directory,
        "products": dict(result.products),
        "transitions_between": result.spans,
        "extents": result.extents.to_pylist(),
        "lakes": None if result.lakes is None else result.lakes.to_pylist(),
        "warnings": result.warnings,
    }


def _show(result: WaterResult) -> None:
    typer.echo(f"{result.directory}: {len(result.products)} products")
    for row in result.extents.to_pylist():
        typer.echo(
            f"{row['date']}  water {row['water_ha']:,.1f} ha, "
            f"{row['observed_percent']:.0f} % observed"
        )
    if result.lakes is not None:
        names = set(result.lakes.column("lake").to_pylist())
        typer.echo(f"areas of {len(names)} lakes: {result.products['lake_areas_csv']}")
    for warning in result.warnings:
        typer.echo(f"note: {warning}")
