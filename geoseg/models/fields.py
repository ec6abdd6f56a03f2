"""Reading JSON strictly: every complaint names the file, the key, what was found and wanted."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError

LARGEST_CARD: Final = 10_000_000
"""Bytes of a card."""


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class At:
    """A value and where it stands, e.g. ``properties.mlm:input[0].bands`` of ``card.json``."""

    file: str
    key: str
    value: Any

    @property
    def given(self) -> bool:
        """Whether there is such a key."""
        return self.value is not _NOTHING

    def get(self, name: str) -> At:
        """The entry ``name`` of a mapping; asking for its value complains where it is missing."""
        key = f"{self.key}.{name}" if self.key else name
        return At(self.file, key, self.mapping("a mapping").get(name, _NOTHING))

    def wrong(self, wanted: str) -> ModelError:
        """The error that says what was found and what was wanted here."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return ModelError(f"{where}: found {_short(self.value)}; wanted {wanted}")

    def demand(self, holds: object, name: str, found: object, wanted: str) -> None:
        """Complain about ``name`` unless ``holds``."""
        if not holds:
            raise At(self.file, name, found).wrong(wanted)

    def mapping(self, wanted: str) -> Mapping[str, Any]:
        """The value, which must be a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.wrong(wanted)
        return self.value

    def items(self, wanted: str) -> list[At]:
        """The entries of a list that has any."""
        if not isinstance(self.value, list) or not self.value:
            raise self.wrong(wanted)
        return [At(self.file, f"{self.key}[{i}]", v) for i, v in enumerate(self.value)]

    def only(self, wanted: str) -> At:
        """The entry of a list of one."""
        entries = self.items(wanted)
        if len(entries) != 1:
            raise self.wrong(wanted)
        return entries[0]

    def text(self) -> str:
        """The value, which must be a text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("a text")
        return self.value

    def one_of(self, *choices: str) -> str:
        """The value, which must be one of ``choices``."""
        if self.value not in choices:
            raise self.wrong(" or ".join(repr(c) for c in choices))
        return self.text()

    def integer(self, least: int) -> int:
        """The value, which must be a whole number from ``least``."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < least:
            raise self.wrong(f"a whole number from {least}")
        return self.value

    def number(self) -> float:
        """The value, which must be a finite number."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            raise self.wrong("a number")
        try:
            number = float(self.value)
        except OverflowError:
            raise self.wrong("a number that is not so large") from None
        if not math.isfinite(number):
            raise self.wrong("a number")
        return number

    def pair(self) -> tuple[float, float]:
        """The value, which must be a list of two numbers."""
        entries = self.items("two numbers")
        if len(entries) != 2:
            raise self.wrong("two numbers")
        return entries[0].number(), entries[1].number()

    def plain(self, name: str, value: object) -> Any:
        """A copy of ``value`` that is made of what JSON can say (tuples become lists)."""
        if isinstance(value, Mapping):
            self.demand(all(isinstance(k, str) for k in value), name, value, "keys that are texts")
            return {k: self.plain(f"{name}.{k}", v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(f"{name}[{i}]", v) for i, v in enumerate(value)]
        simple = value is None or isinstance(value, str | int | float)
        finite = not isinstance(value, float) or math.isfinite(value)
        self.demand(simple and finite, name, value, "texts, finite numbers, lists and mappings")
        return value


def read_json(path: Path) -> Any:
    """What a JSON file says; a key that stands twice and NaN are refused.

    Raises:
        ModelError: It cannot be read or parsed; says where.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ModelError(f"{path}: key {twice!r} stands twice")
        return found

    def refuse(constant: str) -> None:
        raise ModelError(f"{path}: {constant} is not a number that JSON knows")

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CARD + 1)
        if len(data) > LARGEST_CARD:
            raise ModelError(f"{path}: larger than {LARGEST_CARD // 10**6} MB, which is no card")
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a text file in UTF-8 (byte {error.start})") from error
    except (RecursionError, ValueError) as error:
        raise ModelError(f"{path}: not JSON that can be read: {error}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def closest(word: str, known: Iterable[str]) -> str:
    """``", did you mean 'x'?"``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
