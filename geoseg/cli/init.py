"""``geoseg init``: a commented workflow, by options, or by a few questions on a terminal."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.cli.options import AsJson, Silent, model_names, print_json

if TYPE_CHECKING:
    from geoseg.api.starter import Start

_MODEL = "landcover-s2"
_SAID = "as the files say"


def init(
    path: Annotated[Path, typer.Argument(help="The workflow to write.")] = Path("workflow.yaml"),
    scene: Annotated[
        str | None,
        typer.Option(help="Files of the scenes, as in 'images/*.tif'.", show_default=False),
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(help="A STAC catalog, instead of files.", show_default=False)
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            help="What the numbers of files are, where they do not say: reflectance or dn.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"Name of the model ({_MODEL}).", autocompletion=model_names),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="Folder of the products, as in 'maps/{scene}'.", show_default=False),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to outline, with commas; all without it; 'none' for no polygons.",
            show_default=False,
        ),
    ] = None,
    min_area: Annotated[
        str | None,
        typer.Option(help="Leave out smaller polygons, as in '0.5 ha'.", show_default=False),
    ] = None,
    ask: Annotated[
        bool | None,
        typer.Option("--ask/--no-ask", help="Ask for what is not given; on terminals it does."),
    ] = None,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Write a commented workflow to start from; on a terminal, after a few questions."""
    from geoseg.api.starter import Start, write_workflow

    start = Start(scene or "", catalog or "", model or _MODEL, output or "", units=units or "")
    start = _outlined(start, "all" if classes is None else classes)
    if min_area is not None:
        start = replace(start, min_area=min_area)
    silent = as_json or quiet  # who wants no words wants no questions
    if ask or (ask is None and not silent and sys.stdin.isatty() and sys.stdout.isatty()):
        given = {
            "place": scene is not None or catalog is not None,
            "units": units is not None,
            "model": model is not None,
            "classes": classes is not None,
            "min_area": min_area is not None,
            "output": output is not None,
        }
        start = _asked(path, start, {name for name, known in given.items() if known})
    write_workflow(path, start)
    if as_json:
        print_json({"workflow": path})
    elif not quiet:
        typer.echo(f"{path}: written; next: geoseg plan {shlex.quote(str(path))}")


def _outlined(start: Start, answer: str) -> Start:
    """``start`` with polygons of ``all`` classes, of ``none``, or of those that are named."""
    names = tuple(name.strip() for name in answer.split(",") if name.strip())
    if names == ("none",):
        return replace(start, polygons=False, classes=())
    return replace(start, polygons=True, classes=() if names == ("all",) else names)


def _asked(path: Path, start: Start, given: set[str]) -> Start:
    """``start`` with answers to what is not given; what cannot be is asked again."""
    if path.exists():
        return start  # write_workflow says so, before anybody has answered for nothing
    typer.echo("A few questions; Enter takes what stands in brackets.\n")
    if "place" not in given:
        typer.echo("Where are the scenes? Files ('images/*.tif', a .SAFE folder), a STAC catalog")
        typer.echo("(an address, a .json, or a name of `geoseg catalog show`), or a sample.")
        start = _answer(path, start, "Scenes", "sample", _placed)
    if "units" not in given and start.scene:
        start = _answer(
            path, start, "What their numbers are: reflectance, dn, or", _SAID, _numbered
        )
    if "model" not in given:
        _tell_models()
        start = _answer(path, start, "Model", start.model, lambda s, a: replace(s, model=a))
    if "classes" not in given:
        from geoseg.models.registry import find

        typer.echo(f"Its classes: {', '.join(find(start.model).card.legend.names)}.")
        text = "Polygons of which (all, none, or names with commas)"
        start = _answer(path, start, text, "all", _outlined)
    if "min_area" not in given and start.polygons:
        start = _answer(
            path, start, "Smallest polygon", start.min_area, lambda s, a: replace(s, min_area=a)
        )
    if "output" not in given:
        folder = f"products/{path.stem}/{{scene}}"
        start = _answer(path, start, "Folder of the products", folder, _going_to)
    typer.echo("")
    return start


def _numbered(start: Start, answer: str) -> Start:
    return replace(start, units="" if answer == _SAID else answer)


def _placed(start: Start, answer: str) -> Start:
    from geoseg.api.starter import is_catalog

    if answer == "sample":
        return start
    if is_catalog(answer):
        return replace(start, catalog=answer)
    return replace(start, scene=answer)


def _going_to(start: Start, answer: str) -> Start:
    return replace(start, output=answer)


def _tell_models() -> None:
    from geoseg.models.registry import available

    for card in available():
        typer.echo(f"  {card.name:<16} {card.about.get('title', '')}")


def _answer(
    path: Path, start: Start, text: str, default: str, taken: Callable[[Start, str], Start]
) -> Start:
    """``start`` with one answer more, once there is one that makes a valid workflow."""
    from geoseg.api.starter import workflow_text
    from geoseg.errors import GeosegError, WorkflowError
    from geoseg.workflow import loads

    while True:
        answer = typer.prompt(text, default=default).strip()
        try:
            found = taken(start, answer)
            loads(workflow_text(path, found), str(path))
        except WorkflowError as error:
            typer.echo(f"  {error.problems[0].message if error.problems else error}")
        except GeosegError as error:
            typer.echo(f"  {error}")
        else:
            return found
