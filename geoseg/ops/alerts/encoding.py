"""What states are called elsewhere: Global Forest Watch's numbers, levels, confidence, duration."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.alerts.rules import NATS, NODATA, NONE, Bayes, Rule, to_date, to_day
from geoseg.ops.alerts.states import Planes

GFW_EPOCH = date(2014, 12, 31)
LONGEST_GFW = 9999
LOW, HIGH_CONFIDENCE, HIGHEST = 2, 3, 4

LEVELS = np.zeros(256, np.uint8)
"""Level on Global Forest Watch by state: 2 not confirmed, 3 confirmed, 4 confirmed at high."""
LEVELS[[1, 2, 4, 5]] = LOW
LEVELS[[3, 7]] = HIGH_CONFIDENCE
LEVELS[[6, 8]] = HIGHEST


def stands(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is an alert."""
    there: NDArray[np.bool_] = (state != NONE) & (state != NODATA)
    return there


def gfw_span(first: int, last: int) -> bool:
    """Whether days since 1970 fit: GFW counts from 2014-12-31, in four digits."""
    base = to_day(GFW_EPOCH)
    return base < first and last - base <= LONGEST_GFW


def to_gfw(state: NDArray[np.uint8], first: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Level times 10000 plus days from 2014-12-31 to the first detection; 0 without an alert.

    Source: github.com/wri/gfw_forest_loss_geotrellis. Alerts of days that do not fit are 0, too.
    """
    days = first.astype(np.int64) - to_day(GFW_EPOCH)
    there = stands(state) & (days > 0) & (days <= LONGEST_GFW)
    return np.where(there, LEVELS[state] * np.int64(10_000) + days, 0).astype(np.uint16)


def from_gfw(value: int) -> tuple[int, date] | None:
    """Level and date of a number, None for 0."""
    level, days = divmod(value, 10_000)
    return (level, to_date(to_day(GFW_EPOCH) + days)) if value else None


def confidence(planes: Planes, rule: Rule) -> NDArray[np.uint8]:
    """Percent ``(y, x)``, 255 without an alert.

    The probability of change with Bayesian updating; with k of n the share of the clear
    observations since the first detection that were detections.
    """
    if isinstance(rule, Bayes):
        percent = np.rint(100 / (1 + np.exp(-planes.odds / NATS)))
    else:
        looks = np.maximum(planes.looks, 1).astype(np.int64)
        percent = np.minimum((200 * planes.detections.astype(np.int64) + looks) // (2 * looks), 100)
    return np.where(stands(planes.state), percent, 255).astype(np.uint8)


def duration(planes: Planes) -> NDArray[np.uint16]:
    """Days from the first to the last detection, both included; 0 without an alert."""
    days = planes.last.astype(np.int64) - planes.first + 1
    return np.where(stands(planes.state), days, 0).astype(np.uint16)
