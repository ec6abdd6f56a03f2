"""From the classes of two maps to transitions: common classes, numbers of pairs, codes to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.legend import LandClass, Legend
from geoseg.ops.matching import closest_name
from geoseg.ops.regions import NODATA

UNKNOWN: Final = -2
"""The index of a code that a map holds and does not name."""
OUTSIDE: Final = -1
"""The number of pixels that are not looked at."""
MOST_CLASSES: Final = 180
"""Numbers of pairs are int16."""

NO_CHANGE, ONLY_FIRST, ONLY_SECOND, NOT_LOOKED_AT, NOT_SEEN = 0, 252, 253, 254, 255
MOST_TRANSITIONS: Final = 250

STAYED_OUT, STAYED, LOST, GAINED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class CommonClasses:
    """The classes of two maps in one numbering.

    Attributes:
        classes: Those of the earlier map, then those that only the later one has.
        before: ``(257,)`` int16: index of each code of the earlier map, -1 for none (the last entry
            stands for code -1), :data:`UNKNOWN` for codes that it does not name.
        after: The same of the later map.
    """

    classes: tuple[LandClass, ...]
    before: NDArray[np.int16]
    after: NDArray[np.int16]

    @property
    def none(self) -> int:
        """The index that stands for "not seen" in pairs."""
        return len(self.classes)

    @property
    def pairs(self) -> int:
        """How many numbers of pairs there are."""
        return (len(self.classes) + 1) ** 2

    def pair(self, before: int, after: int) -> int:
        """The number of two indices."""
        return before * (self.none + 1) + after

    def split(self, pair: int) -> tuple[int, int]:
        """The indices of a number."""
        return divmod(pair, self.none + 1)

    def find(self, names: Sequence[str], key: str) -> tuple[int, ...]:
        """The indices of classes by name (any case) or code.

        Raises:
            InputError: There is none of that name; ``key`` says who asks.
        """
        known = {c.name.casefold(): i for i, c in enumerate(self.classes)}
        by_code = {str(c.value): i for i, c in enumerate(self.classes)}
        found = []
        for name in names:
            index = known.get(name.casefold(), by_code.get(name))
            if index is None:
                guess = closest_name(name, [c.name for c in self.classes])
                listed = ", ".join(c.name for c in self.classes)
                raise InputError(
                    f"{key}: the maps have no class {name!r}{guess}; they have {listed}"
                )
            found.append(index)
        return tuple(dict.fromkeys(found))


def common_classes(
    before: Legend,
    after: Legend,
    *,
    names: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    background: str | None = None,
) -> CommonClasses:
    """The classes of two maps in one numbering: those of the same name (in any case) are the same.

    A map that names no class has those of the other, by code.

    Args:
        before: Of the earlier map.
        after: Of the later map.
        names: Classes of the later map that are called otherwise: from its name or code to the
            earlier map's.
        ignore: Names or codes that count as not seen, in both maps.
        background: The class of pixels that have none, in both maps; without it they were not seen.

    Raises:
        InputError: The maps have no class in common, a name is unknown, or there are too many.
    """
    one, two = _named(before), _named(after)
    if not one and not two:
        one = two = {c.value: c for c in before.classes}
    one, two = one or two, two or one
    gone = _ignored({**two, **one}, ignore)
    own = {code: c for code, c in one.items() if not _is_gone(c, gone)}
    others = {code: c for code, c in two.items() if not _is_gone(c, gone)}
    same = _renamed(own, others, names or {})
    if not {c.name.casefold() for c in own.values()} & set(same.values()):
        raise InputError(
            f"the two maps have no class in common: one has {_listed(one)}, the other "
            f"{_listed(two)}; say which is which with names like 'Forest=Trees'"
        )
    classes = list(own.values())
    indices = {c.name.casefold(): i for i, c in enumerate(classes)}
    for code, entry in others.items():
        if same[code] not in indices:
            indices[same[code]] = len(classes)
            classes.append(entry)
    if background is not None and background.casefold() not in indices:
        free = next(code for code in range(256) if code not in {c.value for c in classes})
        indices[background.casefold()] = len(classes)
        classes.append(LandClass(free, background, "#dee2e6"))
    if len(classes) > MOST_CLASSES:
        found = f"the maps have {len(classes)} classes"
        raise InputError(f"{found}; at most {MOST_CLASSES} can be compared")
    first = _table({code: indices[c.name.casefold()] for code, c in own.items()}, one, gone)
    second = _table({code: indices[name] for code, name in same.items()}, two, gone)
    if background is not None:
        first[256] = second[256] = indices[background.casefold()]
    return CommonClasses(tuple(classes), first, second)


def limited(legend: Legend, occurring: Iterable[int]) -> Legend:
    """Only the classes whose codes occur; all of them if none does."""
    there = set(occurring)
    kept = tuple(c for c in legend.classes if c.value in there)
    return Legend(legend.name, kept or legend.classes, legend.nodata)


def names_classes(legend: Legend) -> bool:
    """Whether a map says what its classes are called."""
    return bool(_named(legend))


def _named(legend: Legend) -> dict[int, LandClass]:
    return {c.value: c for c in legend.classes if c.name != f"Class {c.value}"}


def _ignored(known: Mapping[int, LandClass], ignore: Sequence[str]) -> set[str]:
    """Names, folded, and codes of what counts as not seen."""
    names = {c.name.casefold() for c in known.values()}
    for text in ignore:
        if text.casefold() not in names and not (text.isdecimal() and int(text) < 256):
            raise InputError(f"ignore: no map has a class {text!r}; they have {_listed(known)}")
    return {text.casefold() for text in ignore}


def _is_gone(entry: LandClass, gone: set[str]) -> bool:
    return entry.name.casefold() in gone or str(entry.value) in gone


def _table(
    indices: Mapping[int, int], known: Mapping[int, LandClass], gone: set[str]
) -> NDArray[np.int16]:
    table = np.full(257, UNKNOWN, np.int16)
    table[256] = -1
    for code in range(256):
        if code in indices:
            table[code] = indices[code]
        elif str(code) in gone or (code in known and _is_gone(known[code], gone)):
            table[code] = -1
    return table


def _renamed(
    one: Mapping[int, LandClass], two: Mapping[int, LandClass], names: Mapping[str, str]
) -> dict[int, str]:
    """What each code of the later map is called in the earlier one, folded."""
    same = {code: entry.name.casefold() for code, entry in two.items()}
    known = {c.name.casefold() for c in one.values()}
    for theirs, ours in names.items():
        codes = [
            code
            for code, entry in two.items()
            if theirs.casefold() == entry.name.casefold() or theirs == str(code)
        ]
        if not codes:
            guess = closest_name(theirs, [c.name for c in two.values()])
            raise InputError(
                f"names: the later map has no class {theirs!r}{guess}; it has {_listed(two)}"
            )
        if ours.casefold() not in known:
            guess = closest_name(ours, [c.name for c in one.values()])
            raise InputError(
                f"names: the earlier map has no class {ours!r}{guess}; it has {_listed(one)}"
            )
        same[codes[0]] = ours.casefold()
    return same


def _listed(classes: Mapping[int, LandClass]) -> str:
    return ", ".join(c.name for c in classes.values())


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Which changes are asked for, and the codes that they are written as.

    Attributes:
        common: The classes.
        codes: From ``(before, after)`` indices to codes 1..250. The same classes give the same
            codes, whatever is asked for; only where there are more than 250 transitions are the
            codes those of what is asked for.
        watched: Indices whose loss and gain are told apart; none if empty.
        all: Whether every transition is asked for.
    """

    common: CommonClasses
    codes: Mapping[tuple[int, int], int]
    watched: tuple[int, ...]
    all: bool

    def legend(self, name: str) -> Legend:
        """What the raster of transitions shows."""
        first = "No change" if self.all else "No such change"
        entries = [LandClass(NO_CHANGE, first, "#f1f3f5")]
        classes = self.common.classes
        for (i, j), code in sorted(self.codes.items(), key=lambda pair: pair[1]):
            one, two = classes[i], classes[j]
            entries.append(LandClass(code, f"{one.name} to {two.name}", _mixed(one, two)))
        entries.append(LandClass(NOT_LOOKED_AT, "Not looked at", "#adb5bd"))
        return Legend(name, tuple(entries), NOT_SEEN)

    def code_table(self) -> NDArray[np.uint8]:
        """``(pairs + 1,)``: the code of pair ``k`` is entry ``k + 1``, that of :data:`OUTSIDE` 0."""
        table = np.full(self.common.pairs + 1, NO_CHANGE, np.uint8)
        table[0] = NOT_LOOKED_AT
        for (i, j), code in self.codes.items():
            table[1 + self.common.pair(i, j)] = code
        return self._unseen(table)

    def diff_legend(self) -> Legend:
        """What the raster of differences shows, in which what only one map has differs, too."""
        names = {NO_CHANGE: "Same"}
        entries = [
            LandClass(c.value, names.get(c.value, c.name), c.color)
            for c in self.legend("").classes
            if c.value != NOT_LOOKED_AT
        ]
        only = (
            LandClass(ONLY_FIRST, "Only in A", "#7b3294"),
            LandClass(ONLY_SECOND, "Only in B", "#008837"),
        )
        return Legend("differences", (*entries, *only), NOT_SEEN)

    def diff_table(self) -> NDArray[np.uint8]:
        """Differences of each pair, as in :meth:`code_table`."""
        table, none = self.code_table(), self.common.none
        for k in range(none):
            table[1 + self.common.pair(k, none)] = ONLY_FIRST
            table[1 + self.common.pair(none, k)] = ONLY_SECOND
        return table

    def loss_legend(self) -> Legend:
        """What the raster of loss and gain shows."""
        what = ", ".join(self.common.classes[i].name for i in self.watched)
        return Legend(
            "loss and gain",
            (
                LandClass(STAYED_OUT, f"No {what} on either date", "#f1f3f5"),
                LandClass(STAYED, f"{what} on both dates", "#b7d7b0"),
                LandClass(LOST, f"Loss of {what}", "#d7191c"),
                LandClass(GAINED, f"Gain of {what}", "#2c7bb6"),
                LandClass(NOT_LOOKED_AT, "Not looked at", "#adb5bd"),
            ),
            NOT_SEEN,
        )

    def loss_table(self) -> NDArray[np.uint8]:
        """Loss and gain of each pair, as in :meth:`code_table`."""
        side = self.common.none + 1
        own = np.isin(np.arange(side), self.watched)
        pairs = np.where(
            own[:, None], np.where(own, STAYED, LOST), np.where(own, GAINED, STAYED_OUT)
        )
        table = np.concatenate([[NOT_LOOKED_AT], pairs.ravel()]).astype(np.uint8)
        return self._unseen(table)

    def group_table(self, *, by_origin: bool) -> NDArray[np.int16]:
        """Which patch each pair belongs to, as in :meth:`code_table`; NODATA for what is no change.

        ``by_origin``: all that one class became is one patch, else each transition is.
        """
        table = np.full(self.common.pairs + 1, NODATA, np.int16)
        own, none = set(self.watched), self.common.none
        for i in range(none):
            for j in range(none):
                asked = (i, j) in self.codes and i != j
                if not asked and (i in own) == (j in own):
                    continue
                pair = self.common.pair(i, j)
                origin = i if asked or i in own else none + j
                table[1 + pair] = origin if by_origin else pair
        return table

    def _unseen(self, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        none = self.common.none
        for k in range(none + 1):
            table[1 + self.common.pair(k, none)] = NOT_SEEN
            table[1 + self.common.pair(none, k)] = NOT_SEEN
        return table


def transitions(
    common: CommonClasses, *, before: Sequence[str] = (), after: Sequence[str] = ()
) -> Transitions:
    """The transitions from some classes to others; all if neither is named.

    Raises:
        InputError: A class is unknown, nothing is asked for, or there are more than 250.
    """
    every = range(len(common.classes))
    froms = common.find(before, "from") or tuple(every)
    tos = common.find(after, "to") or tuple(every)
    asked = [(i, j) for i in froms for j in tos if i != j]
    if not asked:
        raise InputError(f"from {', '.join(before)} to {', '.join(after)} is no change")
    numbered = [(i, j) for i in every for j in every if i != j]
    if len(numbered) > MOST_TRANSITIONS:
        numbered = sorted(asked)
    if len(numbered) > MOST_TRANSITIONS:
        raise InputError(
            f"{len(common.classes)} classes have {len(numbered)} transitions, a raster holds "
            f"{MOST_TRANSITIONS}: say which with from and to"
        )
    code = {pair: number for number, pair in enumerate(numbered, 1)}
    watched = common.find(before, "from") or common.find(after, "to")
    return Transitions(common, {pair: code[pair] for pair in asked}, watched, not (before or after))


def _mixed(one: LandClass, two: LandClass) -> str:
    """The colour of what it became, with a little of what it was."""
    return "#" + "".join(
        f"{round(0.3 * a + 0.7 * b):02x}" for a, b in zip(one.rgb, two.rgb, strict=True)
    )
