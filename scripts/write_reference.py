"""Write the reference pages of the documentation: every key of a workflow, every command.

python scripts/write_reference.py            # writes docs/workflow-reference.md and its siblings
python scripts/write_reference.py --check    # exits with 1 where one of them is not current
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from geoseg.cli.commands import app
from geoseg.workflow.schema_file import json_schema, training_json_schema

DOCS = Path(__file__).resolve().parents[1] / "docs"
_MADE = "<!-- Made by scripts/write_reference.py: change the words where the keys are defined. -->"
_ABOUT_VALUES = """\
Any value may be `${NAME}` or `${NAME:-default}`, which is taken from the environment when the file
is read. Unknown keys are errors. `--set KEY=VALUE` on the command line goes before what the file
says: `--set output.directory=maps`. **Bold** keys must be there."""
_WORKFLOW = f"""\
# Workflow reference

{_MADE}

Every key of a workflow, as `geoseg validate` checks it; the same as JSON Schema is
[`geoseg.schema.json`](../geoseg.schema.json) (`geoseg schema` prints it), with which editors
complete and check what you type.

{_ABOUT_VALUES}
"""
_TRAINING = f"""\
# Training workflow reference

{_MADE}

Every key of a workflow for `geoseg train`; the same as JSON Schema is
[`geoseg.train.schema.json`](../geoseg.train.schema.json) (`geoseg schema --train` prints it).

{_ABOUT_VALUES}
"""
_CLI = f"""\
# Command line

{_MADE}

