"""Options that several commands share."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from geoseg.cli import starting

if TYPE_CHECKING:
    from geoseg.run.reporter import Reporter

WorkflowFile = Annotated[
    Path, typer.Argument(help="The workflow, a YAML file.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, e.g. --set output.directory=maps. May be repeated.",
        show_default=False,
    ),
]
Maps = Annotated[
    list[Path],
    typer.Argument(
        help="Rasters of classes with dates, or folders of products; then the folder to write to.",
        metavar="MAP... OUT",
        show_default=False,
    ),
]


def model_names(incomplete: str) -> list[str]:
    """Models that can be called by name and begin so, for the completion of shells."""
    from geoseg.errors import GeosegError  # noqa: PLC0415 (not for --help)
    from geoseg.models.registry import available  # noqa: PLC0415 (not for --help)

    try:
        return [card.name for card in available() if card.name.startswith(incomplete)]
    except GeosegError:
        return []  # the command itself says what is wrong


ModelOption = Annotated[
    str, typer.Option(help="Name or folder of the model.", autocompletion=model_names)
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Tell progress as JSON lines.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Tell no progress: results and errors only.")
]
Silent = Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reporter(*, log_json: bool, quiet: bool) -> Reporter:
    """Who tells of the run: on stderr, as stdout is for results."""
    from geoseg.run.progress import make_reporter  # noqa: PLC0415 (not for --help)

    teller = make_reporter("json" if log_json else "quiet" if quiet else "auto", sys.stderr)
    if starting.is_ours():  # what Python warns of is a line like all others, JSON where they are

        def show(message: Warning | str, *_about: object) -> None:
            teller.warning(" ".join(str(message).split()))

        warnings.showwarning = cast("Any", show)
    return teller


def print_json(value: Any) -> None:
    """``value`` on stdout, for programs."""
    import json  # noqa: PLC0415 (only where JSON is asked for)

    typer.echo(json.dumps(value, indent=2, default=str))
