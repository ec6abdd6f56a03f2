"""What is known of each pixel after some dates, and what one more date makes of it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.alerts.rules import (
    CONFIRMED,
    FINISHED_HIGH,
    FINISHED_LOW,
    FIRST,
    HIGH,
    LONGEST_WINDOW,
    MOST_ODDS,
    NODATA,
    NONE,
    PROVISIONAL,
    SLACK,
    Bayes,
    Rule,
)
from geoseg.ops.kernels import entry, helper

UNSEEN: Final = 255
"""Percent of an observation that there is not."""


class Planes(NamedTuple):
    """All that is known of the pixels of a block, each ``(y, x)``; days are since 1970-01-01.

    Days are 0 where there is none.
    """

    state: NDArray[np.uint8]  # OPERA's; 255 where there was no observation yet
    first: NDArray[np.uint16]  # day of the first detection of the alert
    before: NDArray[np.uint16]  # day of the last clear observation before that
    last: NDArray[np.uint16]  # day of the last detection
    seen: NDArray[np.uint16]  # day of the last clear observation
    detections: NDArray[np.uint16]
    looks: NDArray[np.uint16]  # clear observations since the first detection, that one included
    peak: NDArray[np.uint8]  # largest percent of non-forest among the detections
    prior: NDArray[np.uint8]  # percent of the last clear observation, 255 before there is one
    odds: NDArray[np.int32]  # log odds of change in millionths; Bayes only
    calm: NDArray[np.uint8]  # clear observations of forest in a row
    watched: NDArray[np.uint8]  # 1 once there was forest for long enough
    dropped: NDArray[np.uint16]  # day of the first detection of the last alert that was dropped
    until: NDArray[np.uint16]  # last day on which that alert stood
    bits: NDArray[np.uint8]  # which of the last observations were detections, 1 the last; Count
    recent: NDArray[np.uint16]  # (n + 1, y, x) days of the last observations, newest first; Count


FILLS: Final[dict[str, tuple[str, int]]] = {
    "state": ("uint8", NODATA),
    "first": ("uint16", 0),
    "before": ("uint16", 0),
    "last": ("uint16", 0),
    "seen": ("uint16", 0),
    "detections": ("uint16", 0),
    "looks": ("uint16", 0),
    "peak": ("uint8", 0),
    "prior": ("uint8", UNSEEN),
    "odds": ("int32", 0),
    "calm": ("uint8", 0),
    "watched": ("uint8", 0),
    "dropped": ("uint16", 0),
    "until": ("uint16", 0),
    "bits": ("uint8", 0),
}
"""Type and value of each plane before the first observation."""


def recent_days(rule: Rule) -> int:
    """How many planes of recent days a rule needs."""
    return 0 if isinstance(rule, Bayes) else rule.n + 1


def blank(shape: tuple[int, int], rule: Rule) -> Planes:
    """Pixels ``(y, x)`` that have not been seen."""
    planes = {name: np.full(shape, fill, dtype) for name, (dtype, fill) in FILLS.items()}
    return Planes(**planes, recent=np.zeros((recent_days(rule), *shape), np.uint16))


def advance(
    planes: Planes, days: NDArray[np.uint16], percents: NDArray[np.uint8], rule: Rule
) -> None:
    """Take in observations, oldest first; changes ``planes``.

    Taking them in at once, one by one, or in any parts gives the same.

    Args:
        planes: What was known before.
        days: ``(t,)`` increasing, all after what ``planes`` have seen.
        percents: ``(t, y, x)`` of non-forest, :data:`UNSEEN` where there is no observation.
        rule: Must always be the same.

    Raises:
        InputError: Days do not increase, or lie before what was seen.
    """
    seen = int(planes.seen.max(initial=0))
    if len(days) and (np.any(np.diff(days.astype(np.int64)) <= 0) or int(days[0]) <= seen):
        raise InputError(f"alerts: days {days.tolist()} do not follow day {seen} in order")
    stack = np.ascontiguousarray(percents, np.uint8)
    days = np.ascontiguousarray(days, np.uint16)
    settings = rule.flag, rule.high, rule.within, rule.finish, rule.settled
    common = np.array(settings, np.int64)
    if isinstance(rule, Bayes):
        limits = np.array([rule.threshold(), rule.start], np.int64)
        advance_bayes(planes, days, stack, rule.odds(), common, limits)
    else:
        advance_count(planes, days, stack, common, np.array([rule.k, rule.n], np.int64))


def expire(planes: Planes, today: int, rule: Rule) -> None:
    """Drop alerts that were not confirmed in time, seen from day ``today``; changes ``planes``.

    While observations come in, that happens with the next one of a pixel; under clouds there may
    be none.
    """
    if isinstance(rule, Bayes):
        expire_bayes(planes, today, rule.within)
    else:
        expire_count(planes, today, rule.within, rule.n)


@helper
def _level(stage: int, peak: int, high: int) -> int:
    return stage + HIGH if peak >= high else stage


@helper
def _drop(planes: Any, i: int, j: int, until: int) -> None:
    """Forget the alert of a pixel, but that there was one."""
    planes.dropped[i, j] = planes.first[i, j]
    planes.until[i, j] = until
    planes.state[i, j] = NONE
    planes.first[i, j] = planes.before[i, j] = planes.last[i, j] = 0
    planes.detections[i, j] = planes.looks[i, j] = 0
    planes.peak[i, j] = 0
    planes.odds[i, j] = 0


@helper
def _is_pending(state: int) -> bool:
    return state in (FIRST, PROVISIONAL, FIRST + HIGH, PROVISIONAL + HIGH)


@helper
def _is_new(planes: Any, i: int, j: int, settled: int) -> bool:
    """Whether a pixel is not watched yet; it is from the next observation on, if this one shows so."""
    if settled == 0 or planes.watched[i, j]:
        return False
    planes.watched[i, j] = planes.calm[i, j] >= settled
    return True


@helper
def _note(planes: Any, i: int, j: int, day: int, percent: int, flag: int) -> None:
    """Count an observation of a pixel that has an alert."""
    planes.looks[i, j] = min(planes.looks[i, j] + 1, 65535)
    if percent >= flag:
        planes.detections[i, j] = min(planes.detections[i, j] + 1, 65535)
        planes.last[i, j] = day
        planes.peak[i, j] = max(planes.peak[i, j], percent)


@helper
def _follow_confirmed(planes: Any, i: int, j: int, day: int, percent: int, common: Any) -> None:
    """One more observation of a confirmed alert."""
    _note(planes, i, j, day, percent, common[0])
    if planes.calm[i, j] >= common[3]:
        high = planes.peak[i, j] >= common[1]
        planes.state[i, j] = FINISHED_HIGH if high else FINISHED_LOW
    else:
        planes.state[i, j] = _level(CONFIRMED, planes.peak[i, j], common[1])


@helper
def _observe_bayes(
    planes: Any, i: int, j: int, day: int, percent: int, table: Any, common: Any, limits: Any
) -> None:
    """One observation of a pixel without a confirmed alert."""
    flag, high, within = common[0], common[1], common[2]
    hit = percent >= flag
    if _is_pending(planes.state[i, j]) and day - planes.first[i, j] > within:
        _drop(planes, i, j, planes.first[i, j] + within)
    if _is_pending(planes.state[i, j]):
        odds = planes.odds[i, j] + table[percent]
        planes.odds[i, j] = max(-MOST_ODDS, min(MOST_ODDS, odds))
        _note(planes, i, j, day, percent, flag)
        if planes.odds[i, j] < -SLACK:
            _drop(planes, i, j, day - 1)
            return
    elif hit:
        prior = planes.prior[i, j]
        planes.first[i, j] = day
        planes.before[i, j] = planes.seen[i, j]
        planes.odds[i, j] = table[limits[1] if prior == UNSEEN else prior] + table[percent]
        _note(planes, i, j, day, percent, flag)
    else:
        planes.state[i, j] = NONE
        return
    stage = FIRST if planes.detections[i, j] == 1 else PROVISIONAL
    if hit and planes.odds[i, j] >= limits[0] - SLACK:
        stage = CONFIRMED
    planes.state[i, j] = _level(stage, planes.peak[i, j], high)


@entry
def advance_bayes(
    planes: Any, days: Any, percents: Any, table: Any, common: Any, limits: Any
) -> None:
    """See :func:`advance` and :class:`geoseg.ops.alerts.rules.Bayes`."""
    flag = common[0]
    for i in range(percents.shape[1]):
        for t in range(len(days)):
            day = int(days[t])
            for j in range(percents.shape[2]):
                percent = int(percents[t, i, j])
                state = planes.state[i, j]
                if percent == UNSEEN or state in (FINISHED_LOW, FINISHED_HIGH):
                    continue
                calm = 0 if percent >= flag else min(planes.calm[i, j] + 1, 250)
                planes.calm[i, j] = calm
                if _is_new(planes, i, j, common[4]):
                    planes.state[i, j] = NONE
                elif state in (CONFIRMED, CONFIRMED + HIGH):
                    _follow_confirmed(planes, i, j, day, percent, common)
                    if percent >= flag:
                        odds = planes.odds[i, j] + table[percent]
                        planes.odds[i, j] = min(MOST_ODDS, max(planes.odds[i, j], odds))
                else:
                    _observe_bayes(planes, i, j, day, percent, table, common, limits)
                planes.prior[i, j] = percent
                planes.seen[i, j] = day


@helper
def _remember(planes: Any, i: int, j: int, day: int, hit: bool) -> None:  # noqa: FBT001 (private)
    """Put an observation in the window."""
    planes.bits[i, j] = ((int(planes.bits[i, j]) << 1) | int(hit)) & 0xFF
    for k in range(planes.recent.shape[0] - 1, 0, -1):
        planes.recent[k, i, j] = planes.recent[k - 1, i, j]
    planes.recent[0, i, j] = day


@helper
def _count_window(planes: Any, i: int, j: int, since: int, n: int) -> tuple[int, int]:
    """Detections in the window that are no older than ``since``, and the place of the oldest."""
    hits, oldest = 0, -1
    for k in range(n):
        if (planes.bits[i, j] >> k) & 1 and planes.recent[k, i, j] >= since:
            hits += 1
            oldest = k
    return hits, oldest


@helper
def _begin_at(planes: Any, i: int, j: int, hits: int, oldest: int) -> None:
    """Let an alert begin with the detection at place ``oldest`` of the window."""
    planes.first[i, j] = planes.recent[oldest, i, j]
    # There is one day more than the window has observations: the oldest has one before it.
    planes.before[i, j] = planes.recent[oldest + 1, i, j]
    planes.detections[i, j], planes.looks[i, j] = hits, oldest + 1


@helper
def _observe_count(
    planes: Any, i: int, j: int, day: int, percent: int, common: Any, window: Any
) -> None:
    """One observation of a pixel without a confirmed alert; it is in the window already."""
    flag, high, within = common[0], common[1], common[2]
    n = window[1]
    hits, oldest = _count_window(planes, i, j, day - within, n)
    if hits == 0:
        if _is_pending(planes.state[i, j]):
            _drop(planes, i, j, min(day - 1, planes.first[i, j] + within))
        planes.state[i, j] = NONE
        return
    _begin_at(planes, i, j, hits, oldest)
    if percent >= flag:
        planes.last[i, j] = day
        planes.peak[i, j] = max(planes.peak[i, j], percent)
    stage = FIRST if hits == 1 else PROVISIONAL
    if percent >= flag and hits >= window[0]:
        stage = CONFIRMED
    planes.state[i, j] = _level(stage, planes.peak[i, j], high)


@entry
def advance_count(planes: Any, days: Any, percents: Any, common: Any, window: Any) -> None:
    """See :func:`advance` and :class:`geoseg.ops.alerts.rules.Count`."""
    flag = common[0]
    for i in range(percents.shape[1]):
        for t in range(len(days)):
            day = int(days[t])
            for j in range(percents.shape[2]):
                percent = int(percents[t, i, j])
                state = planes.state[i, j]
                if percent == UNSEEN or state in (FINISHED_LOW, FINISHED_HIGH):
                    continue
                calm = 0 if percent >= flag else min(planes.calm[i, j] + 1, 250)
                planes.calm[i, j] = calm
                if state in (CONFIRMED, CONFIRMED + HIGH):
                    _follow_confirmed(planes, i, j, day, percent, common)
                elif _is_new(planes, i, j, common[4]):
                    planes.state[i, j] = NONE
                    _remember(planes, i, j, day, False)  # noqa: FBT003 (numba takes no keywords)
                else:
                    _remember(planes, i, j, day, percent >= flag)
                    _observe_count(planes, i, j, day, percent, common, window)
                planes.prior[i, j] = percent
                planes.seen[i, j] = day


@entry
def expire_bayes(planes: Any, today: int, within: int) -> None:
    """See :func:`expire`."""
    for i in range(planes.state.shape[0]):
        for j in range(planes.state.shape[1]):
            if _is_pending(planes.state[i, j]) and today - planes.first[i, j] > within:
                _drop(planes, i, j, planes.first[i, j] + within)


@entry
def expire_count(planes: Any, today: int, within: int, n: int) -> None:
    """See :func:`expire`; later detections of the window may go on."""
    for i in range(planes.state.shape[0]):
        for j in range(planes.state.shape[1]):
            state = planes.state[i, j]
            if not _is_pending(state) or today - planes.first[i, j] <= within:
                continue
            hits, oldest = _count_window(planes, i, j, today - within, n)
            if hits == 0:
                _drop(planes, i, j, planes.first[i, j] + within)
                continue
            _begin_at(planes, i, j, hits, oldest)
            if hits == 1:
                planes.state[i, j] = state if state in (FIRST, FIRST + HIGH) else state - 1


@entry
def mean_of_day(percents: Any) -> Any:
    """One observation of several on a day ``(n, y, x)``: their mean where there are any ``(y, x)``.

    Rounded half up, whatever their order.
    """
    merged = np.full(percents.shape[1:], UNSEEN, np.uint8)
    for i in range(percents.shape[1]):
        for j in range(percents.shape[2]):
            total, found = 0, 0
            for k in range(percents.shape[0]):
                if percents[k, i, j] != UNSEEN:
                    total += percents[k, i, j]
                    found += 1
            if found:
                merged[i, j] = (2 * total + found) // (2 * found)
    return merged


assert LONGEST_WINDOW <= 8  # noqa: S101 - bits are a uint8
