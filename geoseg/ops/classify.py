"""Scores to classes and confidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_CONFIDENCE = 255
"""Confidence of a pixel that was not predicted."""


def most_likely(scores: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Index of the highest score along ``class`` and that score in percent.

    ``scores`` is ``(class, y, x)`` or ``(chip, class, y, x)``, in 0..1. The first of equals wins.
    """
    axis = scores.ndim - 3
    index = scores.argmax(axis=axis).astype(np.uint8)
    percent = np.rint(scores.max(axis=axis) * np.float32(100)).astype(np.uint8)
    return index, percent


def to_codes(
    index: NDArray[np.uint8], valid: NDArray[np.bool_], codes: tuple[int, ...], nodata: int
) -> NDArray[np.uint8]:
    """Legend codes of class indices; ``nodata`` where there was nothing to look at."""
    out = np.asarray(codes, np.uint8)[index]
    out[~valid] = nodata
    return out
