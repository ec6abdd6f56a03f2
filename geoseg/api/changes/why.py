"""Why two runs made different maps: what their records say of input, model, settings and code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.redaction import without_secrets

PARTS: Final = ("input", "model", "settings", "code")
_HASHES: Final = {"input": "inputs", "model": "model", "settings": "settings", "code": "code"}
_QUIET: Final = ("cluster", "run", "output", "name", "description", "extends")
"""Sections of a workflow that change no pixel of a map."""
_PLACES: Final = ("path", "catalog", "collections", "time", "ids", "mask.path")
"""Settings that say where scenes are: another input, no other way to map it."""
_MOST = 40  # differences of one part that are told one by one


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that differs between two runs.

    Attributes:
        part: ``input``, ``model``, ``settings`` or ``code``.
        what: Which file, key or package.
        one: What it was in the first run; None if it was not there.
        other: What it is in the second.
    """

    part: str
    what: str
    one: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.part}: {self.what}: {_shown(self.one)} → {_shown(self.other)}"


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why two runs may differ.

    Attributes:
        known: Whether both runs left a record; else nothing can be said.
        parts: The parts whose hashes differ.
        reasons: What differs in them, as far as records tell.
    """

    known: bool
    parts: tuple[str, ...]
    reasons: tuple[Reason, ...]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "known": self.known,
            "parts": list(self.parts),
            "reasons": [
                {"part": r.part, "what": r.what, "a": r.one, "b": r.other} for r in self.reasons
            ],
        }

    def sentence(self) -> str:
        """In a line."""
        if not self.known:
            return "why is not known: not both have a run.json beside them"
        if not self.parts:
            return "made from the same input, model, settings and code"
        alone = " alone" if len(self.parts) == 1 else ", which cannot be told apart"
        return f"the cause is {' and '.join(self.parts)}{alone}"


def why(one: Path, other: Path) -> Reasons:
    """Compare the records beside two maps.

    Args:
        one: The class raster of the first run, or its folder.
        other: That of the second.
    """
    records = [_record(path) for path in (one, other)]
    if records[0] is None or records[1] is None:
        return Reasons(known=False, parts=(), reasons=())
    first, second = records[0], records[1]
    found = tuple(reason for part in PARTS for reason in _reasons(part, first, second))
    hashes = [record.get("hashes") or {} for record in (first, second)]
    told = {reason.part for reason in found}
    for part in PARTS:
        # Where scenes lie is hashed with the settings, but is told as input.
        explained = part in told or (part == "settings" and "input" in told)
        if hashes[0].get(_HASHES[part]) != hashes[1].get(_HASHES[part]) and not explained:
            found += (Reason(part, "something that records do not tell", "...", "..."),)
            told.add(part)
    return Reasons(known=True, parts=tuple(p for p in PARTS if p in told), reasons=found)


def _record(path: Path) -> dict[str, Any] | None:
    folder = path if path.is_dir() else path.parent
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _reasons(part: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Reason]:
    read = {"input": _inputs, "model": _model, "settings": _settings, "code": _code}[part]
    first, second = read(one), read(other)
    names = [*first, *(name for name in second if name not in first)]
    found = [
        Reason(part, name, first.get(name), second.get(name))
        for name in names
        if first.get(name) != second.get(name)
    ]
    if len(found) <= _MOST:
        return found
    return [*found[:_MOST], Reason(part, f"{len(found) - _MOST} more", "...", "...")]


def _inputs(record: Mapping[str, Any]) -> dict[str, Any]:
    """What each file holds, by its name: a folder that was moved is no other input."""
    found: dict[str, Any] = {}
    for entry in record.get("inputs") or ():
        href = str(entry.get("href", ""))
        content = entry.get("sha256") or entry.get("sha256_of_samples") or without_secrets(href)
        found[Path(href).name or href] = str(content)[:16]
    if record.get("acquired") is not None:
        found["acquired"] = record["acquired"]
    workflow = record.get("workflow") or {}
    places = dict(_flat(workflow.get("input") or {}, "input"))
    return found | {key: value for key, value in places.items() if _is_place(key)}


def _is_place(key: str) -> bool:
    return any(f"{key}.".startswith(f"input.{place}.") for place in _PLACES)


def _model(record: Mapping[str, Any]) -> dict[str, Any]:
    """Which networks; how they were asked (views, scales) is a setting."""
    said = record.get("model") or {}
    kept = {key: said[key] for key in ("name", "version", "sha256", "members") if key in said}
    return {key: value for key, value in _flat(kept) if value is not None}


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    workflow = record.get("workflow") or {}
    kept = {key: value for key, value in workflow.items() if key not in _QUIET}
    model = dict(kept.pop("model", None) or {})
    # Which model it is, is told of the model itself.
    for key in ("name", "path", "ensemble", "batch", "allow_code"):
        model.pop(key, None)
    said = dict(_flat({**kept, "model": model}))
    said = {key: value for key, value in said.items() if not _is_place(key)}
    drawn = record.get("tiling") or {}
    said |= {f"tiling as run.{key}": drawn.get(key) for key in ("size", "margin", "seams")}
    return said


def _code(record: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(record.get("software") or {})
    code = (record.get("hashes") or {}).get("code")
    return said | ({"code that changes results": str(code)[:16]} if code else {})


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots, and what is there."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _flat(below, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
