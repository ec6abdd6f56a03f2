"""YAML text as a tree of nodes that remember where they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from geoseg.errors import Problem

Path = tuple[str | int, ...]
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_WIDEST = 160


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A text that nodes come from: a file, or one ``--set`` argument.

    ``setting`` is the key that the argument sets. ``order`` sorts problems: the file that was
    asked for, its bases, then the arguments. ``path`` is the file, where ``name`` is not: names
    are told, paths may hold what the environment does not want told.
    """

    name: str
    text: str = ""
    order: int = 0
    setting: str | None = None
    path: str | None = None
    _lines: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._lines.extend(_BREAK.split(self.text))

    @property
    def file(self) -> str:
        """Where the text was read from."""
        return self.name if self.path is None else self.path

    def line(self, line: int) -> str:
        """The text of a line, counted from 0."""
        return self._lines[line] if line < len(self._lines) else ""

    def place(self, position: int) -> Place:
        """Where the character at ``position`` stands."""
        lines = _BREAK.split(self.text[:position])
        return Place(self, len(lines) - 1, len(lines[-1]))

    def excerpt(self, line: int, column: int) -> str:
        """The line, and a caret under the column; both count from 0."""
        text = self.line(line)
        first = max(0, column - _WIDEST // 2) if len(text) > _WIDEST else 0
        text = _printable(text[first : first + _WIDEST]).rstrip()
        pad = "".join(" " * _width(c) for c in text[: column - first]).ljust(column - first)
        return f"{line + 1:6d} | {text}\n       | {pad}^"


def _printable(text: str) -> str:
    """``text`` without what moves the cursor or colours the terminal."""
    return "".join(
        c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _width(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@dataclass(frozen=True, slots=True)
class Place:
    """A character of a source, counted from 0; a ``line`` of None is the source as a whole."""

    source: Source
    line: int | None = None
    column: int = 0

    def problem(self, key: str, message: str) -> Problem:
        """Something wrong here."""
        if self.source.setting is not None:
            return Problem(self.source.name, None, None, _below(self.source.setting, key), message)
        if self.line is None:
            return Problem(self.source.name, None, None, key, message)
        excerpt = self.source.excerpt(self.line, self.column)
        return Problem(self.source.name, self.line + 1, self.column + 1, key, message, excerpt)

    @property
    def order(self) -> tuple[int, int, int]:
        """What sorts problems."""
        return self.source.order, -1 if self.line is None else self.line, self.column


def _below(setting: str, key: str) -> str:
    """``key``, or "" where the argument itself already names it."""
    return "" if key == setting else key


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``origin`` is how it was written, where (part of) it is from the environment.

    ``broken`` values could not be read; that was already reported.
    """

    value: object
    place: Place
    origin: str | None = None
    quoted: bool = False
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and where its key stands."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys and values."""

    entries: Mapping[str, Entry]
    place: Place


Node = Scalar | Items | Keys


def is_text(text: str) -> bool:
    """Whether all of ``text`` can be written: YAML and Python can hold halves of characters."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def to_data(node: Node) -> object:
    """Plain dicts, lists and values."""
    if isinstance(node, Keys):
        return {key: to_data(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [to_data(item) for item in node.nodes]
    return node.value


def walk(node: Node) -> Iterator[Node]:
    """``node`` and all below it."""
    yield node
    for child in children(node).values():
        yield from walk(child)


def children(node: Node) -> dict[str | int, Node]:
    """What lies right below, by key or index."""
    if isinstance(node, Keys):
        return {key: entry.node for key, entry in node.entries.items()}
    return dict(enumerate(node.nodes)) if isinstance(node, Items) else {}


def height(node: Node) -> int:
    """Levels below ``node``."""
    return max((1 + height(child) for child in children(node).values()), default=0)


def origins(node: Node, path: Path = ()) -> dict[Path, str]:
    """How values were written that come from the environment, by path."""
    if isinstance(node, Scalar):
        return {} if node.origin is None else {path: node.origin}
    below = (origins(child, (*path, step)) for step, child in children(node).items())
    return {where: origin for found in below for where, origin in found.items()}


def dotted(path: Path) -> str:
    """``input.bands.0`` as people write it."""
    return ".".join(map(str, path))
