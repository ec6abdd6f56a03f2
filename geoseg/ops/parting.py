"""Blocks parted: outlines of regions that end within a block, and what others have to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.arcs import ARC, BlockArcs
from geoseg.ops.joining import direction
from geoseg.ops.kernels import entry, helper
from geoseg.ops.rings import FAR, RING, Outlines, in_order


@dataclass(frozen=True, slots=True)
class PartedBlock:
    """A block whose complete regions are outlined: nine in ten on most maps.

    Attributes:
        rest: Regions that reach another block, and the arcs on their boundaries. Labels of
            complete regions are 0 there.
        gone: ``(nodes,)`` uint8; bit d is set where an arc between complete regions left a node
            of ``rest`` in direction d.
        complete: ``(n,)`` of :data:`geoseg.ops.regions.REGION`, in the order of first pixels.
        outlines: Of the complete regions, in lattice coordinates of the raster.
    """

    rest: BlockArcs
    gone: NDArray[np.uint8]
    complete: NDArray[np.void]
    outlines: Outlines

    @property
    def window(self) -> Window:
        """The block."""
        return self.rest.window


@helper
def _other_end(arcs: Any, half: int) -> int:
    """The node that a half-arc leads to."""
    return int(arcs[half >> 1].source if half & 1 else arcs[half >> 1].target)


@helper
def _label_of(arcs: Any, half: int) -> int:
    """The label on the left of a half-arc."""
    return int(arcs[half >> 1].right if half & 1 else arcs[half >> 1].left)


@helper
def _index(arcs: Any, vertices: Any) -> tuple[Any, Any, Any]:
    """Where vertices of arcs begin; which way half-arcs leave; what leaves nodes ``(n, 4)``."""
    begins = np.empty(len(arcs) + 1, np.int32)
    leaves = np.empty(2 * len(arcs), np.uint8)
    used = nodes = 0
    for a in range(len(arcs)):
        begins[a] = used
        used += arcs[a].count
        nodes = max(nodes, arcs[a].source + 1, arcs[a].target + 1)
    begins[len(arcs)] = used
    leaving = np.full((nodes, 4), -1, np.int32)
    for half in range(2 * len(arcs)):
        a, back = half >> 1, half & 1
        here = begins[a + 1] - 1 if back else begins[a]
        after = here - 1 if back else here + 1
        leaves[half] = direction(
            vertices[here, 0], vertices[here, 1], vertices[after, 0], vertices[after, 1]
        )
        if arcs[a].source >= 0:
            leaving[_other_end(arcs, half ^ 1), leaves[half]] = half
    return begins, leaves, leaving


@helper
def _onward(arcs: Any, leaves: Any, leaving: Any, half: int) -> int:
    """The half-arc that goes on around the same region, by the rule of ``rings``."""
    node = _other_end(arcs, half)
    if node < 0:
        return half
    heading = int(leaves[half ^ 1]) ^ 2
    left = leaving[node, (heading + 3) & 3]
    ahead = leaving[node, heading]
    right = leaving[node, (heading + 1) & 3]
    if left == -1:
        return int(ahead if ahead != -1 else right)
    if ahead != -1 and right != -1 and _label_of(arcs, right) == _label_of(arcs, half):
        return int(right)
    return int(left)


@helper
def _outline(block: Any, first: int, seen: Any, corner: Any, out: Any, ring: Any) -> None:
    """Write the corners of the ring that ``first`` belongs to from ``ring.begin`` on."""
    arcs, vertices, (begins, leaves, leaving) = block
    top, left = corner
    used, half, before = ring.begin, first, -1
    least = np.int64(FAR)
    while True:
        seen[half] = True
        step = -1 if half & 1 else 1
        at = begins[(half >> 1) + 1] - 1 if half & 1 else begins[half >> 1]
        edges = begins[(half >> 1) + 1] - begins[half >> 1] - 1
        # Only where arcs meet may edges be in line.
        straight = np.int64(before == leaves[half])
        at += step * straight
        for _ in range(edges - straight):
            row, col = np.int64(vertices[at, 0]), np.int64(vertices[at, 1])
            at += step
            out[used, 0], out[used, 1] = top + row, left + col
            place = (row << 16) | col
            if place < least:
                least, ring.pivot = place, used
            used += 1
        before = leaves[half ^ 1] ^ 2
        half = _onward(arcs, leaves, leaving, half)
        if half == first:
            break
    # The ring may have begun on a straight line; nothing there comes first.
    ring.begin += np.int64(before == leaves[first])
    ring.stop = used


@entry
def _find_outlines(
    arcs: Any, vertices: Any, is_open: Any, at: Any, rings: Any, out: Any
) -> tuple[int, int, Any]:
    """Outline all regions that are not open.

    Args:
        arcs: Of the block.
        vertices: Of the block.
        is_open: ``(labels,)``; false for label 0.
        at: First row and column of the block, width of the raster.
        rings: Room for :data:`RING`, one for each half-arc.
        out: Room for vertices, two for each of the block.

    Returns:
        How many rings and vertices there are; and which way half-arcs leave.
    """
    top, left, width = at
    index = _index(arcs, vertices)
    seen = np.zeros(2 * len(arcs), np.bool_)
    found = used = 0
    for half in range(2 * len(arcs)):
        label = _label_of(arcs, half)
        if label <= 0 or is_open[label] or seen[half]:
            continue
        ring = rings[found]
        ring.feature = ring.region = label
        ring.begin = used
        _outline((arcs, vertices, index), half, seen, (top, left), out, ring)
        ring.start = np.int64(out[ring.pivot, 0]) * (width + 1) + np.int64(out[ring.pivot, 1])
        used = ring.stop
        found += 1
    return found, used, index[1]


@entry
def _group(rings: Any, is_open: Any, grouped: Any) -> tuple[Any, Any]:
    """Sort rings by their labels; the place of each among the complete ones is its feature.

    Returns:
        The places of complete labels among those of the block, from 0; and where the rings of each
        begin, and the last one ends.
    """
    counts = np.zeros(len(is_open), np.int64)
    for k in range(len(rings)):
        counts[rings[k].region] += 1
    places = np.empty(len(is_open), np.int32)
    firsts = np.zeros(len(is_open) + 1, np.int64)
    found = 0
    for label in range(1, len(is_open)):
        if is_open[label]:
            continue
        places[found] = label - 1
        firsts[found + 1] = firsts[found] + counts[label]
        counts[label] = firsts[found]
        found += 1
    place = np.cumsum(~is_open) - 2  # label 0 comes before
    for k in range(len(rings)):
        label = rings[k].region
        grouped[counts[label]] = rings[k]
        grouped[counts[label]].feature = place[label]
        counts[label] += 1
    return places[:found].copy(), firsts[: found + 1].copy()


@helper
def _renumbered(label: int, new: Any) -> Any:
    return new[label] if label > 0 else label


@helper
def _node(known: Any, count: int, node: int) -> int:
    """Number a node if it is new; returns how many there are."""
    if node >= 0 and known[node] < 0:
        known[node] = count
        return count + 1
    return count


@entry
def _keep_rest(
    arcs: Any, vertices: Any, is_open: Any, leaves: Any, kept: Any, corners: Any
) -> tuple[int, int, Any]:
    """Copy the arcs that have an open side, with new numbers for labels and nodes.

    Returns:
        How many arcs and vertices there are; and ``gone`` of :class:`PartedBlock`.
    """
    new = np.zeros(len(is_open), np.int32)
    found = used = nodes = begin = 0
    for label in range(1, len(is_open)):
        if is_open[label]:
            found += 1
            new[label] = found
    known = np.full(2 * len(arcs), -1, np.int32)
    found = 0
    for a in range(len(arcs)):
        left, right = _renumbered(arcs[a].left, new), _renumbered(arcs[a].right, new)
        stop = begin + arcs[a].count
        if left != 0 or right != 0:
            nodes = _node(known, _node(known, nodes, arcs[a].source), arcs[a].target)
            arc = kept[found]
            arc.left, arc.right, arc.count = left, right, arcs[a].count
            arc.source = arc.target = -1
            if arcs[a].source >= 0:
                arc.source, arc.target = known[arcs[a].source], known[arcs[a].target]
            for v in range(begin, stop):
                corners[used, 0], corners[used, 1] = vertices[v, 0], vertices[v, 1]
                used += 1
            found += 1
        begin = stop
    gone = np.zeros(nodes, np.uint8)
    for half in range(2 * len(arcs)):
        left, right = arcs[half >> 1].left, arcs[half >> 1].right
        if _renumbered(left, new) == 0 and _renumbered(right, new) == 0:
            node = _other_end(arcs, half ^ 1)
            if node >= 0 and known[node] >= 0:
                gone[known[node]] |= np.uint8(1 << leaves[half])
    return found, used, gone


def _open_labels(block: BlockArcs) -> NDArray[np.bool_]:
    """Which labels of a block have a pixel beside another block."""
    window, (rows, cols) = block.window, block.shape
    height, width = window.shape
    sides = np.split(block.rim, np.cumsum([width, width, height]))
    seams = window.y0 > 0, window.y1 < rows, window.x0 > 0, window.x1 < cols
    is_open = np.zeros(len(block.regions) + 1, np.bool_)
    for side, seam in zip(sides, seams, strict=True):
        if seam:
            is_open[side] = True
    is_open[0] = False
    return is_open


def part_block(block: BlockArcs) -> PartedBlock:
    """Outline the regions that touch no other block: 4-connected polygons, as they will be.

    What is done here needs no table of all that is in flight, and no order among blocks.
    """
    arcs, vertices = block.arcs, block.vertices
    is_open = _open_labels(block)
    rings = np.empty(2 * len(arcs), RING)
    lattice = np.empty((2 * len(vertices), 2), np.int32)
    at = block.window.y0, block.window.x0, block.shape[1]
    found, used, leaves = _find_outlines(arcs, vertices, is_open, at, rings, lattice)
    grouped = np.empty(found, RING)
    places, firsts = _group(rings[:found], is_open, grouped)
    outlines = Outlines(firsts, in_order(grouped, firsts), lattice[:used].copy())
    kept, corners = np.empty(len(arcs), ARC), np.empty_like(vertices)
    found, used, gone = _keep_rest(arcs, vertices, is_open, leaves, kept, corners)
    # Labels along the rim that are open keep their order.
    new = np.where(is_open, np.cumsum(is_open), 0).astype(np.int32)
    rest = BlockArcs(
        block.window,
        block.shape,
        block.regions[is_open[1:]],
        kept[:found].copy(),
        corners[:used].copy(),
        new[block.rim],
    )
    return PartedBlock(rest, gone, block.regions[places], outlines)
