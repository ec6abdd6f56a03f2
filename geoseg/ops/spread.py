"""Where the numbers of a band lie: low, middle and high, by percentiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 2.0, 98.0
_PERCENTILES: Final = (LOW, 50.0, HIGH)


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles 2, 50 and 98 of a band's physical values."""

    low: float
    median: float
    high: float


def spreads(values: NDArray[Any]) -> tuple[Spread, ...]:
    """The spread of each band of ``values`` ``(band, pixel)``; there must be pixels."""
    found = np.percentile(values.astype(np.float64), _PERCENTILES, axis=1)
    return tuple(Spread(*(float(number) for number in column)) for column in found.T)
