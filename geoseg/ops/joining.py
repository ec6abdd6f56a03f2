"""Regions and arcs in flight: blocks are absorbed, what touches is united, what is done goes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.arcs import EAST, NORTH, SOUTH, WEST
from geoseg.ops.kernels import entry, helper
from geoseg.ops.regions import REGION

OPEN_REGION = np.dtype(
    [
        *((name, REGION[name]) for name in REGION.names or ()),
        ("parent", np.int32),  # union-find of 4-connected regions
        ("feature", np.int32),  # union-find of what becomes one feature; equal for 4-connectivity
        ("head", np.int32),  # first half-arc with the feature on its left
        ("tail", np.int32),  # last one
        ("stamp", np.int32),  # last block row at whose end the feature was open
    ],
    align=True,
)

OPEN_ARC = np.dtype(
    [
        ("left", np.int32),  # region, -1 for none
        ("right", np.int32),
        ("source", np.int32),  # node, -1 for loops
        ("target", np.int32),
        ("begin", np.int64),  # vertices
        ("stop", np.int64),
        ("done", np.uint8),  # bit 0, 1: the half-arc forwards, backwards is not needed any more
        ("leaves", np.uint8),  # direction in which it leaves its source; not of loops
        ("arrives", np.uint8),  # direction in which it arrives at its target; not of loops
        ("state", np.uint8),  # of shaping, see :mod:`geoseg.ops.topology.chains`
    ],
    align=True,
)

GONE = -2
"""In ``nodes``: there is an edge, but both of its sides are finished."""


class Tables(NamedTuple):
    """All that is in flight. Half-arc ``2a`` walks arc ``a`` forwards, ``2a + 1`` backwards.

    The region of a half-arc is the one on its left. Half-arcs of a feature are linked.
    """

    regions: NDArray[np.void]
    arcs: NDArray[np.void]
    links: NDArray[np.int32]  # (2 * arcs,) the next half-arc of the same feature, -1 at the end
    nodes: NDArray[np.int32]  # (n, 4) half-arc that leaves in each direction; -1: no edge
    vertices: NDArray[Any]  # (v, 2) row, column; int32, or float64 where arcs are shaped
    firsts: NDArray[np.int64]  # (arcs,) first vertex as row * (width + 1) + col; (0,) unless shaped


@helper
def region_of(regions: Any, label: int) -> int:
    """The 4-connected region that a label belongs to by now."""
    while regions[label].parent != label:
        regions[label].parent = regions[regions[label].parent].parent
        label = regions[label].parent
    return label


@helper
def feature_of(regions: Any, label: int) -> int:
    """The feature that a label belongs to by now."""
    while regions[label].feature != label:
        regions[label].feature = regions[regions[label].feature].feature
        label = regions[label].feature
    return label


@helper
def left_of(tables: Any, half: int) -> int:
    """The region on the left of a half-arc, -1 where there is none."""
    arc = tables.arcs[half >> 1]
    label = arc.right if half & 1 else arc.left
    return region_of(tables.regions, label) if label >= 0 else -1


@helper
def _link(tables: Any, label: int, half: int) -> None:
    feature = tables.regions[feature_of(tables.regions, label)]
    if feature.head < 0:
        feature.head = half
    else:
        tables.links[feature.tail] = half
    feature.tail = half


@helper
def _unite_features(tables: Any, a: int, b: int) -> None:
    regions = tables.regions
    a, b = feature_of(regions, a), feature_of(regions, b)
    if a == b:
        return
    a, b = min(a, b), max(a, b)
    kept, joined = regions[a], regions[b]
    joined.feature = a
    kept.edge |= joined.edge
    kept.pixels += joined.pixels
    kept.first = min(kept.first, joined.first)
    kept.last = max(kept.last, joined.last)
    kept.area += joined.area
    kept.confidence += joined.confidence
    kept.measured += joined.measured
    kept.confidence_min = min(kept.confidence_min, joined.confidence_min)
    if kept.head < 0:
        kept.head, kept.tail = joined.head, joined.tail
    elif joined.head >= 0:
        tables.links[kept.tail] = joined.head
        kept.tail = joined.tail


@entry
def unite_seam(tables: Any, ours: Any, theirs: Any) -> None:
    """Unite regions that face each other across a seam; labels, -1 for none."""
    regions = tables.regions
    for k in range(len(ours)):
        a, b = ours[k], theirs[k]
        if a >= 0 and b >= 0 and regions[a].code == regions[b].code:
            _unite_features(tables, a, b)
            a, b = region_of(regions, a), region_of(regions, b)
            regions[max(a, b)].parent = min(a, b)


@helper
def _unite_if_full(tables: Any, at: int) -> None:
    """At a node where four regions meet, make one feature of diagonal ones of one class."""
    node = tables.nodes[at]
    if node[0] < 0 or node[1] < 0 or node[2] < 0 or node[3] < 0:
        return
    for turn in range(2):
        one, other = left_of(tables, node[turn]), left_of(tables, node[turn + 2])
        if one >= 0 and other >= 0 and tables.regions[one].code == tables.regions[other].code:
            _unite_features(tables, one, other)


@helper
def direction(row: int, col: int, to_row: int, to_col: int) -> int:
    """Which way one goes from a vertex to another in the same row or column."""
    if row == to_row:
        return EAST if to_col > col else WEST
    return SOUTH if to_row > row else NORTH


@helper
def _rim_place(row: int, col: int, height: int, width: int) -> int:
    """Where a vertex is among those of the block's rim (top, bottom, left, right), or -1."""
    if row == 0:
        return col
    if row == height:
        return width + 1 + col
    if col == 0:
        return 2 * (width + 1) + row
    if col == width:
        return 2 * (width + 1) + height + 1 + row
    return -1


