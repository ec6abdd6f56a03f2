"""Sums over square windows whose bits do not depend on where an array was cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_box(marks: NDArray[np.bool_], radius: int) -> NDArray[np.int32]:
    """How many of the ``(2 * radius + 1) ** 2`` pixels around each of ``(y, x)`` are marked.

    Beyond the array nothing is. Running sums of whole numbers are exact.
    """
    counts = marks.astype(np.int32)
    for axis in (0, 1):
        length = counts.shape[axis]
        running = np.zeros(_longer(counts.shape, axis), np.int32)
        np.cumsum(counts, axis=axis, out=running[_slice(axis, 1, length + 1)])
        at = np.arange(length)
        upper, lower = np.minimum(at + radius + 1, length), np.maximum(at - radius, 0)
        counts = running.take(upper, axis=axis) - running.take(lower, axis=axis)
    return counts


def sum_box(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """The sum over ``(2 * radius + 1) ** 2`` pixels around each of ``(..., y, x)``; 0 beyond.

    Added up in the same order everywhere: running sums would round differently for each cut.
    """
    for axis in (-2, -1):
        length = values.shape[axis]
        total = values.copy()
        for shift in range(1, min(radius, length - 1) + 1):
            near, far = _slice(axis, 0, length - shift), _slice(axis, shift, length)
            # Pairs first: what lies beyond a rim is 0, and adding 0 changes no bit.
            pair = np.zeros_like(values)
            pair[near] += values[far]
            pair[far] += values[near]
            total += pair
        values = total
    return values


def _slice(axis: int, start: int, stop: int) -> tuple[Any, ...]:
    """That part of the ``axis`` of an array, and all of its other axes."""
    part = slice(start, stop)
    if axis < 0:
        return (..., part, *[slice(None)] * (-axis - 1))
    return (*[slice(None)] * axis, part)


def _longer(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
