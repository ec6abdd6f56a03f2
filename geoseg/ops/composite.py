"""Several observations of the same pixels to one: medians, and what makes one better than others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.validity import REACH

Stored = NDArray[Any]
Flags = NDArray[np.bool_]


def median_of(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """The median of each band over the observations in which a pixel is valid.

    Of an even number it is the mean of the middle two; whole numbers stay whole, halves rounded
    to even: what ``np.rint(np.median(...))`` gives.

    Args:
        values: ``(observation, band, y, x)``, of any numeric dtype.
        valid: ``(observation, y, x)``.

    Returns:
        ``(band, y, x)`` of the same dtype, 0 where no observation is valid.
    """
    out = np.zeros(values.shape[1:], values.dtype)
    kernel = _medians_of_reals if np.issubdtype(values.dtype, np.floating) else _medians_of_wholes
    kernel(values, valid, out)
    return out


def clear_distance(valid: NDArray[np.bool_], reach: int = REACH) -> NDArray[np.float32]:
    """Distance in pixels to the nearest pixel that is not valid, at most ``reach``; ``(y, x)``.

    Exact and Euclidean, between centres. What lies outside of the array is not known, and does
    not count: cut ``reach`` pixels off for a result that does not depend on the window.
    """
    squares = np.empty(valid.shape, np.int32)
    if valid.all():
        squares.fill(reach * reach)
    else:
        _squared_distances(valid, reach, squares)
    return np.sqrt(squares, dtype=np.float32)


def vegetation_index(red: NDArray[np.float32], nir: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalised difference of two bands in physical values, within -1..1.

    -1 where it is not defined: where their sum is not positive.
    """
    total, index = nir + red, np.full(red.shape, -1, np.float32)
    np.divide(nir - red, total, out=index, where=total > 0)
    return np.clip(index, -1, 1, out=index)


def preference(
    values: NDArray[Any],
    median: NDArray[Any],
    distance: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
) -> NDArray[np.float32]:
    """How good an observation of each pixel is: far from what is hidden, and like the others.

    The distance as a share of ``REACH``, less the sum over bands of the absolute differences from
    the median, as a share of the sum of the medians (at most 1). Distance to clouds is one of the
    scores of White et al. 2014 (doi:10.1080/07038992.2014.945827), closeness to the median
    is the idea of medoids (Flood 2013, doi:10.3390/rs5126481).

    Args:
        values: ``(band, y, x)`` as stored.
        median: The same of the median of all observations.
        distance: ``(y, x)`` from :func:`clear_distance`.
        scale: ``(band,)``; physical values are ``stored * scale + offset``.
        offset: ``(band,)``.

    Returns:
        ``(y, x)`` within -1..1.
    """
    out = np.empty(distance.shape, np.float32)
    scales, offsets = scale.astype(np.float64), offset.astype(np.float64)
    _preferences(values, median, distance, scales, offsets, REACH, out)
    return out


@helper
def _sorted_valid(values: Stored, valid: Flags, at: int, y: int, x: int, found: Stored) -> int:
    """The valid numbers of a pixel in order, in the front of ``found``; how many there are."""
    count = 0
    for k in range(values.shape[0]):
        if not valid[k, y, x]:
            continue
        number = values[k, at, y, x]
        place = count
        while place > 0 and found[place - 1] > number:
            found[place] = found[place - 1]
            place -= 1
        found[place] = number
        count += 1
    return count


@entry
def _medians_of_wholes(values: Stored, valid: Flags, out: Stored) -> None:
    found = np.empty(values.shape[0], values.dtype)
    for at in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                count = _sorted_valid(values, valid, at, y, x, found)
                if count % 2:
                    out[at, y, x] = found[count // 2]
                elif count:
                    total = np.int64(found[count // 2 - 1]) + np.int64(found[count // 2])
                    half = total >> 1
                    # A half is left over: up to the even number.
                    out[at, y, x] = half + ((total & 1) & (half & 1))


@entry
def _medians_of_reals(values: Stored, valid: Flags, out: Stored) -> None:
    found = np.empty(values.shape[0], values.dtype)
    for at in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                count = _sorted_valid(values, valid, at, y, x, found)
                if count % 2:
                    out[at, y, x] = found[count // 2]
                elif count:
                    out[at, y, x] = (found[count // 2 - 1] + found[count // 2]) / 2


@entry
def _squared_distances(valid: Flags, reach: int, out: Stored) -> None:
    """Down and up the columns first, then the lower envelope along rows, only as far as needed."""
    height, width = valid.shape
    rows = np.empty((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            above = rows[y - 1, x] + 1 if y else reach
            rows[y, x] = min(above, reach) if valid[y, x] else 0
    for y in range(height - 2, -1, -1):
        for x in range(width):
            rows[y, x] = min(rows[y, x], rows[y + 1, x] + 1)
    for y in range(height):
        for x in range(width):
            best = rows[y, x] * rows[y, x]
            step = 1
            while step < reach and step * step < best:
                if x >= step:
                    best = min(best, rows[y, x - step] ** 2 + step * step)
                if x + step < width:
                    best = min(best, rows[y, x + step] ** 2 + step * step)
                step += 1
            out[y, x] = best


@entry
def _preferences(
    values: Stored,
    median: Stored,
    distance: NDArray[np.float32],
    scale: NDArray[np.float64],
    offset: NDArray[np.float64],
    reach: int,
    out: Stored,
) -> None:
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            apart, size = 0.0, 0.0
            for at in range(values.shape[0]):
                usual = median[at, y, x] * scale[at] + offset[at]
                apart += abs(values[at, y, x] * scale[at] + offset[at] - usual)
                size += abs(usual)
            share = 0.0
            if apart > 0.0:
                share = min(apart / size, 1.0) if size > 0.0 else 1.0
            out[y, x] = distance[y, x] / reach - share
