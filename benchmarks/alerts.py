"""How late and how wrong alerts are, by rule and cloud rate, on series with known clearings.

    python benchmarks/alerts.py                 the table, and the throughput of a store
    python benchmarks/alerts.py --size 1024     larger

A year and a half of maps every ten days: forest of which a third is cleared in patches, each on a
day of its own. A map says non-forest with a probability whose log odds are right on average and
noisy (8 % of all pixels are on the wrong side on a date), and two clouds in a hundred are taken for
clear ground that is no forest. Clouds are blobs of about 25 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geoseg.api.alerts import settle
from geoseg.grid import full_window
from geoseg.io.alert_store import AlertStore, Observed, Watch
from geoseg.ops.alerts.rules import Bayes, Count, Rule
from geoseg.ops.alerts.states import UNSEEN, advance, blank
from geoseg.run.reporter import Silent

REVISIT, DATES, BEGIN = 10, 55, 18000
RULES: dict[str, Rule] = {
    "bayes 0.975 (radd)": Bayes(),
    "bayes 0.90": Bayes(chi=0.9),
    "2 of 3": Count(k=2, n=3),
    "2 of 4, 180 d (gfw)": Count(k=2, n=4, within=180),
    "3 of 4": Count(k=3, n=4),
    "each detection": Count(k=1, n=1),
}
CLOUDS = (0.0, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Series:
    """Days, percents of non-forest ``(t, y, x)``, and the day of clearing ``(y, x)``, 0 for none."""

    days: NDArray[np.uint16]
    percents: NDArray[np.uint8]
    cleared: NDArray[np.int64]


def clearings(size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Days of clearing in patches, 0 where forest stays: none in the first and last four months."""
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), 4)
    lost = field > np.quantile(field, 2 / 3)
    labels, count = ndimage.label(lost)
    span = REVISIT * (DATES - 1)
    when = BEGIN + rng.integers(120, span - 120, count + 1)
    when[0] = 0
    found: NDArray[np.int64] = when[labels]
    return found


def make_series(size: int, cloud: float, seed: int) -> Series:
    """A series with a share of clouds on each date."""
    rng = np.random.default_rng(seed)
    cleared = clearings(size, rng)
    days = (BEGIN + REVISIT * np.arange(DATES)).astype(np.uint16)
    stack = np.empty((DATES, size, size), np.uint8)
    for t, day in enumerate(days):
        lost = (cleared > 0) & (cleared <= day)
        odds = np.where(lost, 2.1, -2.1) + 1.5 * rng.standard_normal((size, size))
        percent = np.rint(100 / (1 + np.exp(-odds))).astype(np.uint8)
        clouds = ndimage.gaussian_filter(rng.standard_normal((size, size)), 5)
        hidden = clouds > np.quantile(clouds, 1 - cloud) if cloud else np.zeros_like(lost)
        missed = hidden & (rng.random((size, size)) < 0.02)
        stack[t] = np.where(hidden & ~missed, UNSEEN, np.where(missed, 90, percent))
    return Series(days, stack, cleared)


def judge(series: Series, rule: Rule) -> dict[str, float]:
    """Delays in days, omission and commission in percent, of confirmed alerts."""
    shape = series.cleared.shape
    planes = blank(shape, rule)
    confirmed = np.zeros(shape, np.int64)
    for t, day in enumerate(series.days):
        advance(planes, series.days[t : t + 1], series.percents[t : t + 1], rule)
        sure = np.isin(planes.state, (3, 6, 7, 8))
        confirmed[sure & (confirmed == 0)] = day
    lost = series.cleared > 0
    right = lost & (confirmed > 0) & (planes.first >= series.cleared)
    delay = (planes.first.astype(np.int64) - series.cleared)[right]
    late = (confirmed - series.cleared)[right]
    wrong = (confirmed > 0) & ~right
    return {
        "first, median": float(np.median(delay)),
        "first, p90": float(np.quantile(delay, 0.9)),
        "confirmed, median": float(np.median(late)),
        "confirmed, p90": float(np.quantile(late, 0.9)),
        "omission": 100 * float((lost & ~right).sum() / lost.sum()),
        "commission": 100 * float(wrong.sum() / max(1, (confirmed > 0).sum())),
    }


def table(size: int, seed: int) -> None:
    """Print delays, omission and commission."""
    head = f"{'rule':<22}{'cloud':>6}{'first detection':>20}{'confirmed':>20}{'omission':>10}{'commission':>12}"
    print(
        f"{size} x {size} px, {DATES} dates, {REVISIT} days apart; delays in days: median (p90)\n{head}"
    )
    for cloud in CLOUDS:
        series = make_series(size, cloud, seed)
        for name, rule in RULES.items():
            found = judge(series, rule)
            first = f"{found['first, median']:.0f} ({found['first, p90']:.0f})"
            late = f"{found['confirmed, median']:.0f} ({found['confirmed, p90']:.0f})"
            print(
                f"{name:<22}{cloud:>6.0%}{first:>20}{late:>20}"
                f"{found['omission']:>9.2f}%{found['commission']:>11.2f}%"
            )


def timed(store: AlertStore) -> tuple[float, float]:
    """Wall and CPU seconds to bring a store up to date."""
    wall, cpu = time.perf_counter(), time.process_time()
    settle(store, workers=2, reporter=Silent())
    return time.perf_counter() - wall, time.process_time() - cpu


def throughput(size: int) -> None:
    """Print how fast dates are added to a store, in order and late."""
    series = make_series(512, 0.4, 1)
    side = -(-size // 512)
    grid = GeoBox((512 * side, 512 * side), Affine(10, 0, 500_000, 0, -10, 9_000_000), "EPSG:32720")
    with tempfile.TemporaryDirectory() as folder:
        store = AlertStore.create(Path(folder, "a.zarr"), grid, Watch(("trees",)), Bayes())
        scenes: list[Observed] = []
        for t in range(20):
            new = Observed(int(series.days[t]), f"s{t}", f"{t:064x}")
            array = store.add_array(new)
            tiled = np.tile(series.percents[t], (side, side))
            for window in store.windows:
                array.write(window, np.ascontiguousarray(tiled[window.slices]))
            scenes.append(new)
        pixels = full_window(grid).shape[0] * full_window(grid).shape[1] / 1e6
        store = store.keep(scenes[:9], Bayes())
        settle(store, workers=2, reporter=Silent())
        store = store.keep(scenes[:10], Bayes())
        wall, cpu = timed(store)
        print(
            f"{pixels:.1f} Mpx: one date more: {pixels / wall:.1f} Mpx/s on two threads, "
            f"{pixels / cpu:.1f} a CPU second"
        )
        store = store.keep([*scenes[:4], *scenes[5:]], Bayes())
        settle(store, workers=2, reporter=Silent())
        store = store.keep(scenes, Bayes())
        wall, cpu = timed(store)
        print(
            f"{pixels:.1f} Mpx: a late date, replay of 20: {20 * pixels / wall:.1f} Mpx of a date a "
            f"second on two threads, {20 * pixels / cpu:.1f} a CPU second"
        )
        for what, size_ in store.chunks_bytes().items():
            print(
                f"{what}: {size_ / pixels / 1e6:.2f} bytes a pixel{' for 20 dates' * (what[0] == 'o')}"
            )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--store", type=int, default=3072)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table(options.size, options.seed)
    throughput(options.store)


if __name__ == "__main__":
    main()
