"""Blocks parted: outlines of regions that end within a block, and what others have to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.arcs import ARC, NORTH, SOUTH, WEST, BlockArcs
from geoseg.ops.kernels import entry, helper
from geoseg.ops.rings import RING, Outlines, picked

# Unsigned, for places that cannot be negative are looked up sooner.
_ONE, _BACK, _TURNS = np.uint64(1), np.uint64(1), np.uint64(3)
_ROW, _COL = np.uint64(48), np.uint64(32)
_COLS, _PLACE = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF)


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


class _Halves(NamedTuple):
    """Half-arcs of a block: ``2a`` walks arc ``a`` forwards, ``2a + 1`` backwards."""

    labels: NDArray[np.int32]  # on their left
    ends: NDArray[np.int32]  # nodes that they lead to; -1 for loops
    leaves: NDArray[np.uint8]  # directions in which they begin
    begins: NDArray[np.int32]  # their first vertices
    onward: NDArray[np.int32]  # half-arcs that go on around the same region, if it is complete


@helper
def _find_halves(arcs: Any, vertices: Any) -> Any:
    count = 2 * len(arcs)
    labels, ends = np.empty(count, np.int32), np.empty(count, np.int32)
    leaves, begins = np.empty(count, np.uint8), np.empty(count, np.int32)
    used = most = 0
    for a in range(len(arcs)):
        labels[2 * a], labels[2 * a + 1] = arcs[a].left, arcs[a].right
        ends[2 * a], ends[2 * a + 1] = arcs[a].target, arcs[a].source
        last = used + arcs[a].count - 1
        begins[2 * a], begins[2 * a + 1] = used, last
        for half, here, after in ((2 * a, used, used + 1), (2 * a + 1, last, last - 1)):
            down = np.int64(vertices[after, 0]) - np.int64(vertices[here, 0])
            along = np.int64(vertices[after, 1]) - np.int64(vertices[here, 1])
            # By sums, for which way an arc goes cannot be guessed.
            leaves[half] = SOUTH * (down > 0) + WEST * (along < 0) + NORTH * (down < 0)
        used = last + 1
        most = max(most, arcs[a].source, arcs[a].target)
    leaving = np.full((most + 1, 4), -1, np.int32)
    for half in range(count):
        if ends[half ^ 1] >= 0:
            leaving[ends[half ^ 1], leaves[half]] = half
    return _Halves(labels, ends, leaves, begins, _find_onward(labels, ends, leaves, leaving))


@helper
def _find_onward(labels: Any, ends: Any, leaves: Any, leaving: Any) -> Any:
    """For each half-arc the one that goes on at its end, by the rule of ``rings``.

    ``leaving`` has what leaves each node in each direction ``(nodes, 4)``, -1 for none.
    """
    onward = np.empty(len(ends), np.int32)
    for half in range(np.uint64(len(ends))):
        if ends[half] < 0:
            onward[half] = half
            continue
        edges = leaving[np.uint64(ends[half])]
        # Where one heads is the opposite of where one would leave again.
        back = np.uint64(leaves[half ^ _BACK])
        left = edges[(back + np.uint64(1)) & _TURNS]
        ahead = edges[(back + np.uint64(2)) & _TURNS]
        right = edges[(back + np.uint64(3)) & _TURNS]
        onward[half] = left if left >= 0 else ahead if ahead >= 0 else right
        four = left >= 0 and ahead >= 0 and right >= 0
        if four and labels[np.uint64(right)] == labels[half]:
            onward[half] = right
    return onward


@helper
def _walk(vertices: Any, halves: Any, first: Any, seen: Any, out: Any, begin: Any) -> Any:
    """Write the corners of the ring that ``first`` belongs to, from ``begin`` on.

    Returns:
        Where they begin and end, and the first of them in row-major order: its row, column and
        place after ``begin`` as one number, for a branch there could not be guessed.
    """
    leaves, begins = halves.leaves, halves.begins
    used, half, before, least = begin, first, np.int64(4), ~np.uint64(0)
    while True:
        seen[half] = True
        forth, back = begins[half], begins[half ^ _BACK]
        step, edges = (1, back - forth) if forth < back else (-1, forth - back)
        # Only where arcs meet may edges be in line.
        straight = np.int64(before == leaves[half])
        v = np.uint64(forth + step * straight)
        for _ in range(edges - straight):
            row, col = np.uint64(vertices[v, 0]), np.uint64(vertices[v, 1])
            out[used, 0], out[used, 1] = row, col
            least = min(least, (row << _ROW) | (col << _COL) | (used - begin))
            v += np.uint64(step)
            used += _ONE
        before = np.int64(leaves[half ^ _BACK] ^ 2)
        half = np.uint64(halves.onward[half])
        if half == first:
            break
    # The ring may have begun on a straight line; nothing there comes first.
    return begin + np.uint64(before == leaves[first]), used, least


@entry
def _find_outlines(
    arcs: Any, vertices: Any, is_open: Any, at: Any, rings: Any
) -> tuple[int, Any, Any]:
    """Outline all regions that are not open.

    Args:
        arcs: Of the block.
        vertices: Of the block.
        is_open: ``(labels,)``; false for label 0.
        at: First row and column of the block, width of the raster.
        rings: Room for :data:`RING`, one for each half-arc.

    Returns:
        How many rings there are; their vertices; and the half-arcs.
    """
    top, left, width = at
    halves = _find_halves(arcs, vertices)
    labels, seen = halves.labels, np.zeros(2 * len(arcs), np.bool_)
    room = 0
    for half in range(len(labels)):
        if labels[half] > 0 and not is_open[labels[half]]:
            room += arcs[half >> 1].count - 1
    out = np.empty((room, 2), np.int32)
    found, used = 0, np.uint64(0)
    for half in range(np.uint64(len(labels))):
        if seen[half] or labels[half] <= 0 or is_open[labels[half]]:
            continue
        ring, begin = rings[found], used
        ring.begin, used, least = _walk(vertices, halves, half, seen, out, begin)
        ring.feature = ring.region = labels[half]
        ring.stop, ring.pivot = used, begin + (least & _PLACE)
        row, col = np.int64(least >> _ROW), np.int64((least >> _COL) & _COLS)
        ring.start = (top + row) * (width + 1) + left + col
        found += 1
    for v in range(used):
        out[v, 0] += top
        out[v, 1] += left
    return found, out[:used], halves


@helper
def _sorted_by(keys: Any, order: Any, least: int, most: int) -> Any:
    """``order`` by counting, so that ``keys`` ascend; those of equal keys stay as they are."""
    begins = np.zeros(most - least + 2, np.int32)
    for k in range(len(order)):
        begins[keys[k] - least + 1] += 1
    for k in range(1, len(begins)):
        begins[k] += begins[k - 1]
    out = np.empty(len(order), np.int32)
    for k in range(len(order)):
        key = keys[order[k]] - least
        out[begins[key]] = order[k]
        begins[key] += 1
    return out


@entry
def _group(
    rings: Any, vertices: Any, is_open: Any, at: Any, shape: Any, grouped: Any
) -> tuple[Any, Any]:
    """Sort rings by labels, then by their first vertices; number the complete labels.

    Returns:
        The places of complete labels among those of the block, from 0; and where the rings of each
        begin, and the last one ends.
    """
    rows, cols = np.empty(len(rings), np.int32), np.empty(len(rings), np.int32)
    labels, order = np.empty(len(rings), np.int32), np.empty(len(rings), np.int32)
    for k in range(len(rings)):
        pivot = rings[k].pivot
        rows[k], cols[k], labels[k] = vertices[pivot, 0], vertices[pivot, 1], rings[k].region
        order[k] = k
    order = _sorted_by(cols, order, at[1], at[1] + shape[1])
    order = _sorted_by(rows, order, at[0], at[0] + shape[0])
    order = _sorted_by(labels, order, 0, len(is_open))
    places = np.empty(len(is_open), np.int32)
    firsts = np.empty(len(is_open) + 1, np.int64)
    found = before = 0
    for k in range(len(order)):
        grouped[k] = rings[order[k]]
        label = grouped[k].region
        if label != before:
            places[found], firsts[found] = label - 1, k
            found, before = found + 1, label
        grouped[k].feature = found - 1
    firsts[found] = len(order)
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
    arcs: Any, vertices: Any, new: Any, halves: Any, kept: Any, corners: Any
) -> tuple[int, int, Any]:
    """Copy the arcs that have an open side, with ``new`` labels and nodes.

    Returns:
        How many arcs and vertices there are; and ``gone`` of :class:`PartedBlock`.
    """
    known = np.full(2 * len(arcs), -1, np.int32)
    found = used = nodes = begin = 0
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
    labels, ends = halves.labels, halves.ends
    for half in range(2 * len(arcs)):
        if _renumbered(labels[half], new) == 0 and _renumbered(labels[half ^ 1], new) == 0:
            node = ends[half ^ 1]
            if node >= 0 and known[node] >= 0:
                gone[known[node]] |= np.uint8(1 << halves.leaves[half])
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
    at = block.window.y0, block.window.x0, block.shape[1]
    found, lattice, halves = _find_outlines(arcs, vertices, is_open, at, rings)
    grouped = np.empty(found, RING)
    places, firsts = _group(rings[:found], lattice, is_open, at, block.window.shape, grouped)
    outlines = Outlines(firsts, grouped, lattice)
    kept, corners = np.empty(len(arcs), ARC), np.empty_like(vertices)
    new = np.where(is_open, np.cumsum(is_open), 0).astype(np.int32)
    found, used, gone = _keep_rest(arcs, vertices, new, halves, kept, corners)
    rest = BlockArcs(
        block.window,
        block.shape,
        picked(block.regions, np.flatnonzero(is_open[1:])),
        kept[:found].copy(),
        corners[:used].copy(),
        new[block.rim],
    )
    return PartedBlock(rest, gone, picked(block.regions, places), outlines)
