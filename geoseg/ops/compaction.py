"""Finished regions and arcs leave the tables of what is in flight."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.ops.joining import GONE, feature_of, region_of
from geoseg.ops.kernels import entry, helper


@entry
def compact(tables: Any, count: Any, stamp: int) -> tuple[Any, Any, Any]:
    """Close the gaps that finished regions and arcs left in ``tables``, in place.

    Returns:
        New numbers of regions, nodes and arcs, -1 for those that are gone; ``count`` is updated.
    """
    if len(tables.firsts):
        _unlink_merged(tables, count, stamp)
    region_map = _compact_regions(tables.regions, count, stamp)
    arc_map = _compact_arcs(tables, count, region_map)
    node_map = _compact_nodes(tables, count, arc_map)
    for a in range(count[1]):
        arc = tables.arcs[a]
        if arc.source >= 0:
            arc.source, arc.target = node_map[arc.source], node_map[arc.target]
    for k in range(count[3]):
        region = tables.regions[k]
        region.head = _renumbered(arc_map, region.head)
        region.tail = _renumbered(arc_map, region.tail)
    return region_map, node_map, arc_map


@helper
def _unlink_merged(tables: Any, count: Any, stamp: int) -> None:
    """Take arcs that others have swallowed out of the lists of open features."""
    for k in range(count[3]):
        region = tables.regions[k]
        if region.feature != k or region.stamp != stamp:
            continue
        half, kept = region.head, -1
        while half >= 0:
            if not tables.arcs[half >> 1].done & (1 << (half & 1)):
                if kept < 0:
                    region.head = half
                else:
                    tables.links[kept] = half
                kept = half
            half = tables.links[half]
        region.tail = kept
        if kept >= 0:
            tables.links[kept] = -1


@helper
def _renumbered(arc_map: Any, half: int) -> int:
    """The new number of a half-arc that is still there; -1 stays."""
    return 2 * arc_map[half >> 1] + (half & 1) if half >= 0 else -1


@helper
def _compact_regions(regions: Any, count: Any, stamp: int) -> Any:
    """Keep the roots of open features and of their regions; all labels get their root's number."""
    region_map = np.full(count[3], -1, np.int32)
    kept = 0
    for k in range(count[3]):
        # Roots come before what hangs on them.
        root, feature = region_of(regions, k), feature_of(regions, k)
        if root != k:
            region_map[k] = region_map[root]
        elif regions[feature].stamp == stamp:
            regions[k].feature = feature
            region_map[k] = kept
            kept += 1
    for k in range(count[3]):
        new = region_map[k]
        if new >= 0 and regions[k].parent == k:
            feature = region_map[regions[k].feature]
            regions[new] = regions[k]
            regions[new].parent, regions[new].feature = new, feature
    count[3] = kept
    return region_map


@helper
def _compact_arcs(tables: Any, count: Any, region_map: Any) -> Any:
    """Keep the arcs of which a side is not done."""
    arc_map = np.full(count[1], -1, np.int32)
    kept = 0
    for a in range(count[1]):
        if tables.arcs[a].done != 3:
            arc_map[a] = kept
            kept += 1
    used = 0
    # Vertices lie in the order of their arcs, but for those of arcs that have been shaped.
    shaped = len(tables.firsts) > 0
    source = tables.vertices[: count[2]].copy() if shaped else tables.vertices
    for a in range(count[1]):
        if arc_map[a] < 0:
            continue
        tables.arcs[arc_map[a]] = tables.arcs[a]
        if len(tables.firsts):
            tables.firsts[arc_map[a]] = tables.firsts[a]
        arc = tables.arcs[arc_map[a]]
        begin = used
        for k in range(arc.begin, arc.stop):
            tables.vertices[used, 0], tables.vertices[used, 1] = source[k, 0], source[k, 1]
            used += 1
        arc.begin, arc.stop = begin, used
        arc.left = region_map[arc.left] if arc.left >= 0 else -1
        arc.right = region_map[arc.right] if arc.right >= 0 else -1
        for side in range(2):
            # Links of a side that is done lead nowhere, and are not followed any more.
            after = tables.links[2 * a + side]
            tables.links[2 * arc_map[a] + side] = _renumbered(arc_map, after)
    count[1], count[2] = kept, used
    return arc_map


@helper
def _compact_nodes(tables: Any, count: Any, arc_map: Any) -> Any:
    """Keep the nodes at the ends of arcs that are left; ``count`` has the arcs already."""
    node_map = np.full(count[0], -1, np.int32)
    for a in range(count[1]):
        arc = tables.arcs[a]
        if arc.source >= 0:
            node_map[arc.source] = node_map[arc.target] = 0
    kept = 0
    for k in range(count[0]):
        if node_map[k] < 0:
            continue
        for d in range(4):
            half = tables.nodes[k, d]
            if half >= 0:
                half = _renumbered(arc_map, half) if arc_map[half >> 1] >= 0 else GONE
            tables.nodes[kept, d] = half
        node_map[k] = kept
        kept += 1
    count[0] = kept
    return node_map
