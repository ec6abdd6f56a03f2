"""What became of each class, in pixels and hectares: the transition matrix and its totals."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from geoseg.ops.transitions import OUTSIDE, Transitions
from geoseg.steps.change import AS_SEEN, AT_EDGES, FINAL, TOO_UNSURE

UNSEEN: Final = "(not seen)"
NOTE: Final = (
    "areas are counted from pixels: biased by the errors of both maps; a sample estimates them "
    "without that (Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015)"
)

Counts = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of classes: what the maps show, what was taken from it, what is left.

    Areas are hectares. ``code`` is that of the raster of transitions, None where the pair is no
    change that is asked for.
    """

    before: str
    after: str
    code: int | None
    pixels: int
    ha: float
    as_seen_ha: float
    unsure_ha: float
    edges_ha: float
    small_ha: float


def matrix_rows(counts: Mapping[str, Counts], asked: Transitions, unit: float) -> list[Row]:
    """All pairs that occur, by class before, then class after; what was not seen comes last."""
    common = asked.common
    names = [*(c.name for c in common.classes), UNSEEN]
    pairs = sorted({pair for part in counts.values() for pair in part if pair != OUTSIDE})

    def ha(what: str, pair: int) -> float:
        return round(counts[what].get(pair, (0, 0))[1] * unit / 1e4, 4)

    rows = []
    for pair in pairs:
        i, j = common.split(pair)
        pixels, area = counts[FINAL].get(pair, (0, 0))
        small = 0.0
        if i != j and common.none not in (i, j):
            there = counts[AS_SEEN].get(pair, (0, 0))[1]
            gone = sum(counts[what].get(pair, (0, 0))[1] for what in (TOO_UNSURE, AT_EDGES))
            small = round((there - gone - area) * unit / 1e4, 4)
        code = asked.codes.get((i, j))
        taken = (ha(AS_SEEN, pair), ha(TOO_UNSURE, pair), ha(AT_EDGES, pair), small)
        rows.append(Row(names[i], names[j], code, pixels, ha(FINAL, pair), *taken))
    return rows


def matrix_csv(rows: Sequence[Row]) -> bytes:
    """The rows as a table, with the warning about pixel counts in its last line."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ["from", "to", "change_code", "pixels", "ha", "as_seen_ha", "left_out_unsure_ha",
         "left_out_edges_ha", "left_out_small_ha"]
    )  # fmt: skip
    for row in rows:
        code = "" if row.code is None else row.code
        figures = (row.ha, row.as_seen_ha, row.unsure_ha, row.edges_ha, row.small_ha)
        table.writerow([row.before, row.after, code, row.pixels, *(f"{v:.4f}" for v in figures)])
    return out.getvalue().encode()


def matrix_record(counts: Mapping[str, Counts], asked: Transitions, unit: float) -> dict[str, Any]:
    """The same for JSON: the matrix, what each class lost and gained, and what was left out."""
    rows = matrix_rows(counts, asked, unit)
    names = [c.name for c in asked.common.classes]
    seen = [row for row in rows if UNSEEN not in (row.before, row.after)]
    ha = {(row.before, row.after): row.ha for row in seen}
    changed = [row for row in seen if row.before != row.after]
    asked_for = [row for row in changed if row.code is not None]
    return {
        "classes": names,
        "matrix_ha": [[ha.get((one, two), 0.0) for two in names] for one in names],
        "by_class": [_totals(name, seen) for name in names],
        "changed_ha": _sum(asked_for, "ha"),
        "compared_ha": _sum(seen, "ha"),
        "not_seen_ha": _sum([row for row in rows if row not in seen], "ha"),
        "not_looked_at_ha": round(counts[FINAL].get(OUTSIDE, (0, 0))[1] * unit / 1e4, 4),
        "left_out_ha": {
            "unsure": _sum(asked_for, "unsure_ha"),
            "edges": _sum(asked_for, "edges_ha"),
            "small": _sum(asked_for, "small_ha"),
        },
        "transitions": [
            {
                "from": row.before,
                "to": row.after,
                "code": row.code,
                "pixels": row.pixels,
                "ha": row.ha,
            }
            for row in sorted(asked_for, key=lambda row: (-row.ha, row.before, row.after))
            if row.pixels
        ],
        "note": NOTE,
    }


def _totals(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    before = [row for row in rows if row.before == name]
    after = [row for row in rows if row.after == name]
    lost = _sum([row for row in before if row.after != name], "ha")
    won = _sum([row for row in after if row.before != name], "ha")
    return {
        "class": name,
        "before_ha": _sum(before, "ha"),
        "after_ha": _sum(after, "ha"),
        "loss_ha": lost,
        "gain_ha": won,
        "net_ha": round(won - lost, 4),
    }


def _sum(rows: Sequence[Row], what: str) -> float:
    return round(float(sum(getattr(row, what) for row in rows)), 4)
