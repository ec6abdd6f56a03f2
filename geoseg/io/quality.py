"""The raster of quality: how often each pixel was seen, and how far it is from one that was not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.base import RasterReader
from geoseg.ops.validity import FARTHEST

QUALITY_BANDS: Final = ("observations", "distance to invalid (pixels)")
"""The bands of ``quality.tif``, both uint8: clear observations, and see :class:`DistanceRaster`."""


@dataclass(frozen=True, slots=True)
class DistanceRaster:
    """Distances to the nearest pixel without enough observations; any window as if of the whole.

    Implements :class:`geoseg.io.base.RasterReader`.

    Attributes:
        observations: How often each pixel was seen, uint8.
        shape: Its rows and columns.
        least: Fewer observations than that are not valid.
    """

    observations: RasterReader
    shape: tuple[int, int]
    least: int = 1

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Whole pixels ``(y, x)``, as :func:`geoseg.ops.distance.distance_to_invalid` says."""
        far = FARTHEST
        wide = Window(window.y0 - far, window.x0 - far, window.y1 + far, window.x1 + far)
        wide &= Window(0, 0, *self.shape)
        from geoseg.ops.distance import distance_to_invalid  # noqa: PLC0415 (numba)

        near = distance_to_invalid(self.observations.read(wide) >= self.least)
        return near[window.within(wide).slices]
