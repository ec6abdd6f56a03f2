"""The command that gives products the names and colours of a legend."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, Silent, print_json

if TYPE_CHECKING:
    from geoseg.api.styling import Styled


def style(
    products: Annotated[
        list[Path],
        typer.Argument(
            help="Rasters, .gpkg, .parquet or .fgb files, or folders of products.",
            show_default=False,
        ),
    ],
    legend: Annotated[
        str,
        typer.Option(
            help="A known legend, a model, a table (.csv or .json: code, name, color), or a raster "
            "that names its classes; else what each product says itself."
        ),
    ] = "",
    column: Annotated[
        str, typer.Option(help="Of polygons: codes, or texts that are names of classes.")
    ] = "class_code",
    layer: Annotated[str, typer.Option(help="The only layer of a GeoPackage; else all.")] = "",
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Give rasters and polygons the names and colours of a legend, in place.

    Rasters get palette, names, attribute table and .qml, GeoPackages styles that QGIS applies by
    itself. Pixels and polygons stay as they are; each file changes whole or not at all.
    """
    from geoseg.api.styling import style as style_products

    done = style_products(products, legend=legend or None, column=column, layer=layer or None)
    if as_json:
        print_json([_record(one) for one in done])
    elif not quiet:
        for one in done:
            _show(one)


def _record(one: Styled) -> dict[str, Any]:
    return {
        "path": one.path,
        "kind": one.kind,
        "layers": {
            name: [{"code": c.value, "name": c.name, "color": c.color} for c in classes]
            for name, classes in one.layers.items()
        },
        "written": list(one.written),
        "notes": list(one.notes),
    }


def _show(one: Styled) -> None:
    told = [f"{name or 'classes'}: {len(found)}" for name, found in one.layers.items()]
    what = f"classes by layer: {', '.join(told)}" if one.kind == "polygons" else ", ".join(told)
    written = ", ".join(path.name for path in one.written)
    typer.echo(f"{one.path}: {what or 'a ramp of percents'}; written: {written}")
    for note in one.notes:
        typer.echo(f"  {note}")
