"""The table, and what it says of the bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from peer_table.rows import Row, Turn

HEAD = (
    "row", "wall, s", "CPU, s", "peak memory, GB", "px differ", "away from the rim", "seam index (untiled)",
    "first run, s", "done by",
)  # fmt: skip

Turns = Mapping[str, Sequence[Turn]]


def wall(turns: Sequence[Turn]) -> float:
    """Median seconds of all turns but the first, of the first where it is the only one."""
    return median(turn.felt.wall for turn in turns[1:] or turns)


def markdown(rows: Sequence[Row], turns: Turns, faults: Mapping[str, str]) -> Iterator[str]:
    """The lines of the table, the quickest row first, then those that did not run."""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'---|' * len(HEAD)}"
    done = [row for row in rows if row.name not in faults]
    for row in sorted(done, key=lambda row: wall(turns[row.name])):
        yield f"| {' | '.join(_cells(row, turns[row.name]))} |"
    for name, fault in faults.items():
        yield f"| {name} | skipped: {' '.join(fault.split()).replace('|', '/')} |{' |' * (len(HEAD) - 2)}"


def _cells(row: Row, turns: Sequence[Turn]) -> list[str]:
    last, warm = turns[-1], turns[1:] or turns
    return [
        row.name,
        f"{wall(turns):.1f}",
        f"{median(turn.felt.cpu for turn in warm):.1f}",
        f"{median(turn.felt.memory for turn in warm) / 1e9:.2f}",
        *("0 %" if not share else f"{100 * share:.4f} %" for share in (last.differ, last.inside)),
        f"{last.seams:.3f} ({last.plain:.3f})",
        f"{turns[0].felt.wall:.1f}",
        last.note,
    ]


def bars(rows: Sequence[Row], turns: Turns) -> Iterator[str]:
    """How many times longer than each row of geoseg the quickest peer takes.

    One line for the quickest of all peers, and, where its map is further from the untiled answer
    or nearer to it than geoseg's, for the quickest of those that are at least as near.
    """
    peers = [row for row in rows if row.adapter and len(turns[row.name]) > 0]
    for ours in rows:
        if ours.adapter or not turns[ours.name]:
            continue
        differ = turns[ours.name][-1].differ
        near = [row for row in peers if turns[row.name][-1].differ <= differ]
        for what, some in (("peer", peers), ("peer that differs no more", near)):
            if some:
                best = min(some, key=lambda row: wall(turns[row.name]))
                times = wall(turns[best.name]) / wall(turns[ours.name])
                yield f"- the quickest {what}, {best.name}, takes {times:.2f} times as long as {ours.name}"
            else:
                yield f"- no {what} than {ours.name}"


def memory(rows: Sequence[Row], by_size: Mapping[int, Turns]) -> Iterator[str]:
    """Peak memory at each size, and bytes for each pixel by which the largest scene is larger."""
    sizes = sorted(by_size)
    head = ["row", *(f"GB at {size}" for size in sizes), "bytes a pixel more"]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        found = [by_size[size][row.name] for size in sizes]
        if not all(found):
            continue
        peaks = [median(turn.felt.memory for turn in turns[1:] or turns) for turns in found]
        more = (peaks[-1] - peaks[0]) / (sizes[-1] ** 2 - sizes[0] ** 2)
        yield f"| {row.name} | {' | '.join(f'{peak / 1e9:.2f}' for peak in peaks)} | {more:.0f} |"
