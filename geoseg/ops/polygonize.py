"""Polygons from the boundary arcs of blocks, joined across seams as the blocks come by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import BlockError
from geoseg.ops import joining, rings
from geoseg.ops.arcs import BlockArcs
from geoseg.ops.batches import Batcher, Piece, PolygonBatch
from geoseg.ops.compaction import compact
from geoseg.ops.joining import OPEN_ARC, OPEN_REGION, Tables
from geoseg.ops.metric import Metric
from geoseg.ops.parting import PartedBlock, part_block
from geoseg.ops.regions import REGION
from geoseg.ops.rings import Outlines
from geoseg.ops.topology.chains import adopt_lines
from geoseg.ops.topology.measures import measure_shaped
from geoseg.ops.topology.shaper import Shaper
from geoseg.ops.topology.shaping import Shaping
from geoseg.ops.wkb import Some

Connectivity = Literal[4, 8]
Choose = Callable[[NDArray[np.void]], NDArray[np.bool_]]
"""Which of some features, an array of REGION, are wanted."""

_FEWEST = 1 << 16  # entries below which tables are not worth compacting


def join(
    blocks: Iterable[BlockArcs | PartedBlock],
    affine: Affine,
    metric: Metric,
    *,
    connectivity: Connectivity = 4,
    choose: Choose | None = None,
    shaping: Shaping | None = None,
) -> Iterator[PolygonBatch]:
    """Join blocks to polygons, and yield them soon after their last pixel is passed.

    Polygons come in the order of their last pixels (row-major), which depends on no block and is
    known while streaming: after each row of blocks all polygons that do not reach its last row of
    pixels are finished. Memory holds the boundaries of those that do, and of one row of blocks.
    Batches do depend on the blocks.

    With 4-connectivity polygons are those of GDAL. With 8-connectivity a feature consists of the
    4-connected polygons that touch at corners, which makes a valid multipolygon.

    Args:
        blocks: All blocks of the raster in row-major order; those of a row of blocks are equally
            high and span the raster. Parted ones (see :func:`may_part`) leave less to do here.
        affine: From column and row to the map.
        metric: How large pixels are.
        connectivity: 4 or 8.
        choose: Which features are wanted; all if None.
        shaping: How boundaries are simplified and smoothed; as they are if None. Features, their
            order and all that is measured in pixels stay the same, and neighbours go on sharing
            their boundary, those that are not wanted too.

    Raises:
        BlockError: A block is missing, out of order, or parted where it must not be.
    """
    shaper = None if shaping is None else Shaper(metric, shaping)
    joiner = _Joiner(metric.shape, diagonal=connectivity == 8, shaper=shaper)
    batcher = Batcher(affine, metric, multi=joiner.diagonal)
    parts = may_part(connectivity, shaping)
    for block in blocks:
        if not parts and isinstance(block, PartedBlock):
            raise BlockError("polygons: all arcs are needed here, blocks must not be parted")
        joiner.add(part_block(block) if parts and isinstance(block, BlockArcs) else block)
        if block.window.x1 == metric.shape[1]:
            closed = joiner.close_row(block.window.y1)
            yield from _emit(joiner, _finish(joiner, closed, choose), batcher, metric)
            joiner.tidy()
    joiner.check_complete()
    if not batcher.empty:
        yield batcher.flush()


def may_part(connectivity: Connectivity, shaping: Shaping | None) -> bool:
    """Whether blocks may be parted.

    Not where polygons of several blocks make a feature, touching at corners, and not where
    boundaries change, for which all arcs are needed.
    """
    return connectivity == 4 and shaping is None


class _Finished(NamedTuple):
    """Features of a row of blocks that are finished, in order."""

    features: NDArray[np.void]  # (n,) of REGION
    order: NDArray[np.int64]  # (n,) their places among those of all outlines, and then the closed
    outlines: list[Outlines]  # of those that were complete, block by block
    closed: NDArray[np.int32]  # those that are in the tables


def _finish(joiner: _Joiner, closed: NDArray[np.int32], choose: Choose | None) -> _Finished:
    """The wanted ones among the features that were complete or have been closed."""
    table = joiner.tables
    complete, outlines = joiner.take_complete()
    features = np.concatenate([complete, _plain(table.regions[closed])])
    order = np.argsort(features["last"].copy(), kind="stable")  # no two are equal
    features = rings.picked(features, order)
    if choose is not None and len(features):
        wanted = choose(features)
        left_out = order[~wanted] - len(complete)
        joining.discard(table, closed[left_out[left_out >= 0]])
        if not wanted.all():
            kept = np.flatnonzero(wanted)
            features, order = rings.picked(features, kept), order[kept]
    return _Finished(features, order, outlines, closed)


def _emit(
    joiner: _Joiner, found: _Finished, batcher: Batcher, metric: Metric
) -> Iterator[PolygonBatch]:
    """Batches of finished features, as far as they fill them."""
    counts = [len(some.firsts) - 1 for some in found.outlines]
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    halves, vertices = rings.count_half_arcs(joiner.tables, found.closed)
    sizes = np.concatenate([*map(rings.count_vertices, found.outlines), vertices])[found.order]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    begin = 0
    while begin < len(sizes):
        stop = batcher.reach(ends, begin)
        if stop > begin:
            some, features = found.order[begin:stop], found.features[begin:stop]
            joined = np.flatnonzero(some >= starts[-1])
            which = some[joined] - starts[-1]
            room = int(halves[which].sum()), int(vertices[which].sum())
            walked = rings.walk(joiner.tables, found.closed[which], room, metric.shape[1])
            shaped = None
            if joiner.shaper is not None:
                shaped = measure_shaped(walked.rings, walked.vertices, metric, features)
            parts = [Some(walked, np.arange(len(joined)), joined)]
            parts += _by_block(found.outlines, starts, some)
            batcher.add(Piece(features, parts, shaped), int(ends[stop] - ends[begin]))
        if stop < len(sizes) or batcher.full:
            yield batcher.flush()
        begin = stop


def _by_block(
    outlines: list[Outlines], starts: NDArray[np.int64], some: NDArray[np.int64]
) -> Iterator[Some]:
    """Features of each block among ``some``, in the order in which they lie in memory."""
    order = np.argsort(some)
    cuts = np.searchsorted(some[order], starts)
    for lines, start, begin, stop in zip(outlines, starts, cuts, cuts[1:], strict=False):
        if stop > begin:
            places = order[begin:stop]
            yield Some(lines, some[places] - start, places)


def _plain(features: NDArray[np.void]) -> NDArray[np.void]:
    """Features without what only matters in flight."""
    plain = np.empty(len(features), REGION)
    for name in REGION.names or ():
        plain[name] = features[name]
    return plain


class _Joiner:
    """What is in flight between the first and the last block."""

    def __init__(
        self, shape: tuple[int, int], *, diagonal: bool, shaper: Shaper | None = None
    ) -> None:
        self.diagonal, self.shaper = diagonal, shaper
        self._shape = shape
        self.tables = Tables(
            np.empty(0, OPEN_REGION),
            np.empty(0, OPEN_ARC),
            np.empty(0, np.int32),
            np.empty((0, 4), np.int32),
            np.empty((0, 2), np.int32 if shaper is None else np.float64),
            np.empty(0, np.int64),
        )
        self._count = np.zeros(4, np.int64)  # nodes, arcs, vertices, regions
        self._tidied = np.zeros(4, np.int64)
        self._open = np.empty(0, np.int32)
        self._row_began = 0  # regions in flight
        self._arcs_began = 0
        self._stamp = 1
        self._at = 0, 0  # where the next block should begin
        self._bottom = 0  # of the row of blocks at hand
        # Labels and nodes along the row of blocks above, along this one, and left of the next.
        self._labels = np.full(shape[1], -1, np.int32)
        self._labels_next = self._labels.copy()
        self._labels_left = np.empty(0, np.int32)
        self._nodes = np.full(shape[1] + 1, -1, np.int32)
        self._nodes_next = self._nodes.copy()
        self._nodes_left = np.empty(0, np.int32)
        self._complete: list[PartedBlock] = []

    def add(self, added: BlockArcs | PartedBlock) -> None:
        """Take in the next block."""
        if isinstance(added, PartedBlock):
            block, gone = added.rest, added.gone
            self._complete.append(added)
        else:
            block, gone = added, np.zeros(2 * len(added.arcs), np.uint8)
        window = block.window
        self._check(block)
        height, width = window.shape
        if window.x0 == 0:
            self._bottom = window.y1
            self._labels_left = np.full(height, -1, np.int32)
            self._nodes_left = np.full(height + 1, -1, np.int32)
        across = slice(window.x0, window.x1)
        base = self._add_regions(block)
        rim = np.where(block.rim > 0, block.rim - 1 + base, -1).astype(np.int32)
        first_row, last_row, first_col, last_col = np.split(rim, np.cumsum([width, width, height]))
        outside = np.concatenate([self._labels[across], self._labels_left])
        joining.unite_seam(self.tables, outside[:width], first_row)
        joining.unite_seam(self.tables, outside[width:], first_col)
        self._add_arcs(block, outside, gone)
        self._labels_next[across] = last_row
        self._labels_left = last_col
        self._at = window.y0, window.x1

    def _check(self, block: BlockArcs) -> None:
        window = block.window
        begins = (window.y0, window.x0) == self._at
        fits = block.shape == self._shape and (window.x0 == 0 or window.y1 == self._bottom)
        if not (begins and fits):
            raise BlockError(
                f"polygons: blocks must come row by row without gaps; after those up to row "
                f"{self._at[0]}, column {self._at[1]} came {window} of a raster of {block.shape}, "
                f"wanted is one of {self._shape}"
            )

    def _add_regions(self, block: BlockArcs) -> int:
        base, count = int(self._count[3]), len(block.regions)
        self._reserve(np.array([0, 0, 0, count]))
        new = self.tables.regions[base : base + count]
        for name in REGION.names or ():
            new[name] = block.regions[name]
        new["parent"] = new["feature"] = np.arange(base, base + count)
        new["head"] = new["tail"] = -1
        new["stamp"] = 0
        self._count[3] += count
        return base

    def take_complete(self) -> tuple[NDArray[np.void], list[Outlines]]:
        """Features of the row of blocks that were complete in theirs, and their outlines."""
        blocks, self._complete = self._complete, []
        features = np.concatenate([np.empty(0, REGION), *(b.complete for b in blocks)])
        return features, [b.outlines for b in blocks]

    def _add_arcs(
        self, block: BlockArcs, outside: NDArray[np.int32], gone: NDArray[np.uint8]
    ) -> None:
        height, width = block.window.shape
        window = block.window
        arcs = len(block.arcs)
        self._reserve(np.array([2 * arcs, arcs, len(block.vertices), 0]))
        above, below = (
            self._nodes[window.x0 : window.x1 + 1],
            self._nodes_next[window.x0 : window.x1 + 1],
        )
        right = np.full(height + 1, -1, np.int32)
        rim = np.concatenate([above, below, self._nodes_left, right])
        shape = height, width, len(block.regions), window.y0, window.x0, int(self.diagonal)
        joining.absorb_arcs(
            self.tables, (block.arcs, block.vertices, gone), outside, rim, self._count, shape
        )
        above[:], below[:], _, self._nodes_left = np.split(
            rim, np.cumsum([width + 1, width + 1, height + 1])
        )

    def close_row(self, bottom: int) -> NDArray[np.int32]:
        """Features that do not go on below the row of blocks that has been added."""
        new = np.arange(self._row_began, self._count[3], dtype=np.int32)
        front = self._labels_next if bottom < self._shape[0] else self._labels_next[:0]
        candidates = np.concatenate([self._open, new])
        closed: NDArray[np.int32]
        closed, self._open = joining.split_closed(self.tables, front, candidates, self._stamp)
        self._at = bottom, 0
        if self.shaper is not None:
            closed = self._delay(closed, bottom, self.shaper.delay)
            new_arcs = self._arcs_began, int(self._count[1])
            for chains, lines, against in self.shaper.complete(self.tables, new_arcs, bottom):
                self._reserve(np.array([0, 0, len(lines.vertices), 0]))
                adopt_lines(self.tables, self._count, chains, tuple(lines), against)
        return closed

    def _delay(self, closed: NDArray[np.int32], bottom: int, rows: int) -> NDArray[np.int32]:
        """Keep features open whose boundaries are shaped later only; the order stays the same."""
        if rows == 0 or bottom == self._shape[0]:
            return closed
        below = self.tables.regions["last"][closed] // self._shape[1] + 1
        late = closed[below > bottom - rows]
        self.tables.regions["stamp"][late] = self._stamp
        self._open = np.concatenate([self._open, late])
        return closed[below <= bottom - rows]

    def tidy(self) -> None:
        """Prepare for the next row of blocks; drop what is finished if that is worth it."""
        self._labels, self._labels_next = self._labels_next, self._labels
        self._nodes, self._nodes_next = self._nodes_next, self._nodes
        self._nodes_next[:] = -1
        # Tables may grow by half before they are compacted: the time stays linear.
        if np.any(self._count > self._tidied * 3 // 2 + _FEWEST):
            regions, nodes, arcs = compact(self.tables, self._count, self._stamp)
            self._labels = _renumbered(self._labels, regions)
            self._open = _renumbered(self._open, regions)
            self._nodes = _renumbered(self._nodes, nodes)
            if self.shaper is not None:
                self.shaper.renumber(arcs)
            self._tidied = self._count.copy()
        self._row_began, self._arcs_began = int(self._count[3]), int(self._count[1])
        self._stamp += 1

    def check_complete(self) -> None:
        """Complain if blocks are missing at the end."""
        if self._at != (self._shape[0], 0):
            raise BlockError(
                f"polygons: blocks end at row {self._at[0]}, column {self._at[1]} of a raster of "
                f"{self._shape[0]} x {self._shape[1]} px"
            )

    def _reserve(self, more: NDArray[np.int64]) -> None:
        """Make room for that many more nodes, arcs, vertices and regions."""
        nodes, arcs, vertices, regions = (int(n) for n in self._count + more)
        table = self.tables
        self.tables = Tables(
            _grown(table.regions, regions),
            _grown(table.arcs, arcs),
            _grown(table.links, 2 * arcs),
            _grown(table.nodes, nodes),
            _grown(table.vertices, vertices),
            table.firsts if self.shaper is None else _grown(table.firsts, arcs),
        )


def _grown(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """``table`` with room for at least ``rows`` rows."""
    if rows <= len(table):
        return table
    larger = np.empty((max(rows, len(table) * 5 // 4), *table.shape[1:]), table.dtype)
    larger[: len(table)] = table
    return larger


def _renumbered(numbers: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.where(numbers >= 0, np.append(new, np.int32(-1))[numbers], -1).astype(np.int32)
