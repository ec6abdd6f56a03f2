"""The command that shows products on a map in the browser."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

import getpass
import signal
from pathlib import Path
from typing import Annotated

import typer

from geoseg.errors import InputError


def view(
    products: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of products, rasters of classes, GeoPackages.",
            metavar="PRODUCT...",
            show_default=False,
        ),
    ],
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image to show beside them. May be repeated.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(help="Of this machine; 0: any that is free.", min=0)] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    reviewer: Annotated[
        str, typer.Option(help="Name that reviews bear; else that of the user.")
    ] = "",
    relabel: Annotated[
        str, typer.Option(help="What reviewers may call polygons: a,b. Else the legend's classes.")
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Write what was reviewed as labels to train on (.geojson), and end.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show products on a map in the browser, and review their polygons. Ctrl-C ends it.

    Served on this machine only, from this machine only: no byte comes from the network.
    """
    from geoseg.api.viewer.layers import find_products, known_classes
    from geoseg.api.viewer.reviewing import Desk, write_labels

    shown = find_products(products, images=image or ())
    names = tuple(name.strip() for name in relabel.split(",") if name.strip())
    desk = Desk(reviewer.strip() or _user(), names, known_classes(shown))
    if labels is not None:
        layers = [layer for product in shown for layer in product.polygons]
        typer.echo(f"{labels}: {write_labels(desk, layers, labels)} labels")
        return
    from geoseg.api.viewer.routes import Map
    from geoseg.api.viewer.server import MapServer

    with MapServer(Map(shown, desk), port=port) as server:
        typer.echo(server.address)
        typer.echo("Ctrl-C ends it; reviews are saved as they are made.", err=True)
        if open_browser:
            _open(server.address)
        # Who starts this in the background may have Ctrl-C ignored; it is the only way to end it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt as interrupt:
            from geoseg.errors import StoppedError

            if isinstance(interrupt, StoppedError):
                raise
        finally:
            server.shown.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise InputError("this user has no name; say it with --reviewer NAME") from error


def _open(address: str) -> None:
    """In a browser with windows, if there is one: those of terminals would take this one."""
    import os
    import sys
    import webbrowser

    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
