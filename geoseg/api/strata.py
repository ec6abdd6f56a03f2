"""The classes of a map as strata of a sample: how many pixels and how much ground each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window, blocks
from geoseg.io.label_raster import LabelRaster
from geoseg.ops.accuracy import Floats
from geoseg.ops.matching import Side
from geoseg.ops.metric import Metric
from geoseg.ops.sampling import pixel_areas
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

BLOCK = 1024
_CODES = 256


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """What a map is made of; arrays are by class, in the order of ``codes``.

    Attributes:
        codes: Those that occur, rising.
        names: Of each.
        pixels: Of each.
        areas: Square metres on the ellipsoid.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    areas: Floats

    @property
    def weights(self) -> Floats:
        """Share of the area."""
        shares: Floats = self.areas / self.areas.sum()
        return shares


def windows(labels: LabelRaster) -> tuple[Window, ...]:
    """The blocks of a raster."""
    height, width = (int(n) for n in labels.grid.shape)
    return tuple(blocks((height, width), BLOCK))


def count_strata(
    labels: LabelRaster, metric: Metric, ignore: Sequence[str], reporter: Reporter
) -> Strata:
    """Go through a raster once and count; classes of ``ignore`` are no part of the map.

    Raises:
        InputError: Nothing is left, or a class to ignore is not there.
        SceneError: The raster cannot be read.
    """
    side = Side(str(labels.path), labels.names)
    hidden = {side.find(text, "ignore") for text in ignore}
    pixels, areas = np.zeros(_CODES, np.int64), np.zeros(_CODES)
    work = partial(_count, labels, metric)
    for some in each_block(work, windows(labels), name="count", reporter=reporter):
        pixels += some[0]
        areas += some[1]
    codes = tuple(int(c) for c in np.flatnonzero(pixels) if int(c) not in hidden)
    if not codes:
        raise InputError(f"{labels.path}: no pixel has a class{' that is kept' * bool(hidden)}")
    names = tuple(labels.names.get(code, str(code)) for code in codes)
    at = list(codes)
    return Strata(codes, names, pixels[at], areas[at])


def _count(labels: LabelRaster, metric: Metric, window: Window) -> tuple[NDArray[np.int64], Floats]:
    codes = labels.codes(window)
    known = codes >= 0
    here = codes[known]
    ground = pixel_areas(metric, window)[known] * metric.unit
    areas: Floats = np.bincount(here, weights=ground, minlength=_CODES).astype(np.float64)
    return np.bincount(here, minlength=_CODES).astype(np.int64), areas
