"""States of pixels against the published rules, written down once more, date by date."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.ops.alerts.rules import Bayes, Count, to_date, to_day
from geoseg.ops.alerts.states import FILLS, UNSEEN, Planes, advance, blank, expire, mean_of_day

BAYES = Bayes()
RULES = (
    BAYES,
    Bayes(chi=0.9, within=400),
    Count(k=2, n=3),
    Count(k=3, n=5, within=60),
    Count(k=1, n=1),
    Bayes(settled=2),
    Count(k=2, n=3, settled=1),
)
percent = st.one_of(st.just(UNSEEN), st.integers(0, 100))
histories = st.lists(st.tuples(st.integers(1, 60), percent), max_size=25)


@dataclass
class Alert:
    stage: str = "none"
    first: int = 0
    before: int = 0
    count: int = 0


def timed(steps):
    days = np.cumsum([0, *(step for step, _ in steps)])[1:] + 17000
    return days.astype(np.uint16), np.array([p for _, p in steps], np.uint8)


def watched_from(percents, rule):
    """Place of the first observation after so many of forest in a row."""
    run = 0
    for at, p in enumerate(percents):
        if run >= rule.settled:
            return at
        run = run if p == UNSEEN else run + 1 if p < rule.flag else 0
    return len(percents)


def bayts(days, percents, rule):
    """Reiche et al. 2015, section 2.1, in floating point; stops at the confirmation."""
    weighted = [min(max(p, rule.weights[0]), rule.weights[1]) / 100 for p in percents]

    def posterior(prior, likelihood):
        return prior * likelihood / (prior * likelihood + (1 - prior) * (1 - likelihood))

    alert, change, prior, seen = Alert(), 0.0, rule.start / 100, 0
    forest = watched_from(percents, rule)
    for at, (when, raw, p) in enumerate(zip(days, percents, weighted, strict=True)):
        if raw == UNSEEN:
            continue
        day = int(when)
        if at < forest:
            prior, seen = p, day
            continue
        if alert.stage == "pending" and day - alert.first > rule.within:
            alert = Alert()
        if alert.stage == "pending":
            change = posterior(change, p)
            alert.count += raw >= rule.flag
            if change < 0.5 - 1e-6:
                alert = Alert()
        elif raw >= rule.flag:
            alert = Alert("pending", day, seen, 1)
            change = posterior(prior, p)
        if alert.stage == "pending" and change >= rule.chi - 1e-6 and raw >= rule.flag:
            alert.stage = "confirmed"
            return alert
        prior, seen = p, day
    return alert


def k_of_n(days, percents, rule):
    """The window of the last n clear observations at each date, from the whole history."""
    forest = watched_from(percents, rule)
    clear = [
        (int(d), p >= rule.flag and at >= forest)
        for at, (d, p) in enumerate(zip(days, percents, strict=True))
        if p != UNSEEN
    ]
    alert = Alert()
    for at, (day, hit) in enumerate(clear):
        window = range(max(0, at - rule.n + 1), at + 1)
        hits = [i for i in window if clear[i][1] and day - clear[i][0] <= rule.within]
        alert = Alert()
        if hits:
            before = clear[hits[0] - 1][0] if hits[0] else 0
            alert = Alert("pending", clear[hits[0]][0], before, len(hits))
        if hit and len(hits) >= rule.k:
            alert.stage = "confirmed"
            return alert
    return alert


def stage_of(state):
    if state in (0, 255):
        return "none"
    return "pending" if state in (1, 2, 4, 5) else "confirmed"


def run(days, percents, rule, cuts=()):
    planes = blank((1, 1), rule)
    for part in np.split(np.arange(len(days)), sorted(cuts)):
        advance(planes, days[part], percents[part].reshape(-1, 1, 1), rule)
    return planes


@settings(max_examples=300, deadline=None)
@given(histories, st.sampled_from(RULES))
def test_alerts_are_those_of_the_published_rules(steps, rule):
    days, percents = timed(steps)
    expected = (bayts if isinstance(rule, Bayes) else k_of_n)(days, percents, rule)
    found = run(days, percents, rule)
    if expected.stage == "confirmed":
        assert stage_of(found.state[0, 0]) == "confirmed"
        assert (found.first[0, 0], found.before[0, 0]) == (expected.first, expected.before)
        assert found.detections[0, 0] >= expected.count
        return
    told = (
        stage_of(found.state[0, 0]),
        found.first[0, 0],
        found.before[0, 0],
        found.detections[0, 0],
    )
    assert told == (expected.stage, expected.first, expected.before, expected.count)


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from(RULES), st.data())
def test_dates_one_by_one_or_in_any_parts_give_the_same(steps, rule, data):
    days, percents = timed(steps)
    cuts = data.draw(st.sets(st.integers(0, len(days))))
    for whole, parts in zip(
        run(days, percents, rule), run(days, percents, rule, cuts), strict=True
    ):
        assert np.array_equal(whole, parts)


@settings(max_examples=100, deadline=None)
@given(histories, st.sampled_from(RULES), st.integers(0, 200))
def test_what_expires_is_what_the_next_clear_forest_would_drop(steps, rule, later):
    days, percents = timed(steps)
    planes = run(days, percents, rule)
    today = int(days[-1] if len(days) else 17000) + later
    pending = stage_of(planes.state[0, 0]) == "pending"
    first = int(planes.first[0, 0])
    expire(planes, today, rule)
    if pending and today - first > rule.within:
        assert planes.state[0, 0] == 0 or today - int(planes.first[0, 0]) <= rule.within
        if planes.state[0, 0] == 0:
            assert (planes.dropped[0, 0], planes.until[0, 0]) == (first, first + rule.within)
    else:
        assert planes.first[0, 0] == first


def test_a_clearing_goes_through_all_states():
    days = np.arange(17000, 17000 + 12 * 7, 12, dtype=np.uint16)
    percents = np.array([5, 95, 95, 95, 95, 5, 5], np.uint8)
    states = [int(run(days[:n], percents[:n], BAYES).state[0, 0]) for n in range(8)]
    assert states == [255, 0, 4, 5, 6, 6, 6, 8]
    done = run(days, percents, BAYES)
    assert (done.first[0, 0], done.before[0, 0], done.last[0, 0]) == (17012, 17000, 17048)
    assert (done.detections[0, 0], done.looks[0, 0], done.peak[0, 0]) == (4, 6, 95)


def test_one_false_detection_is_dropped_and_remembered():
    days = np.array([17000, 17012, 17024], np.uint16)
    planes = run(days, np.array([5, 80, 5], np.uint8), BAYES)
    assert planes.state[0, 0] == 0
    assert planes.first[0, 0] == planes.detections[0, 0] == 0
    assert (planes.dropped[0, 0], planes.until[0, 0]) == (17012, 17023)


def test_what_radd_needs_to_confirm_after_forest():
    """Posteriors 0.5, 0.9, 0.988 with weights of 0.1 and 0.9: the third confirms at 0.975."""
    days = np.arange(17000, 17060, 12, dtype=np.uint16)
    for chi, confirmed in ((0.85, 3), (0.975, 4), (0.99, 5)):
        states = [
            int(
                run(
                    days[:n], np.array([0, 100, 100, 100, 100], np.uint8)[:n], Bayes(chi=chi)
                ).state[0, 0]
            )
            for n in range(1, 6)
        ]
        assert states.index(6) == confirmed - 1


def test_a_finished_alert_stays_as_it_was():
    days = np.arange(17000, 17000 + 12 * 12, 12, dtype=np.uint16)
    percents = np.array([5, 95, 95, 95, 5, 5, 95, 95, 95, 95, 95, 95], np.uint8)
    before, after = run(days[:6], percents[:6], BAYES), run(days, percents, BAYES)
    assert before.state[0, 0] == 8
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)


def test_a_day_s_observations_are_averaged_whatever_their_order():
    stack = np.array([[[10, UNSEEN, UNSEEN]], [[21, 40, UNSEEN]]], np.uint8)
    for order in (stack, stack[::-1].copy()):
        assert mean_of_day(order).tolist() == [[16, 40, UNSEEN]]


def test_days_that_are_out_of_order_are_refused():
    planes = run(np.array([17000], np.uint16), np.array([5], np.uint8), BAYES)
    for days in ([17000], [16000], [17003, 17002]):
        with pytest.raises(InputError, match="do not follow day 17000"):
            advance(planes, np.array(days, np.uint16), np.zeros((len(days), 1, 1), np.uint8), BAYES)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Bayes(chi=0.4), lambda: Bayes(chi=1.0), lambda: Bayes(weights=(60, 90)),
        lambda: Bayes(start=0), lambda: Count(k=3, n=2), lambda: Count(k=1, n=9),
        lambda: Bayes(flag=90, high=80), lambda: Bayes(within=0), lambda: Count(finish=0), lambda: Bayes(settled=-1),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        wrong()


def test_planes_begin_as_the_store_fills_them():
    planes = blank((2, 3), Count(k=2, n=4))
    assert set(FILLS) | {"recent"} == set(Planes._fields)
    assert planes.recent.shape == (5, 2, 3)
    for name, (dtype, fill) in FILLS.items():
        plane = getattr(planes, name)
        assert plane.dtype == dtype
        assert (plane == fill).all()


def test_days_are_dates():
    assert to_date(to_day(to_date(18262))) == to_date(18262)
    assert to_date(18262).isoformat() == "2020-01-01"
