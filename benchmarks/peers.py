"""One network, one scene, one chip and margin: geoseg beside every peer that installs from PyPI.

    python benchmarks/peers.py --size 2745 5490 --repeat 3 --envs DIR [--share-torch] [--killed]

Each row is a whole process, from starting Python to the finished map of classes as a GeoTIFF:
seconds on the wall, CPU seconds and peak memory of all its processes (medians), pixels whose class
differs from the untiled answer (the network on the whole scene at once, in fp32), and the seam
index: the rate of class changes at the borders of chips over that elsewhere, beside that of the
untiled answer at the same places.
Rows take turns, so that a machine that slows down slows all of them. The first turn fills caches and
is shown apart: it is the first run ever, with what geoseg compiles, converts and tries. With two
sizes there is a table of memory by pixel.

Each peer runs in an environment of its own under ``--envs``, which is made with ``python -m venv``
and ``pip install`` where it is missing; a peer that does not install, or fails, is a row with its
reason. With ``--share-torch`` the environments also see the packages of the running Python, behind
their own, which saves gigabytes: pip then installs what is missing or of another version.
The adapters, one file a peer, are in ``benchmarks/peer_adapters``; all get the network as a plain
``nn.Module`` in fp32 (geo-inference: as TorchScript) and numbers scaled in the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from peer_table.environments import python_of
from peer_table.ground import Chips, lay, read, untiled
from peer_table.measure import CommandError, felt
from peer_table.rows import OURS, PEERS, Bench, Row, Turn
from peer_table.table import Turns, bars, markdown, memory, wall


def main() -> None:
    """Lay the ground, take turns, print the tables."""
    asked = options()
    rows = [row for row in (*PEERS, *OURS) if not asked.only or row.name in asked.only]
    by_size: dict[int, Turns] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in asked.size:
            bench = ground(asked, size, (asked.work or Path(scratch)).resolve())
            answer(bench, rows)
            turns, faults = measure(bench, rows, asked)
            by_size[size] = turns
            told = [headline(asked, size), "", *markdown(rows, turns, faults), ""]
            tell(asked, [*told, *bars(rows, turns), ""])
        if len(by_size) > 1:
            tell(asked, [*memory(rows, by_size), ""])
        if asked.killed:
            tell(asked, [*killed(bench, rows, turns, asked), ""])


def headline(asked: argparse.Namespace, size: int) -> str:
    """What is above a table."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{size} x {size} pixels, chips of {asked.chip} px with a margin of {asked.margin} px, "
        f"{cores} cores ({platform.machine()}), median of {asked.repeat or 1}:"
    )


def tell(asked: argparse.Namespace, lines: list[str]) -> None:
    """Print, and add to the file."""
    text = "\n".join(lines)
    print(text, flush=True)
    if asked.markdown is not None:
        with asked.markdown.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=int, nargs="+", default=[2745], help="sides of scenes, pixels; one or more"
    )
    parser.add_argument("--chip", type=int, default=512)
    parser.add_argument("--margin", type=int, default=48, help="half of the chips' overlap")
    parser.add_argument("--batch", type=int, default=1, help="chips at once, for peers that ask")
    parser.add_argument("--repeat", type=int, default=3, help="turns after the first")
    parser.add_argument("--envs", type=Path, help="environments of the peers")
    parser.add_argument("--share-torch", action="store_true")
    parser.add_argument("--work", type=Path, help="keep scene, network and maps here")
    parser.add_argument("--only", nargs="+", metavar="ROW")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run")
    parser.add_argument(
        "--killed", action="store_true", help="also: each is killed halfway, and started again"
    )
    parser.add_argument("--markdown", type=Path, help="file to which the tables are added")
    asked = parser.parse_args()
    known = {row.name for row in (*PEERS, *OURS)}
    if unknown := set(asked.only or ()) - known:
        parser.error(f"--only: no row {sorted(unknown)}; there are {sorted(known)}")
    return asked


def ground(asked: argparse.Namespace, size: int, work: Path) -> Bench:
    """Scene and network."""
    chips = Chips(asked.chip, asked.margin, asked.batch)
    return Bench(work, lay(work, size), chips, len(os.sched_getaffinity(0)))


def answer(bench: Bench, rows: list[Row]) -> None:
    """The untiled answer, kept beside the scene; and TorchScript, where a row wants it."""
    out = bench.scene.parent / "untiled.tif"
    fields = bench.job(out)
    if not any(row.traced for row in rows):
        fields["traced"] = ""
    if not out.exists() or (fields["traced"] and not Path(fields["traced"]).exists()):
        log = bench.work / "untiled.log"
        felt(untiled(fields, bench.work), log=log, environment=bench.environment, timeout=1800)
    bench.answer = read(out)


def measure(
    bench: Bench, rows: list[Row], asked: argparse.Namespace
) -> tuple[dict[str, list[Turn]], dict[str, str]]:
    """Turns of each row, and why there are none of others."""
    turns: dict[str, list[Turn]] = {row.name: [] for row in rows}
    faults: dict[str, str] = {}
    for turn in range(asked.repeat + 1):
        for row in rows:
            if row.name in faults:
                continue
            try:
                python = python_of(row, asked.envs, share=asked.share_torch)
                done = bench.run(row, python, asked.timeout, first=not turn)
            except CommandError as error:
                faults[row.name] = str(error)
                print(f"turn {turn}, {row.name}: {error}", file=sys.stderr, flush=True)
                continue
            turns[row.name].append(done)
            print(
                f"turn {turn}, {row.name}: {json.dumps(done.numbers)}", file=sys.stderr, flush=True
            )
    return turns, faults


def killed(bench: Bench, rows: list[Row], turns: Turns, asked: argparse.Namespace) -> Iterator[str]:
    """What each row takes again after it was killed with all its processes at half its time."""
    yield "Killed at half its time, and started again with the same command:"
    yield ""
    yield "| row | undisturbed, s | killed after, s | second start, s | px differ |"
    yield "|---|---|---|---|---|"
    for row in rows:
        if not turns[row.name]:
            continue
        python = python_of(row, asked.envs, share=asked.share_torch)
        whole = wall(turns[row.name])
        with suppress(CommandError):
            bench.run(row, python, whole / 2)
        again = bench.run(row, python, asked.timeout, keep=True)
        yield (
            f"| {row.name} | {whole:.1f} | {whole / 2:.1f} | {again.felt.wall:.1f} "
            f"| {100 * again.differ:.4f} % |"
        )


if __name__ == "__main__":
    main()
