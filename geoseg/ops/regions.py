"""The connected regions of one block, and what is summed over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.classify import NO_CONFIDENCE
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
def _label_provisionally(padded: Any, labels: Any, parent: Any) -> int:
    """Give pixels labels that are joined in ``parent``; returns how many there are, and one."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    labels_used = 1
    for i in range(1, height + 1):
        left, above_left = NODATA, NODATA
        label = 0
        for j in range(1, width + 1):
            code = padded[i, j]
            above = padded[i - 1, j] if i > 1 else NODATA
            if code == NODATA:
                label = 0
            elif code == left:
                # Where the pixel above on the left was alike too, they are joined already.
                if code == above and above_left != code:
                    label = _unite(parent, label, labels[i - 1, j])
            elif code == above:
                label = labels[i - 1, j]
            else:
                label = labels_used
                parent[label] = label
                labels_used += 1
            labels[i, j] = label
            left, above_left = code, above
    return labels_used


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
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    labels = np.zeros(padded.shape, np.int32)
    parent = np.zeros(height * width + 1, np.int32)
    used = _label_provisionally(padded, labels, parent)
    final = np.zeros(used, np.int32)
    regions = 0
    for label in range(1, used):
        root = _root(parent, label)
        if root == label:
            regions += 1
            final[label] = regions
        else:
            final[label] = final[root]  # roots come first
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            labels[i, j] = final[labels[i, j]]
    for j in range(width):
        labels[0, j + 1] = 0 if padded[0, j + 1] == NODATA else -1 - j
    for i in range(height):
        labels[i + 1, 0] = 0 if padded[i + 1, 0] == NODATA else -1 - width - i
    return labels, regions


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
def measure_regions(
    padded: Any, labels: Any, confidence: Any, density: Any, at: Any, regions: Any
) -> None:
    """Sum up the pixels of each region.

    A run of pixels has the area left of its end less the area left of its start, both rounded
    to counts: the same whether or not a seam cuts the run.

    Args:
        padded: Class codes ``(h + 2, w + 2)``.
        labels: What :func:`label_regions` made of them.
        confidence: Percent ``(h, w)`` uint8, 255 where there is none; ``(0, 0)`` without any.
        density: Counts of area per pixel ``(h, nodes)`` along each row of the raster, at nodes
            evenly spread over its width.
        at: First row and column of the block, height and width of the raster.
        regions: Zeros of :data:`REGION` ``(n,)``, but for ``confidence_min``, to be filled.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    top, left, shape = at[0], at[1], (at[2], at[3])
    spacing = shape[1] / (density.shape[1] - 1)
    cumulated = np.zeros(density.shape[1])
    for i in range(height):
        row, codes, of = density[i], padded[i + 1], labels[i + 1]
        for k in range(1, len(row)):
            cumulated[k] = cumulated[k - 1] + 0.5 * (row[k - 1] + row[k]) * spacing
        start = 0
        before = _area_left_of(row, cumulated, spacing, left)
        for j in range(1, width + 1):
            if j < width and codes[j + 1] == codes[j]:
                continue
            until = _area_left_of(row, cumulated, spacing, left + j)
            if codes[j] != NODATA:
                region = regions[of[j] - 1]
                region.code = codes[j]
                region.area += until - before
                _add_run(region, top + i, left + start, left + j, shape)
                if confidence.size:
                    _add_confidence(region, confidence[i], start, j)
            start, before = j, until


def find_regions(
    padded: NDArray[np.int16],
    confidence: NDArray[np.uint8] | None,
    density: NDArray[np.float64],
    at: tuple[int, int, int, int],
) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    """Labels ``(h + 2, w + 2)`` and regions ``(n,)`` of a block; see the kernels above."""
    labels, count = label_regions(padded)
    regions = np.zeros(count, REGION)
    regions["confidence_min"] = NO_CONFIDENCE
    percent = np.zeros((0, 0), np.uint8) if confidence is None else confidence
    # Read-only or strided arrays would be compiled for anew.
    percent = np.require(percent, np.uint8, ["C", "W"])
    measure_regions(padded, labels, percent, density, at, regions)
    return labels, regions


def as_codes(classes: NDArray[Any], nodata: int | None) -> NDArray[np.int16]:
    """Class codes as the kernels want them, :data:`NODATA` where there is no class.

    Args:
        classes: Whole numbers or booleans of any shape and dtype; may be a masked array.
        nodata: What stands for no class; None if nothing does.

    Raises:
        InputError: A code does not lie within -32767..32767.
    """
    values, hidden = np.ma.getdata(classes), np.ma.getmaskarray(classes)
    if nodata is not None:
        hidden = hidden | (values == nodata)
    if values.dtype.itemsize > 1:
        seen = values[~hidden]
        if seen.size and not (seen.min() > NODATA and seen.max() <= np.iinfo(np.int16).max):
            worst = seen.min() if seen.min() <= NODATA else seen.max()
            raise InputError(f"class code {worst} does not lie within -32767..32767")
    codes = values.astype(np.int16)
    codes[hidden] = NODATA
    return codes
