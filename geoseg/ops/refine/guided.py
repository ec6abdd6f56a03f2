"""Edge-aware smoothing: probabilities follow the edges of the image.

Source: He, Sun & Tang 2013, Guided Image Filtering, doi:10.1109/TPAMI.2012.213 (section 3.4 for
guides of several channels; section 3.6 for what it has in common with matting and random fields).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.refine.base import View
from geoseg.ops.refine.boxes import count_box, sum_box

_TILE = 256  # pixels that are held in float64 at once, by axis

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guided:
    """Smooths every class's probability by a guided filter, and takes the highest.

    In each window of ``2 * radius + 1`` pixels the probability is the linear function of the image
    that fits it best, with ``strength`` times the squared slope as a penalty; a pixel gets the mean
    over all windows that it is in. Where the image is flat compared to ``strength`` (a variance,
    the image having variance 1), probabilities are averaged; across its edges they are not. This
    stands in for a dense random field, whose every pixel looks at every other. Pixels without a
    class take no part. Of equal probabilities the pixel's own class wins, else the first.
    """

    radius: int
    strength: float

    @property
    def halo(self) -> int:
        """The windows that a pixel is in, and what they see."""
        return 2 * self.radius

    @property
    def bytes_per_pixel(self) -> int:
        """Small: it goes through a view in tiles; the classes of the outcome."""
        return 2

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``."""
        out = view.classes.copy()
        at = view.at
        for y in range(at.y0, at.y1, _TILE):
            for x in range(at.x0, at.x1, _TILE):
                tile = Window(y, x, y + _TILE, x + _TILE) & at
                around = Window(
                    tile.y0 - self.halo, tile.x0 - self.halo,
                    tile.y1 + self.halo, tile.x1 + self.halo,
                ) & at  # fmt: skip
                new = self._smooth(view.crop(around))
                out[tile.within(at).slices] = new[tile.within(around).slices]
        return out

    def _smooth(self, view: View) -> NDArray[np.uint8]:
        assert view.percent is not None  # noqa: S101 (whoever builds views looks at what steps need)
        assert view.guide is not None  # noqa: S101 (likewise)
        valid, classes = view.valid, view.classes.copy()
        if not valid.any():
            return classes
        fit = _Fit.of(view.guide.astype(np.float64), valid, self.radius, self.strength)
        best = np.full(valid.shape, -np.inf)
        own = np.full(valid.shape, -np.inf)
        for code, percent in zip(view.codes, view.percent, strict=True):
            share = np.where(valid, percent, 0)
            # A class that nobody thinks of here stays at exactly 0, which never wins.
            smooth = fit.filter(share.astype(np.float64)) if share.any() else np.zeros(valid.shape)
            better = valid & (smooth > best)
            classes[better] = code
            best[better] = smooth[better]
            same = view.classes == code
            own[same] = smooth[same]
        keeps = valid & (own >= best)
        classes[keeps] = view.classes[keeps]
        return classes


@dataclass(frozen=True, slots=True)
class _Fit:
    """What all classes share: the guide's means and the inverse of its covariances by window."""

    guide: Floats
    valid: NDArray[np.bool_]
    count: Floats
    mean: Floats
    inverse: Floats
    radius: int

    @classmethod
    def of(cls, guide: Floats, valid: NDArray[np.bool_], radius: int, strength: float) -> _Fit:
        """For a guide ``(channel, y, x)``."""
        guide = np.where(valid, guide, 0.0)
        count = np.maximum(count_box(valid, radius), 1).astype(np.float64)
        mean = sum_box(guide, radius) / count
        channels = len(guide)
        covariance = np.empty((*valid.shape, channels, channels))
        for i in range(channels):
            for j in range(i, channels):
                product = sum_box(guide[i] * guide[j], radius) / count - mean[i] * mean[j]
                covariance[..., i, j] = covariance[..., j, i] = product
        covariance += strength * np.eye(channels)
        return cls(guide, valid, count, mean, np.linalg.inv(covariance), radius)

    def filter(self, values: Floats) -> Floats:
        """Smooth ``values`` ``(y, x)``, which are 0 where nothing is valid."""
        mean = sum_box(values, self.radius) / self.count
        with_guide = sum_box(self.guide * values, self.radius) / self.count - self.mean * mean
        channels = range(len(self.guide))
        slope = np.zeros_like(self.guide)
        for i in channels:
            for j in channels:  # in this order, so that bits do not depend on the tile
                slope[i] += self.inverse[..., i, j] * with_guide[j]
        level = mean.copy()
        for i in channels:
            level -= slope[i] * self.mean[i]
        # Only windows around valid pixels are asked.
        slope, level = np.where(self.valid, slope, 0.0), np.where(self.valid, level, 0.0)
        out = sum_box(level, self.radius)
        for i in channels:
            out += sum_box(slope[i], self.radius) * self.guide[i]
        return out / self.count
