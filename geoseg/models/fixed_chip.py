"""A chip that is the same on every machine and in every version: what models are proven on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.models.base import Batch, ModelCard
from geoseg.models.scaling import DYNAMICWORLD

_STEP = np.uint64(0x9E3779B97F4A7C15)


def fixed_chip(card: ModelCard, shape: tuple[int, int], *, seed: int = 0) -> Batch:
    """One chip of ``shape`` in the card's units, all of it valid.

    Patches of 8 pixels and noise, within 1.7 standard deviations of each band's mean, which is how
    a scene looks to a network. Nothing but exact integer arithmetic and one rounding is in it, so
    that the numbers never change.
    """
    bands, (height, width) = len(card.bands), shape
    fine = _uniform((bands, height, width), seed)
    coarse = _uniform((bands, -(-height // 8), -(-width // 8)), seed + 1)
    patches = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    z = (2.4 * patches + 1.0 * fine - 1.7).astype(np.float64)
    mean, std = (np.asarray(v).reshape(-1, 1, 1) for v in (card.mean, card.std))
    values = mean + std * z
    if card.scaling == DYNAMICWORLD:
        # Its mean and std are of logarithms.
        values = np.round(np.expm1(values.clip(0, 4)) / 50, 6)
    ones, zeros = np.ones(bands, np.float32), np.zeros(bands, np.float32)
    return Batch(values.astype(np.float32)[None], ones, zeros, np.ones((1, *shape), np.bool_))


def positions(count: int, among: int, *, seed: int) -> NDArray[np.int64]:
    """``count`` places in an array of ``among`` numbers, the same ones forever."""
    return (_uniform((count,), seed) * among).astype(np.int64)


def _uniform(shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Numbers within 0..1 by splitmix64 (Steele et al. 2014), exact everywhere."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        x = (np.arange(count, dtype=np.uint64) + np.uint64(seed) * np.uint64(2**40)) * _STEP
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return ((x >> np.uint64(40)).astype(np.float64) / 2**24).reshape(shape)
