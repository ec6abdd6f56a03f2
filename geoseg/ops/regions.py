"""The connected regions of one block, and what is summed over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.classify import NO_CONFIDENCE
from geoseg.ops.flags import add_places, row_of_flags
from geoseg.ops.kernels import entry, helper

NODATA = np.int16(-32768)
"""What pixels without a class are, in the int16 rasters of the kernels."""

REGION = np.dtype(
    [
        ("code", np.int16),  # class
        ("edge", np.bool_),  # has a pixel in the first or last row or column of the raster
        ("pixels", np.int64),
        ("first", np.int64),  # first pixel in row-major order, as row * width + col
        ("last", np.int64),  # last pixel in row-major order
        ("area", np.int64),  # counts of Metric.unit
        ("confidence", np.int64),  # sum of percents
        ("measured", np.int64),  # pixels that have a confidence
        ("confidence_min", np.uint8),  # least of the percents, NO_CONFIDENCE where there is none
    ],
    align=True,
)
"""One region. Only integers, so that merging in any order gives the same."""


@helper
def _root(parent: Any, label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@helper
def _unite(parent: Any, a: int, b: int) -> int:
    """Join two labels; the smaller root, which was seen first, stays."""
    a, b = _root(parent, a), _root(parent, b)
    if a < b:
        parent[b] = a
        return a
    parent[a] = b
    return b


@helper
def _find_runs(padded: Any) -> Any:
    """Runs of equal pixels, row by row.

    Returns:
        Where runs start ``(runs + h,)`` int32, each row followed by the block's width; and the
        place of each row's first run in it ``(h + 1,)``.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    starts = np.empty(height * (width + 1) + 1, np.int32)
    rows = np.empty(height + 1, np.int64)
    begins = row_of_flags(width)
    used = np.uint64(0)
    for i in range(height):
        row = padded[i + 1]
        rows[i] = used
        for j in range(1, width):
            begins[j] = row[j] != row[j + 1]
        begins[0] = 1
        used = add_places(begins, starts, used)
        starts[used] = width
        used += np.uint64(1)
    rows[height] = used
    return starts[:used].copy(), rows


@helper
def _unite_runs(starts: Any, rows: Any, codes: Any) -> Any:
    """For each run, one above or itself that it is joined with, directly or over others."""
    parent = np.empty(len(starts), np.int32)
    for i in range(len(rows) - 1):
        above = rows[i - 1] if i else 0
        for run in range(rows[i], rows[i + 1] - 1):
            parent[run] = run
            code = codes[run]
            if i == 0 or code == NODATA:
                continue
            begin, end = starts[run], starts[run + 1]
            while starts[above + 1] <= begin:
                above += 1
            k, mine = above, -1
            while starts[k] < end:
                if codes[k] == code:
                    mine = _root(parent, k) if mine < 0 else _unite(parent, mine, k)
                k += 1
            if mine >= 0:
                parent[run] = mine
    return parent


@entry
def label_runs(padded: Any) -> tuple[Any, Any, Any, Any, int]:
    """4-connected regions of a block, as labels of the runs of equal pixels in each row.

    Source: He, Chao, Suzuki 2008, "A run-based two-scan labeling algorithm".

    Args:
        padded: Class codes ``(h + 2, w + 2)`` int16 with one pixel around the block.

    Returns:
        First columns of the runs ``(n,)`` int32, each row followed by ``w``; where each row begins
        among them ``(h + 1,)``; code and label of each run ``(n,)``; and the number of regions.
        Regions are numbered from 1 in the order of their first pixels; nodata has label 0.
    """
    starts, rows = _find_runs(padded)
    codes = np.empty(len(starts), np.int16)
    for i in range(len(rows) - 1):
        for run in range(rows[i], rows[i + 1]):
            codes[run] = padded[i + 1, starts[run] + 1]
    labels = _unite_runs(starts, rows, codes)
    regions = 0
    for i in range(len(rows) - 1):
        for run in range(rows[i], rows[i + 1] - 1):
            if codes[run] == NODATA:
                labels[run] = 0
            elif labels[run] == run:
                regions += 1
                labels[run] = regions
            else:
                labels[run] = labels[labels[run]]  # what it hangs on comes first
    return starts, rows, codes, labels, regions


