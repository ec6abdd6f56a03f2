"""What a store of alerts holds: dates, states, hectares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.api.alerts import hold_store
from geoseg.grid import Window
from geoseg.io.alert_store import AlertStore
from geoseg.ops.alerts.rules import STATE_NAMES, Bayes, Rule, to_date
from geoseg.ops.alerts.states import expire
from geoseg.ops.areas import class_areas
from geoseg.ops.metric import Metric, measure_grid
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block


@dataclass(frozen=True, slots=True)
class Row:
    """One state: its code, name, pixels and hectares, seen from the last day."""

    state: int
    name: str
    pixels: int
    ha: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds.

    Attributes:
        scenes: Date and name of each, in order.
        rule: In words.
        forest: Classes that are forest.
        rows: A row for each state that occurs.
        behind: Blocks whose state has not taken in all observations yet.
        disk: Bytes of observations and of states.
    """

    scenes: tuple[tuple[str, str], ...]
    rule: str
    forest: tuple[str, ...]
    rows: tuple[Row, ...]
    behind: int
    disk: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        told = asdict(self)
        told["scenes"] = [{"date": day, "scene": name} for day, name in self.scenes]
        return told


@dataclass(frozen=True, slots=True)
class _CountBlock:
    store: AlertStore
    metric: Metric

    def __call__(self, block: Window) -> tuple[dict[int, int], dict[int, float], bool]:
        taken = self.store.taken(block)
        history = self.store.history(block)
        behind = bool(history) if taken is None else taken.history != history
        planes = self.store.read_planes(block)
        expire(planes, self.store.last_day, self.store.rule)
        codes, counts = np.unique(planes.state, return_counts=True)
        pixels = {int(c): int(n) for c, n in zip(codes, counts, strict=True)}
        return pixels, class_areas(planes.state, block, self.metric), behind


def held_by(store: Path, *, workers: int | None = None, reporter: Reporter | None = None) -> Held:
    """Count what a store holds, by geodesic areas.

    Raises:
        InputError: There is no such store.
        LockedError: An update is at work on it.
    """
    AlertStore.open(store)
    with hold_store(store):
        made = AlertStore.open(store)
        work = _CountBlock(made, measure_grid(made.grid))
        teller = reporter or Silent()
        found = list(each_block(work, made.windows, name="count", reporter=teller, workers=workers))
    return Held(
        tuple((str(to_date(s.day)), s.scene) for s in made.scenes),
        rule_in_words(made.rule),
        made.watch.forest,
        _rows([f[0] for f in found], [f[1] for f in found]),
        sum(f[2] for f in found),
        made.chunks_bytes(),
    )


def _rows(pixels: Sequence[dict[int, int]], areas: Sequence[dict[int, float]]) -> tuple[Row, ...]:
    codes = sorted({code for counts in pixels for code in counts})
    names = STATE_NAMES | {255: "Not observed or not watched"}
    return tuple(
        Row(
            code,
            names[code],
            sum(counts.get(code, 0) for counts in pixels),
            round(sum(area.get(code, 0.0) for area in areas) / 1e4, 4),
        )
        for code in codes
    )


def rule_in_words(rule: Rule) -> str:
    """What confirms an alert, in one line."""
    if isinstance(rule, Bayes):
        what = f"Bayesian updating, confirmed at a probability of {rule.chi:g}"
    else:
        what = f"{rule.k} of {rule.n} clear observations"
    return f"{what}, within {rule.within} days"
