"""What pydantic finds, in the analyst's words and at the place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from geoseg.workflow.faults import UnfitError, choices, closest, show
from geoseg.workflow.inputs import INPUTS
from geoseg.workflow.postprocess import STEPS
from geoseg.workflow.reader import Findings
from geoseg.workflow.schema import Workflow
from geoseg.workflow.section import TAG
from geoseg.workflow.source import Keys, Node, Path, Place, Scalar, children, dotted, origins, walk

_EXPECTED = {
    "bool_type": "expected true or false",
    "dict_type": "expected keys and values",
    "finite_number": "expected a number",
    "float_type": "expected a number",
    "greater_than_equal": "expected at least {ge:.15g}",
    "int_type": "expected a whole number",
    "less_than_equal": "expected at most {le:.15g}",
    "list_type": "expected a list",
    "model_attributes_type": "expected keys and values",
    "model_type": "expected keys and values",
    "string_too_short": "expected text",
    "string_type": "expected text",
    "string_unicode": "expected text",
    "tuple_type": "expected a list",
}
_TAGGED = {**INPUTS, **STEPS}
_REQUIRED = "required, but missing"
_UNQUOTE = "write it without quotes"
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?")
_TRUTHS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def report(
    errors: Sequence[ErrorDetails],
    root: Node,
    findings: Findings,
    kind: type[BaseModel] = Workflow,
) -> None:
    """Add every error of pydantic to ``findings``.

    Args:
        errors: What pydantic found.
        root: The tree that was validated.
        findings: Gets the problems.
        kind: What it was validated as.
    """
    guessed: set[Path] = set()
    for error in sorted(errors, key=lambda error: error["type"] == "missing"):
        loc = _full_location(error)
        path, key_place, node = _walk(root, loc)
        if _broken(node):
            continue
        if error["type"] == "extra_forbidden":
            message, guess = _unknown_key(error["loc"], path, kind)
            guessed.add((*path[:-1], guess))
            findings.add(key_place, path, message)
            continue
        key = _named(loc, path, error)
        if error["type"] == "missing" and key in guessed:
            continue  # The unknown key is probably this one, misspelt.
        at_value = isinstance(node, Scalar) and key == path and loc[-1:] != ("[key]",)
        place = node.place if at_value else key_place
        findings.add(place, key, _message(error, node))


def _full_location(error: ErrorDetails) -> Path:
    """Where the trouble is, without pydantic's own marks."""
    loc = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith(TAG))]
    unfit = _unfit(error)
    return (*loc, *(unfit.at if unfit else ()))


def _unfit(error: ErrorDetails) -> UnfitError | None:
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, UnfitError) else None


def _walk(root: Node, loc: Path) -> tuple[Path, Place, Node]:
    """Follow ``loc`` as far as there are nodes: the path, where its key stands, and the node."""
    node, place = root, root.place
    for depth, step in enumerate(loc):
        below = children(node).get(step)
        if below is None:
            return loc[:depth], place, node
        place = node.entries[str(step)].place if isinstance(node, Keys) else below.place
        node = below
    return loc, place, node


def _named(loc: Path, path: Path, error: ErrorDetails) -> Path:
    """The key that a problem is reported for: what is missing counts, marks do not."""
    rest = loc[len(path) :]
    unfit = _unfit(error)
    missing = error["type"] == "missing" or (unfit is not None and len(unfit.at) == len(rest))
    return loc if missing else path


def _broken(node: Node) -> bool:
    """Whether (part of) the value could not be read, which was already reported."""
    return any(isinstance(below, Scalar) and below.broken for below in walk(node))


def _message(error: ErrorDetails, node: Node) -> str:
    """What was expected and what is there, without giving away the environment."""
    unfit = _unfit(error)
    secrets = list(dict.fromkeys(origins(node).values()))
    if error["type"] == "missing":
        return f"{_REQUIRED}; write 'geoseg: 1'" if error["loc"] == ("geoseg",) else _REQUIRED
    if unfit is not None:
        advice, found, hint = unfit.advice, unfit.found, unfit.hint
    else:
        advice, found, hint = _standard(error)
    if secrets and found:
        return f"{advice}, found what {' and '.join(secrets)} stands for"
    return ", ".join(filter(None, (advice, found and f"found {found}", hint)))


def _standard(error: ErrorDetails) -> tuple[str, str, str]:
    """Advice, what was found, and a hint, for one of pydantic's own errors."""
    value = error.get("input")
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", context.get("expected", ""))
        guess = closest(value, allowed) if isinstance(value, str) else None
        hint = f"did you mean '{guess}'?" if guess else ""
        return f"expected {choices(allowed)}", show(value), hint
    template = _EXPECTED.get(error["type"], "expected something else")
    return template.format_map(context), show(value), _hint(error["type"], value)


def _hint(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in quotes if it is meant"
    if kind == "bool_type" and isinstance(value, str):
        if value in ("true", "false"):
            return _UNQUOTE
        truth = _TRUTHS.get(value.casefold())
        return f"write {truth}" if truth else ""
    if kind in ("int_type", "float_type") and isinstance(value, str) and _NUMBER.fullmatch(value):
        return _UNQUOTE
    return "fill it in or remove it" if value is None else ""


def _unknown_key(loc: tuple[str | int, ...], path: Path, kind: type[BaseModel]) -> tuple[str, str]:
    """The message for a key that nobody knows, and what was probably meant."""
    word = str(path[-1])
    section = _section(loc[:-1], kind)
    known = list(section.model_fields)
    guess = closest(word, known)
    if guess:
        return f"unknown key, did you mean '{guess}'?", guess
    homes = {dotted(where): 1 for where, other in sections(kind) if word in other.model_fields}
    homes.pop(dotted(path[:-1]), None)
    if 1 <= len(homes) <= 2:
        return f"unknown key here, it belongs in {choices(list(homes))}", word
    return f"unknown key; known are {', '.join(known)}", word


def _section(loc: tuple[str | int, ...], kind: type[BaseModel]) -> type[BaseModel]:
    """The model that stands at ``loc``."""
    section = kind
    for part in loc:
        if part in _TAGGED:
            section = _TAGGED[str(part)]
        elif part in section.model_fields:
            below = list(_models(section.model_fields[str(part)].annotation))
            section = below[0] if below else section
    return section


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that an annotation speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def sections(kind: type[BaseModel] = Workflow) -> Iterator[tuple[Path, type[BaseModel]]]:
    """Each section with the path of its key; the top level has none."""
    waiting: list[tuple[Path, type[BaseModel]]] = [((), kind)]
    while waiting:
        path, section = waiting.pop(0)
        if path:
            yield path, section
        for key, info in section.model_fields.items():
            waiting += [((*path, key), model) for model in _models(info.annotation)]
