"""Read one YAML text: events of ruamel.yaml to nodes, within limits, all problems collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from geoseg.errors import Problem
from geoseg.workflow.environment import UnresolvedError, expand, is_reference, plain_value
from geoseg.workflow.faults import show
from geoseg.workflow.source import (
    Entry,
    Items,
    Keys,
    Node,
    Path,
    Place,
    Scalar,
    Source,
    dotted,
    height,
    is_text,
    walk,
)

DEEPEST = 20
MOST_VALUES = 50_000
_TAG = "tag:yaml.org,2002:"
_CORE_TAGS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}


@dataclass(slots=True)
class Findings:
    """Problems, gathered while reading goes on."""

    found: list[tuple[tuple[int, int, int], Problem]] = field(default_factory=list)

    def add(self, place: Place, path: Path | str, message: str) -> None:
        """Note that something is wrong at ``place``, concerning the key at ``path``."""
        key = path if isinstance(path, str) else dotted(path)
        self.found.append((place.order, place.problem(key, message)))

    def __len__(self) -> int:
        return len(self.found)

    def sorted(self) -> tuple[Problem, ...]:
        """Each problem once, in the order of the files."""
        ranked = sorted(self.found, key=lambda item: item[0])
        return tuple(dict.fromkeys(problem for _, problem in ranked))


def read_text(
    source: Source, environ: Mapping[str, str], findings: Findings, *, at: Path = ()
) -> Node | None:
    """The one document of ``source``; None where it is empty, or nothing of it can be used.

    Args:
        source: What to read.
        environ: What ``${NAME}`` is looked up in.
        findings: Gets every problem.
        at: The key that the document will be the value of.
    """
    try:
        return _Reader(source, environ, findings, at).document()
    except _StopReading:
        return None


class _StopReading(Exception):  # noqa: N818 - it leaves the parser; the problem is noted already
    """Nothing after the last problem can be understood."""


@dataclass(slots=True)
class _Reader:
    source: Source
    environ: Mapping[str, str]
    findings: Findings
    at: Path
    events: Iterator[Event] = field(init=False)
    # An anchor is None while the node that it names is still being read.
    anchors: dict[str, Node | None] = field(default_factory=dict)
    values: int = 0

    def document(self) -> Node | None:
        self.events = self._parse()
        root: Node | None = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._stop(self._place(event), (), "a second document; write one per file")
                root = self._node(next(self.events), self.at)
        return root

    def _parse(self) -> Iterator[Event]:
        """Events of the parser, its exceptions turned into problems."""
        try:
            yield from YAML(typ="safe", pure=True).parse(self.source.text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self.source, mark.line, mark.column) if mark else Place(self.source)
            self._stop(place, (), f"not valid YAML: {self._explain(error, place)}")
        except ReaderError as error:
            code = error.character if isinstance(error.character, int) else ord(error.character)
            place = self.source.place(error.position)
            self._stop(place, (), f"not valid YAML: character U+{code:04X} is not allowed")
        except (YAMLError, ValueError, OverflowError) as error:
            # Some malformed escapes and directives get through to Python's own errors.
            reason = (str(error).splitlines() or ["it cannot be read"])[0]
            self._stop(Place(self.source, 0), (), f"not valid YAML: {reason}")

    def _explain(self, error: MarkedYAMLError, place: Place) -> str:
        text = ", ".join(filter(None, (error.context, error.problem))) or "it cannot be read"
        if place.line is not None and "${" in self.source.line(place.line):
            text += '; within { } and [ ] quote "${NAME}", or write one key a line'
        elif "'\\t'" in text:
            text += "; indent with blanks, not with tabs"
        return text

    def _place(self, event: Event) -> Place:
        return Place(self.source, event.start_mark.line, event.start_mark.column)

    def _stop(self, place: Place, path: Path, message: str) -> NoReturn:
        self.findings.add(place, path, message)
        raise _StopReading

    def _node(self, event: Event, path: Path) -> Node:
        """The node that starts with ``event``."""
        self._grow(event, path, 1, 0)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        anchor = event.anchor if isinstance(event, NodeEvent) else None
        if anchor:
            self.anchors[anchor] = None
        node = self._build(event, path)
        if anchor:
            self.anchors[anchor] = node
        return node

    def _grow(self, event: Event, path: Path, values: int, levels: int) -> None:
        """Hold the limits; aliases count as what they stand for."""
        self.values += values
        if self.values > MOST_VALUES:
            self._stop(self._place(event), path[:2], f"more than {MOST_VALUES} values")
        if len(path) + levels > DEEPEST:
            self._stop(self._place(event), path[:2], f"nested more than {DEEPEST} levels deep")

    def _alias(self, event: AliasEvent, path: Path) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self.anchors
            why = (
                "stands inside what it names" if inside else f"has no anchor &{event.anchor} above"
            )
            self.findings.add(self._place(event), path, f"alias *{event.anchor} {why}")
            return Scalar(None, self._place(event), broken=True)
        self._grow(event, path, sum(1 for _ in walk(node)), height(node))
        return node

    def _build(self, event: Event, path: Path) -> Node:
        place = self._place(event)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        self._check_tag(event, path)
        if isinstance(event, SequenceStartEvent):
            return self._items(place, path)
        return self._keys(place, path)

    def _items(self, place: Place, path: Path) -> Items:
        nodes: list[Node] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            nodes.append(self._node(event, (*path, len(nodes))))
        return Items(tuple(nodes), place)

    def _keys(self, place: Place, path: Path) -> Keys:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key_place = self._place(event)
            key = self._key(event, path)
            event = next(self.events)
            node = self._node(event, path if key is None else (*path, key))
            if isinstance(node, Scalar) and _is_nothing(event):
                # Nothing stands there, and the parser places it on the next line.
                node = replace(node, place=key_place)
            if key is None:
                continue
            if key in entries:
                first = (entries[key].place.line or 0) + 1
                message = f"key given twice, first in line {first}"
                self.findings.add(key_place, (*path, key), message)
            else:
                entries[key] = Entry(key_place, node)
        return Keys(entries, place)

    def _key(self, event: Event, path: Path) -> str | None:
        """The text of a key; None, and a problem, where it is no word."""
        place = self._place(event)
        if not isinstance(event, ScalarEvent):
            self._node(event, path)
            self.findings.add(place, path, "expected a word as key")
            return None
        self._grow(event, path, 1, 1)
        self._check_tag(event, path)
        text = str(event.value)
        key = plain_value(text) if event.style is None else text
        if event.anchor:
            self.anchors[event.anchor] = Scalar(key, place)
        if isinstance(key, int) and not isinstance(key, bool) and text == str(key):
            key = text  # class codes are keys, too
        if key == "<<" and event.style is None:
            advice = "'<<' is not part of YAML 1.2; use 'extends', or repeat the keys"
            self.findings.add(place, path, advice)
            return None
        if not isinstance(key, str) or not key.isprintable() or not key:
            self.findings.add(place, path, f"expected a word as key, found {show(key)}")
            return None
        return key

    def _check_tag(self, event: Event, path: Path) -> str:
        if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
            return ""
        tag = str(event.tag or "")
        if tag not in ("", "!") and tag not in _CORE_TAGS:
            shown = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
            advice = "workflows are plain YAML, without tags"
            self.findings.add(self._place(event), path, f"tag {show(shown)}: {advice}")
        return tag

    def _scalar(self, event: ScalarEvent, path: Path) -> Scalar:
        tag = self._check_tag(event, path)
        place, text = self._place(event), str(event.value)
        if not is_text(text):
            self.findings.add(place, path, "half a character (a lone surrogate)")
            return Scalar(None, place, broken=True)
        try:
            value, replaced = expand(text, self.environ)
        except UnresolvedError as error:
            self.findings.add(place, path, str(error))
            return Scalar(None, place, broken=True)
        origin = text if replaced else None
        quoted = event.style is not None
        typed = tag.removeprefix(_TAG) in ("int", "float", "bool", "null")
        text_anyway = quoted or tag in ("!", f"{_TAG}str") or (replaced and not is_reference(text))
        if text_anyway and not typed:
            return Scalar(value, place, origin=origin, quoted=quoted)
        return Scalar(plain_value(value), place, origin=origin)


def _is_nothing(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and event.value == "" and event.style is None
