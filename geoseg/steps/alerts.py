"""Alerts of one block: what a map says of it, and what its observations make of its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.alert_store import AlertStore, History, rule_text
from geoseg.io.class_raster import NO_CLASS, unnamed
from geoseg.io.dated_map import MapReader
from geoseg.io.zarr_store import ZarrRaster
from geoseg.legend import Legend
from geoseg.ops.alerts.states import UNSEEN, Planes, advance, blank, mean_of_day
from geoseg.ops.layers import NO_PERCENT

_AT_ONCE = 8
"""Dates that are held in memory while a block is replayed."""

Settled = Literal["kept", "advanced", "replayed"]


@dataclass(frozen=True, slots=True)
class Forest:
    """Which classes of a legend are forest, and which say nothing.

    Attributes:
        codes: Of forest.
        ignored: Codes of classes that say nothing.
        bands: Places of the forest classes among the probabilities.
        others: Places of all others that say something.
    """

    codes: tuple[int, ...]
    ignored: tuple[int, ...]
    bands: tuple[int, ...]
    others: tuple[int, ...]

    @classmethod
    def of(
        cls, legend: Legend, forest: tuple[str, ...], ignore: tuple[str, ...], *, what: str
    ) -> Forest:
        """Find classes by their names.

        Raises:
            InputError: ``what`` has none of the forest classes.
        """
        wanted = {name.casefold() for name in forest}
        left_out = {name.casefold() for name in ignore}
        known = {c.name.casefold(): (place, c.value) for place, c in enumerate(legend.classes)}
        if not wanted & known.keys():
            named = [c.name for c in legend.classes if c.name != unnamed(c.value)]
            has = f"its classes are {', '.join(named)}" if named else "it names none"
            raise InputError(
                f"{what}: has no class {' or '.join(map(repr, forest))}; {has}: say which is "
                f"forest (code 7 without a name is called {unnamed(7)!r})"
            )
        inside = [known[name] for name in sorted(wanted & known.keys())]
        silent = [known[name] for name in sorted(left_out & known.keys())]
        others = set(range(len(known))) - {p for p, _ in (*inside, *silent)}
        return cls(
            tuple(code for _, code in inside),
            tuple(code for _, code in silent),
            tuple(place for place, _ in inside),
            tuple(sorted(others)),
        )


def non_forest(reader: MapReader, forest: Forest, window: Window) -> NDArray[np.uint8]:
    """Percent of non-forest ``(y, x)``, 255 where the map says nothing.

    By the probabilities of classes where there are any: the share of forest among what forest and
    all other classes have together. Else by confidence: what is not forest with 70 % is taken for
    70 % non-forest, as which classes have the rest is not known. Else 0 or 100.
    """
    codes = reader.classes(window)
    is_forest = np.isin(codes, forest.codes)
    found = np.where(is_forest, 0, 100).astype(np.uint8)
    confidence = reader.confidence(window)
    if confidence is not None:
        sure = np.where(confidence == NO_PERCENT, 100, confidence)
        found = np.where(is_forest, 100 - sure, sure).astype(np.uint8)
    probabilities = reader.probabilities(window)
    if probabilities is not None:
        found = _by_probability(probabilities, forest, found)
    found[(codes == NO_CLASS) | np.isin(codes, forest.ignored)] = UNSEEN
    return found


def _by_probability(
    percents: NDArray[np.uint8], forest: Forest, without: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    inside = _total(percents, forest.bands)
    total = inside + _total(percents, forest.others)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Half up, in whole numbers: no bit depends on the machine.
        shares = (200 * (total - inside) + total) // np.maximum(2 * total, 1)
    known = (total > 0) & (percents[list(forest.bands)] != NO_PERCENT).all(axis=0)
    return np.where(known, shares, without).astype(np.uint8)


def _total(percents: NDArray[np.uint8], bands: tuple[int, ...]) -> NDArray[np.int64]:
    chosen = percents[list(bands)]
    total: NDArray[np.int64] = np.where(chosen == NO_PERCENT, 0, chosen).sum(axis=0, dtype=np.int64)
    return total


@dataclass(frozen=True, slots=True)
class ObserveBlock:
    """Keeps what a map says of each block; several threads may call it at once."""

    reader: MapReader
    forest: Forest
    target: ZarrRaster
    watched: ZarrRaster | None

    def __call__(self, block: Window) -> int:
        """Keep one block; says how many pixels were observed."""
        percents = non_forest(self.reader, self.forest, block)
        if self.watched is not None:
            percents[self.watched.read(block) == 0] = UNSEEN
        self.target.write(block, percents)
        return int(np.count_nonzero(percents != UNSEEN))


@dataclass(frozen=True, slots=True)
class WatchBlock:
    """Keeps where there was forest to begin with."""

    reader: MapReader
    forest: Forest
    target: ZarrRaster

    def __call__(self, block: Window) -> int:
        """Keep one block; says how many pixels are watched."""
        inside = np.isin(self.reader.classes(block), self.forest.codes)
        self.target.write(block, inside.astype(np.uint8))
        return int(np.count_nonzero(inside))


@dataclass(frozen=True, slots=True)
class SettleBlock:
    """Brings the state of blocks to what all their observations make of them.

    New dates after those that were taken in are added; if anything else has changed (a late scene,
    one that was made anew, another rule, a crash), all are replayed.

    Attributes:
        store: Of observations and states.
        verify: Read states that need nothing, too, and make damaged ones again.
    """

    store: AlertStore
    verify: bool = False

    def __call__(self, block: Window) -> Settled:
        """Settle one block."""
        wanted = self.store.history(block)
        taken = self.store.taken(block)
        if taken is not None and taken.rule == rule_text(self.store.rule):
            new = wanted[len(taken.history) :]
            if taken.history == wanted[: len(taken.history)]:
                if not new and not self.verify:
                    return "kept"
                planes = self.store.read_taken(block, taken)
                if planes is not None and not new:
                    return "kept"
                if planes is not None:
                    self._take(planes, block, new, wanted)
                    return "advanced"
        if not wanted:
            self.store.clear(block)
            return "kept"
        self._take(blank(block.shape, self.store.rule), block, wanted, wanted)
        return "replayed"

    def _take(self, planes: Planes, block: Window, new: History, history: History) -> None:
        for begin in range(0, len(new), _AT_ONCE):
            part = new[begin : begin + _AT_ONCE]
            days = np.array([day for day, _ in part], np.uint16)
            stack = np.stack([self._day(arrays, block) for _, arrays in part])
            advance(planes, days, stack, self.store.rule)
        self.store.write_planes(block, planes, history)

    def _day(self, arrays: tuple[str, ...], block: Window) -> NDArray[np.uint8]:
        """One observation of a day, however many scenes it has."""
        read = [self.store.percents(array, block) for array in arrays]
        merged: Any = read[0] if len(read) == 1 else mean_of_day(np.stack(read))
        return np.asarray(merged, np.uint8)