`geoseg COMMAND --help` says the same. Results go to stdout, progress and warnings to stderr, and
nothing is coloured that is not a terminal, or where `NO_COLOR` is set. `--quiet` leaves results and
errors only, `--log-json` makes JSON lines of progress, `--json` JSON of results. `geoseg --debug COMMAND`
adds to an error where it came from. Exit codes are on the page of [errors](errors.md#exit-codes);
`geoseg --install-completion` teaches them to your shell.
"""


def pages() -> dict[str, str]:
    """The text of each page, by its name in docs/."""
    return {
        "workflow-reference.md": _WORKFLOW + "".join(_sections(json_schema())),
        "training-reference.md": _TRAINING + "".join(_sections(training_json_schema())),
        "cli.md": _CLI + "".join(_commands(app, ("geoseg",))),
    }


# Workflows


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    """The whole file, then each section once, where it is first met."""
    definitions = schema["$defs"]
    needed = schema["then"]["required"]
    below = schema["then"].get("properties", {})
    names = _named(schema["properties"], definitions)
    yield f"\n## The file\n\n{_table(schema['properties'], names, needed)}"
    for reference, (title, _) in names.items():
        section = definitions[reference]
        told = section.get("description", "")
        needs = [
            key
            for key, value in section["properties"].items()
            if "const" in value or key in below.get(title.strip("`"), {}).get("required", ())
        ]
        table = _table(section["properties"], names, needs)
        yield f"\n## {title}\n\n{told}\n\n{table}"


def _named(
    properties: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Title and anchor of every section that keys lead to, in the order of the file."""
    names: dict[str, tuple[str, str]] = {}

    def walk(properties: Mapping[str, Any], path: str) -> None:
        for key, value in properties.items():
            whole = f"{path}.{key}" if path else key
            for reference in _references(value):
                if reference in names or reference == "FromEnvironment":
                    continue
                section = definitions[reference]
                kind = _kind_of(section["properties"])
                title = f"`{whole}`" + (f" with {kind}" if kind else "")
                names[reference] = title, _anchor(title)
                walk(section["properties"], whole)

    walk(properties, "")
    return names


def _kind_of(properties: Mapping[str, Any]) -> str:
    """What tells a section from others at the same place: `kind: files`, `step: sieve`."""
    for key in ("kind", "step"):
        value = properties.get(key, {})
        words = [value["const"]] if "const" in value else value.get("enum", ())
        if words and (key == "step" or "const" in value):
            return " or ".join(f"`{key}: {word}`" for word in words)
    return ""


def _anchor(title: str) -> str:
    """As Python-Markdown's table of contents makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _table(
    properties: Mapping[str, Any], names: Mapping[str, tuple[str, str]], needed: list[str]
) -> str:
    rows = ["| key | value | default | what it says |", "| --- | --- | --- | --- |"]
    for key, value in properties.items():
        shown = f"**`{key}`**" if key in needed else f"`{key}`"
        default = _default(value.get("default"), needed=key in needed)
        kinds = ", ".join(dict.fromkeys(_kinds(value, names)))
        told = _cell(value.get("description", ""))
        rows.append(f"| {shown} | {kinds} | {default} | {told} |")
    return "\n".join(rows) + "\n"


def _default(value: Any, *, needed: bool) -> str:
    if needed or value in (None, [], {}, ""):
        return ""
    if isinstance(value, dict):
        return f"`{value['value']} {value['unit']}`" if set(value) == {"value", "unit"} else ""
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kinds(value: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """What may stand there, in the words of an analyst."""
    if "$ref" in value:
        reference = value["$ref"].rpartition("/")[2]
        if reference in names:
            title, anchor = names[reference]
            yield f"[{title}](#{anchor})"
        return
    if "anyOf" in value:
        examples = value.get("examples")
        for way in value["anyOf"]:
            yield from _kinds({**way, "examples": examples} if examples else way, names)
        return
    yield from _plain(value, names)


def _plain(value: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    examples = [f"`{_flow(one)}`" for one in value.get("examples") or ()]
    kind = value.get("type")
    if "const" in value:
        yield f"`{_flow(value['const'])}`"
    elif "enum" in value:
        yield from (f"`{_flow(one)}`" for one in value["enum"])
    elif kind == "array":
        inner = list(_kinds(value["items"], names)) if "items" in value else []
        yield f"a list of {' or '.join(dict.fromkeys(inner))}" if inner else "a list"
    elif kind == "object":
        yield f"keys and values, as in {examples[0]}" if examples else "keys and values"
    elif kind == "boolean":
        yield "`true` or `false`"
    elif kind in ("integer", "number"):
        yield _number(value)
    elif kind == "string":
        texts = [one for one in examples if not one.startswith("`{")]
        yield f"text like {', '.join(texts)}" if texts else "text"


def _number(value: Mapping[str, Any]) -> str:
    what = "whole number" if value["type"] == "integer" else "number"
    low = value.get("minimum", value.get("exclusiveMinimum"))
    high = value.get("maximum", value.get("exclusiveMaximum"))
    above = "from" if "minimum" in value else "above"
    under = "to" if "maximum" in value else "to below"
    span = [f"{above} {low}"] if low is not None else []
    return " ".join([what, *span, *([f"{under} {high}"] if high is not None else [])])


def _flow(value: Any) -> str:
    """As YAML has it, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


# Commands


def _commands(group: typer.Typer, words: tuple[str, ...]) -> Iterator[str]:
    """A section for each command, groups before what is in them.

    Signatures are read, not what typer makes of them: that is another thing in each release.
    """
    named: dict[str, Any] = {
        command.name or command.callback.__name__: command.callback
        for command in group.registered_commands
        if command.callback is not None
    }
    named |= {one.name or "": one.typer_instance for one in group.registered_groups}
    for name in sorted(named):
        inner = named[name]
        if isinstance(inner, typer.Typer):
            title = " ".join((*words, name))
            yield f"\n## {title}\n\n{_paragraphs(inner.info.help)}\n"
            yield from _commands(inner, (*words, name))
        else:
            yield _command(inner, (*words, name))


def _command(callback: Callable[..., Any], words: tuple[str, ...]) -> str:
    hints = get_type_hints(callback, include_extras=True)
    found = [
        _Parameter(name, *get_args(hints[name])[:2], one.default)
        for name, one in inspect.signature(callback).parameters.items()
    ]
    arguments = [one for one in found if isinstance(one.info, ArgumentInfo)]
    options = [one for one in found if isinstance(one.info, OptionInfo)]
    usage = " ".join([*words, *(one.usage for one in arguments)])
    parts = [f"\n{'#' * min(len(words), 3)} {' '.join(words)}\n", _paragraphs(callback.__doc__)]
    parts += [f"\n```text\n{usage}{' [OPTIONS]' if options else ''}\n```\n"]
    if arguments:
        rows = [f"| `{one.usage}` | {_cell(one.info.help or '')} |" for one in arguments]
        parts.append("\n".join(["| argument | what it is |", "| --- | --- |", *rows]) + "\n")
    if options:
        head = ["| option | default | what it does |", "| --- | --- | --- |"]
        parts.append("\n".join([*head, *(one.row for one in options)]) + "\n")
    return "\n".join(parts)


class _Parameter(NamedTuple):
    """A parameter of a command: its name in Python, its type, what typer is told, its default."""

    name: str
    kind: Any
    info: Any
    default: Any

    @property
    def several(self) -> bool:
        """Whether it may be given more than once."""
        kinds = (self.kind, *get_args(self.kind))
        return any(get_origin(kind) is list for kind in kinds)

    @property
    def usage(self) -> str:
        """As in the first line of the help."""
        shown = (self.info.metavar or self.name.upper()).strip("[]")
        more = "..." if self.several and "..." not in shown else ""
        needed = self.default is inspect.Parameter.empty
        return f"{shown}{more}" if needed else f"[{shown}]{more}"

    @property
    def row(self) -> str:
        """Of the table of options."""
        # Within Annotated the first name that typer is told stands where the default would.
        told = [
            one for one in (self.info.default, *(self.info.param_decls or ())) if one is not ...
        ]
        flag = self.kind is bool
        if not told:
            name = self.name.strip("_").replace("_", "-")
            told = [f"--{name}/--no-{name}" if flag else f"--{name}"]
        names = ", ".join(f"`{name}`" for name in sorted(told, key=len))
        value = "" if flag else f" {_cell(self.info.metavar or '') or self._value()}"
        needed = " **Needed.**" if self.default is inspect.Parameter.empty else ""
        again = " May be repeated." if self.several and "repeated" not in self.info.help else ""
        return (
            f"| {names}{value} | {self._default(told)} | {_cell(self.info.help)}{again}{needed} |"
        )

    def _value(self) -> str:
        kinds = [kind for kind in (*get_args(self.kind), self.kind) if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, Enum):
                return " or ".join(f"`{one.value}`" for one in kind)
        if any(issubclass(kind, int | float) for kind in kinds):
            return "NUMBER"
        return "PATH" if any(issubclass(kind, Path) for kind in kinds) else "TEXT"

    def _default(self, told: Sequence[str]) -> str:
        if self.default in (None, "", False, inspect.Parameter.empty):
            return ""
        if self.default is True:
            return f"`{told[0].partition('/')[0]}`"
        return f"`{getattr(self.default, 'value', self.default)}`"


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str) -> str:
    """In a cell of a table, where ``<`` begins a tag and ``|`` ends the cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*.", "\\*.")


def main() -> int:
    """Write what changed; or only say what would."""
    check, stale = "--check" in sys.argv[1:], 0
    for name, text in pages().items():
        path = DOCS / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale += 1
        print(f"{path}: {'not current' if check else 'written'}")  # noqa: T201 (a command)
        if not check:
            path.write_text(text, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
