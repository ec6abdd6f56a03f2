"""Regions of alerts and their names, against scipy and against what was seen day by day."""

import numpy as np
import pytest
from scipy import ndimage

from geoseg.grid import Window, blocks
from geoseg.ops.alerts.lineage import Tracker
from geoseg.ops.alerts.zones import STANDS, Seen, find_zones

EIGHT = np.ones((3, 3), int)


def track(first, until, block):
    """Regions of a raster of first and last days."""
    tracker = Tracker(first.shape)
    for window in blocks(first.shape, block):
        part = [np.ascontiguousarray(a[window.slices], np.uint16) for a in (first, until)]
        rest = np.where(part[1] == STANDS, part[0] + 3, 0).astype(np.uint16)
        state = np.where(part[1] == STANDS, 3, 0).astype(np.uint8)
        seen = Seen(*part, part[0] // 2, rest, state, rest)
        tracker.add(window, find_zones(seen, (window.y0, window.x0, first.shape[1])))
    return tracker.regions()


def random_raster(seed, shape=(23, 31)):
    rng = np.random.default_rng(seed)
    first = np.where(
        rng.random(shape) < rng.choice([0.2, 0.5, 0.8]), rng.integers(17000, 17006, shape), 0
    )
    until = np.where(rng.random(shape) < 0.6, STANDS, first + rng.integers(0, 4, shape))
    return first, np.where(first, until, 0)


def names(regions):
    return [regions.name(int(k)) for k in regions.table["name"]]


def told(regions):
    return regions.table.tolist(), regions.merged


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_scipys_whatever_the_blocks(seed):
    first, until = random_raster(seed)
    labels, count = ndimage.label(until == STANDS, EIGHT)
    regions = track(first, until, 64)
    assert len(regions.table) == count
    flat = labels.ravel()
    for row in regions.table:
        inside = flat == flat[row["pixel"]]
        assert row["pixel"] == np.flatnonzero(inside)[0]
        assert row["first"] == first.ravel()[inside].min()
        assert row["confirmed"] == inside.sum()
        assert row["last"] == first.ravel()[inside].max() + 3
        assert row["before"] == row["first"] // 2
    for block in (1, 5, 8, 30):
        assert told(track(first, until, block)) == told(regions)


@pytest.mark.parametrize("seed", range(12))
def test_swallowed_regions_are_those_that_were_seen_apart_day_by_day(seed):
    rng = np.random.default_rng(seed)
    first = np.where(rng.random((15, 15)) < 0.6, rng.integers(17000, 17008, (15, 15)), 0)
    regions = track(first, np.where(first, STANDS, 0), 6)
    alive, swallowed = {}, {}
    for day in range(17000, 17008):
        labels, count = ndimage.label((first > 0) & (first <= day), EIGHT)
        now, gone = {}, {}
        for label in range(1, count + 1):
            places = np.flatnonzero(labels.ravel() == label)
            key = min((int(first.ravel()[p]), int(p)) for p in places)
            older = [k for k in alive if k[1] in set(places)]
            now[key] = places
            gone[key] = sorted(
                {k for k in older if k != key} | {s for k in older for s in swallowed[k]}
            )
        alive, swallowed = now, gone
    expected = {
        f"{k[1] // 15}-{k[1] % 15}": [f"{s[1] // 15}-{s[1] % 15}" for s in v]
        for k, v in swallowed.items()
    }
    short = {
        n[9:]: [regions.name(k)[9:] for k in m]
        for n, m in zip(names(regions), regions.merged, strict=True)
    }
    # A zone of one day that began beside nothing older is a region of its own on that day.
    assert short == expected


@pytest.mark.parametrize("seed", range(20))
def test_names_last_from_day_to_day_whatever_is_dropped(seed):
    first, until = random_raster(seed, (9, 11))
    before: dict[int, str] = {}
    for day in range(17000, 17011):
        stands = (first > 0) & (first <= day) & (until >= day)
        seen = (first > 0) & (first <= day)
        regions = track(
            np.where(seen, first, 0), np.where(seen, np.where(stands, STANDS, until), 0), 4
        )
        labels, _ = ndimage.label(stands, EIGHT)
        name_of = {
            int(labels.ravel()[row["pixel"]]): (int(row["name"]), regions.name(int(row["name"])))
            for row in regions.table
        }
        assert len({key for key, _ in name_of.values()}) == len(name_of)
        now = {int(p): name_of[int(labels.ravel()[p])] for p in np.flatnonzero(stands)}
        for old in set(before.values()):
            left = {now[p] for p in now if before.get(p) == old}
            # The name goes on, or it went into an older one.
            assert not left or old in left or min(left) < old
            if len(left) == 1 and old not in left:
                (new,) = left
                assert new in set(before.values())
        before = now


def test_a_part_keeps_its_own_name_when_the_one_it_split_from_is_gone():
    first = np.zeros((3, 9), int)
    first[1, 1:8] = [17010, 17012, 17014, 17014, 17014, 17011, 17013]
    until = np.where(first, STANDS, 0)
    until[1, 3:6] = 17040
    until[1, 1:3] = 17050
    left = track(first, until, 4)
    assert names(left) == ["20160729-1-6"]
    assert left.name(int(left.table["split_from"][0])) == "20160728-1-1"


def test_a_region_keeps_its_name_while_it_grows():
    first = np.zeros((5, 9), int)
    first[2, 4] = 17010
    assert names(track(first, np.where(first, STANDS, 0), 4)) == ["20160728-2-4"]
    first[1:4, 3:8] = np.where(first[1:4, 3:8], first[1:4, 3:8], 17020)
    assert names(track(first, np.where(first, STANDS, 0), 4)) == ["20160728-2-4"]


def test_the_older_name_stays_where_two_merge():
    first = np.zeros((3, 9), int)
    first[1, 1], first[1, 7] = 17020, 17010
    apart = track(first, np.where(first, STANDS, 0), 4)
    assert sorted(names(apart)) == ["20160728-1-7", "20160807-1-1"]
    first[1, 2:7] = 17030
    merged = track(first, np.where(first, STANDS, 0), 4)
    assert names(merged) == ["20160728-1-7"]
    assert [merged.name(k) for k in merged.merged[0]] == ["20160807-1-1"]


def test_the_part_that_began_first_keeps_the_name_where_one_splits():
    first = np.zeros((3, 9), int)
    first[1, 1:8] = [17010, 17012, 17014, 17014, 17014, 17011, 17013]
    until = np.where(first, STANDS, 0)
    assert names(track(first, until, 4)) == ["20160728-1-1"]
    until[1, 3:6] = 17040
    split = track(first, until, 4)
    assert names(split) == ["20160728-1-1", "20160729-1-6"]
    assert [split.name(int(k)) for k in split.table["split_from"]] == ["", "20160728-1-1"]


def test_the_name_outlives_the_pixel_that_gave_it():
    first = np.zeros((3, 9), int)
    first[1, 1:5] = [17010, 17012, 17014, 17014]
    until = np.where(first, STANDS, 0)
    until[1, 1] = 17030
    assert names(track(first, until, 3)) == ["20160728-1-1"]


def test_alerts_that_never_stood_at_the_same_time_are_no_kin():
    first = np.zeros((3, 9), int)
    first[1, 1:6] = [17050, 17010, 17010, 17010, 17050]
    until = np.where(first == 17050, STANDS, np.where(first, 17020, 0))
    apart = track(first, until, 4)
    assert names(apart) == ["20160906-1-1", "20160906-1-5"]
    assert apart.table["split_from"].tolist() == [0, 0]


def test_nothing_gives_no_region():
    nothing = np.zeros((4, 4), int)
    assert len(track(nothing, nothing, 2).table) == 0
    assert Window(0, 0, 4, 4).shape == nothing.shape
