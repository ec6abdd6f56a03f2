"""Pixels made of larger ones by repeating them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

_FEW = 64
"""Copies that are laid with strides, each in one go."""


def enlarged(values: NDArray[Any], factors: tuple[int, int], at: Window) -> NDArray[Any]:
    """The window ``at`` of ``values`` ``(y, x)``, where each pixel is ``factors`` pixels ``(y, x)``."""
    fy, fx = factors
    if fy * fx == 1:
        return values[at.slices]
    if fy * fx > _FEW:
        return values.repeat(fy, 0).repeat(fx, 1)[at.slices]
    height, width = values.shape
    whole = np.empty((height * fy, width * fx), values.dtype)
    for y, x in product(range(fy), range(fx)):
        whole[y::fy, x::fx] = values
    return whole[at.slices]
