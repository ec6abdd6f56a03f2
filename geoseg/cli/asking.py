"""The questions of ``geoseg init``, on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from geoseg.cli.options import model_names


def can_ask() -> bool:
    """Whether somebody sits there who could answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def questions(path: Path, model: str) -> dict[str, str]:
    """What :func:`geoseg.api.starter.write_workflow` wants to know; Enter takes what is in brackets."""
    typer.echo(f"A workflow, {path}. Enter takes what is in brackets; all can be changed later.")
    where = typer.prompt(
        "Scenes: files like images/*.tif, a STAC catalog or archive, or nothing for a synthetic one",
        default="",
        show_default=False,
    ).strip()
    names = model_names()
    typer.echo(f"Models: {', '.join(names)} (geoseg models list tells more)")
    chosen = typer.prompt("Model", default=model).strip()
    smallest = typer.prompt("Smallest polygon, as in 0.5 ha or 400 m2", default="0 m2").strip()
    folder = typer.prompt("Folder of the products", default=f"products/{path.stem}/{{scene}}")
    said = {"model": chosen, "min_area": smallest, "directory": folder.strip()}
    return said | ({"catalog": where} if _is_catalog(where) else {"scene": where})


def _is_catalog(where: str) -> bool:
    """An address or a file of JSON or Parquet, or the name of an archive; else files of scenes."""
    from geoseg.io.archive import archive_names  # noqa: PLC0415 (asked at last)

    if where in archive_names():
        return True
    return where.startswith(("http://", "https://")) or where.endswith((".json", ".parquet"))
