"""The command that makes polygons of a class raster."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.api.outlines import Outlined


class Small(StrEnum):
    """What becomes of polygons below the minimum."""

    merge = "merge"
    drop = "drop"


class MergeBy(StrEnum):
    """Which neighbour gets them."""

    border = "border"
    probability = "probability"


class Smooth(StrEnum):
    """How outlines are rounded off."""

    corners = "corners"
    chaikin = "chaikin"


Raster = Annotated[
    str,
    typer.Argument(help="A raster of class codes, or its address.", show_default=False),
]
Out = Annotated[
    Path, typer.Argument(help="A .gpkg, .parquet, .fgb or .pmtiles file.", show_default=False)
]
Names = Annotated[str, typer.Option(help="Names of the classes to outline: a,b.")]
MinArea = Annotated[
    str,
    typer.Option(
        help="The smallest polygon: '0.5 ha', a preset (corine, eudr, radd), or one for each "
        "class: 'Water=400 m2,others=0.5 ha'."
    ),
]
Holes = Annotated[
    str, typer.Option(help="Fill holes up to this area: '0.1 ha', or 'Water=0.1 ha'.")
]
Simplify = Annotated[
    str,
    typer.Option(help="How far outlines may move ('8 m'), or the smallest corner ('200 m2')."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME=CLASS,...",
        help="A layer of the GeoPackage and its classes. May be repeated.",
        show_default=False,
    ),
]


def vectorize(
    raster: Raster,
    out: Out,
    legend: Annotated[str, typer.Option(help="A known legend; else the raster's own names.")] = "",
    classes: Names = "",
    min_area: MinArea = "",
    small: Annotated[
        Small, typer.Option(help="Give smaller ones to a neighbour, or drop them.")
    ] = (Small.merge),
    merge_by: Annotated[MergeBy, typer.Option(help="Which neighbour.")] = MergeBy.border,
    fill_holes: Holes = "",
    simplify: Simplify = "",
    smooth: Annotated[Smooth | None, typer.Option(help="Round outlines off.")] = None,
    square: Annotated[str, typer.Option(help="Classes that get right angles: a,b.")] = "",
    layers: Layers = None,
    connectivity: Annotated[int, typer.Option(help="4 or 8.", min=4, max=8)] = 4,
    confidence: Annotated[
        Path | None, typer.Option(help="Percents on the same grid.", show_default=False)
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Percents on the same grid, a band a class.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; else threads of this one.", min=1)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Outline the classes of any raster as polygons, exact across blocks.

    Neighbours keep their common edges, however outlines are simplified and smoothed. Small regions
    go to the neighbour with the longest common border, so that areas add up.
    """
    from geoseg.api import vectorize as vectorize_raster

    settings: dict[str, Any] = {
        "classes": _listed(classes),
        "min_area": _areas(min_area),
        "small": small.value,
        "merge_by": merge_by.value,
        "fill_holes": _areas(fill_holes),
        "simplify": simplify or None,
        "smooth": None if smooth is None else smooth.value,
        "square": _listed(square),
        "layers": _layers(layers or []),
        "connectivity": connectivity,
    }
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = vectorize_raster(
            raster,
            out,
            legend=legend or None,
            confidence=confidence,
            probabilities=probabilities,
            workers=workers,
            reporter=teller,
            **settings,
        )
    finally:
        teller.close()
    if as_json:
        print_json({"path": out, "polygons": result.polygons, "left_out": result.dropped}
                   | result.record)  # fmt: skip
    else:
        _show(out, result)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _areas(text: str) -> str | dict[str, str] | int:
    """One area, or ``Class=area`` for some."""
    if "=" not in text:
        return text or 0
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {name.strip(): area.strip() for name, _, area in pairs}


def _layers(texts: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    layers: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, classes = text.partition("=")
        if not equals:
            raise InputError(f"--layer {text!r}: expected NAME=CLASS,... (or NAME= for all)")
        layers[name.strip()] = _listed(classes)
    return layers or None


def _show(out: Path, result: Outlined) -> None:
    left = f", {result.dropped} smaller ones left out" if result.dropped else ""
    typer.echo(f"{out}: {result.polygons} polygons{left}")
    balance = result.record["balance"]
    if balance is not None:
        moved = sum(row["ha"] for row in balance["moved"])
        typer.echo(
            f"{balance['reassigned_regions']} small regions went to a neighbour, "
            f"{balance['filled_holes']} holes were filled ({moved:,.2f} ha in all), "
            f"{balance['isolated_regions']} without a neighbour stayed"
        )
    shaped = [row for row in result.record["areas"] if row["drift_percent"]]
    if shaped:
        told = ", ".join(f"{row['name']} {row['drift_percent']:+.3f} %" for row in shaped)
        typer.echo(f"areas of outlines against pixels: {told}")
