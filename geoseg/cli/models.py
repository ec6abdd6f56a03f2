"""``geoseg models``: what is there, bringing models in, sending them out, and proving them."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.options import AsJson, print_json

models = typer.Typer(help="The models that geoseg knows.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models that can be called by name."""
    from geoseg.cli.show import show_models
    from geoseg.models.registry import available

    cards = available()
    if as_json:
        print_json([{"name": c.name, "version": c.version, "bands": c.bands} for c in cards])
    else:
        show_models(cards)


@models.command("add")
def add_model(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FOLDER|URL",
            help="A known public model (dynamicworld), or the folder or web address of a package.",
            show_default=False,
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A local copy of a known model, instead of fetching it.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model of the same name.")
    ] = False,
) -> None:
    """Bring a model in, so that workflows can call it by name."""
    from geoseg.api import add_model as bring_model

    package = bring_model(what, source=source, force=force)
    about = package.card.about
    typer.echo(f"{package.card.name} {package.card.version}: {package.folder}")
    for key in ("license", "citation", "attribution"):
        if key in about:
            typer.echo(f"{key}: {about[key]}")


@models.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name or folder.", show_default=False)],
) -> None:
    """Print the card of a model: what it needs, what it gives, how good it is."""
    from geoseg.models.registry import CARD_FILE, find

    typer.echo((find(name).folder / CARD_FILE).read_text("utf-8").rstrip())
