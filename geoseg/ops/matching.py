"""Which class of one legend is which of another: by name, by code, or as somebody says."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.accuracy import UNJUDGED

IGNORE = "ignore"
"""What a class is mapped to that is to be left out."""

EVERYTHING_ELSE = "*"

_UNKNOWN = -2
_SIDES = ("truth", "prediction")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        label: How messages call it.
        names: Of its codes, as far as it names them.
        coded: Whether codes are its own, or only stand for names.
    """

    label: str
    names: Mapping[int, str]
    coded: bool = True

    def find(self, text: str, option: str) -> int:
        """The code of the class called ``text``, by name or by code.

        Raises:
            InputError: There is none.
        """
        for code, name in self.names.items():
            if name.casefold() == text.casefold():
                return code
        if self.coded and text.isdecimal() and int(text) < 256:
            return int(text)
        known = ", ".join(self.names.values()) or "codes 0 to 255"
        raise InputError(
            f"{option}: {self.label} has no class {text!r}{closest_name(text, self.names.values())}; "
            f"it has {known}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """From the codes of one side to indices of common classes; ``known`` is for messages."""

    side: Side
    index: NDArray[np.int16]
    known: tuple[str, ...]

    def apply(self, codes: NDArray[Any]) -> NDArray[np.int16]:
        """Class indices of ``codes``; :data:`UNJUDGED` for -1 (no label) and what is left out.

        Raises:
            InputError: A code belongs to no class.
        """
        indices: NDArray[np.int16] = self.index[codes]
        if (indices == _UNKNOWN).any():
            code = int(codes[indices == _UNKNOWN].min())
            name = self.side.names.get(code)
            shown = (
                repr(name) if not self.side.coded else str(code) + (f" ({name})" if name else "")
            )
            raise InputError(
                f"{self.side.label}: holds {shown}, which is none of the prediction's classes "
                f"({', '.join(self.known)}); say which it is with mapping "
                f"'{name or code}=CLASS', or leave it out with ignore '{name or code}'"
            )
        return indices


@dataclass(frozen=True, slots=True)
class Matching:
    """The classes that two sides have in common, and how each comes to them."""

    classes: tuple[str, ...]
    prediction: Table
    truth: Table


@dataclass(slots=True)
class _Common:
    """The classes that both sides are brought to, as they are found."""

    names: list[str] = field(default_factory=list)

    def find(self, name: str) -> int:
        folded = [known.casefold() for known in self.names]
        return folded.index(name.casefold()) if name.casefold() in folded else _UNKNOWN

    def add(self, name: str) -> int:
        index = self.find(name)
        if index == _UNKNOWN:
            self.names.append(name)
            index = len(self.names) - 1
        return index


def match(
    prediction: Side,
    truth: Side,
    *,
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Matching:
    """Find the common classes of a prediction and its truth: the prediction's.

    A class of the truth is the class of the prediction with the same name (in any case), or with
    the same code where one of them names none.

    Args:
        prediction: Whose classes are judged.
        truth: What they are judged by.
        mapping: From ``CLASS`` of the truth to a class of the prediction, by names or codes.
            ``prediction:CLASS`` renames or merges classes of the prediction first; ``*`` is every
            class that is not named otherwise; to ``ignore`` leaves a class out. A class that the
            prediction lacks altogether is mapped to its own name.
        ignore: Classes of the truth to leave out.

    Raises:
        InputError: A class is not there, or is mapped twice.
    """
    rules = _rules(mapping or {}, {"truth": truth, "prediction": prediction})
    for text in ignore:
        code = truth.find(text, "ignore")
        if rules["truth"].setdefault(code, IGNORE) != IGNORE:
            raise InputError(f"ignore: {text!r} is also mapped to {rules['truth'][code]!r}")
    common = _Common()
    mapped = _prediction_index(prediction, truth, rules["prediction"], common)
    true = _truth_index(prediction, truth, rules["truth"], mapped, common)
    classes = tuple(common.names)
    # Worth a list in a message: classes that are not just a number, where there are such.
    known = tuple(name for name in classes if not name.isdecimal()) or ("codes 0 to 255",)
    return Matching(classes, Table(prediction, mapped, known), Table(truth, true, known))


def _rules(mapping: Mapping[str, str], sides: Mapping[str, Side]) -> dict[str, dict[int, str]]:
    """Targets by side and code; ``*`` is code -1."""
    rules: dict[str, dict[int, str]] = {side: {} for side in _SIDES}
    for key, value in mapping.items():
        prefix, colon, rest = key.partition(":")
        side, text = (prefix, rest) if colon and prefix in _SIDES else ("truth", key)
        name, target = text.strip(), value.strip()
        if not name or not target:
            raise InputError(f"mapping: {key!r} to {value!r}: expected CLASS=CLASS")
        code = -1 if name == EVERYTHING_ELSE else sides[side].find(name, "mapping")
        if code in rules[side]:
            raise InputError(f"mapping: class {name!r} of the {side} is mapped twice")
        rules[side][code] = target
    return rules


def _prediction_index(
    prediction: Side, truth: Side, rules: Mapping[int, str], common: _Common
) -> NDArray[np.int16]:
    """A class for each code; those without a name are called like the truth's, or by number."""
    index = np.full(257, UNJUDGED, np.int16)
    names = prediction.names or (truth.names if truth.coded else {})
    # Named ones first: they are what is listed.
    for code in sorted(range(256), key=lambda c: (c not in names, c)):
        name = rules.get(code) or rules.get(-1) or names.get(code, str(code))
        if name != IGNORE:
            index[code] = common.add(name)
    return index


def _truth_index(
    prediction: Side,
    truth: Side,
    rules: Mapping[int, str],
    mapped: NDArray[np.int16],
    common: _Common,
) -> NDArray[np.int16]:
    index = np.full(257, UNJUDGED, np.int16)
    for code in range(256):
        target = rules.get(code, rules.get(-1))
        if target == IGNORE:
            continue
        if target is not None:
            index[code] = _target(prediction, truth.names.get(code), target, mapped, common)
        elif code in truth.names and (prediction.names or not truth.coded):
            index[code] = _same_name(prediction, truth, code, mapped, common)
        elif code in prediction.names or not prediction.names:
            index[code] = mapped[code]
        else:
            index[code] = _UNKNOWN
    return index


def _same_name(
    prediction: Side, truth: Side, code: int, mapped: NDArray[np.int16], common: _Common
) -> int:
    name = truth.names[code]
    found = common.find(name)
    if found == _UNKNOWN:
        # Renamed or merged classes are still found by what the prediction calls them.
        own = [c for c, known in prediction.names.items() if known.casefold() == name.casefold()]
        return int(mapped[own[0]]) if own else _UNKNOWN
    return found


def _target(
    prediction: Side,
    own: str | None,
    target: str,
    mapped: NDArray[np.int16],
    common: _Common,
) -> int:
    found = common.find(target)
    if found != _UNKNOWN:
        return found
    if own is not None and own.casefold() == target.casefold():
        return common.add(target)
    return int(mapped[prediction.find(target, "mapping")])


def closest_name(text: str, names: Iterable[str]) -> str:
    """``", did you mean 'x'?"``, or nothing where no name is near."""
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(text.casefold(), folded, n=1)
    return f", did you mean {folded[close[0]]!r}?" if close else ""
