"""Read workflows: text to tree, bases below and settings above, everything wrong at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from geoseg.errors import WorkflowError
from geoseg.workflow.faults import UnfitError, closest, show
from geoseg.workflow.merge import assign, overlay
from geoseg.workflow.reader import Findings, read_text
from geoseg.workflow.report import report
from geoseg.workflow.schema import Workflow
from geoseg.workflow.source import (
    Entry,
    Items,
    Keys,
    Node,
    Place,
    Scalar,
    Source,
    is_text,
    origins,
    to_data,
)
from geoseg.workflow.source import Path as KeyPath
from geoseg.workflow.standing import Standing
from geoseg.workflow.training import TrainingWorkflow
from geoseg.workflow.whole import Whole

W = TypeVar("W", bound=Whole)
Kind = Callable[[Node], type[W]]

LARGEST = 1_000_000
"""Bytes of a workflow file."""
# Problems of settings are told after those of all files.
_AFTER_FILES = 1000


def load(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Workflow:
    """Read a workflow file.

    Args:
        path: The YAML file; ``extends`` in it is relative to it, all other paths are not.
        overrides: Settings like ``output.directory=maps``; the value is YAML.
        environ: What ``${NAME}`` stands for; the process's environment without it.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    return _load(path, lambda _: Workflow, overrides, environ)


