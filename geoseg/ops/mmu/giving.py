"""Small regions are given to their neighbours, the ripe ones first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np

from geoseg.ops.kernels import entry, helper
from geoseg.ops.mmu.rules import CODES, LOWEST

_NONE = -1


@helper
def _root(regions: Any, label: int) -> int:
    while regions[label].parent != label:
        regions[label].parent = regions[regions[label].parent].parent
        label = regions[label].parent
    return label


@helper
def _is_big(region: Any, rule: Any) -> bool:
    measure = region.pixels if rule[2] else region.area
    return bool(region.big) or measure >= rule[0][region.code - LOWEST]


@helper
def _unite(regions: Any, sums: Any, rule: Any, a: int, b: int) -> int:
    """Make one of two roots; the smaller one stays."""
    a, b = min(a, b), max(a, b)
    kept, joined = regions[a], regions[b]
    joined.parent = a
    kept.pixels += joined.pixels
    kept.area += joined.area
    kept.first = min(kept.first, joined.first)
    kept.open |= joined.open
    kept.big |= joined.big
    kept.big = _is_big(kept, rule)
    for k in range(sums.shape[1]):
        sums[a, k] += sums[b, k]
    return a


@entry
def join_alike(graph: Any, rule: Any) -> None:
    """Unite regions of one class that touch; finds out which are big.

    Args:
        graph: As in :class:`geoseg.ops.mmu.graph.Graph`.
        rule: As from :meth:`geoseg.ops.mmu.rules.Stage.tables`.
    """
    regions, contacts, _, sums = graph
    for k in range(len(regions)):
        regions[k].big = _is_big(regions[k], rule)
    for k in range(len(contacts)):
        a, b = _root(regions, contacts[k].a), _root(regions, contacts[k].b)
        if a != b and regions[a].code == regions[b].code:
            _unite(regions, sums, rule, a, b)


@helper
def _link(lists: Any, label: int, half: int) -> None:
    """Append a chain of one to the contacts of a region."""
    heads, tails, after = lists
    if heads[label] == _NONE:
        heads[label] = half
    else:
        after[tails[label]] = half
    tails[label] = half


@helper
def _linked(graph: Any) -> Any:
    """The contacts of each small region: half ``2k`` is contact k seen from a, ``2k + 1`` from b."""
    regions, contacts, _, _ = graph
    heads = np.full(len(regions), _NONE, np.int32)
    tails = np.full(len(regions), _NONE, np.int32)
    after = np.full(2 * len(contacts), _NONE, np.int32)
    lists = heads, tails, after
    for k in range(len(contacts)):
        a, b = _root(regions, contacts[k].a), _root(regions, contacts[k].b)
        if a != b and not regions[a].big:
            _link(lists, a, 2 * k)
        if a != b and not regions[b].big:
            _link(lists, b, 2 * k + 1)
    return lists


@helper
def _other(graph: Any, half: int) -> int:
    """The region at the other end of a contact."""
    contact = graph[1][half >> 1]
    return int(_root(graph[0], contact.a if half & 1 else contact.b))


@helper
def _waits(regions: Any, label: int) -> bool:
    """Whether a label is the root of a closed small region that is not decided."""
    region = regions[label]
    return region.parent == label and not (region.big or region.open or region.settled)


@helper
def _keyed(regions: Any, label: int) -> Any:
    """The key of a region, and the region."""
    return regions[label].area, regions[label].first, np.int64(label)


@helper
def _look_around(graph: Any, lists: Any, label: int, lengths: Any, met: Any) -> int:
    """Add up the borders with each class; how many classes there are, -1 if it is not ripe.

    ``lengths`` is -1 for classes that are not touched, and is left so if the region is not ripe.
    """
    regions = graph[0]
    own = regions[label]
    found = 0
    half = lists[0][label]
    while half != _NONE:
        other = _other(graph, half)
        if other != label:
            seen = regions[other]
            lower = seen.area < own.area or (seen.area == own.area and seen.first < own.first)
            if lower and not seen.big:
                for k in range(found):
                    lengths[met[k]] = -1
                return -1
            at = seen.code - LOWEST
            if lengths[at] < 0:
                lengths[at] = 0
                met[found] = at
                found += 1
            lengths[at] += graph[1][half >> 1].length
        half = lists[2][half]
    return found


@helper
def _choose(lengths: Any, met: Any, found: int, sums: Any, layer_of: Any) -> int:
    """The class that a region goes to, as a place in tables; clears ``lengths``."""
    best, most = -1, np.int64(-1)
    for k in range(found):
        at = met[k]
        worth = lengths[at]
        if len(sums):
            worth = sums[layer_of[at]] if layer_of[at] >= 0 else np.int64(0)
        if best < 0 or worth > most or (worth == most and at < best):
            best, most = at, worth
        lengths[at] = -1
    return best


@helper
def _give(graph: Any, lists: Any, rule: Any, label: int, code: int) -> int:
    """Give a region to all regions of class ``code`` that it touches; returns what they become."""
    regions, _, _, sums = graph
    heads, tails, after = lists
    regions[label].code = code
    half, last = heads[label], tails[label]
    while True:
        other = _other(graph, half)
        if other != label and regions[other].code == code:
            one = _unite(regions, sums, rule, label, other)
            gone = other if one == label else label
            # What is appended here is not gone through: the loop ends where the region's own end.
            if heads[one] == _NONE:
                heads[one], tails[one] = heads[gone], tails[gone]
            elif heads[gone] != _NONE:
                after[tails[one]] = heads[gone]
                tails[one] = tails[gone]
            label = one
        if half == last:
            return label
        half = after[half]


@entry
def give_away(graph: Any, rule: Any) -> int:
    """Give away all ripe regions that are closed, until none is left.

    Args:
        graph: As in :class:`geoseg.ops.mmu.graph.Graph`, open regions marked.
        rule: As from :meth:`geoseg.ops.mmu.rules.Stage.tables`.

    Returns:
        How many regions were given away.
    """
    regions, _, _, sums = graph
    lists = _linked(graph)
    lengths, met = np.full(CODES, -1, np.int64), np.empty(CODES, np.int32)
    heap = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for k in range(len(regions)):
        if _waits(regions, k):
            heap.append(_keyed(regions, k))  # noqa: PERF401 - for numba
    heapify(heap)
    given = 0
    while heap:
        area, _, label = heappop(heap)
        if not _waits(regions, label) or regions[label].area != area:
            continue  # it has grown, or belongs to another one, since it was put there
        found = _look_around(graph, lists, label, lengths, met)
        if found == 0:
            regions[label].settled = True
        if found <= 0:
            continue
        at = _choose(lengths, met, found, sums[label], rule[1])
        one = _give(graph, lists, rule, label, at + LOWEST)
        given += 1
        if _waits(regions, one):
            heappush(heap, _keyed(regions, one))
    return given
