"""Arrays that a thread uses again for block after block: fresh memory costs more than the work."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Scratch:
    """Room for arrays that are not needed any longer once a block is done; for one thread."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with anything in it; the same memory for the same name."""
        count = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < count or held.dtype != dtype:
            held = self._held[name] = np.empty(count, dtype)
        return held[:count].reshape(shape)
