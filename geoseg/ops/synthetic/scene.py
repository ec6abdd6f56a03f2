"""One observation of a made-up landscape: DN, true classes and scene classification by window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.synthetic.land import survey
from geoseg.ops.synthetic.sky import classify_scene, expose, sky_over
from geoseg.ops.synthetic.spectra import CODES
from geoseg.ops.synthetic.surface import PAD, reflectance
from geoseg.ops.synthetic.world import build_world

NO_CLASS = np.uint8(255)
_WATER = 1


@dataclass(frozen=True, slots=True)
class Observation:
    """One window of a scene.

    ``dn`` is ``(band, y, x)`` uint16 (0 where the swath ends), ``classes`` ``(y, x)`` uint8 codes
    of the legend ``landcover`` (255 where the swath ends), ``scl`` the uint8 codes of the 20 m
    pixels that the window touches.
    """

    dn: NDArray[np.uint16]
    classes: NDArray[np.uint8]
    scl: NDArray[np.uint8]


def observe(
    window: Window,
    *,
    size: tuple[int, int],
    seed: int,
    season: int = 0,
    cloud_cover: float = 0.0,
    swath_edge: bool = True,
) -> Observation:
    """What the sensor sees of ``window``: the same pixels, whichever window they are asked for in.

    Args:
        window: Pixels of 10 m; may be any part of the scene.
        size: Rows and columns of the scene: rivers run through it as a whole.
        seed: Another landscape for every number.
        season: 0 for June, 1 for September of the same year.
        cloud_cover: Share of the scene under clouds, 0..0.95.
        swath_edge: Whether the scene's lower right lies outside the swath.
    """
    even = _even(window)
    world = build_world(size, seed)
    wide = Window(even.y0 - PAD, even.x0 - PAD, even.y1 + PAD, even.x1 + PAD)
    land = survey(world, wide, season)
    surface = reflectance(land, even, seed, season)
    sky = sky_over(even, size, seed, season, cloud_cover)
    dn = expose(surface, sky, even, seed + season)
    classes = CODES[land.cover[PAD:-PAD, PAD:-PAD]]
    water = classes == _WATER
    if swath_edge:
        beyond = _beyond_swath(even, size)
        dn[:, beyond] = 0
        classes[beyond] = NO_CLASS
    scl = classify_scene(dn, water, sky, even, seed + season)
    rows, cols = window.within(even).slices
    return Observation(
        np.ascontiguousarray(dn[:, rows, cols]), np.ascontiguousarray(classes[rows, cols]), scl
    )


def _even(window: Window) -> Window:
    """The window grown to whole pixels of 20 m."""
    return Window(
        window.y0 - window.y0 % 2,
        window.x0 - window.x0 % 2,
        window.y1 + window.y1 % 2,
        window.x1 + window.x1 % 2,
    )


def _beyond_swath(window: Window, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The slanted edge of the swath: about 6 % of a scene, at its lower right."""
    v = (np.arange(window.y0, window.y1)[:, None] + 0.5) / size[0]
    u = (np.arange(window.x0, window.x1)[None, :] + 0.5) / size[1]
    return np.asarray(u + 0.24 * v > 1.07)
