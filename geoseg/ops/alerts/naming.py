"""Names of regions of alerts, handed on from day to day while zones come and go."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.alerts.zones import root_of
from geoseg.ops.kernels import entry, helper


@helper
def _connect(first: Any, until: Any, edges: Any, day: int) -> Any:
    """Roots of zones that stand on a day, each the least label of its region."""
    parent = np.arange(len(first))
    for k in range(len(edges)):
        a, b = edges[k, 0], edges[k, 1]
        if max(first[a], first[b]) <= day <= min(until[a], until[b]):
            a, b = root_of(parent, a), root_of(parent, b)
            parent[max(a, b)] = min(a, b)
    for k in range(len(parent)):
        parent[k] = root_of(parent, k)
    return parent


@helper
def _older(a: int, b: int, key: Any) -> int:
    """The label with the smaller key; -1 is none."""
    if a < 0 or (b >= 0 and key[b] < key[a]):
        return b
    return a


@helper
def _claim(alive: Any, root: Any, key: Any, names: Any, keeps: Any) -> Any:
    """The name that each region keeps, and the oldest of those that it loses; -1 for none.

    A name is kept where the oldest of the zones is that have it, which ``keeps`` is filled with.
    """
    count = len(alive)
    best, lost = np.full(count, -1), np.full(count, -1)
    for z in range(count):
        if alive[z] and names[z] >= 0:
            keeps[names[z]] = _older(keeps[names[z]], z, key)
    for z in range(count):
        if not alive[z] or names[z] < 0:
            continue
        if root[keeps[names[z]]] == root[z]:
            best[root[z]] = _older(best[root[z]], names[z], key)
        else:
            lost[root[z]] = _older(lost[root[z]], names[z], key)
    return best, lost


@helper
def _pass_on(alive: Any, root: Any, key: Any, names: Any, came_from: Any, into: Any) -> None:
    """Name the regions of a day by what their zones were named the day before."""
    count = len(alive)
    oldest, keeps = np.full(count, -1), np.full(count, -1)
    for z in range(count):
        if alive[z]:
            oldest[root[z]] = _older(oldest[root[z]], z, key)
    best, lost = _claim(alive, root, key, names, keeps)
    for r in range(count):
        if oldest[r] >= 0 and best[r] < 0:
            best[r] = oldest[r]
            into[best[r]] = -1
            came_from[best[r]] = lost[r]
    for z in range(count):
        if alive[z]:
            name, now = names[z], best[root[z]]
            if name >= 0 and name != now and root[keeps[name]] == root[z]:
                into[name] = now
            names[z] = now


@entry
def trace_names(
    first: Any, until: Any, key: Any, same: Any, edges: Any, days: Any
) -> tuple[Any, Any, Any]:
    """Go through the days, and name regions.

    Args:
        first: ``(n,)`` day from which a zone stands.
        until: ``(n,)`` last day on which it does.
        key: ``(n,)`` of zones: older is smaller.
        same: ``(n,)`` label of the zone that each is a part of; only that one is named.
        edges: ``(m, 2)`` labels of zones that touch.
        days: On which something changes, in order.

    Returns:
        The name of each zone, as the label of the zone that gave it; for each name the one that
        it split from, and the one it went into; all ``(n,)``, -1 for none.
    """
    count = len(first)
    names, came_from, into = np.full(count, -1), np.full(count, -1), np.full(count, -1)
    alive = np.zeros(count, np.bool_)
    for day in days:
        for z in range(count):
            alive[z] = same[z] == z and first[z] <= day <= until[z]
        _pass_on(alive, _connect(first, until, edges, day), key, names, came_from, into)
    return names, came_from, into
