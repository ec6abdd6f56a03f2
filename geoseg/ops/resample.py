"""Chips made larger or smaller by a fraction, in the same way wherever they were cut.

Triangular (linear) weights, widened where pixels get fewer, so that nothing is skipped. The weights
of a pixel depend on its phase alone, which is counted in whole numbers: chips whose corners fall on
whole pixels of both grids resample as the scene does, to the last bit.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def support(ratio: Fraction) -> Fraction:
    """How far, in pixels before, an output pixel looks to each side (exclusive)."""
    return max(Fraction(1), 1 / ratio)


def resample(values: Float32, ratio: Fraction) -> Float32:
    """``(..., y, x)`` with ``ratio`` times as many pixels along both axes, which must be whole.

    Weights add up to 1, along the rim too: a constant stays what it was.
    """
    rows, cols = (_taps(length, ratio) for length in values.shape[-2:])
    tall = np.zeros((*values.shape[:-2], len(rows[0]), values.shape[-1]), np.float32)
    for at, weight in zip(rows[0].T, rows[1].T, strict=True):
        tall += values[..., at, :] * weight[:, None]
    wide = np.zeros((*tall.shape[:-1], len(cols[0])), np.float32)
    for at, weight in zip(cols[0].T, cols[1].T, strict=True):
        wide += tall[..., at] * weight
    return wide


def resample_known(
    values: NDArray[Any], known: NDArray[np.bool_], ratio: Fraction
) -> tuple[Float32, NDArray[np.bool_]]:
    """Resample ``(chip, band, y, x)`` from its ``known`` pixels ``(chip, y, x)`` alone.

    Returns:
        Values, and which of them are known: those with at least half of their weight on what was.
    """
    weight = resample(known.astype(np.float32), ratio)
    total = resample(np.where(known[:, None], values, 0).astype(np.float32), ratio)
    out = np.zeros_like(total)
    np.divide(total, weight[:, None], out=out, where=weight[:, None] > 0)
    return out, weight >= np.float32(0.5)


def _taps(length: int, ratio: Fraction) -> tuple[NDArray[np.intp], Float32]:
    """Which pixels ``(out, tap)`` each new one is made of, and their weights."""
    p, q = ratio.numerator, ratio.denominator
    assert length * p % q == 0, f"{length} px do not become whole pixels times {ratio}"  # noqa: S101 (chips are cut so that they do)
    radius = ceil(support(ratio))
    # The middle of pixel k lies at ((2k + 1) q - p) / 2p: whole part and phase without rounding.
    middle = (2 * np.arange(length * p // q) + 1) * q - p
    whole, phase = middle // (2 * p), middle % (2 * p)
    steps = np.arange(1 - radius, radius + 1)
    away = np.abs(steps - phase[:, None] / (2 * p))
    weights = np.maximum(0, 1 - away / float(support(ratio)))
    at = whole[:, None] + steps
    weights[(at < 0) | (at >= length)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(at, 0, length - 1), weights.astype(np.float32)
