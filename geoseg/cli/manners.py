"""What all commands have in common: the next step after each, and what is kept after Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import IO, Any

import typer

from geoseg.errors import StoppedError

_GOES_ON = "what is done is kept, and the same command goes on from there"
_BEGINS_AGAIN = "nothing half-made has a product's name; the same command begins again"
_NOTHING = "nothing was written"

NEXT: Mapping[str, str] = {
    "alerts export": "open {out}/alerts.gpkg in QGIS; geoseg plots PLOTS OUT --loss {out}",
    "alerts show": "geoseg alerts export {store} OUT",
    "alerts update": "geoseg alerts show {store}; geoseg alerts export {store} OUT",
    "catalog build": "geoseg catalog check {folder}",
    "catalog check": "",
    "catalog search": "geoseg catalog show {where} ITEM",
    "catalog show": "",
    "change": "open {out}/project.qgz in QGIS",
    "clean": "",
    "diff": "",
    "doctor": "",
    "evaluate areas": "",
    "evaluate design": "",
    "evaluate map": "geoseg evaluate design {prediction} points.gpkg draws points to estimate areas by",
    "events": "",
    "init": "",
    "labels agree": "",
    "labels check": "",
    "labels hash": "",
    "land-use": "",
    "models add": "geoseg models list",
    "models architectures": "geoseg models measure NAME",
    "models check": "",
    "models convert": "geoseg models check {out}",
    "models export": "",
    "models list": "geoseg models show NAME",
    "models measure": "",
    "models show": "",
    "plan": "geoseg run {workflow}",
    "plots": "open {out}/report.html",
    "provenance": "",
    "predict": "open {out}/project.qgz in QGIS",
    "report": "",
    "run": "open project.qgz in QGIS; geoseg status {workflow}",
    "sample": "geoseg init my.yaml --scene {directory}/scene.tif",
    "schedule": "",
    "schema": "",
    "status": "",
    "style": "",
    "train": "geoseg models list; geoseg predict SCENE OUT --model FOLDER",
    "validate": "geoseg plan {workflows[0]}",
    "vectorize": "open {out} in QGIS",
    "view": "",
    "water": "",
}
"""What people do after a command, with its parameters filled in; "" where it says so itself."""

KEPT: Mapping[str, str] = {
    **dict.fromkeys(("run", "predict", "train", "alerts update"), _GOES_ON),
    **dict.fromkeys(
        (
            "catalog check", "catalog search", "catalog show", "doctor", "events", "labels hash",
            "models architectures", "models check", "models list", "models measure", "models show",
            "plan", "status", "validate", "alerts show", "view",
        ),
        _NOTHING,
    ),
    "clean": "what was said to be removed is removed, the rest is whole",
}  # fmt: skip
"""What is left where a command is interrupted; of all others: nothing that is half made."""


def accompany(app: typer.Typer, words: tuple[str, ...] = ()) -> None:
    """Let every command below say what comes next, and what is kept where it is interrupted."""
    for command in app.registered_commands:
        if command.callback is not None:
            name = command.name or command.callback.__name__.replace("_", "-")
            command.callback = _accompanied(" ".join((*words, name)), command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None and group.name:
            accompany(group.typer_instance, (*words, group.name))


def _accompanied(name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def called(**given: Any) -> Any:
        try:
            result = callback(**given)
        except typer.Exit as end:
            if end.exit_code == 0:
                tell_next(name, given)
            raise
        except (KeyboardInterrupt, RuntimeError) as raised:
            stop = _interrupt(raised)
            if stop is None:
                raise
            said = str(stop) or "interrupted"
            if ";" not in said:  # a run says more exactly what is kept
                said = f"{said}; {KEPT.get(name, _BEGINS_AGAIN)}"
            raise StoppedError(said, exit_code=getattr(stop, "exit_code", 130)) from stop
        tell_next(name, given)
        return result

    return called


def _interrupt(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C behind an error, if there is one.

    Amid the waiting for a lock it comes out as "release unlocked lock": the lock is let go of on the
    way out, and was not held.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def tell_next(name: str, given: Mapping[str, Any]) -> None:
    """The next step, on a terminal only: logs and programs have no use for it."""
    silent = given.get("quiet") or given.get("as_json") or given.get("log_json")
    step = NEXT.get(name, "")
    if step and not silent and sys.stderr.isatty():
        told = painted("next: " + step.format_map(given), "2", sys.stderr)
        print(told, file=sys.stderr)  # noqa: T201 (this is the command line)


def painted(text: str, code: str, stream: IO[str]) -> str:
    """``text`` in a colour of ANSI (SGR code), where the stream is a terminal that wants colours.

    Source: https://no-color.org
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("", "dumb")
    return text if plain or not stream.isatty() else f"\x1b[{code}m{text}\x1b[0m"