def load_training(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> TrainingWorkflow:
    """Read a workflow file that trains a model; like :func:`load`.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    return _load(path, lambda _: TrainingWorkflow, overrides, environ)


def load_any(path: str | os.PathLike[str], *, overrides: Sequence[str] = ()) -> Whole:
    """Read a workflow file of either kind: one with ``data`` trains, all others map.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    return _load(path, _kind_of, overrides, None)


def _kind_of(root: Node) -> type[Whole]:
    return TrainingWorkflow if _is_other(root, Workflow) else Workflow


def _is_other(root: Node, kind: type[Whole]) -> bool:
    """Whether it has what only workflows of the other kind have."""
    if not isinstance(root, Keys):
        return False
    own, foreign = ("input", "data") if kind is Workflow else ("data", "input")
    return foreign in root.entries and own not in root.entries


def _load(
    path: str | os.PathLike[str],
    kind: Kind[W],
    overrides: Sequence[str],
    environ: Mapping[str, str] | None,
) -> W:
    loading = _Loading(os.environ if environ is None else environ, kind)
    root = None
    try:
        root = loading.read(Source(os.fspath(path), _read_file(Path(path))))
    except UnfitError as error:
        loading.findings.add(Place(Source(os.fspath(path))), "", str(error))
    return loading.finish(root, overrides)


def loads(
    text: str,
    name: str = "<string>",
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Workflow:
    """Read a workflow from text; like :func:`load`, with ``name`` in place of the path.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    loading = _Loading(os.environ if environ is None else environ, lambda _: Workflow)
    return loading.finish(loading.read(Source(name, text.removeprefix("\ufeff"))), overrides)


def from_data(
    data: Mapping[str, object], *, name: str = "<python>", overrides: Sequence[str] = ()
) -> Workflow:
    """A workflow from plain dicts, lists and values, with the same checks and words.

    Only in ``overrides`` does ``${NAME}`` stand for something.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    loading = _Loading(os.environ, lambda _: Workflow)
    return loading.finish(loading.plant(data, Place(Source(name)), ()), overrides)


def training_from_data(
    data: Mapping[str, object], *, name: str = "<python>", overrides: Sequence[str] = ()
) -> TrainingWorkflow:
    """A workflow that trains a model, from plain dicts, lists and values; like :func:`from_data`.

    Raises:
        WorkflowError: Something is wrong; ``problems`` holds all of it.
    """
    loading = _Loading(os.environ, lambda _: TrainingWorkflow)
    return loading.finish(loading.plant(data, Place(Source(name)), ()), overrides)


@dataclass(slots=True)
class _Loading(Generic[W]):
    """One reading of a workflow: the texts read so far, and what is wrong with them."""

    environ: Mapping[str, str]
    kind: Kind[W]
    findings: Findings = field(default_factory=Findings)

    def read(self, source: Source, above: tuple[str, ...] = ()) -> Keys | None:
        """The tree of ``source`` on that of its base; None where one of them cannot be read."""
        before = len(self.findings)
        root = read_text(source, self.environ, self.findings)
        if not isinstance(root, Keys):
            if root is not None:
                self.findings.add(root.place, "", "expected keys and values, like 'name: water'")
            elif len(self.findings) == before:
                self.findings.add(Place(source), "", "the workflow is empty")
            return None
        entry = root.entries.get("extends")
        if entry is None or not isinstance(entry.node, Scalar):
            return root
        if entry.node.broken or not isinstance(entry.node.value, str) or not entry.node.value:
            return root  # The schema says what is wrong with it.
        base = self._read_base(entry.node.value, entry.node, above)
        return None if base is None else _on_base(base, root)

    def _read_base(self, name: str, node: Scalar, above: tuple[str, ...]) -> Keys | None:
        source = node.place.source
        path = Path(source.file).parent / name
        told = node.origin or str(path)
        chain = (*above, _real(source.file))
        if _real(path) in chain:
            message = "the file would extend itself, over this base"
            self.findings.add(node.place, "extends", message)
            return None
        try:
            text = _read_file(path, asked_by=Path(source.file).name)
        except UnfitError as error:
            # Where the name came from the environment, its surroundings are not told either.
            reason = error.advice if node.origin else str(error)
            self.findings.add(node.place, "extends", f"{told}: {reason}")
            return None
        return self.read(Source(told, text, len(chain), path=str(path)), chain)

    def plant(self, value: object, place: Place, path: KeyPath) -> Node:
        """Nodes for plain dicts, lists and values, all at one place."""
        if isinstance(value, Mapping):
            entries = {}
            for key, below in value.items():
                if isinstance(key, str) and key and key.isprintable():
                    entries[key] = Entry(place, self.plant(below, place, (*path, key)))
                else:
                    self.findings.add(place, path, f"expected a word as key, found {show(key)}")
            return Keys(entries, place)
        if isinstance(value, list | tuple):
            nodes = [self.plant(item, place, (*path, i)) for i, item in enumerate(value)]
            return Items(tuple(nodes), place)
        if isinstance(value, str) and not is_text(value):
            self.findings.add(place, path, "half a character (a lone surrogate)")
            return Scalar(None, place, broken=True)
        return Scalar(value, place)

    def finish(self, root: Keys | Node | None, overrides: Sequence[str]) -> W:
        """Put the settings on top, validate, and tell what is wrong."""
        complete = root is not None
        for number, override in enumerate(overrides):
            root = self._set(root or Keys({}, Place(Source(""))), override, number)
        workflow = self._validate(root) if complete and root is not None else None
        if workflow is None or self.findings:
            problems = self.findings.sorted()
            raise WorkflowError("\n".join(map(str, problems)), problems)
        return workflow

    def _set(self, root: Node, override: str, number: int) -> Node:
        """``root`` with one ``key.key=value`` in it; as it was, where that is wrong."""
        dotted, equals, text = override.partition("=")
        dotted = dotted.strip()
        source = Source(f"--set {override}", text, _AFTER_FILES + number, dotted)
        keys = tuple(dotted.split("."))
        if not equals or not all(key and key.isprintable() for key in keys):
            self.findings.add(Place(source), "", "expected key=value, like output.directory=maps")
            return root
        if keys[0] == "extends":
            self.findings.add(Place(source), "", "'extends' can only stand in a file")
            return root
        before = len(self.findings)
        value = read_text(source, self.environ, self.findings, at=keys)
        if len(self.findings) > before:
            return root
        try:
            return assign(root, keys, Scalar(None, Place(source)) if value is None else value)
        except UnfitError as error:
            self.findings.add(Place(source), "", str(error))
            return root

    def _validate(self, root: Node) -> W | None:
        kind = self.kind(root)
        if _is_other(root, kind):
            told = ("trains a model", "train") if kind is Workflow else ("maps scenes", "run")
            message = f"this workflow {told[0]}; run it with geoseg {told[1]}"
            self.findings.add(root.place, "", message)
            return None
        try:
            workflow = kind.model_validate(to_data(root))
        except ValidationError as error:
            report(error.errors(include_url=False), root, self.findings, kind)
            return None
        # Set once, here, for all its life.
        workflow._origins, workflow._standing = origins(root), Standing(root)  # noqa: SLF001
        return workflow


def _on_base(base: Keys, root: Keys) -> Keys:
    """``root`` over ``base``, which has done its own extending."""
    own = {key: entry for key, entry in base.entries.items() if key != "extends"}
    joined = overlay(Keys(own, base.place), root)
    return joined if isinstance(joined, Keys) else root


def _read_file(path: Path, *, asked_by: str = "") -> str:
    """The text of a workflow file; the one that asks for it is no guess where it is missing.

    Raises:
        UnfitError: There is none that can be read; only the hint tells of its surroundings.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UnfitError("no such workflow file", hint=_similar(path, asked_by)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnfitError(f"cannot be read: {reason}") from None
    if len(data) > LARGEST:
        raise UnfitError(f"larger than {LARGEST // 1000} kB, which is no workflow")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        where = f"byte 0x{data[error.start]:02x} in line {line}"
        raise UnfitError(f"not UTF-8 text ({where}); save it as UTF-8") from None


def _real(file: str | Path) -> str:
    """One name per file; unlike Path.resolve, loops of links do not raise."""
    try:
        return os.path.realpath(file)
    except ValueError:  # No file has such a name.
        return str(file)


def _similar(path: Path, asked_by: str) -> str:
    try:
        siblings = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return ""
    guess = closest(path.name, [name for name in siblings if name != asked_by])
    return f"did you mean '{path.parent / guess}'?" if guess else ""
