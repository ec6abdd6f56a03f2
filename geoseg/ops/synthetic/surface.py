"""From covers to reflectance: materials mixed per object, patch and pixel, blurred by the optics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry
from geoseg.ops.synthetic.land import Land
from geoseg.ops.synthetic.lines import Field
from geoseg.ops.synthetic.noise import fbm, grain, positions, salt, uniform
from geoseg.ops.synthetic.spectra import BANDS, endmembers, variation

PAD = 1  # the blur looks one pixel around
_ROWS, _ROUGH, _PATCH = np.float32(0.25), np.float32(0.6), np.float32(0.4)
_DARKEST = np.float32(0.3)
_F0, _F1, _F2 = np.float32(0), np.float32(1), np.float32(2)
# Share of a pixel's light that comes from its left or upper neighbour: an MTF of 0.25 at Nyquist.
_SIDE = np.float32(0.17)


class Texture(NamedTuple):
    """What makes one pixel of a cover differ from the next; all ``(y, x)``, zero on average.

    ``own`` and ``sheen`` are -1..1 and the same all over an object; ``patch``, ``rough`` and
    ``rows`` have unit variance; ``light`` is what a slope gets more or less.
    """

    own: Field
    sheen: Field
    patch: Field
    rough: Field
    rows: Field
    light: Field


def reflectance(land: Land, window: Window, seed: int, season: int) -> Field:
    """Surface reflectance ``(band, y, x)`` of ``window``, smaller than the land by PAD around."""
    wide = Window(window.y0 - PAD, window.x0 - PAD, window.y1 + PAD, window.x1 + PAD)
    ys, xs = positions(wide)
    own = _F2 * uniform(land.object, f"{season} own") - _F1
    sheen = _F2 * uniform(land.object, f"{season} sheen") - _F1
    patch = fbm(ys, xs, salt(seed, "patch"), wave=42, octaves=4)
    rough = fbm(ys, xs, salt(seed, "rough"), wave=5, octaves=1) + grain(wide, salt(seed, "grain"))
    furrow = land.across * np.float32(0.5)
    rows = fbm(furrow, own * np.float32(40), salt(seed, "rows"), wave=2.6, octaves=2)
    texture = Texture(own, sheen, patch, rough, rows, land.light)
    return _blur(_mix(land.cover, texture, endmembers(season), variation(season)))


@entry
def _mix(cover: NDArray[np.uint8], at: Texture, ends: Field, vary: Field) -> Field:
    """Two materials a pixel, in shares and brightness that vary as the cover does."""
    h, w = cover.shape
    out = np.empty((ends.shape[2], h, w), np.float32)
    for i in range(h):
        for j in range(w):
            k, p, r = cover[i, j], at.patch[i, j], at.rough[i, j]
            mix = vary[k, 0] + vary[k, 1] * at.own[i, j] + vary[k, 3] * r
            mix += vary[k, 2] * (p + _ROWS * at.rows[i, j])
            mix = min(_F1, max(_F0, mix))
            bright = _F1 + vary[k, 4] * (at.sheen[i, j] + _ROUGH * r + _PATCH * p)
            bright = max(_DARKEST, bright + at.light[i, j])
            glint = vary[k, 5] * max(_F0, _F1 + _PATCH * p + _ROUGH * r)
            for b in range(ends.shape[2]):
                mean = ends[k, 0, b] + mix * (ends[k, 1, b] - ends[k, 0, b])
                out[b, i, j] = bright * mean + glint
    return out


@entry
def _blur(image: Field) -> Field:
    """Three taps along each axis; one pixel is lost on every side."""
    bands, h, w = image.shape
    out = np.empty((bands, h - 2, w - 2), np.float32)
    line = np.empty(w, np.float32)
    mid = _F1 - _F2 * _SIDE
    for b in range(bands):
        for i in range(1, h - 1):
            for j in range(w):
                line[j] = mid * image[b, i, j] + _SIDE * (image[b, i - 1, j] + image[b, i + 1, j])
            for j in range(1, w - 1):
                out[b, i - 1, j - 1] = mid * line[j] + _SIDE * (line[j - 1] + line[j + 1])
    return out


__all__ = ["BANDS", "PAD", "reflectance"]
