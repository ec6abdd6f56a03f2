"""A simulated year of nightly runs with trouble, against one without: is the end the same?

    python benchmarks/year_of_nights.py FOLDER [--nights 365] [--seed 1] [--kills 12]

In both worlds a scene is acquired every five days, the workflow looks at the last fourteen days,
and products are kept for twenty. In one of them a quarter of the scenes come 1 to 9 days late, in
a tenth of the nights nothing runs, and some runs are killed (SIGKILL, at four places in turn). A
real web server takes what is told. Printed is what happened, and whether ledger, products and
alerts (byte for byte) and notices are the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from nights import Season, live, notices, one_scheduler, prepare, products, watched, webhook, works


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=12)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    seasons = {
        "calm": Season.calm(given.nights),
        "troubled": Season.troubled(given.nights, seed=given.seed, kills=given.kills),
    }
    told, killed = {}, []
    with one_scheduler() as scheduler:
        shown = prepare(given.folder, tuple(seasons), scheduler)
        for name, season in seasons.items():
            began = time.monotonic()
            with webhook() as server:
                os.environ["GEOSEG_TEST_HOOK"] = server.address
                killed += live(given.folder / name, season, shown)
                told[name] = [
                    (body["event"], one["key"])
                    for _, body in server.told
                    for one in body["notices"]
                ]
            print(
                f"{name}: {season.nights - len(season.off)} nights run, {len(season.off)} off, "
                f"{len(season.late)} scenes late, {len(season.killed)} runs killed; "
                f"{len(told[name])} notices; {time.monotonic() - began:.0f} s"
            )
    judge(given.folder / "calm", given.folder / "troubled", told)
    said = notices(given.folder / "troubled", "failure")
    print(f"killed runs that were told: {len(said)} of {len(killed)}")


def judge(calm: Path, troubled: Path, told: dict[str, list[tuple[str, str]]]) -> None:
    """Print what is the same."""
    ours, theirs = products(troubled), products(calm)
    differing = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    print(f"products: {len(theirs)} files, {len(differing)} differ {differing[:5]}")
    ours, theirs = watched(troubled), watched(calm)
    differing = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    print(f"alerts: {len(theirs)} files, {len(differing)} differ {differing[:5]}")
    print(f"ledger: {len(works(calm))} scenes, same: {works(calm) == works(troubled)}")
    news = {
        name: sorted({key for event, key in found if event == "products"})
        for name, found in told.items()
    }
    print(f"mapped scenes told: {len(news['calm'])}, same: {news['calm'] == news['troubled']}")


if __name__ == "__main__":
    main()