@helper
def _attach(tables: Any, end: Any, half: int, vertices: Any, at: Any) -> tuple[int, int]:
    """Note at its node that ``half`` starts there; returns the node, and where it heads.

    ``end`` holds the known nodes of the block, of its rim, how many nodes there are, and which
    edges of the block's nodes are gone;
    ``at`` is the local node, the vertex there and the next one, height and width of the block.
    """
    node, here, after, height, width = at
    known, rim, count, gone = end
    row, col = vertices[here, 0], vertices[here, 1]
    place = _rim_place(row, col, height, width)
    if known[node] < 0 and place >= 0:
        known[node] = rim[place]
    if known[node] < 0:
        known[node] = count[0]
        for d in range(4):
            tables.nodes[count[0], d] = GONE if gone[node] & (1 << d) else -1
        count[0] += 1
    if place >= 0:
        rim[place] = known[node]
    leaves = direction(row, col, vertices[after, 0], vertices[after, 1])
    tables.nodes[known[node], leaves] = half
    return int(known[node]), leaves


@entry
def absorb_arcs(tables: Any, block: Any, labels: Any, rim: Any, count: Any, shape: Any) -> None:
    """Add the arcs of a block to those in flight.

    Args:
        tables: With room for what the block has; its regions are there already.
        block: Arcs and vertices as in :class:`geoseg.ops.arcs.BlockArcs`; for each node, in which
            directions there are edges whose arcs are not among these, as bits.
        labels: Regions in ``tables`` of the pixels above and on the left of the block
            ``(w + h,)``, -1 for none.
        rim: Nodes in ``tables`` of the vertices on the block's rim, -1 for none; completed.
        count: ``(4,)`` int64: nodes, arcs, vertices and regions in flight before; updated, but
            for the regions, of which those of the block are the last.
        shape: Height and width of the block, number of its regions, first row and column, and 1
            if diagonal neighbours make one feature.
    """
    arcs, vertices, gone = block
    height, width, regions, top, left, diagonal = shape
    known = np.full(2 * len(arcs) + 1, -1, np.int32)
    begin = 0
    for k in range(len(arcs)):
        arc, stop = arcs[k], begin + arcs[k].count
        _add_arc(tables, arc, count, count[3] - regions, labels)
        if arc.source >= 0:
            a = count[1]
            end = known, rim, count, gone
            at = arc.source, begin, begin + 1, height, width
            source, leaves = _attach(tables, end, 2 * a, vertices, at)
            at = arc.target, stop - 1, stop - 2, height, width
            target, back = _attach(tables, end, 2 * a + 1, vertices, at)
            tables.arcs[a].source, tables.arcs[a].target = source, target
            tables.arcs[a].leaves, tables.arcs[a].arrives = leaves, back ^ 2
            if diagonal:
                _unite_if_full(tables, source)
                _unite_if_full(tables, target)
        for v in range(begin, stop):
            tables.vertices[count[2], 0] = top + vertices[v, 0]
            tables.vertices[count[2], 1] = left + vertices[v, 1]
            count[2] += 1
        count[1] += 1
        begin = stop


@helper
def _add_arc(tables: Any, arc: Any, count: Any, base: int, labels: Any) -> None:
    """Add an arc of a block whose first region is ``base``, but for its nodes."""
    mine = tables.arcs[count[1]]
    mine.left = _resolve(arc.left, base, labels)
    mine.right = _resolve(arc.right, base, labels)
    mine.source = mine.target = -1
    mine.begin, mine.stop = count[2], count[2] + arc.count
    mine.done = mine.leaves = mine.arrives = mine.state = 0
    for side in range(2):
        label = mine.right if side else mine.left
        half = 2 * count[1] + side
        tables.links[half] = -1
        if label >= 0:
            _link(tables, label, half)
        else:
            mine.done |= 1 << side


@helper
def _resolve(label: int, base: int, labels: Any) -> int:
    """The region in flight of a label of a block, -1 for none."""
    if label > 0:
        return int(base + label - 1)
    return int(labels[-1 - label]) if label < 0 else -1


@entry
def split_closed(tables: Any, front: Any, candidates: Any, stamp: int) -> tuple[Any, Any]:
    """Part features into those that reach ``front`` and those that are closed.

    Args:
        tables: What is in flight.
        front: Labels along the last row that was seen, -1 for none.
        candidates: Labels among which all unfinished features are.
        stamp: The number of the block row, from 1.

    Returns:
        Closed and open features, both int32.
    """
    regions = tables.regions
    for k in range(len(front)):
        if front[k] >= 0:
            regions[feature_of(regions, front[k])].stamp = stamp
    closed = np.empty(len(candidates), np.int32)
    still_open = np.empty(len(candidates), np.int32)
    closed_count = open_count = 0
    for k in range(len(candidates)):
        label = candidates[k]
        if regions[label].feature != label:
            continue
        if regions[label].stamp == stamp:
            still_open[open_count] = label
            open_count += 1
        else:
            closed[closed_count] = label
            closed_count += 1
    return closed[:closed_count].copy(), still_open[:open_count].copy()


@entry
def discard(tables: Any, features: Any) -> None:
    """Say that nobody wants the boundaries of these features."""
    for k in range(len(features)):
        half = tables.regions[features[k]].head
        while half >= 0:
            tables.arcs[half >> 1].done |= 1 << (half & 1)
            half = tables.links[half]
