"""The store is the same, byte by byte, in whatever order maps come."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from alert_maps import LEGEND, grid_of, series, write_map

from geoseg.api.alerts import settle, update
from geoseg.errors import InputError
from geoseg.grid import full_window
from geoseg.io.alert_store import AlertStore
from geoseg.io.rat import write_rat
from geoseg.ops.alerts.rules import Bayes, Count
from geoseg.ops.alerts.states import advance, blank
from geoseg.run.reporter import Silent
from geoseg.steps.alerts import SettleBlock
from geoseg.workflow.alerts import Watching

DAYS = [date(2020, 1, 3) + timedelta(days=12 * n) for n in range(6)]
WATCHING = Watching(forest=("trees",), ignore=("cloud",), rule=Bayes(chi=0.9))


def tree(store: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()
    }


def take(store, maps, watching=WATCHING, **options):
    return update(store, maps, watching, **({"block": 16, "workers": 2} | options))


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    found = series(folder, DAYS)
    # A second scene of the third day, that sees another half and is less sure.
    rng = np.random.default_rng(9)
    clear = np.zeros((20, 27), bool)
    clear[:, 12:] = True
    lost = rng.random((20, 27)) < 0.3
    return [*found, write_map(folder, DAYS[2], lost, clear, np.full((20, 27), 60), scene="other")]


@pytest.fixture(scope="module")
def stale(tmp_path_factory):
    return series(tmp_path_factory.mktemp("stale"), DAYS, seed=5)


@pytest.fixture(scope="module")
def right(maps, tmp_path_factory):
    store = tmp_path_factory.mktemp("right") / "alerts.zarr"
    for dated in sorted(maps, key=lambda m: (m.day(), m.id)):
        take(store, [dated])
    return tree(store)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_reruns_and_replaced_scenes_end_the_same(maps, stale, right, tmp_path, seed):
    rng = np.random.default_rng(seed)
    store = tmp_path / "alerts.zarr"
    order = [maps[i] for i in rng.permutation(len(maps))]
    again = [maps[i] for i in rng.integers(0, len(maps), 2)]
    first = [stale[i] for i in rng.permutation(len(stale))[: rng.integers(0, 3)]]
    cut = int(rng.integers(0, len(order) + 1))
    for part in (first, order[:cut], [*order[cut:], *again]):
        if part:
            take(store, part)
    assert tree(store) == right


@pytest.mark.parametrize("rule", [Bayes(chi=0.9), Count(k=2, n=3)])
def test_the_state_is_that_of_the_whole_history_at_once(maps, tmp_path, rule):
    store = tmp_path / "alerts.zarr"
    for dated in maps[::-1]:
        take(store, [dated], Watching(forest=("Trees",), rule=rule))
    made = AlertStore.open(store)
    settler = SettleBlock(made)
    for window in made.windows:
        history = made.history(window)
        planes = blank(window.shape, rule)
        stack = np.stack([settler._day(arrays, window) for _, arrays in history])
        advance(planes, np.array([d for d, _ in history], np.uint16), stack, rule)
        for found, expected in zip(made.read_planes(window), planes, strict=True):
            assert np.array_equal(found, expected)
    assert {int(s) for w in made.windows for s in np.unique(made.read_planes(w).state)} > {0, 3}


def test_blocks_and_threads_change_no_state(maps, tmp_path):
    states = []
    for block, workers in ((16, 1), (16, 3), (5, 2), (64, 1)):
        store = tmp_path / f"{block}-{workers}.zarr"
        take(store, maps, block=block, workers=workers)
        made = AlertStore.open(store)
        planes = [made._planes[n].read(made.windows[0] | made.windows[-1]) for n in made._planes]
        states.append(np.stack([p.astype(np.int64) for p in planes]))
    assert all(np.array_equal(states[0], other) for other in states[1:])


def test_another_rule_replays_what_was_observed(maps, tmp_path):
    one, other = tmp_path / "one.zarr", tmp_path / "other.zarr"
    count = Watching(forest=("Trees",), ignore=("Cloud",), rule=Count(k=2, n=3))
    take(one, maps)
    assert take(one, [], count).blocks == {"replayed": 4}
    take(other, maps, count)
    assert tree(one) == tree(other)
    take(one, [], WATCHING)
    assert not list(one.glob("recent_*"))


def test_dates_in_order_are_added_and_late_ones_replay_only_the_blocks_they_touch(maps, tmp_path):
    store = tmp_path / "alerts.zarr"
    assert take(store, maps[:2]).blocks == {"replayed": 4}
    assert take(store, maps[3:6]).blocks == {"advanced": 4}
    assert take(store, maps[3:6]).blocks == {"kept": 4}
    assert take(store, [maps[6]]).blocks == {"replayed": 4}  # columns 12.. lie in all four
    corner = np.zeros((20, 27), bool)
    corner[:3, :3] = True
    late = write_map(tmp_path, DAYS[2], corner, corner, np.full((20, 27), 90), scene="late")
    assert take(store, [late]).blocks == {"kept": 3, "replayed": 1}


def test_only_forest_of_the_baseline_is_watched(maps, tmp_path):
    lost = np.zeros((20, 27), bool)
    lost[:, 9:] = True
    before = write_map(tmp_path, date(2019, 1, 1), lost, ~lost | lost, np.full(lost.shape, 99))
    write_rat(before.classes, LEGEND)
    store = tmp_path / "alerts.zarr"
    take(store, maps, Watching(forest=("Trees",), baseline=before.classes))
    made = AlertStore.open(store)
    state = made._planes["state"].read(full_window(made.grid))
    assert (state[:, 9:] == 255).all()
    assert (state[:, :9] != 255).any()
    other = write_map(tmp_path, date(2018, 1, 1), ~lost, ~lost | lost, np.full(lost.shape, 99))
    write_rat(other.classes, LEGEND)
    with pytest.raises(InputError, match="was made with baseline"):
        take(store, maps, Watching(forest=("Trees",), baseline=other.classes))


def test_a_baseline_without_the_class_is_refused_before_anything_is_written(maps, tmp_path):
    watching = Watching(forest=("Trees",), baseline=maps[0].classes)  # the file names no class
    with pytest.raises(InputError, match="no class 'trees'"):
        take(tmp_path / "alerts.zarr", maps, watching)
    assert list(tmp_path.iterdir()) == []


def test_damaged_states_are_made_again(maps, tmp_path):
    store = tmp_path / "alerts.zarr"
    take(store, maps)
    before = tree(store)
    chunk = store / "first" / "0.0"
    chunk.write_bytes(before["first/0.1"])
    made = AlertStore.open(store)
    assert settle(made, workers=1, reporter=Silent()) == {"kept": 4}
    assert settle(made, workers=1, reporter=Silent(), verify=True) == {"kept": 3, "replayed": 1}
    (store / ".blocks" / "0.0.json").unlink()
    chunk.write_bytes(b"cut off")
    assert take(store, []).blocks == {"kept": 3, "replayed": 1}
    assert tree(store) == before


def test_what_does_not_fit_the_store_is_refused(maps, tmp_path):
    store = tmp_path / "alerts.zarr"
    with pytest.raises(InputError, match="say which class is forest"):
        take(store, maps, Watching())
    with pytest.raises(InputError, match="no class 'palms'"):
        take(store, maps, Watching(forest=("palms",)))
    with pytest.raises(InputError, match="no map to make it of"):
        take(store, [])
    assert list(tmp_path.iterdir()) == []
    take(store, maps[:1])
    before = tree(store)
    with pytest.raises(InputError, match="was made with forest"):
        take(store, maps, Watching(forest=("grass",)))
    assert tree(store) == before
    assert AlertStore.open(store).grid == grid_of((20, 27))
