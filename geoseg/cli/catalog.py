"""Commands for catalogs of scenes."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.options import AsJson, Silent, print_json
from geoseg.errors import CatalogError

catalog = typer.Typer(
    help="Find scenes in catalogs, look at them, check them; catalogue a folder.",
    no_args_is_help=True,
)

Where = Annotated[
    str,
    typer.Argument(
        metavar="CATALOG",
        help="A STAC catalog, API, item collection or .parquet: path, address, or archive's name.",
        show_default=False,
    ),
]
Collections = Annotated[
    list[str] | None,
    typer.Option("--collection", help="Collection to take. May be repeated.", show_default=False),
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Item to take. May be repeated.", show_default=False),
]
When = Annotated[str, typer.Option("--time", help="2024-06-01/2024-06-30, one date, or 14d.")]
Clouds = Annotated[
    float | None, typer.Option("--max-cloud", help="Percent.", min=0, max=100, show_default=False)
]
Area = Annotated[
    str, typer.Option("--area", help="west,south,east,north in degrees, or a vector file.")
]
Most = Annotated[
    int | None,
    typer.Option("--max-items", help="More matches are an error.", min=1, show_default=False),
]


@catalog.command("search")
def search(
    where: Where,
    collection: Collections = None,
    item: Ids = None,
    time: When = "",
    max_cloud: Clouds = None,
    area: Area = "",
    max_items: Most = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write what is found as an item collection.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find scenes by area, time, clouds and id; what is saved is a catalog for workflows."""
    from geoseg.api.catalogs import make_query, row, save_items
    from geoseg.api.catalogs import search as find
    from geoseg.cli.show_catalogs import show_rows

    query = make_query(
        collections=collection or (),
        ids=item or (),
        time=time,
        max_cloud=max_cloud,
        area=area,
        max_items=max_items,
    )
    items = find(where, query)
    if save is not None:
        save_items(save, items)
    rows = [row(each) for each in items]
    if as_json:
        print_json(rows)
    else:
        show_rows(rows)


@catalog.command("show")
def show(
    where: Annotated[
        str,
        typer.Argument(
            metavar="[CATALOG]",
            help="A catalog as for search, or an archive's name; nothing: all public archives.",
            show_default=False,
        ),
    ] = "",
    item: Annotated[
        str, typer.Argument(metavar="[ITEM]", help="Id of an item.", show_default=False)
    ] = "",
    collection: Collections = None,
    as_json: AsJson = False,
) -> None:
    """Show an item as models would read it: bands, grid, numbers, masks; or public archives."""
    from geoseg.api.catalogs import make_query, show_archives
    from geoseg.api.catalogs import show as look
    from geoseg.cli.show_catalogs import show_archive, show_item
    from geoseg.io.archive import archive_names

    if not item and (not where or where in archive_names()):
        archives = show_archives(where or None)
        if as_json:
            print_json(archives)
        else:
            for archive in archives:
                show_archive(archive, whole=bool(where))
        return
    query = make_query(collections=collection or (), ids=[item] if item else ())
    shown = look(where, query)
    if as_json:
        print_json(shown)
    else:
        for each in shown:
            show_item(each)


@catalog.command("check")
def check(
    where: Where,
    collection: Collections = None,
    item: Ids = None,
    time: When = "",
    area: Area = "",
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Open every raster and compare.")
    ] = True,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Check that items are valid STAC, and that every asset opens and is what its item says.

    Exits with 2 where something is wrong, with one line for each problem.
    """
    from geoseg.api.catalogs import check as examine
    from geoseg.api.catalogs import make_query

    query = make_query(collections=collection or (), ids=item or (), time=time, area=area)
    found = dict(examine(where, query, files=files))
    lines = [f"{name}: {problem}" for name, problems in found.items() for problem in problems]
    if as_json:
        print_json(found)
        raise typer.Exit(2 if lines else 0)
    if lines:
        raise CatalogError("\n".join([f"{where}: {len(lines)} problems", *lines]))
    if not quiet:
        typer.echo(f"{where}: {len(found)} items, nothing wrong")


@catalog.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="Folder with scenes.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the catalog; else the same.", show_default=False
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Title; else the folder's name.")] = "",
    quicklook: Annotated[
        bool, typer.Option("--quicklook/--no-quicklook", help="Draw all scenes on one sheet.")
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 where a scene cannot be read.")
    ] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Write a static STAC catalog of the scenes in a folder, and a sheet with all of them."""
    from geoseg.api.catalogs import build as make

    built = make(folder, output, title=title, quicklook=quicklook)
    if as_json:
        print_json(asdict(built))
    elif not quiet:
        typer.echo(f"{built.catalog}: {built.scenes} scenes")
        if built.quicklook is not None:
            typer.echo(str(built.quicklook))
    if strict and built.problems:
        raise CatalogError("\n".join(built.problems))
    for problem in () if as_json or quiet else built.problems:
        typer.echo(f"left out: {problem}", err=True)
