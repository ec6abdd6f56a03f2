"""Where in its file stands what an error found later speaks of: a key, or a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import cast

from geoseg.errors import InputError
from geoseg.redaction import masked
from geoseg.workflow.source import (
    Entry,
    Items,
    Keys,
    Node,
    Path,
    Place,
    Scalar,
    children,
    dotted,
)

_KEY = re.compile(r"[a-z][a-z_0-9]*(?:\.[a-z_0-9]+)*")
_INNER = re.compile(r"(?<![\w./])[a-z][a-z_0-9]*(?:\.[a-z_0-9]+)+(?![\w/])")
_UNWRITTEN = ("cluster", "run", "tiling")
"""Sections that all have, those too that do not write them."""
_SHORTEST = 4
"""Letters of a value that is looked for within a message: shorter ones are there by chance."""


class Standing:
    """The tree that a workflow was made of, for errors that come after it was found to be valid.

    It stays in this process: whoever unpickles a workflow has none.
    """

    def __init__(self, root: Node | None = None) -> None:
        self._root = root

    def __reduce__(self) -> tuple[type[Standing], tuple[()]]:
        return Standing, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Standing)  # where it stands is no part of what a workflow says

    def __hash__(self) -> int:
        return hash(Standing)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors from within say in which file and line the key or value stands they speak of.

        They stay what they are. Those that speak of nothing in the file are left alone.
        """
        try:
            yield
        except InputError as error:
            told = "" if error.placed else self._told(str(error))
            if told:
                error.args, error.placed = (masked(told), *error.args[1:]), True
            raise

    def _told(self, message: str) -> str:
        """``message`` with its place in front and its line below; "" where it has none."""
        root = self._root
        if not isinstance(root, Keys):
            return ""
        head, colon, _ = message.partition(": ")
        found = (
            _at_key(root, head, message)
            or _within(root, message)
            or (colon and _at_value(root, head))
        )
        if not found:
            return ""
        place, key = found
        written = root.place.line is not None or place.source.setting is not None
        return str(place.problem(key, message)) if written else ""


Found = tuple[Place, str]


def _at_key(root: Keys, head: str, message: str) -> Found | None:
    """The place of the key that a message begins with, or of what is nearest above it."""
    path = tuple(head.split("."))
    if not _KEY.fullmatch(head) or path[0] not in {*root.entries, *_UNWRITTEN}:
        return None
    # Of a section that nobody wrote the file is named, and no line of it.
    place, node = Place(root.place.source), cast("Node", root)
    for step in path:
        entry = _entry(node, step)
        if entry is None:
            break
        place, node = entry.place, entry.node
    if isinstance(node, Scalar):
        return node.place, ""
    for _, below in _scalars(node):
        if _speaks_of(message, below):
            return below.place, ""
    return place, ""


def _entry(node: Node, step: str) -> Entry | None:
    if isinstance(node, Keys):
        return node.entries.get(step)
    below = children(node).get(int(step)) if step.isdigit() else None
    return None if below is None else Entry(below.place, below)


def _at_value(root: Keys, head: str) -> Found | None:
    """The place of the text that a message begins with, like the path of a file."""
    for path, node in _texts(root):
        value = str(node.value)
        for said in (value, str(FilePath(value).absolute())):
            if head == said or head.endswith((f" {said}", f" '{said}'")):
                return node.place, dotted(path)
    return None


def _within(root: Keys, message: str) -> Found | None:
    """The place of a key of the file that a message speaks of further on."""
    for match in _INNER.finditer(message):
        node: Node = root
        entry = None
        for step in match.group().split("."):
            entry = _entry(node, step)
            if entry is None:
                break
            node = entry.node
        if entry is not None:
            return (node.place if isinstance(node, Scalar) else entry.place), ""
    return None


def _speaks_of(message: str, node: Scalar) -> bool:
    value = node.value
    return isinstance(value, str) and len(value) >= _SHORTEST and value in message


def _scalars(node: Node) -> Iterator[tuple[Path, Scalar]]:
    """Values right below a section; items of lists are too much alike to tell which is meant."""
    for step, below in children(node).items():
        if isinstance(below, Scalar) and not isinstance(node, Items):
            yield (step,), below


def _texts(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """All texts of a tree, but for what it is called."""
    if isinstance(node, Scalar):
        if isinstance(node.value, str) and path not in (("name",), ("description",)):
            yield path, node
        return
    for step, below in children(node).items():
        yield from _texts(below, (*path, step))