@entry
def paint_labels(padded: Any, starts: Any, rows: Any, of: Any) -> Any:
    """Labels of pixels from those of runs; see :func:`label_regions` and :func:`label_runs`."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    labels = np.empty(padded.shape, np.int32)
    for i in range(height):
        labels[i + 1, 0] = 0 if padded[i + 1, 0] == NODATA else -1 - width - i
        for run in range(rows[i], rows[i + 1] - 1):
            for j in range(starts[run], starts[run + 1]):
                labels[i + 1, j + 1] = of[run]
        labels[i + 1, width + 1] = 0
    for j in range(width):
        labels[0, j + 1] = 0 if padded[0, j + 1] == NODATA else -1 - j
    labels[0, 0] = labels[0, width + 1] = 0
    labels[height + 1] = 0
    return labels


@entry
def label_regions(padded: Any) -> tuple[Any, int]:
    """4-connected regions of a block, numbered from 1 in the order of their first pixels.

    Args:
        padded: Class codes ``(h + 2, w + 2)`` int16 with one pixel around the block.

    Returns:
        Labels ``(h + 2, w + 2)`` int32 and the number of regions. 0 is nodata and what lies right
        and below; pixel ``k`` of the row above is ``-1 - k`` and that of the column on the left
        ``-1 - w - k``: their labels are known where blocks are joined.
    """
    starts, rows, _, of, regions = label_runs(padded)
    return paint_labels(padded, starts, rows, of), regions


@helper
def _add_run(region: Any, row: int, start: int, stop: int, shape: Any) -> None:
    """Add pixels ``start:stop`` of a row of the raster, but for what is measured."""
    if region.pixels == 0:
        region.first = row * shape[1] + start
    region.last = row * shape[1] + stop - 1
    region.pixels += stop - start
    region.edge |= row == 0 or row == shape[0] - 1 or start == 0 or stop == shape[1]


@helper
def _add_confidence(region: Any, row: Any, start: int, stop: int) -> None:
    for j in range(start, stop):
        if row[j] != NO_CONFIDENCE:
            region.confidence += row[j]
            region.confidence_min = min(region.confidence_min, row[j])
            region.measured += 1


@helper
def _area_left_of(density: Any, cumulated: Any, spacing: float, col: int) -> int:
    """Area of a row from column 0 of the raster to ``col``, in whole counts."""
    node = min(int(col / spacing), len(density) - 2)
    along = col - node * spacing
    slope = (density[node + 1] - density[node]) / spacing
    area = cumulated[node] + along * (density[node] + 0.5 * slope * along)
    return int(np.rint(area))


@entry
def measure_regions(runs: Any, confidence: Any, density: Any, at: Any, regions: Any) -> None:
    """Sum up the pixels of each region.

    A run of pixels has the area left of its end less the area left of its start, both rounded
    to counts: the same whether or not a seam cuts the run.

    Args:
        runs: First columns, rows, codes and labels, as :func:`label_runs` gives them.
        confidence: Percent ``(h, w)`` uint8, 255 where there is none; ``(0, 0)`` without any.
        density: Counts of area per pixel ``(h, nodes)`` along each row of the raster, at nodes
            evenly spread over its width.
        at: First row and column of the block, height and width of the raster.
        regions: Zeros of :data:`REGION` ``(n,)``, but for ``confidence_min``, to be filled.
    """
    starts, rows, codes, labels = runs
    top, left, shape = at[0], at[1], (at[2], at[3])
    spacing = shape[1] / (density.shape[1] - 1)
    cumulated = np.zeros(density.shape[1])
    for i in range(len(rows) - 1):
        row = density[i]
        for k in range(1, len(row)):
            cumulated[k] = cumulated[k - 1] + 0.5 * (row[k - 1] + row[k]) * spacing
        before = _area_left_of(row, cumulated, spacing, left)
        for run in range(rows[i], rows[i + 1] - 1):
            start, stop = starts[run], starts[run + 1]
            until = _area_left_of(row, cumulated, spacing, left + stop)
            if labels[run] > 0:
                region = regions[labels[run] - 1]
                region.code = codes[run]
                region.area += until - before
                _add_run(region, top + i, left + start, left + stop, shape)
                if confidence.size:
                    _add_confidence(region, confidence[i], start, stop)
            before = until


def find_runs(
    padded: NDArray[np.int16],
    confidence: NDArray[np.uint8] | None,
    density: NDArray[np.float64],
    at: tuple[int, int, int, int],
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]], NDArray[np.void]]:
    """Runs (first columns, rows, labels) and regions ``(n,)`` of a block; see the kernels above."""
    starts, rows, codes, labels, count = label_runs(padded)
    regions = np.zeros(count, REGION)
    regions["confidence_min"] = NO_CONFIDENCE
    percent = np.zeros((0, 0), np.uint8) if confidence is None else confidence
    # Read-only or strided arrays would be compiled for anew.
    percent = np.require(percent, np.uint8, ["C", "W"])
    measure_regions((starts, rows, codes, labels), percent, density, at, regions)
    return (starts, rows, labels), regions


def find_regions(
    padded: NDArray[np.int16],
    confidence: NDArray[np.uint8] | None,
    density: NDArray[np.float64],
    at: tuple[int, int, int, int],
) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    """Labels ``(h + 2, w + 2)`` and regions ``(n,)`` of a block; see the kernels above."""
    runs, regions = find_runs(padded, confidence, density, at)
    return paint_labels(padded, *runs), regions


def as_codes(classes: NDArray[Any], nodata: int | None) -> NDArray[np.int16]:
    """Class codes as the kernels want them, :data:`NODATA` where there is no class.

    Args:
        classes: Whole numbers or booleans of any shape and dtype; may be a masked array.
        nodata: What stands for no class; None if nothing does.

    Raises:
        InputError: A code does not lie within -32767..32767.
    """
    values = np.ma.getdata(classes)
    hidden = np.ma.getmaskarray(classes) if isinstance(classes, np.ma.MaskedArray) else None
    if nodata is not None:
        hidden = values == nodata if hidden is None else hidden | (values == nodata)
    if values.dtype.itemsize > 1 and not _fit(values):
        seen = values if hidden is None else values[~hidden]
        if not _fit(seen):
            worst = seen.min() if seen.min() <= NODATA else seen.max()
            raise InputError(f"class code {worst} does not lie within -32767..32767")
    codes = values.astype(np.int16)
    if hidden is not None:
        np.copyto(codes, NODATA, where=hidden)
    return codes


def _fit(values: NDArray[Any]) -> bool:
    """Whether all are codes that the kernels can take."""
    largest = np.iinfo(np.int16).max
    return not values.size or bool(values.min() > NODATA and values.max() <= largest)
