"""Which connected patches are too small, across all blocks of a raster.

A patch is a set of pixels of one group, connected at their sides. Each block measures its own; only
those at its rim need to know of other blocks, and only their areas and their places along the rim
are kept. Areas are whole counts: sums in any order are the same, and so is what is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError
from geoseg.grid import Window
from geoseg.ops.arcs import pad
from geoseg.ops.kernels import entry
from geoseg.ops.metric import Metric
from geoseg.ops.regions import find_regions


@dataclass(frozen=True, slots=True, eq=False)
class RimPatches:
    """The patches of a block that lie at its rim.

    Attributes:
        window: The block.
        measures: ``(n,)`` int64: how large the part in the block is.
        rim: ``(2w + 2h,)`` int32: patches of the block's first row, last row, first column and
            last column; -1 for none.
        groups: ``(2w + 2h,)`` int16: their groups.
    """

    window: Window
    measures: NDArray[np.int64]
    rim: NDArray[np.int32]
    groups: NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class _Patches:
    """The patches of a block: labels ``(h, w)`` from 0, -1 for none; their measures."""

    labels: NDArray[np.int32]
    measures: NDArray[np.int64]


def rim_patches(
    groups: NDArray[np.int16], window: Window, metric: Metric, *, in_pixels: bool
) -> RimPatches:
    """Measure a block.

    Args:
        groups: ``(h, w)``; :data:`geoseg.ops.regions.NODATA` is no patch.
        window: Where the block lies.
        metric: How large pixels are.
        in_pixels: Whether pixels are counted, or counts of :attr:`Metric.unit`.
    """
    found = _measured(groups, window, metric, in_pixels=in_pixels)
    labels, number = _sides(found.labels), np.full(len(found.measures) + 1, -1, np.int32)
    there = np.unique(labels[labels >= 0])
    number[there] = np.arange(len(there))
    return RimPatches(window, found.measures[there], number[labels], _sides(groups))


def small_pixels(
    groups: NDArray[np.int16],
    window: Window,
    metric: Metric,
    *,
    limit: int,
    in_pixels: bool,
    small_rim: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The pixels ``(h, w)`` of a block that belong to patches below ``limit``.

    Args:
        groups: As in :func:`rim_patches`.
        window: Where the block lies.
        metric: How large pixels are.
        limit: In pixels or counts.
        in_pixels: Which.
        small_rim: Of the patches at the rim, as :func:`settle_patches` decided.
    """
    found = _measured(groups, window, metric, in_pixels=in_pixels)
    labels = _sides(found.labels)
    there = np.unique(labels[labels >= 0])
    if len(there) != len(small_rim):
        raise BlockError(f"block {window}: has {len(there)} patches at its rim, not what was seen")
    small = np.append(found.measures < limit, [False])
    small[there] = small_rim
    chosen: NDArray[np.bool_] = small[found.labels]
    return chosen


def settle_patches(
    surveys: Iterable[RimPatches], shape: tuple[int, int], limit: int
) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """Which of the patches at the rims of blocks are below ``limit``.

    Holds the patches at the rims of all blocks: 8 bytes each, and 8 more while they are joined.

    Args:
        surveys: All blocks in row-major order.
        shape: Of the raster.
        limit: In what patches were measured in.

    Raises:
        BlockError: Blocks are out of order or missing.
    """
    starts, windows, measures, seams = [0], list[Window](), [], list[NDArray[np.int64]]()
    front, front_groups = np.full(shape[1], -1, np.int64), np.zeros(shape[1], np.int16)
    beside = np.empty(0, np.int64), np.empty(0, np.int16)
    at = 0, 0
    for survey in surveys:
        w = survey.window
        if (w.y0, w.x0) != at:
            raise BlockError(f"block {w} is out of order; wanted is the one at {at}")
        at = (w.y0, w.x1) if w.x1 < shape[1] else (w.y1, 0)
        ids = np.where(survey.rim < 0, np.int64(-1), survey.rim + np.int64(starts[-1]))
        height, width = w.shape
        cuts = (width, 2 * width, 2 * width + height)
        first, last, left, right = np.split(ids, cuts)
        of_first, of_last, of_left, of_right = np.split(survey.groups, cuts)
        columns = slice(w.x0, w.x1)
        seams.append(_seam(front[columns], first, front_groups[columns], of_first))
        if w.x0:
            seams.append(_seam(beside[0], left, beside[1], of_left))
        front[columns], front_groups[columns] = last, of_last
        beside = right, of_right
        windows.append(w)
        measures.append(survey.measures)
        starts.append(starts[-1] + len(survey.measures))
    if at != (shape[0], 0):
        raise BlockError(f"the block at {at} is missing")
    small = _below(np.concatenate(measures), np.concatenate(seams, axis=1), limit)
    for window, begin, stop in zip(windows, starts[:-1], starts[1:], strict=True):
        yield window, small[begin:stop]


def _measured(
    groups: NDArray[np.int16], window: Window, metric: Metric, *, in_pixels: bool
) -> _Patches:
    density = metric.row_density(window.y0, window.y1)
    padded = pad(np.ascontiguousarray(groups), window, window)
    labels, regions = find_regions(padded, None, density, (window.y0, window.x0, *metric.shape))
    inner = labels[1:-1, 1:-1] - 1
    return _Patches(inner, regions["pixels" if in_pixels else "area"].astype(np.int64))


def _sides(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _seam(
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    of_one: NDArray[np.int16],
    of_other: NDArray[np.int16],
) -> NDArray[np.int64]:
    """Pairs ``(2, n)`` of patches that touch across a seam."""
    if len(one) != len(other):
        raise BlockError(f"sides of {len(one)} and {len(other)} pixels do not fit together")
    touch = (one >= 0) & (other >= 0) & (of_one == of_other)
    pairs: NDArray[np.int64] = np.unique(np.stack([one[touch], other[touch]]), axis=1)
    return pairs


def _below(measures: NDArray[np.int64], seams: NDArray[np.int64], limit: int) -> NDArray[np.bool_]:
    parent = np.arange(len(measures))
    _unite(parent, np.ascontiguousarray(seams))
    total = np.zeros(len(measures), np.int64)
    np.add.at(total, parent, measures)
    below: NDArray[np.bool_] = total[parent] < limit
    return below


@entry
def _unite(parent: Any, seams: Any) -> None:
    """Make ``parent`` the root of each patch, after joining those that touch."""
    for k in range(seams.shape[1]):
        a, b = seams[0, k], seams[1, k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for k in range(len(parent)):
        parent[k] = parent[parent[k]]  # roots come first
